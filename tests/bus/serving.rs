//! What a process serves on a broker, as a plain client sees it.

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

    #[on_request(func)]
    async fn large(&self, bytes: usize) -> String {
        "x".repeat(bytes)
    }
}

fn options(server: &NatsServer) -> Options {
    Options {
        urls: vec![server.url()],
        auth: Auth::default(),
        tls: Tls::default(),
        namespace: None,
        prefer_local: true,
        inbox_prefix: "_INBOX".into(),
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
    let bus = serve(options(server), plugins).await;
    bus.ready(Duration::from_secs(5))
        .await
        .expect("it is ready");
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
async fn calls_are_cancelled_by_their_reply_subject() {
    let server = NatsServer::start().await;
    let bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let everyone = "callee._control".to_owned();
    let this_one = format!("callee._control.{}", bus.id());
    for (n, control) in [everyone.clone(), this_one].into_iter().enumerate() {
        let key = format!("serving cancel {n}");
        let (inbox, _answers) = begin(&client, "callee.Callee.hang", "", json!({"key": key})).await;
        until("it runs", || seen(&key).begun == 1).await;
        tell(&client, control.clone(), json!("what?")).await;
        tell(&client, control, json!({"call": inbox, "cancel": true})).await;
        until("it is dropped", || seen(&key).gone == 1).await;
    }
    // Even where the word comes first.
    let inbox = client.new_inbox();
    let cancel = json!({"call": inbox, "cancel": true});
    tell(&client, everyone, cancel).await;
    tokio::time::sleep(A_MOMENT).await;
    let args = json!({"key": "serving late"}).to_string();
    let sent = client.publish_with_reply("callee.Callee.hang", inbox, args.into());
    sent.await.expect("it is sent");
    ask(&client, "callee.Callee.echo", json!({"value": 1})).await;
    let gone = || seen("serving late").gone == seen("serving late").begun;
    until("it does not run", gone).await;
    assert_eq!(bus_calls(&bus), 0);
}

fn bus_calls(bus: &NatsBus) -> usize {
    // What a drain without patience finds.
    bus.drain(Duration::ZERO).now_or_never().unwrap_or_default()
}

#[tokio::test]
async fn long_calls_beat_until_nobody_listens() {
    let server = NatsServer::start().await;
    let bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let args = json!({"key": "serving beats"});
    let (_, mut answers) = begin(&client, "callee.Callee.hang", "beats", args).await;
    let began = Instant::now();
    for n in 1..=2 {
        let beat = patiently("a beat", answers.next()).await.expect("a beat");
        assert_eq!(header(&beat, "Framex-Beat"), Some(bus.id()));
        assert!(beat.payload.is_empty() && beat.reply.is_some());
        let due = Duration::from_secs(n);
        let late = began.elapsed().saturating_sub(due);
        assert!(
            began.elapsed() + A_MOMENT > due && late < Duration::from_secs(1),
            "{late:?}"
        );
    }
    let silent = json!({"key": "serving no beats"});
    let (_, mut silence) = begin(&client, "callee.Callee.hang", "", silent).await;
    drop(answers);
    until("it is dropped", || seen("serving beats").gone == 1).await;
    // Who did not ask hears nothing, and is not missed.
    assert!(silence.next().now_or_never().is_none());
    assert_eq!(seen("serving no beats").gone, 0);
}

#[tokio::test]
async fn streams_are_numbered_chunks() {
    let server = NatsServer::start().await;
    let _bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let (_, mut answers) = begin(&client, "callee.Callee.count", "", json!({"to": 300})).await;
    for n in 0..300 {
        let chunk = patiently("a chunk", answers.next()).await.expect("a chunk");
        assert_eq!(header(&chunk, "Framex-Chunk"), Some(&*(n + 1).to_string()));
        assert_eq!(json_of(&chunk), json!(n.to_string()));
    }
    let end = patiently("the end", answers.next()).await.expect("the end");
    assert_eq!(
        (header(&end, "Framex-End"), end.payload.len()),
        (Some("300"), 0)
    );

    let (_, mut answers) =
        begin(&client, "callee.Callee.broken", "", json!({"kind": "late"})).await;
    let first = answers.next().await.expect("a chunk");
    assert_eq!(header(&first, "Framex-Chunk"), Some("1"));
    let last = answers.next().await.expect("an error");
    assert_eq!(header(&last, "Nats-Service-Error-Code"), Some("409"));
}

#[tokio::test]
async fn a_stream_waits_for_credit() {
    let server = NatsServer::start().await;
    let bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let control = format!("callee._control.{}", bus.id());
    let args = json!({"key": "serving credit"});
    let (inbox, mut answers) = begin(&client, "callee.Callee.flood", "window=4", args).await;
    let mut last = 0;
    for granted in [4, 7, 57] {
        if granted > 4 {
            let more = json!({"call": inbox, "credit": granted - last});
            tell(&client, control.clone(), more).await;
        }
        while last < granted {
            let chunk = patiently("a chunk", answers.next()).await.expect("a chunk");
            last += 1;
            assert_eq!(header(&chunk, "Framex-Chunk"), Some(&*last.to_string()));
        }
        tokio::time::sleep(A_MOMENT).await;
        assert!(
            answers.next().now_or_never().is_none(),
            "more than {granted}"
        );
    }
    // The handler was not asked for much more than was sent.
    assert!(seen("serving credit").events < 57 + 300);
    tell(&client, control, json!({"call": inbox, "cancel": true})).await;
    until("it is dropped", || seen("serving credit").gone == 1).await;
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
    let mut options = options(&server);
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

#[tokio::test]
async fn what_is_served_is_served_again_after_the_broker_returns() {
    let server = NatsServer::start().await;
    let bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    server.kill();
    let mut state = bus.state();
    patiently("it is noticed", state.wait_for(|state| !state.offered))
        .await
        .expect("a state");
    server.restart().await;
    patiently("it is back", state.wait_for(|state| state.offered))
        .await
        .expect("a state");
    let client = client(&server).await;
    assert_eq!(
        ask(&client, "callee.Callee.echo", json!({"value": 1}))
            .await
            .payload,
        "1"
    );
}

/// Asks all the time, and counts.
struct Load {
    answered: Arc<AtomicUsize>,
    failed: Arc<std::sync::Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    stop: Arc<AtomicUsize>,
}

impl Load {
    fn start(
        client: &Client,
        tasks: usize,
        api: &'static str,
        args: Value,
        pause: Duration,
    ) -> Self {
        let answered: Arc<AtomicUsize> = Arc::default();
        let failed: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let stop: Arc<AtomicUsize> = Arc::default();
        let tasks = (0..tasks).map(|_| {
            let (client, args) = (client.clone(), args.to_string());
            let (answered, failed, stop) = (answered.clone(), failed.clone(), stop.clone());
            tokio::spawn(async move {
                while stop.load(Ordering::Relaxed) == 0 {
                    let failure = match client.request(api, args.clone().into()).await {
                        Ok(answer) if header(&answer, "Nats-Service-Error").is_none() => None,
                        Ok(answer) => Some(String::from_utf8_lossy(&answer.payload).into_owned()),
                        Err(error) => Some(error.to_string()),
                    };
                    match failure {
                        None => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Some(failure) => failed.lock().expect("no panic").push(failure),
                    }
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
            })
        });
        Self {
            tasks: tasks.collect(),
            answered,
            failed,
            stop,
        }
    }

    async fn end(self) -> (usize, Vec<String>) {
        self.stop.store(1, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no panic");
        }
        let failed = self.failed.lock().expect("no panic").clone();
        (self.answered.load(Ordering::Relaxed), failed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_loses_no_request() {
    let server = NatsServer::start().await;
    let client = client(&server).await;
    let callee = PluginDefinition::of::<Callee>();
    let mut current = serve_at(&server, &[callee]).await;
    let quick = Load::start(
        &client,
        16,
        "callee.Callee.echo",
        json!({"value": 1}),
        Duration::ZERO,
    );
    let args = json!({"key": "serving drain", "ms": 30});
    let slow = Load::start(&client, 4, "callee.Callee.wait", args, Duration::ZERO);
    let seldom = Load::start(
        &client,
        2,
        "callee.Callee.get_thing",
        json!({"id": 1}),
        Duration::from_millis(7),
    );
    let mut longest = Duration::ZERO;
    for _ in 0..8 {
        let next = serve_at(&server, &[callee]).await;
        let began = Instant::now();
        assert_eq!(current.drain(Duration::from_secs(5)).await, 0);
        longest = longest.max(began.elapsed());
        current.close().await;
        current = next;
    }
    for load in [quick, slow, seldom] {
        let (answered, failed) = load.end().await;
        assert_eq!(failed, [""; 0], "of {answered}");
        assert!(answered > 50, "{answered}");
    }
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[tokio::test]
async fn a_plugin_is_withdrawn_and_offered_again() {
    let server = NatsServer::start().await;
    let plugin = PluginDefinition::of::<Callee>();
    let bus = serve_at(&server, &[plugin]).await;
    let client = client(&server).await;
    for n in 0..2 {
        assert_eq!(
            ask(&client, "callee.Callee.echo", json!({"value": n}))
                .await
                .payload,
            n.to_string()
        );
        bus.withdraw("callee").await;
        let asked = client.request("callee.Callee.echo", "{}".into()).await;
        let kind = asked.expect_err("nobody is there").kind();
        assert_eq!(kind, async_nats::RequestErrorKind::NoResponders);
        let instance = plugin.build(&no_settings()).expect("a plugin");
        bus.serve(&instance).expect("it is gone");
        bus.offer("callee");
        bus.ready(Duration::from_secs(5))
            .await
            .expect("it is ready");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_stops_nobody_else() {
    let server = NatsServer::start().await;
    let plugins = [
        PluginDefinition::of::<Callee>(),
        PluginDefinition::of::<Nuisance>(),
    ];
    let _bus = serve_at(&server, &plugins).await;
    let client = client(&server).await;
    // More than there are threads, the first calls ever and later ones.
    for _ in 0..2 {
        let mut blocked = Vec::new();
        for _ in 0..6 {
            blocked.push(begin(&client, "nuisance.Nuisance.block", "", json!({"ms": 600})).await);
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(400) {
            let asked = Instant::now();
            ask(&client, "callee.Callee.echo", json!({"value": 1})).await;
            assert!(
                asked.elapsed() < Duration::from_millis(200),
                "{:?}",
                asked.elapsed()
            );
        }
        for (_, mut answers) in blocked {
            let answer = patiently("an answer", answers.next())
                .await
                .expect("an answer");
            assert_eq!(answer.payload, "600");
        }
        assert!(
            began.elapsed() < Duration::from_millis(1500),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_now_and_then_holds_up_only_its_own_calls() {
    let server = NatsServer::start().await;
    let plugins = [
        PluginDefinition::of::<Callee>(),
        PluginDefinition::of::<Nuisance>(),
    ];
    let _bus = serve_at(&server, &plugins).await;
    let client = client(&server).await;
    for _ in 0..100 {
        ask(&client, "nuisance.Nuisance.sometimes", json!({})).await;
    }
    // Answers of the same turn, and then the one that blocks.
    for n in 0..20 {
        let ms = (n == 19).then_some(600);
        begin(
            &client,
            "nuisance.Nuisance.sometimes",
            "",
            json!({"ms": ms}),
        )
        .await;
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(400) {
        let asked = Instant::now();
        ask(&client, "callee.Callee.echo", json!({"value": 1})).await;
        assert!(
            asked.elapsed() < Duration::from_millis(200),
            "{:?}",
            asked.elapsed()
        );
    }
}
