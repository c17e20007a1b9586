//! Two methods of one name, which the compiler refuses as well.

#![allow(unused_variables)]

use framex::prelude::*;

#[derive(Default)]
struct P;

#[on_register(plugin = "p")]
impl P {
    #[on_request(func)]
    async fn one(&self) {}

    #[on_request(get, "/one")]
    async fn one(&self) {}
}

fn main() {}
