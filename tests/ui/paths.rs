//! Path templates and their arguments.

#![allow(unused_variables)]

use framex::prelude::*;

#[derive(Default)]
struct P;

#[on_register(plugin = "p")]
impl P {
    #[on_request(get, "")]
    async fn empty(&self) {}

    #[on_request(get, "/a//b")]
    async fn empty_segment(&self) {}

    #[on_request(get, "/x{id}")]
    async fn mixed(&self, id: u32) {}

    #[on_request(get, "/{id")]
    async fn open(&self, id: u32) {}

    #[on_request(get, "/{}")]
    async fn unnamed(&self) {}

    #[on_request(get, "/{*rest}/more")]
    async fn rest_inside(&self, rest: String) {}

    #[on_request(get, "/{id}/{id}")]
    async fn twice(&self, id: u32) {}

    #[on_request(get, "/a?b=c")]
    async fn query(&self, b: String) {}

    #[on_request(get, "/items/{id}/{part}")]
    async fn no_argument(&self, part: String) {}

    #[on_request(get, "/items")]
    async fn not_in_path(&self, #[path] id: u32) {}

    #[on_request(func)]
    async fn no_path(&self, #[path] id: u32) {}

    #[on_request(get, "/optional/{id}")]
    async fn optional(&self, id: Option<u32>) {}

    #[on_request(get, "/default/{id}")]
    async fn default(&self, #[arg(default = 1)] id: u32) {}

    #[on_request(get, "/list/{id}")]
    async fn list(&self, id: Vec<u32>) {}

    #[on_request(post, "/body/{id}")]
    async fn body(&self, #[body] id: u32) {}

    #[on_request(post, "/file/{id}")]
    async fn file(&self, id: Upload) {}
}

fn main() {}
