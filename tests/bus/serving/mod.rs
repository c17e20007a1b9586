//! What a process serves on a broker, as a plain client sees it.

mod blocking;
mod leaving;
mod long;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Message, Subscriber};
use framex::PluginDefinition;
use framex::bus::LocalBus;
use framex::bus::nats::{Auth, NatsBus, Options, Tls};
use framex::prelude::*;
use framex_test_support::nats::NatsServer;
use framex_test_support::{patiently, until};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use crate::no_settings;
use crate::plugins::{Callee, seen};

/// Long enough for whatever should not come.
const A_MOMENT: Duration = Duration::from_millis(150);

/// Does what stops others, if they let it.
#[derive(Default)]
struct Nuisance;

#[on_register(plugin = "nuisance")]
impl Nuisance {
    #[on_request(func)]
    async fn block(&self, ms: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(ms));
        ms
    }

    /// Harmless for long, then not.
    #[on_request(func)]
    async fn sometimes(&self, ms: Option<u64>) {
        std::thread::sleep(Duration::from_millis(ms.unwrap_or_default()));
    }

    /// What it leaves when it is dropped, which a deadline does, panics.
    #[on_request(func, timeout = "50ms")]
    async fn sore(&self, hurt: bool) {
        struct Sore(bool);
        impl Drop for Sore {
            fn drop(&mut self) {
                assert!(!self.0, "touched");
            }
        }
        let _sore = Sore(hurt);
        if hurt {
            std::future::pending::<()>().await;
        }
    }

    #[on_request(func)]
    async fn large(&self, bytes: usize) -> String {
        "x".repeat(bytes)
    }
}

fn options(url: String) -> Options {
    Options {
        urls: vec![url],
        auth: Auth::default(),
        tls: Tls::default(),
        namespace: None,
        prefer_local: true,
        inbox_prefix: "_INBOX".into(),
        streams: None,
        follow: framex::bus::nats::Follow::All,
        follow_also: Vec::new(),
        default_timeout: Duration::from_secs(10),
        name: "serving".into(),
    }
}

async fn serve(options: Options, plugins: &[PluginDefinition]) -> Arc<NatsBus> {
    let local = LocalBus::new(options.default_timeout);
    let bus = NatsBus::start(options, local).expect("valid options");
    for plugin in plugins {
        let instance = plugin.build(&no_settings()).expect("a plugin");
        bus.serve(&instance).expect("nobody else serves it");
        bus.offer(plugin.metadata().name.as_str());
    }
    bus
}

async fn serve_at(server: &NatsServer, plugins: &[PluginDefinition]) -> Arc<NatsBus> {
    ready(serve(options(server.url()), plugins).await).await
}

async fn ready(bus: Arc<NatsBus>) -> Arc<NatsBus> {
    let ready = bus.ready(Duration::from_secs(10)).await;
    ready.expect("it is ready");
    bus
}

async fn client(server: &NatsServer) -> Client {
    let client = async_nats::ConnectOptions::new().request_timeout(Some(Duration::from_secs(5)));
    client.connect(server.url()).await.expect("a broker")
}

fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        headers.insert(*name, *value);
    }
    headers
}

fn header<'a>(message: &'a Message, name: &'static str) -> Option<&'a str> {
    Some(message.headers.as_ref()?.get(name)?.as_str())
}

fn json_of(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).expect("JSON")
}

async fn ask(client: &Client, api: &'static str, args: Value) -> Message {
    let asked = client.request(api, args.to_string().into());
    patiently(api, asked).await.expect("an answer")
}

/// Asks without waiting; answers come to the subscription.
async fn begin(
    client: &Client,
    api: &'static str,
    call: &str,
    args: Value,
) -> (String, Subscriber) {
    let inbox = client.new_inbox();
    let answers = client
        .subscribe(inbox.clone())
        .await
        .expect("a subscription");
    let headers = headers(&[("Framex-Call", call)]);
    let payload = args.to_string().into();
    let sent = client.publish_with_reply_and_headers(api, inbox.clone(), headers, payload);
    sent.await.expect("it is sent");
    client.flush().await.expect("it is sent");
    (inbox, answers)
}

async fn tell(client: &Client, subject: String, message: Value) {
    let sent = client.publish(subject, message.to_string().into());
    sent.await.expect("it is sent");
}

#[tokio::test]
async fn a_plain_client_gets_the_bare_result() {
    let server = NatsServer::start().await;
    let bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;

    let echoed = ask(&client, "callee.Callee.echo", json!({"value": [1, "ä"]})).await;
    assert_eq!((json_of(&echoed), echoed.headers), (json!([1, "ä"]), None));

    let own = format!("callee.Callee.echo.{}", bus.id());
    let echoed = client.request(own, r#"{"value": 1}"#.into()).await;
    assert_eq!(echoed.expect("an answer").payload, "1");

    let own = ask(&client, "callee.Callee.respond", json!({})).await;
    assert_eq!(header(&own, "Framex-Status"), Some("202"));
    assert_eq!(header(&own, "Framex-Headers"), Some(r#"{"x-own":"1"}"#));
    assert_eq!(&*own.payload, &[0, 255]);
}

#[tokio::test]
async fn message_pack_goes_in_and_out() {
    let server = NatsServer::start().await;
    let _bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let packed: &[u8] = b"\x81\xa5value\x93\x01\xc0\xa1x";
    let ask = async |headers: HeaderMap| {
        let payload = packed.into();
        let asked = client.request_with_headers("callee.Callee.echo", headers, payload);
        asked.await.expect("an answer")
    };
    let answer = ask(headers(&[("Content-Type", "application/msgpack")])).await;
    assert_eq!(&*answer.payload, b"\x93\x01\xc0\xa1x");
    assert_eq!(header(&answer, "Content-Type"), Some("application/msgpack"));
    let answer = ask(headers(&[
        ("Content-Type", "application/msgpack"),
        ("Accept", "application/json"),
    ]))
    .await;
    assert_eq!(answer.payload, r#"[1,null,"x"]"#);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_the_rest_goes_on() {
    let server = NatsServer::start().await;
    let _bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    for (content_type, payload, status) in [
        ("application/json", &b"not json"[..], "422"),
        ("application/json", b"[1,2]", "422"),
        ("application/json", b"\xff\xfe", "422"),
        ("application/msgpack", b"\xdf\xff\xff\xff\xff", "422"),
        ("application/msgpack", b"\xc1", "422"),
        ("application/xml", b"<a/>", "415"),
    ] {
        let headers = headers(&[
            ("Content-Type", content_type),
            (
                "Framex-Call",
                "timeout=99999999999999999999999, window=-1, id=\"\x01\", (((\"=,=,",
            ),
            ("Framex-Headers", "{\"a\":{\"b\":[]},\"\":1}"),
            ("traceparent", "00-0-0-0"),
        ]);
        let asked = client.request_with_headers("callee.Callee.get_thing", headers, payload.into());
        let answer = asked.await.expect("an answer");
        let code = header(&answer, "Nats-Service-Error-Code");
        assert_eq!(code, Some(status), "{content_type} {payload:?}");
        assert!(header(&answer, "Nats-Service-Error").is_some());
        assert!(json_of(&answer)["message"].is_string());
    }
    let answer = ask(&client, "callee.Callee.get_thing", json!({"id": "x"})).await;
    assert_eq!(json_of(&answer)["code"], "validation_failed");
    assert_eq!(
        ask(&client, "callee.Callee.get_thing", json!({"id": 1}))
            .await
            .payload,
        "1"
    );
}

#[tokio::test]
async fn errors_carry_what_the_handler_said_and_no_more() {
    let server = NatsServer::start().await;
    let _bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let answer = ask(&client, "callee.Callee.fail", json!({"kind": "own"})).await;
    assert_eq!(header(&answer, "Nats-Service-Error"), Some("taken"));
    assert_eq!(header(&answer, "Nats-Service-Error-Code"), Some("409"));
    let expected = json!({
        "code": "name_taken", "message": "taken", "detail": {"name": "x"}, "headers": {"x-own": "1"},
    });
    assert_eq!(json_of(&answer), expected);
    for kind in ["foreign", "panic"] {
        let answer = ask(&client, "callee.Callee.fail", json!({"kind": kind})).await;
        assert_eq!(header(&answer, "Nats-Service-Error-Code"), Some("500"));
        assert!(!String::from_utf8_lossy(&answer.payload).contains("hunter2"));
    }
}

#[tokio::test]
async fn a_full_instance_says_that_nothing_ran() {
    let server = NatsServer::start().await;
    let _bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let args = json!({"key": "serving full"});
    let _first = begin(&client, "callee.Callee.two", "", args.clone()).await;
    let _second = begin(&client, "callee.Callee.two", "", args.clone()).await;
    until("two run", || seen("serving full").begun == 2).await;
    let answer = ask(&client, "callee.Callee.two", args).await;
    assert_eq!(header(&answer, "Nats-Service-Error-Code"), Some("503"));
    let body = json_of(&answer);
    assert_eq!(
        (&body["code"], &body["started"]),
        (&json!("overloaded"), &json!(false))
    );
    assert_eq!(body["headers"]["retry-after"], "1");
}

#[tokio::test]
async fn without_a_reply_subject_nothing_runs() {
    let server = NatsServer::start().await;
    let _bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let args = json!({"key": "serving silent"});
    tell(&client, "callee.Callee.hang".into(), args).await;
    // The same subscription: what came before was seen.
    let (_, mut answers) = begin(
        &client,
        "callee.Callee.hang",
        "timeout=1",
        json!({"key": "x"}),
    )
    .await;
    assert!(patiently("an answer", answers.next()).await.is_some());
    assert_eq!(seen("serving silent").begun, 0);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_an_error() {
    let server = NatsServer::with_config("max_payload: 100000").await;
    let _bus = serve_at(&server, &[PluginDefinition::of::<Nuisance>()]).await;
    let client = client(&server).await;
    let answer = ask(&client, "nuisance.Nuisance.large", json!({"bytes": 99_998})).await;
    assert_eq!(answer.payload.len(), 100_000);
    let answer = ask(&client, "nuisance.Nuisance.large", json!({"bytes": 99_999})).await;
    assert_eq!(header(&answer, "Nats-Service-Error-Code"), Some("502"));
    let said = header(&answer, "Nats-Service-Error").unwrap_or_default();
    for part in ["nuisance.Nuisance.large", "100001", "100000"] {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn a_subscription_that_is_refused_is_named() {
    let config = r#"
        authorization { users: [ { user: u, password: p, permissions: {
            publish: ">", subscribe: { allow: ["callee.> callee", "_INBOX.>", "callee.Callee.echo.*"] }
        } } ] }"#;
    let server = NatsServer::with_config(config).await;
    let mut options = options(server.url());
    options.auth.user = Some("u".into());
    options.auth.password = Some("p".into());
    let bus = serve(options, &[PluginDefinition::of::<Callee>()]).await;
    let mut state = bus.state();
    let named = state.wait_for(|state| !state.problems.is_empty());
    let state = patiently("a problem", named)
        .await
        .expect("a state")
        .clone();
    assert!(!state.offered);
    let problems = state.problems.join("\n");
    let expected = format!(
        "the broker does not let this process serve `callee.Callee.count`: its user may not subscribe to `callee.Callee.count.{}`",
        bus.id()
    );
    assert!(problems.contains(&expected), "{problems}");
    assert!(!problems.contains("callee.Callee.echo"), "{problems}");
}
