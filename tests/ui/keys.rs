//! Words and values of the attributes.

#![allow(unused_variables)]

use framex::prelude::*;

#[derive(Default)]
struct P;

#[on_register(
    plugin = "p",
    autor = "me",
    version = 1,
    required_remote_apis = "a.B.c",
    tags = [1],
    priority = "high",
    max_ongoing_requests = 0,
    config = 7,
    colour = "red",
    "text"
)]
impl P {
    #[on_request(func, max_ongoing_request = 8)]
    async fn near(&self) {}

    #[on_request(func, colour)]
    async fn far(&self) {}

    #[on_request(func, max_ongoing_requests = 0)]
    async fn limit(&self) {}

    #[on_request(func, timeout = 30)]
    async fn timeout_number(&self) {}

    #[on_request(func, timeout = "30")]
    async fn timeout_unit(&self) {}

    #[on_request(func, timeout = "0s")]
    async fn timeout_zero(&self) {}

    #[on_request(func, timeout = "99999999999999999999h")]
    async fn timeout_huge(&self) {}

    #[on_request(func = true)]
    async fn valued_word(&self) {}

    #[on_request(func, idempotent = "yes")]
    async fn switch(&self) {}

    #[on_request(func, tags = "a")]
    async fn tags(&self) {}

    #[on_request(func, summary = 1)]
    async fn summary(&self) {}

    #[on_request(func, 7)]
    async fn number(&self) {}

    #[on_request(func)]
    async fn arguments(
        &self,
        #[arg(defualt = 1)] a: u32,
        #[arg("x")] b: u32,
        #[arg(name = "")] c: u32,
        #[arg(default)] d: u32,
    ) {
    }

    #[on_request(func)]
    async fn defaults(
        &self,
        #[arg(default = 1)] a: Option<u32>,
        #[arg(default = "x")] b: Option<Upload>,
    ) {
    }
}

fn main() {}
