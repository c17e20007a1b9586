//! What can run on another system.

#![allow(unused_variables)]

use framex::prelude::*;

struct P;

struct Plain;

#[on_proxy]
async fn text(x: &str) {}

#[on_proxy]
async fn slice(x: &[u8], y: &mut u32) {}

#[on_proxy]
async fn generic<T>(x: T) {}

#[on_proxy]
async fn opaque(x: impl Serialize) -> impl Serialize {}

#[on_proxy]
async fn pattern((a, b): (u32, u32)) {}

#[on_proxy]
async fn borrowed() -> &str {
    ""
}

#[on_proxy]
fn blocking(x: u64) -> u64 {
    x
}

#[on_proxy]
async fn late(x: u64, ctx: &Context) {}

#[on_proxy]
struct S;

#[on_proxy("maths.heavy")]
async fn word() {}

#[on_proxy(nam = "maths.heavy")]
async fn key() {}

#[on_proxy(name = "maths heavy")]
async fn name() {}

#[on_proxy]
async fn größer() {}

#[on_proxy]
async fn argument(x: Plain, y: Option<Plain>) {}

#[on_proxy]
async fn result() -> Result<Plain> {
    Ok(Plain)
}

#[on_proxy]
async fn error() -> Result<u64, Plain> {
    Err(Plain)
}

#[on_proxy]
async fn unsendable() {
    let x = std::rc::Rc::new(1);
    std::future::ready(()).await;
    drop(x);
}

impl P {
    #[on_proxy]
    async fn method(&self) {}
}

#[on_register(plugin = "p")]
impl P {
    fn new() -> Self {
        P
    }

    #[on_proxy]
    async fn registered(&self) {}
}

fn main() {}
