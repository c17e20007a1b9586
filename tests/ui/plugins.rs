//! What can be a plugin.

#![allow(unused_variables)]

use framex::prelude::*;

#[derive(Default)]
struct Generic<T>(T);

#[derive(Default)]
struct P;

trait Trait {}

#[on_register(plugin = "generic")]
impl<T> Generic<T> {}

#[on_register(plugin = "chosen")]
impl Generic<u32> {}

#[on_register(plugin = "of-trait")]
impl Trait for P {}

#[on_register(plugin = "tuple")]
impl (u32,) {}

#[on_register(plugin = "struct")]
struct S;

#[on_register]
impl P {}

fn main() {}
