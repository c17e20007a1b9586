//! The promises.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use framex::args::{Args, Args as Named};
use framex::bus::Bus;
use framex::{
    CallError, Error, EventStream, Plugin, PluginDefinition, Principal, Reply, RequestId,
    TraceContext,
};
use framex_core::context::{CallMeta, Request};
use framex_test_support::until;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::plugins::{Callee, Caller, Narrow, Thief, seen};
use crate::{Served, Transport};

pub(crate) const LONG: Duration = Duration::from_secs(30);
/// In which a handler must be gone after its caller; measured it is far less.
pub(crate) const SOON: Duration = Duration::from_secs(1);

fn of<P: Plugin>() -> PluginDefinition {
    PluginDefinition::of::<P>()
}

pub(crate) async fn both(transport: &impl Transport) -> impl Served {
    let plugins = [of::<Callee>(), of::<Caller>()];
    transport.serve(&plugins, LONG).await.expect("it serves")
}

pub(crate) fn request(args: Value) -> Request {
    Request {
        args: Args::from_json(args.to_string().into()),
        meta: CallMeta::default(),
    }
}

fn within(args: Value, limit: Duration) -> Request {
    let mut request = request(args);
    request.meta.deadline = Some(Instant::now() + limit);
    request
}

pub(crate) async fn reply(
    bus: &Arc<dyn Bus>,
    target: &str,
    args: Value,
) -> Result<Reply, CallError> {
    bus.call_target(target, request(args)).await
}

/// The result as JSON.
pub(crate) async fn value(bus: &Arc<dyn Bus>, target: &str, args: Value) -> Value {
    match reply(bus, target, args).await {
        Ok(Reply::Value(json)) => serde_json::from_slice(&json).expect("JSON"),
        other => panic!("`{target}` gave {other:?}"),
    }
}

/// The error as callers see it.
pub(crate) async fn error(bus: &Arc<dyn Bus>, target: &str, args: Value) -> Error {
    match reply(bus, target, args).await {
        Err(error) => error.into_error(),
        Ok(other) => panic!("`{target}` gave {other:?}"),
    }
}

async fn stream(bus: &Arc<dyn Bus>, target: &str, args: Value) -> EventStream {
    match reply(bus, target, args).await {
        Ok(Reply::Stream(events)) => events,
        other => panic!("`{target}` gave {other:?}"),
    }
}

pub(crate) fn code(error: &Error) -> (u16, &str) {
    (error.status().as_u16(), error.code())
}

pub(crate) async fn gone(key: &str, count: usize) {
    let took = until(key, || seen(key).gone == count).await;
    assert!(took < SOON, "{key}: {took:?}");
}

pub(crate) async fn calls_by_id_path_and_method(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    let sent = json!({"value": {"a": [1, "ä\u{0}", null]}});
    for target in [
        "callee.Callee.echo",
        "/api/v1/echo",
        "GET /api/v1/echo",
        "get /api/v1/echo",
    ] {
        assert_eq!(
            value(&bus, target, sent.clone()).await,
            sent["value"],
            "{target}"
        );
    }
    let thing = |method: &str| format!("{method} /api/v1/thing/{{id}}");
    assert_eq!(value(&bus, &thing("GET"), json!({"id": 5})).await, 5);
    assert_eq!(
        value(&bus, &thing("DELETE"), json!({"id": 5})).await["deleted"],
        5
    );
    // An entry of the catalog is as good as its name.
    let api = bus
        .catalog()
        .resolve("callee.Callee.echo")
        .expect("it is there");
    let Ok(Reply::Value(json)) = bus.call(&api, request(json!({"value": 1}))).await else {
        panic!("no value");
    };
    assert_eq!(&json[..], b"1");
}

pub(crate) async fn results_of_every_kind(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    // More than a broker takes in one message.
    let large = "x".repeat(3_000_000);
    assert_eq!(
        value(&bus, "/api/v1/echo", json!({"value": large})).await,
        large
    );
    let Ok(Reply::Response(response)) = reply(&bus, "callee.Callee.respond", json!({})).await
    else {
        panic!("no response");
    };
    assert_eq!(response.status, 202);
    assert_eq!(response.headers["x-own"], "1");
    assert_eq!(&response.body[..], [0, 255]);
}

pub(crate) async fn arguments_and_results_of_any_size(transport: &impl Transport) {
    const K: usize = 1024;
    let served = both(transport).await;
    let bus = served.bus();
    for size in [
        1,
        64 * K - 1,
        64 * K,
        64 * K + 1,
        K * K - 1,
        K * K,
        K * K + 1,
        20 * K * K,
    ] {
        // No two frames are alike.
        let mut sent = String::with_capacity(size + 20);
        let mut n = 0_u64;
        while sent.len() < size {
            n += 1;
            write!(sent, "{n} ").expect("a String takes everything");
        }
        sent.truncate(size);
        let got = value(&bus, "/api/v1/echo", json!({"value": sent})).await;
        assert!(
            got.as_str() == Some(&*sent),
            "{size} bytes came back changed"
        );
    }
    // Several at the same time, and through a plugin between.
    let large = "y".repeat(2_000_000);
    let calls = (0..8).map(|n| {
        let sent = json!([n, large]);
        let nested = json!({"target": "/api/v1/echo", "args": {"value": sent}});
        let bus = &bus;
        async move {
            let got = value(bus, "caller.Caller.ask", nested).await;
            assert!(got == sent, "call {n} got something else");
        }
    });
    futures_util::future::join_all(calls).await;
    let Ok(Reply::Response(response)) = reply(
        &bus,
        "callee.Callee.respond_at_length",
        json!({"size": 3_000_000}),
    )
    .await
    else {
        panic!("no response");
    };
    assert_eq!(response.status, 202);
    assert_eq!(response.body.len(), 3_000_000);
    let error = error(
        &bus,
        "callee.Callee.fail_at_length",
        json!({"size": 3_000_000}),
    )
    .await;
    assert_eq!(code(&error), (409, "conflict"));
    assert_eq!(error.message().len(), 3_000_000);
}

pub(crate) async fn errors_of_handlers_arrive_whole(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    let nested = json!({"target": "callee.Callee.fail", "args": {"kind": "own"}});
    for (target, args) in [
        ("callee.Callee.fail", json!({"kind": "own"})),
        ("caller.Caller.ask", nested),
    ] {
        let error = error(&bus, target, args).await;
        assert_eq!(code(&error), (409, "name_taken"));
        assert_eq!(error.message(), "taken");
        assert_eq!(error.detail(), Some(&json!({"name": "x"})));
        assert_eq!(error.headers()["x-own"], "1");
    }
    let error = error(&bus, "GET /api/v1/thing/{id}", json!({"id": "x"})).await;
    assert_eq!(code(&error), (422, "validation_failed"));
    assert_eq!(error.detail().expect("a report")[0]["type"], "int_type");
}

pub(crate) async fn foreign_errors_and_panics_tell_nothing(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    for kind in ["foreign", "panic"] {
        for (target, args) in [
            ("callee.Callee.fail", json!({"kind": kind})),
            (
                "caller.Caller.ask",
                json!({"target": "callee.Callee.fail", "args": {"kind": kind}}),
            ),
        ] {
            let error = error(&bus, target, args).await;
            assert_eq!(code(&error), (500, "internal"), "{kind}");
            assert_eq!(error.message(), "Internal Server Error");
        }
    }
    assert_eq!(value(&bus, "/api/v1/echo", json!({"value": 1})).await, 1);
}

pub(crate) async fn unknown_and_ambiguous_targets(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    for target in [
        "no.such.Api",
        "callee.Callee.nothing",
        "/api/v1/nothing",
        "POST /api/v1/echo",
        "",
        " ",
        "callee",
        "/api/v1/thing/5",
    ] {
        let error = error(&bus, target, json!({})).await;
        assert_eq!(code(&error), (404, "unknown_api"), "{target:?}");
    }
    let error = error(&bus, "/api/v1/thing/{id}", json!({"id": 1})).await;
    assert_eq!(code(&error), (500, "ambiguous_api"));
    for route in ["`GET /api/v1/thing/{id}`", "`DELETE /api/v1/thing/{id}`"] {
        assert!(error.message().contains(route), "{error}");
    }
}

pub(crate) async fn an_api_that_nobody_serves_any_more(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    served.withdraw("callee").await;
    until("the catalog is without it", || {
        bus.catalog().get("callee.Callee.echo").is_none()
    })
    .await;
    let begun = Instant::now();
    let error = error(&bus, "callee.Callee.echo", json!({"value": 1})).await;
    // Known at once, not after a timeout.
    assert!(begun.elapsed() < SOON);
    assert!(
        [(404, "unknown_api"), (503, "no_responders")].contains(&code(&error)),
        "{error:?}"
    );
    assert!(bus.catalog().get("caller.Caller.ask").is_some());
}

pub(crate) async fn the_earlier_deadline_counts(transport: &impl Transport) {
    let served = transport
        .serve(&[of::<Callee>()], Duration::from_millis(150))
        .await
        .expect("it serves");
    let bus = served.bus();
    for (target, key, asked, expected) in [
        ("callee.Callee.hang", "general", LONG, 150),
        ("callee.Callee.hang", "asked", Duration::from_millis(60), 60),
        ("callee.Callee.brief", "own", LONG, 50),
        ("callee.Callee.brief", "both", Duration::from_millis(20), 20),
    ] {
        let begun = Instant::now();
        let mut request = request(json!({ "key": key }));
        // "general" has no deadline of its own: the bus gives it one.
        if key != "general" {
            request.meta.deadline = Some(begun + asked);
        }
        let outcome = bus.call_target(target, request).await;
        let took = begun.elapsed();
        let error = outcome.expect_err("it is late").into_error();
        assert_eq!(code(&error), (504, "deadline_exceeded"), "{key}");
        let expected = Duration::from_millis(expected);
        assert!(
            took >= expected && took < expected + SOON,
            "{key}: {took:?}"
        );
        gone(key, 1).await;
    }
}

pub(crate) async fn a_deadline_that_has_passed_runs_nothing(transport: &impl Transport) {
    let served = both(transport).await;
    let mut late = request(json!({"key": "passed"}));
    late.meta.deadline = Some(Instant::now() - Duration::from_secs(1));
    let outcome = served.bus().call_target("callee.Callee.hang", late).await;
    let error = outcome.expect_err("it is late").into_error();
    assert_eq!(code(&error), (504, "deadline_exceeded"));
    assert_eq!(seen("passed").begun, 0);
}

pub(crate) async fn nested_calls_inherit_the_deadline(transport: &impl Transport) {
    let served = both(transport).await;
    let args = json!({"target": "callee.Callee.hang", "args": {"key": "inherits"}});
    let begun = Instant::now();
    let request = within(args, Duration::from_millis(100));
    let outcome = served.bus().call_target("caller.Caller.ask", request).await;
    let error = outcome.expect_err("it is late").into_error();
    assert_eq!(code(&error), (504, "deadline_exceeded"));
    assert!(begun.elapsed() < SOON);
    gone("inherits", 1).await;
    let args = json!({"target": "callee.Callee.context", "args": {}});
    let request = within(args, Duration::from_secs(5));
    let Ok(Reply::Value(json)) = served.bus().call_target("caller.Caller.ask", request).await
    else {
        panic!("no value");
    };
    let context: Value = serde_json::from_slice(&json).expect("JSON");
    let left = context["remaining_ms"].as_u64().expect("a deadline");
    assert!((4000..=5000).contains(&left), "{left}");
}

pub(crate) async fn a_dropped_call_drops_its_handler(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    let nested = json!({"target": "callee.Callee.hang", "args": {"key": "dropped"}});
    for (round, target, args) in [
        (1, "callee.Callee.hang", json!({"key": "dropped"})),
        (2, "caller.Caller.ask", nested),
    ] {
        let call = tokio::spawn(bus.call_target(target, request(args)));
        until("it runs", || seen("dropped").begun == round).await;
        call.abort();
        gone("dropped", round).await;
    }
    // A call that is never awaited runs nothing.
    drop(bus.call_target("callee.Callee.hang", request(json!({"key": "unasked"}))));
    assert_eq!(seen("unasked").begun, 0);
}

pub(crate) async fn a_dropped_stream_drops_its_handler(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    for (key, target) in [
        ("dropped_stream", "callee.Callee.flood"),
        ("dropped_deep", "caller.Caller.pass_on"),
    ] {
        let mut events = stream(&bus, target, json!({ "key": key })).await;
        assert!(events.next().await.is_some());
        assert_eq!(seen(key).gone, 0);
        drop(events);
        gone(key, 1).await;
    }
}

pub(crate) async fn streams_arrive_in_order_and_end(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    for to in [0, 1, 5000] {
        let events = stream(&bus, "callee.Callee.count", json!({ "to": to })).await;
        let texts: Vec<String> = events
            .map(|event| {
                event
                    .expect("an event")
                    .as_text()
                    .expect("a text")
                    .to_owned()
            })
            .collect()
            .await;
        let expected: Vec<String> = (0..to).map(|n| n.to_string()).collect();
        assert_eq!(texts, expected);
    }
}

pub(crate) async fn streams_fail_as_they_should(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    for (kind, before, expected) in [
        ("early", 0, (409, "conflict")),
        ("mid", 1, (409, "conflict")),
        ("panic", 1, (500, "internal")),
    ] {
        let events = stream(&bus, "callee.Callee.broken", json!({ "kind": kind })).await;
        let mut items: Vec<_> = events.collect().await;
        let last = items
            .pop()
            .expect("an item")
            .expect_err("the last is an error");
        assert_eq!(code(&last), expected, "{kind}");
        assert_eq!(items.len(), before, "{kind}");
        assert!(items.iter().all(Result::is_ok));
    }
    // Wrong arguments fail the call, or the stream before its first event.
    let refused = match reply(&bus, "callee.Callee.count", json!({"to": "x"})).await {
        Err(error) => error.into_error(),
        Ok(Reply::Stream(mut events)) => {
            events.next().await.expect("an item").expect_err("an error")
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refused.status(), 422);
}

pub(crate) async fn streams_are_bounded_in_time_where_asked(transport: &impl Transport) {
    let served = transport
        .serve(&[of::<Callee>()], Duration::from_millis(80))
        .await
        .expect("it serves");
    let bus = served.bus();
    // The API's own timeout bounds the whole stream.
    let mut events = stream(&bus, "callee.Callee.short_stream", json!({"key": "short"})).await;
    assert!(events.next().await.expect("an item").is_ok());
    let error = events
        .next()
        .await
        .expect("an item")
        .expect_err("it is late");
    assert_eq!(code(&error), (504, "deadline_exceeded"));
    assert!(events.next().await.is_none());
    gone("short", 1).await;
    // So does the caller's deadline.
    let asked = within(json!({"key": "asked_stream"}), Duration::from_millis(60));
    let Ok(Reply::Stream(mut events)) = bus.call_target("callee.Callee.one_stream", asked).await
    else {
        panic!("no stream");
    };
    assert!(events.next().await.expect("an item").is_ok());
    assert!(events.next().await.expect("an item").is_err());
    // The general limit is for the first event only.
    let mut events = stream(
        &bus,
        "callee.Callee.one_stream",
        json!({"key": "unbounded"}),
    )
    .await;
    assert!(events.next().await.expect("an item").is_ok());
    let next = tokio::time::timeout(Duration::from_millis(200), events.next()).await;
    assert!(next.is_err(), "{next:?}");
}

pub(crate) async fn a_slow_consumer_slows_its_producer(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    for (key, target) in [
        ("slow", "callee.Callee.flood"),
        ("slow_deep", "caller.Caller.pass_on"),
    ] {
        let mut events = stream(&bus, target, json!({ "key": key })).await;
        assert!(events.next().await.is_some());
        let mut last = 0;
        until("the producer waits", || {
            std::thread::sleep(Duration::from_millis(20));
            let now = seen(key).events;
            std::mem::replace(&mut last, now) == now
        })
        .await;
        assert!(
            last < 2000,
            "{last} events of a kilobyte for one that was taken"
        );
    }
}

async fn limited(bus: &Arc<dyn Bus>, targets: [&str; 3], key: &str) {
    let call = |target: &str| tokio::spawn(bus.call_target(target, request(json!({ "key": key }))));
    let first = call(targets[0]);
    let _second = call(targets[1]);
    until("both run", || seen(key).begun == 2).await;
    let begun = Instant::now();
    let error = error(bus, targets[2], json!({ "key": key })).await;
    assert!(begun.elapsed() < SOON);
    assert_eq!(code(&error), (503, "overloaded"));
    assert!(error.headers().contains_key("retry-after"));
    assert_eq!(seen(key).begun, 2);
    first.abort();
    gone(key, 1).await;
    let _third = call(targets[2]);
    until("the third runs", || seen(key).begun == 3).await;
}

pub(crate) async fn an_api_runs_as_many_calls_as_it_says(transport: &impl Transport) {
    let served = both(transport).await;
    limited(&served.bus(), ["callee.Callee.two"; 3], "two").await;
    // Others have places of their own.
    assert_eq!(
        value(&served.bus(), "/api/v1/echo", json!({"value": 1})).await,
        1
    );
}

pub(crate) async fn a_plugin_runs_as_many_calls_as_it_says(transport: &impl Transport) {
    let served = transport
        .serve(&[of::<Narrow>()], LONG)
        .await
        .expect("it serves");
    let targets = ["narrow.Narrow.a", "narrow.Narrow.b", "narrow.Narrow.a"];
    limited(&served.bus(), targets, "narrow").await;
}

pub(crate) async fn streams_hold_their_place_until_they_end(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    let target = "callee.Callee.one_stream";
    // Ended by its handler.
    for _ in 0..2 {
        let events = stream(&bus, target, json!({"key": "ended", "to": 3})).await;
        assert_eq!(events.count().await, 3);
    }
    // Held, though it has nothing to say; then dropped.
    let mut events = stream(&bus, target, json!({"key": "held"})).await;
    assert!(events.next().await.is_some());
    let refused = error(&bus, target, json!({"key": "refused"})).await;
    assert_eq!(code(&refused), (503, "overloaded"));
    drop(events);
    gone("held", 1).await;
    let events = stream(&bus, target, json!({"key": "ended", "to": 1})).await;
    assert_eq!(events.count().await, 1);
    // Dropped before it was asked for anything. The word of it may take a moment.
    drop(stream(&bus, target, json!({"key": "untouched"})).await);
    let begun = Instant::now();
    let events = loop {
        match reply(&bus, target, json!({"key": "ended", "to": 1})).await {
            Ok(Reply::Stream(events)) => break events,
            Err(CallError::Overloaded { .. }) if begun.elapsed() < SOON => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(events.count().await, 1);
}

pub(crate) async fn undeclared_calls_are_refused(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    let ask = |target: &str, args: Value| json!({"target": target, "args": args});
    for target in [
        "callee.Callee.wait",
        "GET /api/v1/thing/{id}",
        "nobody.No.thing",
    ] {
        let error = error(&bus, "caller.Caller.ask", ask(target, json!({}))).await;
        assert_eq!(code(&error), (500, "undeclared_api"));
        assert_eq!(
            error.message(),
            format!(
                "plugin `caller` calls `{target}` without declaring it: add \"{target}\" to its `required_remote_apis`"
            )
        );
    }
    // Declared by its path, called by its id; and an API of its own.
    let echo = ask("callee.Callee.echo", json!({"value": 7}));
    assert_eq!(value(&bus, "caller.Caller.ask", echo.clone()).await, 7);
    assert_eq!(
        value(&bus, "caller.Caller.ask", ask("caller.Caller.ask", echo)).await,
        7
    );
}

pub(crate) async fn everything_travels_along(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut headers = HeaderMap::new();
    headers.insert("x-test", HeaderValue::from_static("carried"));
    let meta = CallMeta {
        request_id: RequestId::accept(&HeaderValue::from_static("my-id")).expect("an id"),
        principal: Some(Principal::new("somebody")),
        trace: TraceContext::parse(trace).map(Box::new),
        headers,
        ..CallMeta::default()
    };
    let args = Named::from_json("{}".into());
    let call = Request {
        args,
        meta: meta.clone(),
    };
    let Ok(Reply::Value(json)) = bus.call_target("caller.Caller.own_trace", call).await else {
        panic!("no value");
    };
    let both: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(both[0], trace);
    let inner = &both[1];
    assert_eq!(inner["caller"], "caller");
    assert_eq!(inner["principal"], "somebody");
    assert_eq!(inner["request_id"], "my-id");
    assert_eq!(inner["header"], "carried");
    // The same trace, another span.
    let child = inner["trace"].as_str().expect("a trace");
    assert_eq!(child[..36], trace[..36]);
    assert_ne!(child[36..52], trace[36..52]);
    assert_eq!(child[52..], trace[52..]);
    let direct = value(&bus, "callee.Callee.context", json!({})).await;
    assert_eq!(
        (&direct["caller"], &direct["principal"]),
        (&json!(null), &json!(null))
    );
}

pub(crate) async fn calls_in_a_circle_end(transport: &impl Transport) {
    let served = both(transport).await;
    let error = error(&served.bus(), "caller.Caller.circle", json!({"depth": 0})).await;
    assert_eq!(code(&error), (508, "loop_detected"));
    assert!(seen("circle").begun <= 64);
}

pub(crate) async fn changes_of_the_catalog_are_told(transport: &impl Transport) {
    let served = transport
        .serve(&[of::<Callee>()], LONG)
        .await
        .expect("it serves");
    let bus = served.bus();
    let mut changes = bus.changes();
    changes.mark_unchanged();
    served.add(of::<Caller>()).await.expect("it serves");
    changes.changed().await.expect("a bus");
    until("it is there", || {
        bus.catalog().get("caller.Caller.ask").is_some()
    })
    .await;
    changes.mark_unchanged();
    let before = bus.catalog();
    assert!(before.apis().all(|api| api.instances() == 1));
    served.withdraw("caller").await;
    changes.changed().await.expect("a bus");
    until("it is gone", || {
        bus.catalog().get("caller.Caller.ask").is_none()
    })
    .await;
    // Who holds a catalog holds it as it was.
    assert!(before.get("caller.Caller.ask").is_some());
    let names: Vec<_> = before
        .plugins()
        .iter()
        .map(|p| p.metadata.name.clone())
        .collect();
    assert_eq!(names, ["callee", "caller"]);
}

pub(crate) async fn names_ids_and_routes_are_claimed_once(transport: &impl Transport) {
    let Err(text) = transport
        .serve(&[of::<Callee>(), of::<Callee>()], LONG)
        .await
    else {
        panic!("one plugin twice");
    };
    assert!(text.contains("`callee`"), "{text}");
    let Err(text) = transport
        .serve(&[of::<Callee>(), of::<Thief>()], LONG)
        .await
    else {
        panic!("one route twice");
    };
    for part in ["callee.Callee.echo", "thief.Thief.echo", "GET /api/v1/echo"] {
        assert!(text.contains(part), "{text}");
    }
    // Nothing of the one that was refused is there.
    let served = transport
        .serve(&[of::<Callee>()], LONG)
        .await
        .expect("it serves");
    assert!(served.add(of::<Thief>()).await.is_err());
    assert!(served.bus().catalog().get("thief.Thief.echo").is_none());
}

pub(crate) async fn a_drain_finishes_what_runs(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    let echo = bus.catalog().resolve("/api/v1/echo").expect("it is there");
    let args = json!({"key": "drained", "ms": 300});
    let call = tokio::spawn(bus.call_target("callee.Callee.wait", request(args)));
    until("it runs", || seen("drained").begun == 1).await;
    let begun = Instant::now();
    let (left, refused) = tokio::join!(served.drain(LONG), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let refused = bus.call(&echo, request(json!({"value": 1}))).await;
        refused.expect_err("it drains").into_error()
    });
    assert_eq!(left, 0);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(refused.status(), 503, "{refused:?}");
    assert!(refused.headers().contains_key("retry-after"));
    let outcome = call.await.expect("a call");
    assert!(matches!(outcome, Ok(Reply::Value(_))), "{outcome:?}");
}

pub(crate) async fn a_drain_gives_up_in_time(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    let call =
        tokio::spawn(bus.call_target("callee.Callee.hang", request(json!({"key": "undrained"}))));
    let mut events = stream(
        &bus,
        "callee.Callee.one_stream",
        json!({"key": "undrained"}),
    )
    .await;
    assert!(events.next().await.is_some());
    until("both run", || seen("undrained").begun == 2).await;
    let begun = Instant::now();
    assert_eq!(served.drain(Duration::from_millis(100)).await, 2);
    assert!(begun.elapsed() >= Duration::from_millis(90) && begun.elapsed() < SOON);
    drop((call, events));
}
