//! What can be remote.

#![allow(unused_variables)]

use framex::prelude::*;

struct P;

struct NotClone;

#[remote]
fn text(x: &str) {}

#[remote]
fn slice(x: &[u8], y: &mut u32) {}

#[remote]
fn generic<T>(x: T) {}

#[remote]
fn opaque(x: impl Send) {}

#[remote]
fn pattern((a, b): (u32, u32)) {}

#[remote]
unsafe fn unsafe_() {}

#[remote]
fn opaque_result() -> impl Send {}

#[remote]
struct S;

#[remote(asociated)]
fn key() {}

#[remote("x")]
fn word() {}

impl P {
    #[remote]
    fn mutable(&mut self) {}

    #[remote]
    fn borrowed(&self) -> &str {
        ""
    }
}

impl NotClone {
    #[remote]
    fn method(&self) {}
}

fn main() {}
