//! Brokers that come and go, are full, or have no JetStream.

use std::time::Instant;

use framex_test_support::nats::{NatsCluster, NatsServer};
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_reader_goes_on_when_the_broker_was_restarted() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let edge = edge(options(server.url())).await;
    known(&[&edge]).await;
    let args = json!({"key": "restart", "count": 900, "at_once": 10, "ms": 30});
    let mut events = tell(&edge, args).await;
    let mut items = Vec::new();
    for _ in 0..100 {
        items.push(
            next(&mut events)
                .await
                .expect("an event")
                .expect("an event"),
        );
    }
    server.restart().await;
    let (more, error) = rest(&mut events).await;
    assert!(error.is_none(), "{error:?}");
    items.extend(more);
    assert_story(&items, 0, 900, 0);
    assert_eq!(seen("restart"), (1, 900, 1));
}

#[tokio::test]
async fn a_cluster_without_its_leader_goes_on() {
    let cluster = NatsCluster::start(3).await;
    let (far, near) = (cluster.node(1).url(), cluster.node(2).url());
    let _worker = worker(far).await;
    let mut options = options(near);
    options.streams = Some(StreamStore {
        replicas: 3,
        ..store()
    });
    let edge = edge(options).await;
    known(&[&edge]).await;
    let args = json!({"key": "leader", "count": 1200, "at_once": 10, "ms": 30});
    let mut events = tell(&edge, args).await;
    let mut items = Vec::new();
    for _ in 0..100 {
        items.push(
            next(&mut events)
                .await
                .expect("an event")
                .expect("an event"),
        );
    }
    cluster.node(0).kill();
    let (more, error) = rest(&mut events).await;
    assert!(error.is_none(), "{error:?}");
    items.extend(more);
    assert_story(&items, 0, 1200, 0);
    let id = events.kept().cloned().expect("an id");
    let (again, _) = rest(&mut follow(&edge, &id, None).await).await;
    assert_eq!(again, items);
}

#[tokio::test]
async fn a_full_store_loses_the_oldest_and_says_so() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let mut options = options(server.url());
    options.streams = Some(StreamStore {
        max_bytes: 300_000,
        ..store()
    });
    let edge = edge(options).await;
    known(&[&edge]).await;
    let args = json!({"key": "full", "count": 2000, "size": 1000});
    let mut events = tell(&edge, args).await;
    let id = events.kept().cloned().expect("an id");
    let (all, error) = rest(&mut events).await;
    assert!(error.is_none(), "{error:?}");
    assert_story(&all, 0, 2000, 1000);
    // Its head is gone: nobody can say what it was.
    let error = find(&edge, &id).await.err().expect("it is not there");
    assert_eq!(error.status(), 410);
}

#[tokio::test]
async fn what_the_store_does_not_take_is_never_left_out_silently() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let mut options = options(server.url());
    options.streams = Some(StreamStore {
        max_bytes: 20_000,
        ..store()
    });
    let (one, other) = (edge(options.clone()).await, edge(options).await);
    known(&[&one, &other]).await;
    // The first ones fit, then comes more at once than the whole store may hold.
    let args = json!({"key": "refused", "count": 300, "at_once": 10, "ms": 30, "size": 4000});
    let mut events = tell(&one, args).await;
    let id = events.kept().cloned().expect("an id");
    let mut items = Vec::new();
    for _ in 0..40 {
        items.push(
            next(&mut events)
                .await
                .expect("an event")
                .expect("an event"),
        );
    }
    // Whoever was there goes on; whoever wants what was not kept is told so.
    let resumed = match find(&other, &id).await {
        Ok(found) => patiently("its events", found.follow(items[4].0))
            .await
            .err(),
        Err(error) => Some(CallError::Handler(error)),
    };
    let error = resumed.expect("an error").into_error();
    assert_eq!(error.status(), 410, "{error:?}");
    let (more, error) = rest(&mut events).await;
    assert!(error.is_none(), "{error:?}");
    items.extend(more);
    assert_story(&items, 0, 300, 4000);
}

#[tokio::test]
async fn without_jetstream_streams_are_kept_by_the_process() {
    let server = NatsServer::builder().without_jetstream().start().await;
    let edge = NatsBus::start(options(server.url()), LocalBus::new(LONG)).expect("options");
    let begun = Instant::now();
    edge.ready(LONG).await.expect("it is ready");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let state = edge.state().borrow().clone();
    assert_eq!(state.streams, Keeping::InProcess);
    assert_eq!(state.problems, [""; 0]);
    let _worker = worker(server.url()).await;
    known(&[&edge]).await;
    let mut events = tell(&edge, json!({"key": "process", "count": 300, "ms": 2})).await;
    let id = events.kept().cloned().expect("an id");
    let mut items = Vec::new();
    for _ in 0..20 {
        items.push(
            next(&mut events)
                .await
                .expect("an event")
                .expect("an event"),
        );
    }
    drop(events);
    let (more, error) = rest(&mut follow(&edge, &id, items[9].0).await).await;
    assert!(error.is_none(), "{error:?}");
    assert_story(&more, 10, 300, 0);
    assert_eq!(seen("process").0, 1);
}

#[tokio::test]
async fn the_store_becomes_what_the_settings_say() {
    let server = NatsServer::start().await;
    drop(edge(options(server.url())).await);
    let mut options = options(server.url());
    options.namespace = None;
    options.streams = Some(StreamStore {
        max_age: Duration::from_secs(5),
        max_bytes: 1 << 20,
        ..store()
    });
    drop(edge(options.clone()).await);
    options.namespace = Some("team".into());
    drop(edge(options).await);
    let streams = server.monitor("/jsz?streams=true&config=true").await;
    let details = &streams["account_details"][0]["stream_detail"];
    let mut found: Vec<_> = details
        .as_array()
        .expect("streams")
        .iter()
        .map(|stream| {
            let config = &stream["config"];
            (
                stream["name"].clone(),
                config["subjects"].clone(),
                config["max_age"].clone(),
                config["max_bytes"].clone(),
            )
        })
        .collect();
    found.sort_by_key(|(name, ..)| name.to_string());
    let (age, bytes) = (json!(5_000_000_000_u64), json!(1 << 20));
    assert_eq!(
        found,
        [
            (
                json!("FRAMEX_STREAMS"),
                json!(["_framex.stream.>"]),
                age.clone(),
                bytes.clone()
            ),
            (
                json!("FRAMEX_STREAMS_team"),
                json!(["team._framex.stream.>"]),
                age,
                bytes
            ),
        ]
    );
}
