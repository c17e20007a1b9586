//! An API without a plugin.

#![allow(unused_variables)]

use framex::prelude::*;

struct P;

impl P {
    #[on_request(get, "/echo")]
    async fn echo(&self, #[body] message: String) -> String {
        message
    }
}

#[on_request(func)]
async fn free() {}

fn main() {}
