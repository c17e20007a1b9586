//! What is promised of APIs that a plugin adds while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use framex::args::{Args, HttpArgs, HttpBody, PathValues, Upload};
use framex::bus::Bus;
use framex::{CallError, PluginDefinition, Reply};
use framex_core::body::ByteStream;
use framex_core::context::{CallMeta, Request};
use framex_core::reply::Download;
use framex_test_support::until;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use crate::adder::Adder;
use crate::bodies::coming;
use crate::plugins::Callee;
use crate::suite::{LONG, reply, request, value};
use crate::{Served, Transport};

const M: usize = 1 << 20;

async fn adder(transport: &impl Transport) -> impl Served {
    let plugins = [PluginDefinition::of::<Adder>()];
    transport.serve(&plugins, LONG).await.expect("it serves")
}

/// Has the plugin serve `apis`; gives what it was refused.
async fn set(bus: &Arc<dyn Bus>, tag: &str, apis: &[Value]) -> Value {
    let args = json!({"tag": tag, "apis": apis});
    value(bus, "adder.Adder.set", args).await
}

fn func(name: &str, summary: &str) -> Value {
    json!({"id": format!("adder.{name}"), "kind": "func", "summary": summary})
}

fn bridged(name: &str, route: &str) -> Value {
    json!({"id": format!("adder.{name}"), "routes": [route], "bridged": true, "headers": true})
}

async fn tag(bus: &Arc<dyn Bus>, api: &str) -> Value {
    value(bus, api, json!({})).await["tag"].take()
}

/// Waits until the caller knows an API as it is described now.
async fn known(bus: &Arc<dyn Bus>, id: &str, summary: &str) {
    let known = || {
        let catalog = bus.catalog();
        let api = catalog.get(id);
        api.is_some_and(|api| api.descriptor.summary == summary)
    };
    let took = until(id, known).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

async fn unknown(bus: &Arc<dyn Bus>, id: &str) {
    until(id, || bus.catalog().get(id).is_none()).await;
}

pub(crate) async fn added_apis_come_change_and_go(transport: &impl Transport) {
    let served = adder(transport).await;
    let bus = served.bus();
    assert_eq!(
        set(&bus, "1", &[func("A.a", "x"), func("A.b", "x")]).await,
        json!([])
    );
    known(&bus, "adder.A.a", "x").await;
    known(&bus, "adder.A.b", "x").await;
    assert_eq!(tag(&bus, "adder.A.a").await, "1");
    let entry = bus.catalog().get("adder.A.a").cloned().expect("its entry");
    // Calls that run when it changes, and when it goes, end as they would have.
    let slow = |ms| tokio::spawn(bus.call_target("adder.A.b", request(json!({"ms": ms}))));
    let (first, second) = (slow(300), slow(1500));
    tokio::time::sleep(Duration::from_millis(50)).await;
    set(&bus, "2", &[func("A.a", "x"), func("A.b", "y")]).await;
    known(&bus, "adder.A.b", "y").await;
    assert_eq!(tag(&bus, "adder.A.a").await, "2", "the new handler");
    assert_eq!(tag(&bus, "adder.A.b").await, "2");
    let same = bus.catalog().get("adder.A.a").cloned().expect("its entry");
    assert!(Arc::ptr_eq(&entry, &same), "what says the same stays");
    set(&bus, "3", &[func("A.a", "x"), func("A.c", "z")]).await;
    known(&bus, "adder.A.c", "z").await;
    unknown(&bus, "adder.A.b").await;
    for call in [first, second] {
        let Ok(Ok(Reply::Value(json))) = call.await else {
            panic!("a call was lost");
        };
        let told: Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(told["tag"], "1");
    }
    // What went may come back at once.
    set(&bus, "4", &[func("A.b", "y")]).await;
    known(&bus, "adder.A.b", "y").await;
    unknown(&bus, "adder.A.a").await;
    assert_eq!(tag(&bus, "adder.A.b").await, "4");
    set(&bus, "5", &[]).await;
    unknown(&bus, "adder.A.b").await;
    assert_eq!(value(&bus, "adder.Adder.own", json!({})).await, 1);
    // With the plugin goes what it has added.
    set(&bus, "6", &[func("A.d", "z")]).await;
    known(&bus, "adder.A.d", "z").await;
    served.withdraw("adder").await;
    unknown(&bus, "adder.A.d").await;
}

pub(crate) async fn added_apis_that_cannot_be_are_named(transport: &impl Transport) {
    let served = adder(transport).await;
    let bus = served.bus();
    let route = |name: &str, route: &str| json!({"id": format!("adder.{name}"), "routes": [route], "summary": "r"});
    let other = json!({"id": "other.A.a", "kind": "func"});
    let apis = [
        other,
        func("Adder.own", ""),
        func("A.twice", "1"),
        func("A.twice", "2"),
        route("A.path", "GET /api/v1/{x"),
        route("A.argument", "GET /api/v1/{x}"),
        route("A.taken", "GET /api/v1/adder/own"),
        bridged("A.bridged", "GET /api/v1/adder/own"),
        route("A.first", "GET /api/v1/adder/x"),
        bridged("A.second", "GET /api/v1/adder/x"),
        bridged("A.free", "POST /api/v1/adder/x"),
    ];
    let refused = set(&bus, "1", &apis).await;
    let expected = [
        ("other.A.a", "does not begin with `adder.`"),
        ("adder.Adder.own", "is that of another one"),
        ("adder.A.twice", "is that of another one"),
        ("adder.A.path", "is not valid"),
        ("adder.A.argument", "do not agree"),
        ("adder.A.taken", "is the one of `adder.Adder.own`"),
        ("adder.A.bridged", "is the one of `adder.Adder.own`"),
        (
            "adder.A.second",
            "`GET /api/v1/adder/x` is the one of `adder.A.first`",
        ),
    ];
    let refused = refused.as_array().expect("a list");
    assert_eq!(refused.len(), expected.len(), "{refused:?}");
    for (refused, (id, reason)) in refused.iter().zip(expected) {
        let text = refused[1].as_str().expect("a reason");
        assert!(refused[0] == id && text.contains(reason), "{refused}");
    }
    known(&bus, "adder.A.twice", "1").await;
    known(&bus, "adder.A.first", "r").await;
    until("all are there", || {
        bus.catalog().get("adder.A.free").is_some()
    })
    .await;
    assert_eq!(bus.catalog().apis().count(), 4 + 3);
}

pub(crate) async fn changes_disturb_nobody_else(transport: &impl Transport) {
    let served = adder(transport).await;
    let bus = served.bus();
    let others = |round: usize| (0..20).map(move |n| func(&format!("O.o{round}x{n}"), "o"));
    let changes = |round: usize| {
        let steady = [func("A.steady", "s"), func("A.changes", &round.to_string())];
        steady.into_iter().chain(others(round)).collect::<Vec<_>>()
    };
    set(&bus, "0", &changes(0)).await;
    known(&bus, "adder.A.steady", "s").await;
    known(&bus, "adder.A.changes", "0").await;
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let load = |api: &'static str| {
        let (bus, stop, answered) = (Arc::clone(&bus), Arc::clone(&stop), Arc::clone(&answered));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let outcome = reply(&bus, api, json!({"ms": 1})).await;
                assert!(matches!(outcome, Ok(Reply::Value(_))), "{api}: {outcome:?}");
                answered.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        })
    };
    // The one that changes is always there, too.
    let load = [
        load("adder.A.steady"),
        load("adder.A.steady"),
        load("adder.A.changes"),
    ];
    for round in 1..12 {
        set(&bus, &round.to_string(), &changes(round)).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    known(&bus, "adder.A.changes", "11").await;
    until("the last are there", || {
        bus.catalog().get("adder.O.o11x19").is_some()
    })
    .await;
    until("the others are not", || bus.catalog().apis().count() == 26).await;
    assert_eq!(tag(&bus, "adder.O.o11x7").await, "11");
    stop.store(true, Ordering::Relaxed);
    for load in load {
        load.await.expect("none was lost");
    }
    assert!(answered.load(Ordering::Relaxed) > 100);
}

pub(crate) async fn bridged_routes_yield(transport: &impl Transport) {
    let served = adder(transport).await;
    let bus = served.bus();
    let echo = bridged("A.echo", "GET /api/v1/echo");
    let thing = bridged("A.thing", "GET /api/v1/thing/{key}");
    let mut thing = thing;
    thing["parameters"] = json!([{"name": "key", "location": "path", "required": true}]);
    let apis = [echo, thing];
    assert_eq!(set(&bus, "1", &apis).await, json!([]));
    let is = |target: &'static str, id: &'static str| {
        let found = bus.catalog().resolve(target);
        found.is_ok_and(|api| api.descriptor.id.as_str() == id)
    };
    until("they are there", || is("/api/v1/echo", "adder.A.echo")).await;
    // A plugin that comes later has its routes all the same,
    served
        .add(PluginDefinition::of::<Callee>())
        .await
        .expect("it is served");
    until("the plugin's goes before", || {
        is("GET /api/v1/echo", "callee.Callee.echo")
    })
    .await;
    assert!(is("/api/v1/echo", "callee.Callee.echo"));
    assert!(is("/api/v1/thing/{key}", "adder.A.thing"));
    assert!(bus.catalog().get("adder.A.thing").is_some());
    assert_eq!(value(&bus, "/api/v1/echo", json!({"value": 5})).await, 5);
    // and so has one that was there before.
    set(&bus, "2", &[]).await;
    unknown(&bus, "adder.A.echo").await;
    assert_eq!(set(&bus, "3", &apis).await, json!([]));
    until("they are back", || {
        bus.catalog().get("adder.A.echo").is_some()
    })
    .await;
    assert!(is("/api/v1/echo", "callee.Callee.echo"));
    // Called by its id, it does not yield.
    assert_eq!(tag(&bus, "adder.A.echo").await, "3");
    served.withdraw("callee").await;
    until("its turn", || is("/api/v1/echo", "adder.A.echo")).await;
}

/// An HTTP request, passed on.
async fn pass(
    bus: &Arc<dyn Bus>,
    api: &str,
    uri: &str,
    body: HttpBody,
    headers: HeaderMap,
) -> Download {
    let request = Request {
        args: Args::from_http(HttpArgs {
            method: Method::PUT,
            uri: uri.parse().expect("a URI"),
            path: PathValues::default(),
            body,
        }),
        meta: CallMeta {
            headers,
            trail: Some("one,two".into()),
            keep: true,
            ..CallMeta::default()
        },
    };
    match bus.call_target(api, request).await {
        Ok(Reply::Download(download)) => download,
        other => panic!("{api}: {other:?}"),
    }
}

pub(crate) async fn requests_are_passed_as_they_came(transport: &impl Transport) {
    let served = adder(transport).await;
    let bus = served.bus();
    let mut stream = bridged("A.stream", "PUT /api/v1/s");
    stream["reply"] = json!({"type": "stream"});
    stream["summary"] = json!("streams");
    let plain = bridged("A.plain", "PUT /api/v1/p");
    set(&bus, "t", &[stream, plain]).await;
    known(&bus, "adder.A.stream", "streams").await;
    known(&bus, "adder.A.plain", "").await;
    let uri = "/api/v1/p%2Fq/%C3%A4?a=1&a=2&&b";
    for api in ["adder.A.plain", "adder.A.stream"] {
        let mut headers = HeaderMap::new();
        headers.append("x-many", HeaderValue::from_static("1"));
        headers.append("x-many", HeaderValue::from_static("2"));
        let bytes = HeaderValue::from_bytes(b"\xe4\xff").expect("a value");
        headers.append("x-bytes", bytes.clone());
        headers.append("content-encoding", HeaderValue::from_static("br"));
        for size in [0, 100, 3 * M] {
            let (body, _) = coming(size, None);
            let upload = Upload::new(body).with_content_type("text/x; charset=y");
            let body = HttpBody::Upload(upload.into());
            let answer = pass(&bus, api, uri, body, headers.clone()).await;
            assert_eq!(answer.status, 418);
            assert_eq!(answer.headers["x-line"], &*format!("t PUT {uri}"));
            assert_eq!(answer.headers["x-kind"], "text/x; charset=y");
            assert_eq!(answer.headers["x-trail"], "one,two");
            assert_eq!(answer.headers["x-bytes"], bytes);
            assert_eq!(answer.headers["content-encoding"], "br");
            let many: Vec<_> = answer.headers.get_all("x-many").iter().collect();
            assert_eq!(many, ["1", "2"]);
            let (sent, _) = coming(size, None);
            let sent = sent.collect(4 * M).await.expect("all of it");
            let got = answer.body.collect(4 * M).await.expect("all of it");
            assert!(sent == got, "{api}: {size} bytes came back changed");
        }
        let answer = pass(&bus, api, "/x", HttpBody::Empty, HeaderMap::new()).await;
        assert!(!answer.headers.contains_key("x-kind"));
        assert_eq!(answer.body.collect(M).await.expect("all"), "nothing");
        let body = HttpBody::Upload(Upload::new(ByteStream::full("abc")).into());
        let answer = pass(&bus, api, "/x", body, HeaderMap::new()).await;
        assert_eq!(answer.body.collect(M).await.expect("all"), "abc");
    }
    // A plugin is answered in a plugin's terms.
    let ask = |id: &str| json!({ "id": id });
    let events = value(&bus, "adder.Adder.ask", ask("adder.A.stream")).await;
    assert_eq!(events, json!(["a", "b", "c"]));
    let told = value(&bus, "adder.Adder.ask", ask("adder.A.plain")).await;
    assert_eq!(told["values"], json!({"n": 7}));
    // A stream that nobody described as one.
    let mut silent = bridged("A.silent", "PUT /api/v1/t");
    silent["summary"] = json!("streams");
    silent["timeout_ms"] = json!(300);
    set(&bus, "t", &[silent]).await;
    known(&bus, "adder.A.silent", "streams").await;
    let direct = reply(&bus, "adder.A.silent", json!({"ms": 250})).await;
    let Ok(Reply::Stream(events)) = direct else {
        panic!("{direct:?}");
    };
    // Its time is for the first event.
    let events: Vec<_> = futures_util::StreamExt::collect(events).await;
    assert!(
        events.len() == 3 && events.iter().all(Result::is_ok),
        "{events:?}"
    );
}

pub(crate) async fn trails_travel(transport: &impl Transport) {
    let served = adder(transport).await;
    let bus = served.bus();
    set(&bus, "t", &[func("A.a", "x")]).await;
    known(&bus, "adder.A.a", "x").await;
    let call = async |api: &str, args: Value| {
        let mut request = request(args);
        request.meta.trail = Some("one,two".into());
        match bus.call_target(api, request).await {
            Ok(Reply::Value(json)) => serde_json::from_slice::<Value>(&json).expect("JSON"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(call("adder.Adder.trail", json!({})).await, "one,two");
    let nested = json!({"id": "adder.A.a"});
    assert_eq!(call("adder.Adder.ask", nested).await["trail"], "one,two");
    let none = value(&bus, "adder.Adder.trail", json!({})).await;
    assert_eq!(none, Value::Null);
}

pub(crate) async fn who_is_gone_adds_nothing(transport: &impl Transport) {
    let served = adder(transport).await;
    let bus = served.bus();
    let args = json!({"tag": "1", "apis": [func("A.late", "")]});
    let api = bus.catalog().resolve("adder.Adder.set").expect("its entry");
    served.withdraw("adder").await;
    match bus.call(&api, request(args)).await {
        // Its handler may still run where it is.
        Ok(Reply::Value(json)) => {
            let refused: Value = serde_json::from_slice(&json).expect("JSON");
            assert_eq!(refused[0][1], "its plugin is not served");
        }
        Err(CallError::NoResponders { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(bus.catalog().get("adder.A.late").is_none());
}
