//! How streams end that nobody wants any more, or that nobody runs any more.

use std::time::Instant;

use framex_test_support::nats::NatsServer;
use futures_util::StreamExt as _;
use serde_json::json;

use super::*;

/// Events that never end, slowly.
fn endless(key: &str) -> Value {
    json!({"key": key, "count": 1_000_000, "ms": 10})
}

#[tokio::test]
async fn a_stop_ends_it_for_all_who_follow() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let (one, other) = (
        edge(options(server.url())).await,
        edge(options(server.url())).await,
    );
    known(&[&one, &other]).await;
    let mut events = tell(&one, endless("stop")).await;
    let id = events.kept().cloned().expect("an id");
    let mut also = follow(&other, &id, None).await;
    let first = next(&mut events)
        .await
        .expect("an event")
        .expect("an event");
    assert!(next(&mut also).await.is_some());
    let found = find(&other, &id).await.expect("it is there");
    patiently("the stop", found.stop())
        .await
        .expect("it is stopped");
    until("the handler is gone", || seen("stop").2 == 1).await;
    for events in [&mut events, &mut also] {
        let (_, error) = rest(events).await;
        let error = error.expect("an error");
        assert_eq!(
            (error.status().as_u16(), error.code()),
            (410, "stream_stopped")
        );
    }
    let (_, error) = rest(&mut follow(&one, &id, first.0).await).await;
    assert_eq!(error.expect("an error").code(), "stream_stopped");
    // What has ended stays as it is.
    patiently("the stop", found.stop())
        .await
        .expect("it has ended");
}

#[tokio::test]
async fn who_comes_back_within_the_grace_period_misses_nothing_and_later_it_is_over() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let edge = edge(options(server.url())).await;
    known(&[&edge]).await;
    let mut events = tell(&edge, endless("grace")).await;
    let id = events.kept().cloned().expect("an id");
    let first = next(&mut events)
        .await
        .expect("an event")
        .expect("an event");
    drop(events);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let mut events = follow(&edge, &id, first.0).await;
    let mut items = Vec::new();
    for _ in 0..200 {
        items.push(
            next(&mut events)
                .await
                .expect("an event")
                .expect("an event"),
        );
    }
    assert_story(&items, 1, 201, 0);
    assert_eq!(seen("grace").2, 0);
    drop(events);
    let left = Instant::now();
    until("the handler is gone", || seen("grace").2 == 1).await;
    let alone = left.elapsed();
    assert!((2..5).contains(&alone.as_secs()), "{alone:?}");
    let (_, error) = rest(&mut follow(&edge, &id, first.0).await).await;
    assert_eq!(error.expect("an error").code(), "stream_abandoned");
    assert_eq!(seen("grace").0, 1);
}

#[tokio::test]
async fn a_stream_without_an_event_can_be_followed_too() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let edge = edge(options(server.url())).await;
    known(&[&edge]).await;
    let events = tell(&edge, json!({"key": "early", "count": 10, "ms": 800})).await;
    let id = events.kept().cloned().expect("an id");
    drop(events);
    let mut events = follow(&edge, &id, None).await;
    let first = next(&mut events)
        .await
        .expect("an event")
        .expect("an event");
    assert_story(&[first], 0, 1, 0);
    drop(events);
    until("it goes after its grace period", || seen("early").2 == 1).await;
    let (_, error) = rest(&mut follow(&edge, &id, None).await).await;
    assert_eq!(error.expect("an error").code(), "stream_abandoned");
}

#[tokio::test]
async fn a_worker_that_stops_waits_for_those_who_follow_and_for_nobody_else() {
    let server = NatsServer::start().await;
    let worker = worker(server.url()).await;
    let mut options = options(server.url());
    options.streams = Some(StreamStore {
        grace: Duration::from_secs(60),
        ..store()
    });
    let edge = edge(options).await;
    known(&[&edge]).await;
    let args = json!({"key": "followed", "count": 100, "ms": 20});
    let mut followed = tell(&edge, args).await;
    let mut left = tell(&edge, endless("left")).await;
    assert!(next(&mut left).await.is_some());
    let id = left.kept().cloned().expect("an id");
    drop(left);
    let (still, (items, error)) =
        tokio::join!(worker.drain(Duration::from_secs(20)), rest(&mut followed));
    assert_eq!(still, 0);
    assert!(error.is_none(), "{error:?}");
    assert_story(&items, 0, 100, 0);
    assert_eq!((seen("followed").2, seen("left").2), (1, 1));
    let (_, error) = rest(&mut follow(&edge, &id, None).await).await;
    assert_eq!(error.expect("an error").code(), "stream_abandoned");
}

#[tokio::test]
async fn a_slow_follower_slows_the_handler() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let (one, other) = (
        edge(options(server.url())).await,
        edge(options(server.url())).await,
    );
    known(&[&one, &other]).await;
    let args = json!({"key": "slow", "count": 20_000, "size": 50});
    let mut quick = tell(&one, args).await;
    let id = quick.kept().cloned().expect("an id");
    let mut slow = follow(&other, &id, None).await;
    assert!(next(&mut slow).await.is_some());
    let drain = async {
        while let Ok(Some(_)) = tokio::time::timeout(Duration::from_millis(700), quick.next()).await
        {
        }
    };
    drain.await;
    let (_, asked, gone) = seen("slow");
    assert!(
        asked < 5000 && gone == 0,
        "{asked} events for one that reads none"
    );
    drop(slow);
    let (rest, error) = rest(&mut quick).await;
    assert!(error.is_none() && !rest.is_empty(), "{error:?}");
    assert_eq!(seen("slow"), (1, 20_000, 1));
}

#[tokio::test]
async fn a_follower_whose_leave_was_lost_does_not_hold_up_the_others() {
    let server = NatsServer::start().await;
    let worker = worker(server.url()).await;
    let edge = edge(options(server.url())).await;
    known(&[&edge]).await;
    let client = async_nats::connect(server.url()).await.expect("a client");
    let mut inboxes = client.subscribe("_INBOX.>").await.expect("a subscription");
    let args = json!({"key": "lost leave", "count": 3000, "at_once": 10, "ms": 10});
    let mut events = tell(&edge, args).await;
    let id = events.kept().cloned().expect("an id");
    let beat = loop {
        let message = patiently("a beat", inboxes.next())
            .await
            .expect("a message");
        let headers = message.headers.as_ref();
        if headers.is_some_and(|headers| headers.get("Framex-Beat").is_some()) {
            break message;
        }
    };
    // A place at that connection where nobody waits.
    let (inbox, _) = beat.subject.rsplit_once('.').expect("an inbox");
    let question = json!({
        "follow": id.as_str(), "call": format!("{inbox}.00000001000fffff"), "window": 4,
    });
    let control = format!("teller._control.{}", worker.id());
    let question = question.to_string().into();
    let answer = client.request(control, question).await.expect("an answer");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert!(answer["last"].as_u64() > Some(0), "{answer}");
    let (items, error) = rest(&mut events).await;
    assert!(error.is_none(), "{error:?}");
    assert_story(&items, 0, 3000, 0);
}

#[tokio::test]
async fn what_nobody_follows_does_not_run_far_ahead() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let edge = edge(options(server.url())).await;
    known(&[&edge]).await;
    let args = json!({"key": "ahead", "count": 10_000_000, "size": 20_000});
    let mut events = tell(&edge, args).await;
    assert!(next(&mut events).await.is_some());
    drop(events);
    until("it is over", || seen("ahead").2 == 1).await;
    let bytes = seen("ahead").1 * 20_000;
    assert!(bytes < 20 << 20, "{bytes} bytes");
}

#[tokio::test]
async fn an_event_that_no_message_can_hold_ends_the_stream() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let edge = edge(options(server.url())).await;
    known(&[&edge]).await;
    let args = json!({"key": "large", "count": 3, "size": 2_000_000});
    let mut events = tell(&edge, args).await;
    let id = events.kept().cloned().expect("an id");
    let (none, error) = rest(&mut events).await;
    assert!(none.is_empty());
    assert_eq!(error.expect("an error").code(), "answer_too_large");
    let (_, error) = rest(&mut follow(&edge, &id, None).await).await;
    assert_eq!(error.expect("an error").code(), "answer_too_large");
}

#[tokio::test]
async fn when_its_worker_is_gone_what_was_stored_comes_and_then_an_error() {
    let server = NatsServer::start().await;
    let lost = worker(server.url()).await;
    let (one, other) = (
        edge(options(server.url())).await,
        edge(options(server.url())).await,
    );
    known(&[&one, &other]).await;
    let mut events = tell(&one, json!({"key": "lost", "count": 1_000_000, "ms": 5})).await;
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
    // Without a word, as if it were killed.
    lost.close().await;
    drop(lost);
    let gone = Instant::now();
    let (more, error) = rest(&mut events).await;
    let took = gone.elapsed();
    items.extend(more);
    let count = items.len();
    assert_story(&items, 0, count, 0);
    let error = error.expect("an error");
    assert_eq!((error.status().as_u16(), error.code()), (502, "call_lost"));
    assert!(took < Duration::from_secs(4), "{took:?}");
    let (again, error) = rest(&mut follow(&other, &id, items[4].0).await).await;
    assert!(again.len() + 5 >= count);
    assert_story(&again, 5, again.len() + 5, 0);
    assert_eq!(error.expect("an error").code(), "call_lost");
}
