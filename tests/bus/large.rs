//! What is larger than a message, as plain clients and the broker see it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use framex::PluginDefinition;
use framex::args::Args;
use framex::bus::nats::{Keeping, NatsBus, Options, StreamStore};
use framex::bus::{Bus as _, LocalBus};
use framex::{CallError, Error, Reply};
use framex_core::body::ByteStream;
use framex_core::context::{CallMeta, Request};
use framex_test_support::nats::NatsServer;
use framex_test_support::{patiently, until};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::bodies::{coming, download_of, with_file, with_texts};
use crate::nats::options;
use crate::no_settings;
use crate::plugins::{Callee, seen};

const LONG: Duration = Duration::from_secs(30);
/// A caller that dies is noticed within this.
const NOTICED: Duration = Duration::from_secs(3);
const ECHO: &str = "callee.Callee.echo";
const UPLOAD: &str = "/api/v1/upload";
const LARGE: usize = 3_000_000;

async fn bus(options: Options, serves: bool) -> Arc<NatsBus> {
    let bus = NatsBus::start(options, LocalBus::new(LONG)).expect("options that work");
    if serves {
        let plugin = PluginDefinition::of::<Callee>();
        let instance = plugin.build(&no_settings()).expect("a plugin");
        bus.serve(&instance).expect("it is free");
        bus.offer("callee");
    }
    bus.ready(LONG).await.expect("it is ready");
    bus
}

async fn worker(server: &NatsServer) -> Arc<NatsBus> {
    bus(options(server.url(), LONG), true).await
}

/// A caller that knows of `instances`.
async fn caller(options: Options, instances: usize) -> Arc<NatsBus> {
    let bus = bus(options, false).await;
    let known = || bus.catalog().get(ECHO).map(|api| api.instances()) == Some(instances);
    until("they are known", known).await;
    bus
}

fn request(args: &Value) -> Request {
    Request {
        args: Args::from_json(args.to_string().into()),
        meta: CallMeta::default(),
    }
}

fn echo_of(size: usize) -> Value {
    json!({"value": "x".repeat(size)})
}

fn failed(reply: Result<Reply, CallError>) -> Error {
    match reply {
        Err(error) => error.into_error(),
        Ok(other) => panic!("{other:?}"),
    }
}

fn header<'a>(message: &'a Message, name: &'static str) -> &'a str {
    let headers = message.headers.as_ref();
    let value = headers.and_then(|headers| headers.get(name));
    value.map_or("", |value| value.as_str())
}

/// A plain client and what it hears of its calls.
struct Plain {
    client: Client,
    inbox: String,
    answers: Subscriber,
}

impl Plain {
    async fn new(server: &NatsServer) -> Self {
        let client = async_nats::connect(server.url()).await.expect("a broker");
        let inbox = client.new_inbox();
        let answers = client.subscribe(inbox.clone()).await;
        Self {
            answers: answers.expect("a subscription"),
            client,
            inbox,
        }
    }

    async fn send(&self, to: &str, headers: &[(&'static str, &str)], payload: Bytes) {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.insert(*name, *value);
        }
        let reply = self.inbox.clone();
        let client = &self.client;
        let sent = client.publish_with_reply_and_headers(to.to_owned(), reply, all, payload);
        sent.await.expect("it is sent");
        client.flush().await.expect("it is sent");
    }

    async fn next(&mut self) -> Message {
        let next = patiently("a message", self.answers.next()).await;
        next.expect("a message")
    }

    /// Announces arguments; gives the subject that asks for them.
    async fn announce(&mut self, size: usize) -> String {
        self.send(
            ECHO,
            &[("Framex-Body", &format!("size={size}"))],
            Bytes::new(),
        )
        .await;
        let pull = self.next().await;
        assert_eq!(header(&pull, "Framex-Pull"), "payload, frames=16");
        pull.reply.expect("a subject").to_string()
    }

    async fn frame(&self, to: &str, number: usize, checksum: u32, bytes: Bytes) {
        let said = format!("{number} {checksum:08x}");
        self.send(to, &[("Framex-Frame", &said)], bytes).await;
    }
}

/// The checksum of zip, PNG and frames.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, step)
}

#[tokio::test]
async fn a_plain_client_takes_frames_as_it_grants_them() {
    let server = NatsServer::start().await;
    let _worker = worker(&server).await;
    let mut plain = Plain::new(&server).await;
    let args = json!({"size": LARGE}).to_string();
    let api = "callee.Callee.respond_at_length";
    // It does not say so: one message or none.
    plain.send(api, &[], args.clone().into()).await;
    let error = plain.next().await;
    assert_eq!(header(&error, "Nats-Service-Error-Code"), "502");

    plain
        .send(api, &[("Framex-Call", "frames")], args.into())
        .await;
    let head = plain.next().await;
    assert_eq!(header(&head, "Framex-Status"), "202");
    assert_eq!(header(&head, "Framex-Body"), format!("size={LARGE}"));
    let back = head.reply.expect("where to grant").to_string();
    let (mut frames, mut size) = (0, 0);
    loop {
        if frames == 16 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let more = futures_util::FutureExt::now_or_never(plain.answers.next());
            assert!(more.is_none(), "{more:?} was not granted");
            let pull = [("Framex-Pull", "payload, frames=100")];
            plain.send(&back, &pull, Bytes::new()).await;
        }
        let message = plain.next().await;
        if message
            .headers
            .as_ref()
            .is_some_and(|h| h.get("Framex-End").is_some())
        {
            assert_eq!(header(&message, "Framex-End"), format!("{frames} {size}"));
            break;
        }
        frames += 1;
        size += message.payload.len();
        let said = format!("{frames} {:08x}", crc32(&message.payload));
        assert_eq!(header(&message, "Framex-Frame"), said);
    }
    assert_eq!((frames, size), (LARGE.div_ceil(63 * 1024), LARGE));
}

#[tokio::test]
async fn what_does_not_arrive_as_it_was_sent_is_no_call() {
    let server = NatsServer::start().await;
    let worker = worker(&server).await;
    let mut plain = Plain::new(&server).await;
    let args = Bytes::from(json!({"value": "ab"}).to_string());
    let (first, second) = (args.slice(..5), args.slice(5..));
    let (one, two) = (crc32(&first), crc32(&second));
    let end = |frames: usize| format!("{frames} {}", args.len());
    for (numbers, checksums, end, fine) in [
        ([1, 2], [one, two], end(2), true),
        ([1, 3], [one, two], end(2), false),
        ([2, 1], [one, two], end(2), false),
        ([1, 1], [one, two], end(2), false),
        ([1, 2], [one, one], end(2), false),
        ([1, 2], [one, two], end(3), false),
        ([1, 2], [one, two], "2 1".to_owned(), false),
    ] {
        let to = plain.announce(args.len()).await;
        plain
            .frame(&to, numbers[0], checksums[0], first.clone())
            .await;
        plain
            .frame(&to, numbers[1], checksums[1], second.clone())
            .await;
        plain.send(&to, &[("Framex-End", &end)], Bytes::new()).await;
        let mut answer = plain.next().await;
        if header(&answer, "Framex-Pull").contains("stop") {
            answer = plain.next().await;
        }
        let code = header(&answer, "Nats-Service-Error-Code").to_owned();
        if fine {
            assert_eq!(answer.payload, "\"ab\"", "{code}");
        } else {
            assert_eq!(code, "502", "{numbers:?} {end}");
            let said = header(&answer, "Nats-Service-Error");
            assert!(
                said.contains(ECHO) && said.contains("did not arrive"),
                "{said}"
            );
            // That no more is wanted.
            while futures_util::FutureExt::now_or_never(plain.answers.next()).is_some() {}
        }
    }
    // Its own end: the caller's error is the answer.
    let to = plain.announce(100).await;
    let broken = [
        ("Nats-Service-Error-Code", "400"),
        ("Nats-Service-Error", "it broke"),
    ];
    plain.send(&to, &broken, Bytes::new()).await;
    let answer = plain.next().await;
    assert_eq!(header(&answer, "Nats-Service-Error"), "it broke");
    // More than anybody takes, before anything is sent.
    let size = format!("size={}", 1_u64 << 40);
    plain
        .send(ECHO, &[("Framex-Body", &size)], Bytes::new())
        .await;
    let answer = plain.next().await;
    assert_eq!(header(&answer, "Nats-Service-Error-Code"), "413");
    until("nothing waits", || worker.waiting() == 0).await;
}

#[tokio::test]
async fn a_caller_that_went_leaves_nothing_behind() {
    let server = NatsServer::start().await;
    let worker = worker(&server).await;
    // Before it has sent what it announced.
    let mut plain = Plain::new(&server).await;
    let announced = [("Framex-Body", "size=3000000"), ("Framex-Call", "beats")];
    plain.send(ECHO, &announced, Bytes::new()).await;
    assert!(header(&plain.next().await, "Framex-Pull").starts_with("payload"));
    assert!(worker.waiting() > 0);
    drop(plain);
    // A file of which the handler has read a piece, and an answer on its way.
    let theirs = caller(options(server.url(), LONG), 1).await;
    let (file, _) = coming(LARGE, None);
    let upload = tokio::spawn(theirs.call_target(UPLOAD, with_file(file, "slow orphan")));
    until("it is read", || seen("slow orphan").events == 1).await;
    let args = json!({"size": 1_usize << 40, "known": true, "key": "orphan"});
    let reply = theirs.call_target("callee.Callee.download", request(&args));
    let mut download = download_of(reply.await);
    assert!(
        download
            .body
            .next()
            .await
            .is_some_and(|piece| piece.is_ok())
    );
    let began = std::time::Instant::now();
    // As if it were killed: its connections go, and nobody is told.
    let clients = server.monitor("/connz").await;
    assert!(clients["num_connections"].as_u64() > Some(3), "{clients}");
    theirs.close().await;
    until("nothing runs", || {
        worker.ongoing() == 0 && worker.waiting() == 0
    })
    .await;
    assert!(began.elapsed() < NOTICED, "{:?}", began.elapsed());
    assert_eq!((seen("slow orphan").gone, seen("orphan").gone), (1, 1));
    drop((upload, download));
}

#[tokio::test]
async fn what_the_broker_does_not_let_through_is_named() {
    let config = r#"
        authorization { users: [
            { user: all, password: p }
            { user: narrow, password: p, permissions: { publish: { deny: ["*._body.>"] } } }
        ] }"#;
    let server = NatsServer::with_config(config).await;
    let user = |name: &str| {
        let mut options = options(server.url(), LONG);
        options.auth.user = Some(name.into());
        options.auth.password = Some("p".into());
        options
    };
    let worker = bus(user("all"), true).await;
    let narrow = caller(user("narrow"), 1).await;
    let began = std::time::Instant::now();
    let small = narrow.call_target(ECHO, request(&echo_of(10))).await;
    assert!(small.is_ok(), "{small:?}");
    let error = failed(narrow.call_target(ECHO, request(&echo_of(LARGE))).await);
    assert_eq!(
        (error.status().as_u16(), error.code()),
        (502, "not_permitted")
    );
    assert!(format!("{error:?}").contains("callee._body."), "{error:?}");
    let (file, _) = coming(LARGE, None);
    let upload = narrow.call_target(UPLOAD, with_file(file, "denied"));
    assert_eq!(failed(upload.await).code(), "not_permitted");
    let args = json!({"size": LARGE});
    let error = failed(
        narrow
            .call_target("callee.Callee.respond_at_length", request(&args))
            .await,
    );
    assert_eq!(error.code(), "not_permitted");
    assert!(began.elapsed() < NOTICED, "{:?}", began.elapsed());
    until("nothing is left", || {
        worker.waiting() + worker.ongoing() == 0
    })
    .await;
}

#[tokio::test]
async fn only_what_can_be_given_twice_goes_to_another_instance() {
    let server = NatsServer::start().await;
    let (first, second) = (worker(&server).await, worker(&server).await);
    let caller = caller(options(server.url(), LONG), 2).await;
    // One is full of calls that wait, the other takes what comes.
    let full = |key: &str| request(&json!({ "key": key }));
    let two = "callee.Callee.two";
    let calls: Vec<_> = (0..4)
        .map(|_| tokio::spawn(caller.call_target(two, full("full"))))
        .collect();
    until("four run", || seen("full").begun == 4).await;
    let refused = failed(caller.call_target(two, full(&"x".repeat(LARGE))).await);
    assert_eq!(refused.code(), "overloaded");
    for call in calls {
        call.abort();
    }
    until("none run", || seen("full").gone == 4).await;
    for n in 0..20 {
        let (file, _) = coming(LARGE, None);
        let reply = caller.call_target(UPLOAD, with_file(file, "spread")).await;
        assert!(reply.is_ok(), "{n}: {reply:?}");
    }
    // An instance that goes while a file is on its way to it has taken that along.
    let (file, counter) = coming(1 << 30, None);
    let upload = tokio::spawn(caller.call_target(UPLOAD, with_file(file, "slow twice")));
    until("it is read", || seen("slow twice").events == 1).await;
    let (busy, idle) = match first.ongoing() {
        1 => (first, second),
        _ => (second, first),
    };
    busy.close().await;
    let error = failed(patiently("its end", upload).await.expect("no panic"));
    assert!(
        ["call_lost", "upload_interrupted"].contains(&error.code()),
        "{error:?}"
    );
    assert_eq!(seen("slow twice").begun, 1);
    until("the file is let go", || counter.is_dropped()).await;
    until("nothing waits", || caller.waiting() + idle.waiting() == 0).await;
}

#[tokio::test]
async fn a_stream_is_fed_while_it_is_read_also_one_that_is_kept() {
    let server = NatsServer::start().await;
    let mut kept = options(server.url(), LONG);
    kept.streams = Some(StreamStore::default());
    let _worker = worker(&server).await;
    let caller = caller(kept, 1).await;
    assert_eq!(caller.state().borrow().streams, Keeping::InStore);
    for keep in [false, true] {
        let size = (5 << 20) + 1;
        let (file, counter) = coming(size, None);
        let mut request = with_texts(file, &[("prompt", "x".repeat(LARGE))]);
        request.meta.keep = keep;
        let reply = caller.call_target("/api/v1/listen", request).await;
        let Ok(Reply::Stream(mut events)) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(events.kept().is_some(), keep);
        let mut told = Vec::new();
        while let Some(event) = patiently("an event", events.next()).await {
            told.push(event.expect("an event"));
        }
        assert_eq!(told.len(), 1 + 5 + 1, "{told:?}");
        assert!(counter.is_dropped());
    }
}

#[tokio::test]
async fn small_messages_are_enough() {
    let server = NatsServer::with_config("max_payload: 16384").await;
    let _worker = worker(&server).await;
    let caller = caller(options(server.url(), LONG), 1).await;
    let args = echo_of(300_000);
    let reply = caller.call_target(ECHO, request(&args)).await;
    let Ok(Reply::Value(json)) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(json.len(), 300_002);
    let (file, _) = coming(300_000, None);
    let reply = caller.call_target(UPLOAD, with_file(file, "small")).await;
    assert!(reply.is_ok(), "{reply:?}");
    let file = ByteStream::full(vec![7_u8; 50_000]);
    let reply = caller.call_target("/api/v1/turn", with_file(file, ""));
    let all = download_of(reply.await).body.collect(50_000).await;
    assert_eq!(all.expect("all of it").len(), 50_000);
}
