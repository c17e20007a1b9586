//! Brokers that do not want us, are not what they should be, or forbid things.

use std::time::Duration;

use framex_test_support::nats::{NatsServer, Tls, Wire};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::load::once;
use crate::process::Serving;
use crate::site::Site;
use crate::stopwatch::Stopwatch;

const SOON: Duration = Duration::from_secs(5);

/// Waits until `/ready` and the log both say each part; the process works on.
async fn says(serving: &Serving, status: u16, parts: &[&str]) {
    let told = async || {
        let ready = once(serving.board(), "GET /ready").await;
        let text = ready.body.to_string().to_lowercase();
        let log = serving.log().to_lowercase();
        let all = parts
            .iter()
            .all(|part| text.contains(part) && log.contains(part));
        (all && ready.status == status).then_some(())
    };
    let watch = Stopwatch::start();
    let what = format!("{parts:?}");
    let waiting = watch.within(SOON, &what, told);
    tokio::select! {
        () = waiting => {}
        () = tokio::time::sleep(SOON * 2) => {
            let ready = once(serving.board(), "GET /ready").await;
            panic!("no {parts:?} in {ready:?} and\n{}", serving.log());
        }
    }
    let health = once(serving.board(), "GET /health").await;
    assert_eq!(health.status, 200, "{health:?}");
    assert!(!serving.log().contains("panicked"), "{}", serving.log());
}

/// A worker and an edge with these settings.
fn both(site: &Site, settings: &[(&str, &str)]) -> [Serving; 2] {
    [site.start_worker("a", settings), site.start_edge(settings)]
}

#[tokio::test]
async fn a_wrong_password() {
    let config = "authorization { user: framex, password: right-one }";
    let broker = NatsServer::with_config(config).await;
    let site = Site::of(&broker);
    for wrong in [
        &[("NATS__USER", "framex"), ("NATS__PASSWORD", "hunter2")][..],
        &[],
    ] {
        for serving in both(&site, wrong) {
            says(&serving, 503, &["authorization violation", &broker.url()]).await;
            assert!(!serving.log().contains("hunter2"), "{}", serving.log());
        }
    }
    let right = [("NATS__USER", "framex"), ("NATS__PASSWORD", "right-one")];
    let [_worker, edge] = both(&site, &right).map(Serving::ready);
    let there = async || (edge.get("/api/v1/quick").await.status == 200).then_some(());
    Stopwatch::start().within(SOON, "it works", there).await;
}

#[tokio::test]
async fn tls_that_does_not_match() {
    let (tls, other) = (Tls::generate(), Tls::generate());
    let secret = NatsServer::builder().tls(&tls).start().await;
    let picky = NatsServer::builder()
        .tls(&tls.clone().verify_clients())
        .start()
        .await;
    let plain = NatsServer::start().await;
    let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (ca, unknown) = (path(tls.ca()), path(other.ca()));
    let (cert, key) = (path(tls.client_cert()), path(tls.client_key()));

    // Nobody is trusted who signed it, or somebody else is.
    let site = Site::of(&secret);
    for settings in [&[][..], &[("NATS__TLS__CA", &*unknown)]] {
        for serving in both(&site, settings) {
            says(&serving, 503, &["certificate"]).await;
        }
    }
    // A broker without TLS, where it is demanded.
    for (site, settings) in [
        (Site::of(&plain), &[("NATS__TLS__REQUIRED", "true")][..]),
        (Site::at(&[plain.url().replace("nats://", "tls://")]), &[]),
    ] {
        for serving in both(&site, settings) {
            says(&serving, 503, &["tls"]).await;
        }
    }
    // A certificate is asked for.
    let ours = [("NATS__TLS__CA", &*ca)];
    for serving in both(&Site::of(&picky), &ours) {
        says(&serving, 503, &["certificate"]).await;
    }
    // As it should be, by both names.
    let full = [
        ("NATS__TLS__CA", &*ca),
        ("NATS__TLS__CERT", &cert),
        ("NATS__TLS__KEY", &key),
    ];
    for (site, settings) in [
        (Site::of(&secret), &ours[..]),
        (
            Site::at(&[secret.url().replace("tls://", "nats://")]),
            &ours,
        ),
        (Site::of(&picky), &full),
    ] {
        let [_worker, edge] = both(&site, settings).map(Serving::ready);
        let there = async || (edge.get("/api/v1/quick").await.status == 200).then_some(());
        Stopwatch::start().within(SOON, "it works", there).await;
    }
}

#[tokio::test]
async fn a_broker_without_jetstream_is_enough() {
    let broker = NatsServer::builder().without_jetstream().start().await;
    let site = Site::of(&broker);
    let worker = site.worker("a");
    let edge = site.edge();
    let there = async || (edge.get("/api/v1/quick").await.status == 200).then_some(());
    Stopwatch::start().within(SOON, "it works", there).await;
    for serving in [&worker, &edge] {
        let ready = once(serving.board(), "GET /ready").await;
        assert_eq!(ready.status, 200, "{ready:?}");
    }
    // Who starts streams says that they are kept in its own memory.
    assert!(edge.log().contains("JetStream"), "{}", edge.log());
}

/// As little of a broker as a client needs to stay.
async fn old_broker(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            let info = concat!(
                r#"INFO {"server_id":"old","server_name":"old","version":"2.9.10","go":"go1.19","#,
                r#""host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576,"proto":1}"#,
                "\r\n"
            );
            write.write_all(info.as_bytes()).await?;
            let mut lines = BufReader::new(read).lines();
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("PING") {
                    write.write_all(b"PONG\r\n").await?;
                }
            }
            std::io::Result::Ok(())
        });
    }
}

#[tokio::test]
async fn a_broker_that_is_too_old_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let _broker = tokio::spawn(old_broker(listener));
    let site = Site::at(&[url]);
    let edge = tokio::task::spawn_blocking(move || site.start_edge(&[]))
        .await
        .unwrap();
    let told = async || {
        let ready = once(edge.board(), "GET /ready").await.body.to_string();
        let all = |text: &str| text.contains("2.9.10") && text.contains("2.11");
        (all(&ready) && all(&edge.log())).then_some(())
    };
    Stopwatch::start().within(SOON, "too old", told).await;
    assert_eq!(edge.get("/health").await.status, 200);
}

const USERS: &str = r#"
authorization {
  users: [
    { user: all, password: p }
    { user: deaf, password: p, permissions: { publish: ">", subscribe: { deny: ["work.Work.once", "work.Work.once.>"] } } }
    { user: alien, password: p, permissions: { publish: ">", subscribe: { allow: ["_INBOX.>", "$SRV.>", "_framex.>"] } } }
    { user: shy, password: p, permissions: { subscribe: ">", publish: { deny: ["work.Work.once", "work.Work.once.>"] } } }
    { user: mute, password: p, permissions: { subscribe: ">", publish: { deny: ["_framex.announce.>", "$SRV.>"] } } }
  ]
}
"#;

fn user(name: &'static str) -> [(&'static str, &'static str); 3] {
    [
        ("NATS__USER", name),
        ("NATS__PASSWORD", "p"),
        ("NATS__INBOX_PREFIX", "_INBOX"),
    ]
}

#[tokio::test]
async fn a_worker_that_may_not_serve_says_so() {
    let broker = NatsServer::with_config(USERS).await;
    let site = Site::of(&broker);
    let deaf = site.start_worker("deaf", &user("deaf"));
    says(&deaf, 503, &["work.work.once", "subscribe"]).await;
    let alien = site.start_worker("alien", &user("alien"));
    says(&alien, 503, &["work.work.quick", "subscribe"]).await;
    // Others serve what they do not.
    let worker = site.start_worker("all", &user("all")).ready();
    let edge = site.start_edge(&user("all")).ready();
    let there = async || (edge.get("/api/v1/quick").await.status == 200).then_some(());
    Stopwatch::start().within(SOON, "it works", there).await;
    for _ in 0..20 {
        let got = once(edge.address(), "POST /api/v1/once").await;
        assert_eq!((got.status, got.said()), (200, "all"), "{got:?}");
    }
    drop(worker);
}

#[tokio::test]
async fn a_caller_that_may_not_call_is_told_at_once() {
    let broker = NatsServer::with_config(USERS).await;
    let site = Site::of(&broker);
    let _worker = site.start_worker("a", &user("all")).ready();
    let shy = site.start_edge(&user("shy")).ready();
    let there = async || (shy.get("/api/v1/quick").await.status == 200).then_some(());
    Stopwatch::start()
        .within(SOON, "the rest works", there)
        .await;
    let watch = Stopwatch::start();
    let got = once(shy.address(), "POST /api/v1/once").await;
    let took = watch.elapsed();
    assert_eq!((got.status, got.said()), (502, "not_permitted"), "{got:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(shy.log().contains("work.Work.once"), "{}", shy.log());

    // One that may not even ask who is there lives on and says why it knows nothing.
    let mute = site.start_edge(&user("mute"));
    let logged = async || mute.log().contains("publish to `$SRV").then_some(());
    Stopwatch::start().within(SOON, "named", logged).await;
    assert_eq!(mute.get("/health").await.status, 200);
    let mut wire = Wire::login(&broker, "all", "p").await.unwrap();
    assert_eq!(wire.fence().await, [""; 0]);
}
