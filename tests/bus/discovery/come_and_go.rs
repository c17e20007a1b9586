//! Instances come, leave, die, freeze, and come back.

use std::time::{Duration, Instant};

use framex::PluginDefinition;
use framex::bus::nats::NatsBus;
use framex::bus::{Bus as _, LocalBus};
use framex_test_support::nats::NatsServer;
use framex_test_support::until;

use super::{Fake, caller, client, instances, offer, request, worker};
use crate::plugins::Callee;

const BOO: &str = "ghost.Ghost.boo";
const ECHO: &str = "callee.Callee.echo";

fn callee() -> PluginDefinition {
    PluginDefinition::of::<Callee>()
}

#[tokio::test]
async fn a_plugin_is_there_when_it_is_ready_and_gone_when_it_stops() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let worker = worker(&server, &[]).await;
    let before = *caller.changes().borrow();
    offer(&worker, &[callee()]).await;
    let took = until("it is found", || instances(&caller, ECHO) == Some(1)).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(*caller.changes().borrow() > before);
    let catalog = caller.catalog();
    let api = catalog.resolve("GET /api/v1/echo").expect("its route");
    assert_eq!(
        (&*api.plugin.name, &*api.plugin.version),
        ("callee", "1.0.0")
    );

    worker.withdraw("callee").await;
    let took = until("it is gone", || instances(&caller, ECHO).is_none()).await;
    assert!(took < Duration::from_millis(300), "{took:?}");

    offer(&worker, &[callee()]).await;
    until("it is back", || instances(&caller, ECHO) == Some(1)).await;
}

#[tokio::test]
async fn more_instances_change_nothing_but_their_number() {
    let server = NatsServer::start().await;
    let first = worker(&server, &[callee()]).await;
    let caller = caller(&server).await;
    assert_eq!(
        instances(&caller, ECHO),
        Some(1),
        "known as soon as it is ready"
    );
    let before = *caller.changes().borrow();
    let entry = caller.catalog().get(ECHO).cloned().expect("its API");
    let second = worker(&server, &[callee()]).await;
    until("both are found", || entry.instances() == 2).await;
    first.withdraw("callee").await;
    until("one is left", || entry.instances() == 1).await;
    assert_eq!(*caller.changes().borrow(), before);
    drop(second);
}

#[tokio::test]
async fn who_comes_first_does_not_matter() {
    let server = NatsServer::start().await;
    server.kill();
    let early = crate::nats::connect(server.url(), Duration::from_secs(5));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!early.state().borrow().discovered);
    server.restart().await;
    let _worker = worker(&server, &[callee()]).await;
    until("it is found", || instances(&early, ECHO) == Some(1)).await;
    until("it knows it all", || early.state().borrow().discovered).await;
    let state = early.state().borrow().clone();
    assert!(state.connected && state.trouble.is_none(), "{state:?}");
    assert!(
        state
            .broker
            .is_some_and(|name| name.starts_with("nats-server 2."))
    );
}

#[tokio::test]
async fn a_broker_that_comes_back_finds_everybody_there() {
    let server = NatsServer::start().await;
    let _worker = worker(&server, &[callee()]).await;
    let caller = caller(&server).await;
    let entry = caller.catalog().get(ECHO).cloned().expect("its API");
    server.kill();
    until("it is noticed", || !caller.state().borrow().connected).await;
    // Nobody is taken for dead while there is nobody to ask.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert_eq!(entry.instances(), 1);
    server.restart().await;
    until("it is back", || caller.state().borrow().connected).await;
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let now = caller.catalog().get(ECHO).cloned().expect("its API");
    assert!(
        std::sync::Arc::ptr_eq(&entry, &now),
        "its entry stayed the same"
    );
    assert_eq!(now.instances(), 1);
}

#[tokio::test]
async fn a_frozen_instance_is_noticed_and_may_come_back() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let mut fake = Fake::native(&server, "frozen", "1.0.0", "d1").await;
    fake.announce("1.0.0", "d1", "ready").await;
    until("it is found", || instances(&caller, BOO) == Some(1)).await;
    fake.freeze();
    let begun = Instant::now();
    until("it is noticed", || instances(&caller, BOO) == Some(0)).await;
    assert!(
        begun.elapsed() > Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    fake.announce("1.0.0", "d1", "ready").await;
    until("it is back", || instances(&caller, BOO) == Some(1)).await;
}

#[tokio::test]
async fn a_silent_instance_that_answers_is_no_frozen_one() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let fake = Fake::native(&server, "calm", "1.0.0", "d1").await;
    fake.announce("1.0.0", "d1", "ready").await;
    until("it is found", || instances(&caller, BOO) == Some(1)).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(
            instances(&caller, BOO),
            Some(1),
            "after {:?}",
            begun.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_killed_instance_is_noticed_and_its_api_remembered() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let fake = Fake::native(&server, "killed", "1.0.0", "d1").await;
    fake.announce("1.0.0", "d1", "ready").await;
    until("it is found", || instances(&caller, BOO) == Some(1)).await;
    drop(fake);
    let took = until("it is noticed", || instances(&caller, BOO) == Some(0)).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    // Another takes its place, with another version.
    let fake = Fake::native(&server, "next", "2.0.0", "d2").await;
    fake.announce("2.0.0", "d2", "ready").await;
    until("it is found", || instances(&caller, BOO) == Some(1)).await;
    let catalog = caller.catalog();
    let api = catalog.get(BOO).expect("its API");
    assert_eq!(
        (&*api.plugin.version, &*api.descriptor.summary),
        ("2.0.0", "d2")
    );
}

#[tokio::test]
async fn calls_of_a_killed_instance_end() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let fake = Fake::native(&server, "busy", "1.0.0", "d1").await;
    // It takes calls, and answers none.
    let mut taken = fake
        .client
        .subscribe("ghost.Ghost.boo.busy")
        .await
        .expect("a broker");
    fake.announce("1.0.0", "d1", "ready").await;
    until("it is found", || instances(&caller, BOO) == Some(1)).await;
    let call = tokio::spawn(caller.call_target(BOO, request(serde_json::json!({}))));
    futures_util::StreamExt::next(&mut taken)
        .await
        .expect("a call");
    tokio::time::sleep(Duration::from_millis(400)).await;
    drop((fake, taken));
    let begun = Instant::now();
    let failed = call.await.expect("an outcome").expect_err("nobody answers");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(failed.into_error().code(), "call_lost");
}

#[tokio::test]
async fn a_process_that_ends_has_said_so_before() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let worker = worker(&server, &[callee()]).await;
    until("it is found", || instances(&caller, ECHO) == Some(1)).await;
    worker.close().await;
    let took = until("it is gone", || instances(&caller, ECHO).is_none()).await;
    assert!(took < Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let server = NatsServer::start().await;
    let within = |namespace: Option<&str>| {
        let mut options = super::options(&server);
        options.namespace = namespace.map(str::to_owned);
        NatsBus::start(options, LocalBus::new(Duration::from_secs(5))).expect("valid options")
    };
    let (mine, same, other) = (within(Some("team-a")), within(Some("team-a")), within(None));
    offer(&mine, &[callee()]).await;
    until("it is found", || instances(&same, ECHO) == Some(1)).await;
    other.ready(super::SOON).await.expect("it is ready");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(instances(&other, ECHO), None);
    assert_eq!(other.state().borrow().problems, [""; 0]);
}

#[tokio::test]
async fn garbage_is_no_trouble() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let client = client(&server).await;
    let mut polled = client.subscribe("$SRV.PING").await.expect("a broker");
    let poll = futures_util::StreamExt::next(&mut polled)
        .await
        .expect("a poll");
    let answers = poll.reply.expect("where answers go");
    let long = "x".repeat(100_000);
    let deep = "[".repeat(100_000);
    for garbage in [
        "",
        "\u{0}",
        "null",
        "{}",
        &long,
        &deep,
        r#"{"type":"io.framex.v1.announcement","name":"other","id":"a","state":"ready"}"#,
        r#"{"type":"io.framex.v1.announcement","name":"a","id":"b","state":"dancing"}"#,
        r#"{"type":"io.nats.micro.v1.ping_response","name":"a.b","id":">","version":"1"}"#,
        r#"{"type":"io.nats.micro.v1.ping_response","name":"a b","id":"*","version":"1"}"#,
    ] {
        for subject in ["_framex.announce.a.b", "_framex.announce.x", &answers] {
            let sent = client.publish(subject.to_owned(), garbage.to_owned().into());
            sent.await.expect("a broker");
        }
    }
    client.flush().await.expect("a broker");
    let _worker = worker(&server, &[callee()]).await;
    until("it goes on", || instances(&caller, ECHO) == Some(1)).await;
}
