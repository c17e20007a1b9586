//! Names of plugins.

#![allow(unused_variables)]

use framex::prelude::*;

#[derive(Default)]
struct A;
#[derive(Default)]
struct B;
#[derive(Default)]
struct C;
#[derive(Default)]
struct D;

#[on_register(plugin = "framex")]
impl A {}

#[on_register(plugin = "_INBOX")]
impl B {}

#[on_register(plugin = "my plugin")]
impl C {}

#[on_register(plugin = D)]
impl D {}

fn main() {}
