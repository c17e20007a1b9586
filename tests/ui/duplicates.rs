//! Two of what can be there once.

#![allow(unused_variables)]

use framex::prelude::*;

#[derive(Default)]
struct P;

#[on_register(plugin = "p", plugin = "q")]
impl P {
    #[on_request(get, "/items/{id}")]
    async fn one(&self, id: u32) {}

    #[on_request(get, post, "/api/v1/items/{other}")]
    async fn same_route(&self, other: u32) {}

    #[on_request(delete, "/items/{id}")]
    async fn other_method(&self, id: u32) {}

    #[on_request(func)]
    async fn same_names(&self, a: u32, #[arg(name = "a")] b: u32) {}

    #[on_request(func, timeout = "1s", timeout = "2s")]
    async fn same_keys(&self) {}
}

fn main() {}
