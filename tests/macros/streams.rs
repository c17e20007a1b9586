//! Handlers that stream.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use framex::__private::Args;
use framex::Reply;
use framex::prelude::*;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::support::call;

#[derive(Serialize, ToSchema)]
struct Tick {
    n: u32,
}

#[derive(Default)]
struct Streams {
    words: Vec<String>,
    dropped: Arc<AtomicBool>,
}

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[on_register(plugin = "streams")]
impl Streams {
    /// Borrows from the plugin, the context and its argument's copy.
    #[on_request(get, "/borrowing", stream)]
    fn borrowing(&self, ctx: &Context, times: usize) -> impl Stream<Item = &str> {
        let name = ctx.plugin().name.as_str();
        stream::iter(self.words.iter().map(String::as_str))
            .chain(stream::once(async move { name }))
            .take(times)
    }

    #[on_request(get, "/json", stream)]
    fn json(&self) -> impl Stream<Item = Tick> {
        stream::iter([Tick { n: 1 }, Tick { n: 2 }])
    }

    #[on_request(get, "/failing", stream)]
    fn failing(&self) -> impl Stream<Item = Result<String, std::io::Error>> {
        stream::iter([Ok("a".to_owned()), Err(std::io::Error::other("b"))])
    }

    #[on_request(get, "/prepared", stream)]
    async fn prepared(&self, fail: bool) -> Result<impl Stream<Item = Result<Event>>> {
        if fail {
            return Err(Error::not_found("nothing"));
        }
        tokio::task::yield_now().await;
        Ok(self.words.first().map_or_else(
            || stream::iter(vec![]),
            |word| stream::iter(vec![Ok(Event::text(word.clone()).named("word"))]),
        ))
    }

    #[on_request(get, "/ready", stream)]
    async fn ready(&self) -> impl Stream<Item = String> {
        stream::iter(["x".to_owned()])
    }

    #[on_request(func, stream = durable)]
    fn events(&self) -> EventStream {
        EventStream::new(stream::iter([Ok(Event::debug("d"))]))
    }

    #[on_request(func, stream)]
    async fn events_or_not(&self, fail: bool) -> Result<EventStream> {
        if fail {
            return Err(Error::conflict("no"));
        }
        Ok(EventStream::new(stream::empty()))
    }

    #[on_request(func, stream)]
    fn boxed(self: Arc<Self>) -> Pin<Box<dyn Stream<Item = Value> + Send>> {
        Box::pin(stream::iter([json!({ "words": self.words })]))
    }

    #[on_request(func, stream = live)]
    fn endless(&self) -> impl Stream<Item = u32> {
        let guard = OnDrop(Arc::clone(&self.dropped));
        async_stream::stream! {
            let _guard = guard;
            for n in 0.. {
                tokio::task::yield_now().await;
                yield n;
            }
        }
    }
}

fn plugin() -> Arc<Streams> {
    Arc::new(Streams {
        words: vec!["a".into(), "b".into()],
        ..Streams::default()
    })
}

async fn events(method: &str, args: Value) -> Result<Vec<Result<Event>>> {
    let args = Args::from_json(args.to_string().into());
    match call(&plugin(), method, args).await? {
        Reply::Stream(events) => Ok(events.collect().await),
        other => panic!("no stream: {other:?}"),
    }
}

async fn texts(method: &str, args: Value) -> Vec<String> {
    let text = |event: Result<Event>| match event {
        Ok(event) => event.as_text().unwrap().to_owned(),
        Err(error) => format!("! {error:?}"),
    };
    let events = events(method, args).await.unwrap();
    events.into_iter().map(text).collect()
}

#[test]
fn a_stream_is_kept_unless_it_is_live() {
    let apis = Streams::apis();
    let live = apis.iter().filter(|api| api.descriptor.live);
    let live: Vec<_> = live.map(|api| api.descriptor.id.as_str()).collect();
    assert_eq!(live, ["streams.Streams.endless"]);
    assert!(apis.iter().all(|api| api.descriptor.streams()));
}

#[tokio::test]
async fn a_stream_may_borrow_from_plugin_and_context() {
    assert_eq!(
        texts("borrowing", json!({ "times": 9 })).await,
        ["a", "b", "streams"]
    );
    let error = events("borrowing", json!({})).await.unwrap_err();
    assert_eq!(error.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn items_become_events() {
    let ticks = events("json", json!({})).await.unwrap();
    let ticks: Vec<Value> = ticks
        .into_iter()
        .map(|event| event.unwrap().parse().unwrap())
        .collect();
    assert_eq!(ticks, [json!({ "n": 1 }), json!({ "n": 2 })]);
    assert_eq!(texts("ready", json!({})).await, ["x"]);
    let boxed = events("boxed", json!({})).await.unwrap();
    let boxed: Value = boxed[0].as_ref().unwrap().parse().unwrap();
    assert_eq!(boxed, json!({ "words": ["a", "b"] }));
    let named = events("prepared", json!({ "fail": false })).await.unwrap();
    assert_eq!(named[0].as_ref().unwrap().name(), "word");
}

#[tokio::test]
async fn an_error_is_the_last_item() {
    assert_eq!(
        texts("failing", json!({})).await,
        ["a", "! 500 internal: Internal Server Error: b"]
    );
    assert_eq!(
        texts("prepared", json!({ "fail": true })).await,
        ["! 404 not_found: nothing"]
    );
}

#[tokio::test]
async fn an_event_stream_is_passed_on() {
    assert_eq!(texts("events", json!({})).await, ["d"]);
    let none = events("events_or_not", json!({ "fail": false })).await;
    assert!(none.unwrap().is_empty());
    let error = events("events_or_not", json!({ "fail": true })).await;
    assert_eq!(error.unwrap_err().status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn dropping_the_reply_stops_the_handler() {
    let plugin = plugin();
    let reply = call(&plugin, "endless", Default::default()).await.unwrap();
    let Reply::Stream(mut events) = reply else {
        panic!("no stream");
    };
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(first.parse::<u32>().unwrap(), 0);
    assert!(!plugin.dropped.load(Ordering::Relaxed));
    drop(events);
    assert!(plugin.dropped.load(Ordering::Relaxed));
}
