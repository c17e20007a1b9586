//! Functions that run here or on another system.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use framex::prelude::*;
use framex_core::function::{self, Elsewhere};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::{self, Silence};

#[derive(Debug, Default)]
struct Desk;

#[on_register(plugin = "desk")]
impl Desk {}

/// Twice `x`.
#[on_proxy]
async fn double(x: u64) -> u64 {
    x * 2
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    when: DateTime<Utc>,
    tags: BTreeMap<u32, Option<String>>,
}

#[on_proxy(name = "desk.move")]
async fn moved(ctx: &Context, mut from: Point, by: Option<f64>) -> Result<Point> {
    from.x += by.unwrap_or(1.0);
    from.tags.insert(7, Some(ctx.plugin().name.clone()));
    Ok(from)
}

#[derive(Debug, thiserror::Error)]
#[error("odd: password=hunter2")]
struct Odd;

#[on_proxy]
async fn half(x: u64) -> Result<u64, Odd> {
    x.is_multiple_of(2).then_some(x / 2).ok_or(Odd)
}

#[on_proxy]
async fn nothing(_: &Context) {}

static RUNS: AtomicUsize = AtomicUsize::new(0);

#[on_proxy]
async fn refuse(name: String) -> std::result::Result<(), Error> {
    RUNS.fetch_add(1, Ordering::Relaxed);
    Err(Error::conflict(format!("{name} is taken")).with_code("taken"))
}

// Names that the expansion has too.
#[on_proxy(name = "desk.run")]
async fn run(ctx: u64, away: u64, received: u64, argument_0: u64, r#type: u64) -> u64 {
    ctx + away + received + argument_0 + r#type
}

/// A system that runs everything with the functions of this binary.
#[derive(Default)]
struct There {
    only: &'static str,
    seen: Mutex<Vec<(String, Value)>>,
    answers: Option<&'static str>,
}

impl Elsewhere for There {
    fn runs(&self, name: &str) -> bool {
        name == self.only
    }

    fn call(&self, _: &Context, name: &str, args: RawJson) -> BoxFuture<'static, Result<RawJson>> {
        let seen = (name.to_owned(), args.parse().unwrap());
        self.seen.lock().unwrap().push(seen);
        match self.answers {
            Some(answer) => {
                let answer = RawJson::new(answer.into()).unwrap();
                Box::pin(std::future::ready(Ok(answer)))
            }
            None => called(name, args),
        }
    }
}

fn called(name: &str, args: RawJson) -> BoxFuture<'static, Result<RawJson>> {
    let functions = function::all().unwrap();
    let ctx = support::context::<Desk>();
    functions[name].run(ctx, args)
}

async fn asked(name: &str, args: Value) -> Result<Value> {
    let args = RawJson::new(args.to_string().into()).unwrap();
    let result = called(name, args).await?;
    Ok(result.parse()?)
}

/// A bus, with functions elsewhere or without.
fn bus(there: Option<&Arc<There>>) -> Arc<Silence> {
    let bus = Arc::new(Silence::default());
    if let Some(there) = there {
        bus.0.set_elsewhere(Arc::clone(there) as _);
    }
    bus
}

fn at(bus: &Arc<Silence>) -> Context {
    support::on::<Desk>(Arc::downgrade(bus))
}

fn point() -> Point {
    Point {
        x: 0.5,
        when: "2026-11-23T08:00:00Z".parse().unwrap(),
        tags: BTreeMap::from([(1, None)]),
    }
}

#[tokio::test]
async fn it_runs_here_unless_somebody_says_otherwise() {
    assert_eq!(double(4).await, 8);
    let alone = bus(None);
    assert_eq!(double::proxy(&at(&alone), 4).await.unwrap(), 8);
    let there = Arc::new(There {
        only: "half",
        ..There::default()
    });
    let beside = bus(Some(&there));
    assert_eq!(double::proxy(&at(&beside), 4).await.unwrap(), 8);
    nothing::proxy(&at(&beside)).await.unwrap();
    assert_eq!(there.seen.lock().unwrap().len(), 0);
    assert_eq!(run::proxy(&at(&alone), 1, 2, 3, 4, 5).await.unwrap(), 15);
    let stopped = support::context::<Desk>();
    assert_eq!(double::proxy(&stopped, 4).await.unwrap_err().status(), 503);
}

#[tokio::test]
async fn elsewhere_it_gives_the_same() {
    let there = Arc::new(There {
        only: "desk.move",
        ..There::default()
    });
    let (here, away) = (bus(None), bus(Some(&there)));
    let near = moved::proxy(&at(&here), point(), None).await.unwrap();
    let far = moved::proxy(&at(&away), point(), None).await.unwrap();
    assert_eq!(near, far);
    assert_eq!(far.tags[&7].as_deref(), Some("desk"));
    let seen = there.seen.lock().unwrap();
    let sent = json!({"from": {"x": 0.5, "when": "2026-11-23T08:00:00Z", "tags": {"1": null}}, "by": null});
    assert_eq!(*seen, [("desk.move".to_owned(), sent)]);
}

#[tokio::test]
async fn an_error_is_an_error_and_happens_once() {
    let there = Arc::new(There {
        only: "refuse",
        ..There::default()
    });
    let bus = bus(Some(&there));
    let error = refuse::proxy(&at(&bus), "seat".into()).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.code()), (409, "taken"));
    assert_eq!(error.message(), "seat is taken");
    assert_eq!(RUNS.load(Ordering::Relaxed), 1);
    let odd = half::proxy(&at(&bus), 3).await.unwrap_err();
    assert_eq!(
        (odd.status().as_u16(), odd.message()),
        (500, "Internal Server Error")
    );
}

#[tokio::test]
async fn a_result_of_another_type_is_no_result() {
    let there = Arc::new(There {
        only: "double",
        answers: Some("\"error proxy\""),
        ..There::default()
    });
    let bus = bus(Some(&there));
    let error = double::proxy(&at(&bus), 4).await.unwrap_err();
    assert_eq!(
        (error.status().as_u16(), error.code()),
        (502, "unexpected_reply")
    );
    assert!(!error.message().contains("error proxy"));
}

#[tokio::test]
async fn what_others_send_is_checked_in_full() {
    assert_eq!(asked("double", json!({"x": 4})).await.unwrap(), json!(8));
    let moved = asked("desk.move", json!({"from": point()})).await.unwrap();
    assert_eq!(moved["x"], 1.5);
    assert_eq!(asked("nothing", json!({})).await.unwrap(), Value::Null);
    let run = json!({"ctx": 1, "away": 2, "received": 3, "argument_0": 4, "type": 5});
    assert_eq!(asked("desk.run", run).await.unwrap(), json!(15));

    let wrong = json!({"from": {"x": "far"}, "by": [], "too": 1});
    let error = asked("desk.move", wrong).await.unwrap_err();
    assert_eq!(
        (error.status().as_u16(), error.code()),
        (422, "validation_failed")
    );
    let problems = error.detail().unwrap().as_array().unwrap();
    let told: Vec<_> = problems
        .iter()
        .map(|p| (p["loc"].clone(), p["type"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (json!(["body", "data", "from", "x"]), "type_error"),
            (json!(["body", "data", "by"]), "type_error"),
            (json!(["body", "data", "too"]), "extra_forbidden"),
        ]
    );
    let error = asked("double", json!([4])).await.unwrap_err();
    assert_eq!(error.status(), 422);
    let error = asked("double", json!({})).await.unwrap_err();
    assert_eq!(error.detail().unwrap()[0]["type"], "missing");
    let error = asked("half", json!({"x": 3})).await.unwrap_err();
    assert_eq!(error.message(), "Internal Server Error");
}

#[test]
fn functions_know_where_they_are_written() {
    let functions = function::all().unwrap();
    let place = functions["desk.move"].place();
    assert!(
        place.contains("::proxy::moved (tests/macros/proxy.rs:"),
        "{place}"
    );
    assert!(!functions.contains_key("moved"));
}
