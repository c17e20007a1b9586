//! What can be a body, and where.

#![allow(unused_variables)]

use framex::prelude::*;

#[derive(Deserialize, ToSchema)]
struct Model {
    id: u32,
}

#[derive(Default)]
struct P;

#[on_register(plugin = "p")]
impl P {
    #[on_request(post, "/two")]
    async fn two(&self, #[body] first: Model, #[body] second: Model) {}

    #[on_request(get, "/get")]
    async fn get(&self, #[body] model: Model) {}

    #[on_request(post, "/with_file")]
    async fn with_file(&self, file: Upload, #[body] model: Model) {}

    #[on_request(post, "/perhaps_a_file")]
    async fn perhaps_a_file(&self, #[body] file: Option<Upload>) {}

    #[on_request(post, "/files")]
    async fn files(&self, #[body] files: Vec<Upload>) {}

    #[on_request(post, "/file_and_part")]
    async fn file_and_part(&self, #[body] file: Upload, part: Upload) {}

    #[on_request(get, "/get_file")]
    async fn get_file(&self, #[body] file: Upload) {}

    #[on_request(func)]
    async fn body_on_bus(&self, #[body] file: Upload) {}

    #[on_request(post, "/nothing", max_body_size = "1GiB")]
    async fn nothing(&self, id: u32) {}

    #[on_request(post, "/word", max_body_size = "much")]
    async fn word(&self, #[body] model: Model) {}

    #[on_request(post, "/zero", max_body_size = 0)]
    async fn zero(&self, #[body] model: Model) {}

    #[on_request(func)]
    async fn file_on_bus(&self, file: Upload) {}

    #[on_request(post, "/bytes")]
    async fn bytes(&self, data: Bytes) {}

    #[on_request(post, "/maybe_bytes")]
    async fn maybe_bytes(&self, #[body] data: Option<Bytes>) {}

    #[on_request(post, "/valued")]
    async fn valued(&self, #[body(json)] model: Model) {}
}

fn main() {}
