//! What a handler's signature can be.

#![allow(unused_variables)]

use std::sync::Arc;

use framex::prelude::*;

#[derive(Default)]
struct P;

struct Pair(u32, u32);

#[on_register(plugin = "p")]
impl P {
    #[on_request(func)]
    fn not_async(&self) -> u32 {
        1
    }

    #[on_request(func)]
    async fn no_self(x: u32) {}

    #[on_request(func)]
    async fn mutable(&mut self) {}

    #[on_request(func)]
    async fn owned(self) {}

    #[on_request(func)]
    async fn boxed(self: Box<Self>) {}

    #[on_request(func)]
    async fn shared(self: Arc<Self>) {}

    #[on_request(func)]
    async fn generic<T: Send>(&self, x: T) {}

    #[on_request(func)]
    async fn lifetime<'a>(&'a self) {}

    #[on_request(func)]
    async unsafe fn unsafe_(&self) {}

    #[on_request(func)]
    async fn text(&self, x: &str) {}

    #[on_request(func)]
    async fn slice(&self, x: &[u8]) {}

    #[on_request(func)]
    async fn reference(&self, x: &u32) {}

    #[on_request(func)]
    async fn opaque(&self, x: impl Send) {}

    #[on_request(func)]
    async fn pattern(&self, Pair(a, b): Pair) {}

    #[on_request(func)]
    async fn by_ref(&self, ref x: u32) {}

    #[on_request(func)]
    async fn owned_context(&self, ctx: Context) {}

    #[on_request(func)]
    async fn mutable_context(&self, ctx: &mut Context) {}

    #[on_request(func)]
    async fn ärger(&self) {}

    #[on_request(func)]
    async fn opaque_result(&self) -> impl Serialize {
        1
    }
}

fn main() {}
