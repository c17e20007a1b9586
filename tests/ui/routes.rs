//! How an API is reached.

#![allow(unused_variables)]

use framex::prelude::*;

#[derive(Default)]
struct P;

#[on_register(plugin = "p")]
impl P {
    #[on_request(get)]
    async fn no_route(&self) {}

    #[on_request("/no_method")]
    async fn no_method(&self) {}

    #[on_request(all)]
    async fn all_without_route(&self) {}

    #[on_request(all, "/all")]
    async fn all_without_method(&self) {}

    #[on_request]
    async fn nothing(&self) {}

    #[on_request(stream)]
    fn only_a_flag(&self) -> EventStream {
        unimplemented!()
    }

    #[on_request(func, get, "/func")]
    async fn func_with_route(&self) {}

    #[on_request(func, all)]
    async fn func_and_all(&self) {}

    #[on_request(func, raw)]
    async fn func_raw(&self) {}

    #[on_request(func, guarded)]
    async fn func_guarded(&self) {}

    #[on_request(get, "/one", "/two")]
    async fn two_paths(&self) {}

    #[on_request(get, get, "/twice")]
    async fn twice(&self) {}

    #[on_request(trace, "/trace")]
    async fn trace(&self) {}

    #[on_request(GET, "/upper")]
    async fn upper(&self) {}

    #[on_request = "get"]
    async fn assigned(&self) {}
}

fn main() {}
