//! Streams that are kept: taken up again, followed by several, stopped, left.

mod addresses;
mod lasting;
mod resuming;

use std::time::Duration;

use framex::prelude::*;
use framex_test_support::raw::Ask;
use framex_test_support::{Answer, Connection, Server, ServerBuilder};
use serde_json::json;

use crate::zoo::Guard;

const SSE: &str = "text/event-stream";
const NDJSON: &str = "application/x-ndjson";

#[derive(Default)]
pub(crate) struct Keeping;

#[on_register(plugin = "keeping")]
impl Keeping {
    /// `count` events of several kinds, `ms` apart; for ever without a count.
    #[on_request(get, "/kept", stream)]
    fn kept(
        &self,
        key: String,
        count: Option<u64>,
        #[arg(default = 0)] ms: u64,
        #[arg(default = "finish".to_owned())] last: String,
    ) -> impl Stream<Item = Result<Event>> {
        let guard = Guard::new(&key);
        async_stream::stream! {
            for number in 0..count.unwrap_or(u64::MAX) {
                if ms > 0 {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                guard.event();
                yield match number % 4 {
                    0 => Ok(Event::text(format!("number {number}"))),
                    1 => Event::json(&json!({ "number": number, "of": [1, "ä\n"] })),
                    2 => Ok(Event::debug("why").named("odd one")),
                    _ => Ok(Event::text("")),
                };
            }
            match last.as_str() {
                "finish" => {}
                "error" => yield Err(Error::conflict("boom")),
                _ => yield Ok(Event::text(last).named("finish")),
            }
        }
    }

    /// Events of a kilobyte, as fast as they are taken.
    #[on_request(post, "/kept/flood", stream = durable)]
    fn flood(&self, key: String, count: Option<usize>) -> impl Stream<Item = Event> {
        let guard = Guard::new(&key);
        async_stream::stream! {
            for _ in 0..count.unwrap_or(usize::MAX) {
                guard.event();
                yield Event::text("x".repeat(1000));
            }
        }
    }

    #[on_request(get, "/kept/silence", stream)]
    fn silence(&self, key: String) -> impl Stream<Item = Event> {
        let guard = Guard::new(&key);
        async_stream::stream! {
            let _guard = guard;
            std::future::pending::<()>().await;
            yield Event::text("");
        }
    }

    #[on_request(get, "/kept/live", stream = live)]
    fn live(&self, key: String) -> impl Stream<Item = &'static str> {
        drop(Guard::new(&key));
        futures_util::stream::iter(["a", "b"])
    }

    /// Would take the place of every stream's address, if it could.
    #[on_request(get, "/{kind}/{id}")]
    async fn anything(&self, kind: String, id: String) -> String {
        format!("{kind} {id}")
    }
}

fn builder() -> ServerBuilder {
    Server::builder().plugin::<Keeping>()
}

async fn server() -> Server {
    builder().start().await
}

/// Where an answer says that its stream is.
fn address(answer: &Answer) -> String {
    let address = answer.header("x-framex-stream").expect("a kept stream");
    assert_eq!(answer.header("content-location"), Some(address));
    let id = address
        .strip_prefix("/api/v1/streams/")
        .expect("an address");
    assert!(id.len() >= 16, "{id}");
    address.to_owned()
}

/// The events of a body, each with everything that belongs to it.
fn blocks<'a>(body: &'a str, format: &str) -> Vec<&'a str> {
    let end = if format == SSE { "\n\n" } else { "\n" };
    let blocks = body.split_inclusive(end);
    blocks
        .filter(|b| b.ends_with(end) && b.len() > end.len())
        .collect()
}

/// The id of an event.
fn id<'a>(block: &'a str, format: &str) -> &'a str {
    let (begin, end) = match format {
        SSE => ("id: ", '\n'),
        _ => ("{\"id\": \"", '"'),
    };
    let rest = block
        .strip_prefix(begin)
        .unwrap_or_else(|| panic!("no id: {block:?}"));
    rest.split(end).next().unwrap()
}

fn asking(ask: Ask, format: &str, last: &str) -> Ask {
    let ask = ask.header("Accept", format);
    if last.is_empty() {
        return ask;
    }
    ask.header("Last-Event-ID", last)
}

/// Reads until `events` events are there, or the end.
async fn some(connection: &mut Connection, format: &str, events: usize) -> String {
    let mut body = String::new();
    while blocks(&body, format).len() < events {
        match connection.chunk().await {
            Some(chunk) => body.push_str(std::str::from_utf8(&chunk).unwrap()),
            None => break,
        }
    }
    body
}

async fn all(connection: &mut Connection) -> String {
    some(connection, SSE, usize::MAX).await
}
