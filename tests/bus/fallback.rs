//! What nobody on the bus answers is the bridge's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use framex::args::{Args, HttpArgs, HttpBody, PathValues};
use framex::bus::nats::NatsBus;
use framex::bus::{Bus, Call, Fallback, LocalBus};
use framex::descriptor::{ApiDescriptor, ApiKind};
use framex::id::ApiId;
use framex::{CallError, Error, PluginDefinition, Reply};
use framex_core::context::{CallMeta, Request};
use framex_test_support::nats::NatsServer;
use framex_test_support::{patiently, until};
use http::Method;
use serde_json::{Value, json};

use crate::nats::connect;
use crate::no_settings;
use crate::plugins::{Callee, Caller};
use crate::suite::{code, request};

const LONG: Duration = Duration::from_secs(30);
const ECHO: &str = "callee.Callee.echo";

/// A bridge that notes what it is given.
#[derive(Default)]
struct Bridge {
    given: Mutex<Vec<String>>,
    away: bool,
    knows_nothing: AtomicBool,
}

impl Fallback for Bridge {
    fn call(&self, target: &str, known: Option<&ApiDescriptor>, request: Request) -> Call {
        let args = request.args;
        let way = match args.passed().expect("a request") {
            Some(passed) => format!("as {} {}", passed.method, passed.target),
            None => {
                let mut api = ApiId::parse("x.X.x").map(any).expect("an id");
                api.bridged = true;
                let named = args.named(&api).expect("a map");
                Value::from(named.values).to_string()
            }
        };
        let mut given = self.given.lock().expect("no panic");
        let of = known.map_or_else(String::new, |api| format!(" of {}", api.id));
        given.push(format!("{target}{of}: {way}"));
        if self.away {
            let api = ApiId::parse("proxy.ProxyPlugin.fall_back").expect("an id");
            return Call::failed(CallError::NoResponders { api });
        }
        if self.knows_nothing.load(Ordering::Relaxed) {
            let error = Error::not_found("no upstream has it").with_code("unknown_api");
            return Call::failed(CallError::Handler(error));
        }
        Call::remote(Box::pin(async { Ok(Reply::Value("\"bridged\"".into())) }))
    }
}

fn any(id: ApiId) -> ApiDescriptor {
    ApiDescriptor::new(id, ApiKind::Func)
}

impl Bridge {
    fn on(bus: &dyn Bus, away: bool) -> Arc<Self> {
        let bridge = Arc::new(Self {
            away,
            ..Self::default()
        });
        bus.set_fallback(Arc::clone(&bridge) as _);
        bridge
    }

    fn given(&self) -> Vec<String> {
        std::mem::take(&mut self.given.lock().expect("no panic"))
    }
}

async fn serve(bus: &Arc<NatsBus>, plugin: PluginDefinition) {
    let instance = plugin.build(&no_settings()).expect("a plugin");
    bus.serve(&instance).expect("it is free");
    bus.offer(&plugin.metadata().name);
    bus.ready(LONG).await.expect("it is ready");
}

/// A runtime that takes what runs there along when it goes.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(1).enable_all();
    builder.build().expect("a runtime")
}

fn instances(bus: &NatsBus) -> Option<usize> {
    bus.catalog().get(ECHO).map(|api| api.instances())
}

async fn answer(call: Call) -> Value {
    match patiently("an answer", call).await {
        Ok(Reply::Value(json)) => serde_json::from_slice(&json).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

async fn failure(call: Call) -> CallError {
    patiently("an answer", call).await.expect_err("it fails")
}

/// A request that a client has sent.
fn by_http(body: HttpBody) -> Request {
    Request {
        args: Args::from_http(HttpArgs {
            method: Method::POST,
            uri: "/api/v1/echo?value=%31&x=2".parse().expect("a URI"),
            path: PathValues::default(),
            body,
        }),
        meta: CallMeta::default(),
    }
}

#[tokio::test]
async fn in_one_process_it_gets_what_is_unknown() {
    let bus = LocalBus::new(LONG);
    for plugin in [
        PluginDefinition::of::<Callee>(),
        PluginDefinition::of::<Caller>(),
    ] {
        let instance = plugin.build(&no_settings()).expect("a plugin");
        bus.serve(&instance).expect("it is free");
    }
    let bridge = Bridge::on(&*bus, false);
    let echo = || bus.call_target(ECHO, request(json!({"value": 1})));
    assert_eq!(answer(echo()).await, 1);
    assert_eq!(
        bridge.given(),
        [""; 0],
        "known and served: not the bridge's"
    );
    let call = |target: &str| bus.call_target(target, request(json!({"a": 1})));
    assert_eq!(answer(call("GET /api/v1/elsewhere")).await, "bridged");
    assert_eq!(answer(call("other.Other.api")).await, "bridged");
    let ambiguous = failure(call("/api/v1/thing/{id}")).await;
    assert_eq!(ambiguous.into_error().code(), "ambiguous_api");
    bus.withdraw("callee");
    // From a plugin: what it has declared, and nothing else.
    let ask = |target: &str| {
        let args = json!({"target": target, "args": {"value": 1}});
        bus.call_target("caller.Caller.ask", request(args))
    };
    assert_eq!(answer(ask("/api/v1/echo")).await, "bridged");
    assert_eq!(answer(ask("callee.Callee.hang")).await, "bridged");
    let undeclared = failure(ask("/api/v1/other")).await.into_error();
    assert_eq!(undeclared.code(), "undeclared_api");
    assert_eq!(
        bridge.given(),
        [
            "GET /api/v1/elsewhere: {\"a\":1}",
            "other.Other.api: {\"a\":1}",
            "/api/v1/echo: {\"value\":1}",
            "callee.Callee.hang: {\"value\":1}",
        ]
    );
    // The bridge's own are not for the bridge.
    let own = failure(call("proxy.ProxyPlugin.fall_back")).await;
    assert_eq!(code(&own.into_error()), (404, "unknown_api"));
    assert_eq!(bridge.given(), [""; 0]);
}

#[tokio::test]
async fn where_it_is_away_the_first_error_counts() {
    let local = LocalBus::new(LONG);
    let bridge = Bridge::on(&*local, true);
    let call = local.call_target("GET /api/v1/elsewhere", request(json!({})));
    let error = failure(call).await.into_error();
    assert_eq!(code(&error), (404, "unknown_api"));
    assert!(error.message().contains("GET /api/v1/elsewhere"), "{error}");
    assert_eq!(bridge.given().len(), 1);

    let server = NatsServer::start().await;
    let bus = connect(server.url(), LONG);
    serve(&bus, PluginDefinition::of::<Caller>()).await;
    let bridge = Bridge::on(&*bus, true);
    let args = json!({"target": "callee.Callee.hang", "args": {}});
    let call = bus.call_target("caller.Caller.ask", request(args));
    let error = failure(call).await.into_error();
    assert_eq!(code(&error), (503, "no_responders"));
    assert!(error.message().contains("callee.Callee.hang"), "{error}");
    assert_eq!(bridge.given().len(), 1);
}

#[tokio::test]
async fn over_a_broker_it_gets_what_nobody_serves_now() {
    let server = NatsServer::start().await;
    let caller = connect(server.url(), LONG);
    let doomed = runtime();
    let url = server.url();
    let dies = doomed.spawn(async {
        let worker = connect(url, LONG);
        serve(&worker, PluginDefinition::of::<Callee>()).await;
        worker
    });
    let worker = dies.await.expect("it serves");
    until("it is known", || instances(&caller) == Some(1)).await;
    let bridge = Bridge::on(&*caller, false);
    let api = caller.catalog().resolve(ECHO).expect("it is known");
    let json = || HttpBody::Json("[1]".into());
    let form = || HttpBody::Form(Vec::new());
    let call = |body: HttpBody| caller.call(&api, by_http(body));
    assert_eq!(answer(call(HttpBody::Empty)).await, "1");
    assert_eq!(bridge.given(), [""; 0]);
    // It dies without a word: nobody knows yet, and its calls are the bridge's.
    doomed.shutdown_background();
    drop(worker);
    let client = async_nats::connect(server.url()).await.expect("a broker");
    while client.request(ECHO, "{}".into()).await.is_ok() {}
    assert_eq!(instances(&caller), Some(1));
    let passed = "GET /api/v1/echo of callee.Callee.echo: as POST /api/v1/echo?value=%31&x=2";
    assert_eq!(answer(call(HttpBody::Empty)).await, "bridged");
    // Never as if a plugin had named what a client has sent.
    let partly_read = async || failure(call(form())).await.into_error();
    assert_eq!(code(&partly_read().await), (503, "no_responders"));
    assert_eq!(bridge.given(), [passed]);
    let first = request(json!({"value": 1}));
    assert_eq!(answer(caller.call(&api, first)).await, "bridged");
    assert_eq!(
        bridge.given(),
        [r#"GET /api/v1/echo of callee.Callee.echo: {"value":1}"#]
    );
    // Now they know; it needs no question.
    until("it is known to be gone", || instances(&caller) == Some(0)).await;
    let begun = Instant::now();
    assert_eq!(answer(call(json())).await, "bridged");
    assert!(
        begun.elapsed() < Duration::from_millis(40),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(code(&partly_read().await), (503, "no_responders"));
    assert_eq!(bridge.given(), [passed]);
    bridge.knows_nothing.store(true, Ordering::Relaxed);
    let error = failure(call(json())).await.into_error();
    assert_eq!(code(&error), (503, "no_responders"), "it may be back soon");
    bridge.knows_nothing.store(false, Ordering::Relaxed);
    assert_eq!(bridge.given(), [passed]);
    let forsaken = caller.call_target("/api/v1/echo", request(json!({"value": 1})));
    assert_eq!(answer(forsaken).await, "bridged");
    assert_eq!(
        bridge.given(),
        [r#"GET /api/v1/echo of callee.Callee.echo: {"value":1}"#]
    );
    // It is back, and has its calls.
    let worker = connect(server.url(), LONG);
    serve(&worker, PluginDefinition::of::<Callee>()).await;
    until("it is known again", || instances(&caller) == Some(1)).await;
    assert_eq!(answer(call(HttpBody::Empty)).await, "1");
    assert_eq!(bridge.given(), [""; 0]);
    worker.withdraw("callee").await;
    until("it has left", || instances(&caller) == Some(0)).await;
    assert_eq!(answer(call(HttpBody::Empty)).await, "bridged");
    let unknown = caller.call_target("other.Other.api", request(json!({})));
    assert_eq!(answer(unknown).await, "bridged");
    assert_eq!(bridge.given(), [passed, "other.Other.api: {}"]);
}
