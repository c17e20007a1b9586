//! What a stream is.

#![allow(unused_variables)]

use framex::prelude::*;

#[derive(Default)]
struct P;

#[on_register(plugin = "p")]
impl P {
    #[on_request(func, stream)]
    fn nothing(&self) {}

    #[on_request(func, stream)]
    async fn text(&self) -> Result<String> {
        Ok(String::new())
    }

    #[on_request(func)]
    fn forgotten(&self) -> impl Stream<Item = String> {
        futures_util::stream::empty()
    }

    #[on_request(func)]
    async fn events(&self) -> Result<EventStream> {
        Err(Error::not_found(""))
    }

    #[on_request(func, stream)]
    fn of_what(&self) -> impl Stream {
        futures_util::stream::empty::<String>()
    }

    #[on_request(func, stream)]
    fn other(&self) -> impl Iterator<Item = String> {
        std::iter::empty()
    }

    #[on_request(func, stream = lively)]
    fn how(&self) -> impl Stream<Item = String> {
        futures_util::stream::empty()
    }

    #[on_request(func, stream = "live")]
    fn text_for_a_word(&self) -> impl Stream<Item = String> {
        futures_util::stream::empty()
    }

    #[on_request(func, stream = live)]
    async fn not_live(&self) -> String {
        String::new()
    }
}

fn main() {}
