//! Streams that JetStream keeps: taken up again anywhere, whatever happened.

mod broker;
mod endings;
mod resuming;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use framex::PluginDefinition;
use framex::args::Args;
use framex::bus::nats::{Keeping, NatsBus, Options, StreamStore};
use framex::bus::{Bus, KeptStream, LocalBus};
use framex::prelude::*;
use framex::{CallError, Reply};
use framex_core::context::{CallMeta, Request};
use framex_core::kept::{Position, StreamId};
use framex_test_support::{patiently, until};
use serde_json::{Value, json};

use crate::{nats, no_settings};

const LONG: Duration = Duration::from_secs(30);

thread_local! {
    /// Of one test: how often a handler began, how many events it was asked for, and how
    /// often it went, by its key.
    static SEEN: RefCell<HashMap<String, (usize, usize, usize)>> = RefCell::default();
}

fn seen(key: &str) -> (usize, usize, usize) {
    SEEN.with_borrow(|all| all.get(key).copied().unwrap_or_default())
}

fn note(key: &str, change: impl FnOnce(&mut (usize, usize, usize))) {
    SEEN.with_borrow_mut(|all| change(all.entry(key.to_owned()).or_default()));
}

struct Guard(String);

impl Drop for Guard {
    fn drop(&mut self) {
        note(&self.0, |seen| seen.2 += 1);
    }
}

/// Tells long stories.
#[derive(Default)]
struct Teller;

#[on_register(plugin = "teller")]
impl Teller {
    /// `count` events of `size` bytes, a pause of `ms` after every `at_once` of them; then an
    /// error, if it is to `fail`.
    #[on_request(all, get, "/tell", stream)]
    fn tell(
        &self,
        key: String,
        count: usize,
        #[arg(default = 1)] at_once: usize,
        #[arg(default = 0)] ms: u64,
        #[arg(default = 0)] size: usize,
        #[arg(default = false)] fail: bool,
    ) -> impl Stream<Item = Result<Event>> {
        note(&key, |seen| seen.0 += 1);
        let guard = Guard(key);
        async_stream::stream! {
            for n in 0..count {
                if n % at_once == 0 && ms > 0 {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                note(&guard.0, |seen| seen.1 += 1);
                yield Ok(event(n, size));
            }
            if fail {
                yield Err(Error::conflict("no happy end"));
            }
        }
    }
}

/// What the `n`th event is.
fn event(n: usize, size: usize) -> Event {
    let text = format!("{n}\n{}", "x".repeat(size));
    match n % 7 {
        3 => Event::json(&json!({ "n": n, "text": text })).expect("JSON"),
        5 => Event::text(text).named("aside"),
        _ => Event::text(text),
    }
}

fn store() -> StreamStore {
    StreamStore {
        grace: Duration::from_secs(2),
        max_age: Duration::from_secs(60),
        ..StreamStore::default()
    }
}

fn options(url: String) -> Options {
    Options {
        streams: Some(store()),
        ..nats::options(url, LONG)
    }
}

/// An edge: it starts and follows streams.
async fn edge(options: Options) -> Arc<NatsBus> {
    let edge = NatsBus::start(options, LocalBus::new(LONG)).expect("options that can work");
    edge.ready(LONG).await.expect("it is ready");
    assert_eq!(edge.state().borrow().streams, Keeping::InStore);
    edge
}

/// Somebody who tells.
async fn worker(url: String) -> Arc<NatsBus> {
    let worker = nats::connect(url, LONG);
    serve(&worker).await;
    worker
}

async fn serve(worker: &Arc<NatsBus>) {
    let plugin = PluginDefinition::of::<Teller>();
    let instance = plugin.build(&no_settings()).expect("a plugin");
    worker.serve(&instance).expect("it is free");
    worker.offer("teller");
    worker.ready(LONG).await.expect("it is ready");
}

async fn known(edges: &[&Arc<NatsBus>]) {
    for edge in edges {
        until("the worker is known", || {
            let catalog = edge.catalog();
            let api = catalog.get("teller.Teller.tell");
            api.is_some_and(|api| api.instances() > 0)
        })
        .await;
    }
}

/// Starts a stream that is kept.
async fn tell(edge: &Arc<NatsBus>, args: Value) -> EventStream {
    let api = edge
        .catalog()
        .resolve("teller.Teller.tell")
        .expect("it is known");
    let request = Request {
        args: Args::from_json(args.to_string().into()),
        meta: CallMeta {
            keep: true,
            ..CallMeta::default()
        },
    };
    let reply = patiently("a stream", edge.call(&api, request)).await;
    let Ok(Reply::Stream(events)) = reply else {
        panic!("no stream: {reply:?}");
    };
    assert!(events.kept().is_some(), "it is not kept");
    events
}

async fn find(edge: &Arc<NatsBus>, id: &StreamId) -> Result<Arc<dyn KeptStream>, Error> {
    let found = patiently("a stream", edge.find_stream(id)).await;
    found.map_err(CallError::into_error)
}

/// Takes up a stream behind `after`.
async fn follow(edge: &Arc<NatsBus>, id: &StreamId, after: Option<Position>) -> EventStream {
    let found = find(edge, id).await.expect("it is kept");
    let events = patiently("its events", found.follow(after)).await;
    events.expect("it can be followed")
}

type Item = (Option<Position>, String, Event);

/// The next event, as what has to be the same whoever sees it.
async fn next(events: &mut EventStream) -> Option<Result<Item, Error>> {
    let event = patiently("an event", events.next()).await?;
    Some(event.map(|event| {
        let text = format!("{}: {:?}", event.name(), event.data());
        (event.position(), text, event)
    }))
}

/// All of the rest: the events, and the error at the end.
async fn rest(events: &mut EventStream) -> (Vec<Item>, Option<Error>) {
    let mut all = Vec::new();
    while let Some(item) = next(events).await {
        match item {
            Ok(item) => all.push(item),
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}

/// Asserts that `items` are the events of a story from number `from` up to `to`.
fn assert_story(items: &[Item], from: usize, to: usize, size: usize) {
    let given: Vec<&String> = items.iter().map(|(_, text, _)| text).collect();
    let expected: Vec<String> = (from..to)
        .map(|n| {
            let event = event(n, size);
            format!("{}: {:?}", event.name(), event.data())
        })
        .collect();
    assert_eq!(given.len(), expected.len(), "from {from}");
    for (n, (given, expected)) in given.iter().zip(&expected).enumerate() {
        assert!(
            given.as_str() == expected,
            "event {}: {:.60} instead of {:.60}",
            from + n,
            given,
            expected
        );
    }
    let positions: Vec<_> = items.iter().map(|(position, ..)| *position).collect();
    assert!(positions.iter().all(Option::is_some));
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
}
