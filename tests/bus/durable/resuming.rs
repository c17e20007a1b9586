//! A stream is taken up behind any of its events, at any edge.

use framex_test_support::nats::NatsServer;
use futures_util::future::join_all;
use serde_json::json;

use super::*;

#[tokio::test]
async fn the_rest_is_the_rest_wherever_it_was_cut() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let (one, other) = (
        edge(options(server.url())).await,
        edge(options(server.url())).await,
    );
    known(&[&one, &other]).await;
    let args = json!({"key": "cut", "count": 40, "at_once": 3, "ms": 5, "size": 10, "fail": true});
    let mut events = tell(&one, args).await;
    let id = events.kept().cloned().expect("an id");
    let (all, error) = rest(&mut events).await;
    assert_eq!(error.expect("an error").message(), "no happy end");
    assert_story(&all, 0, 40, 10);
    for edge in [&other, &one] {
        for cut in 0..=40_usize {
            let after = cut.checked_sub(1).and_then(|n| all[n].0);
            let (rest, error) = rest(&mut follow(edge, &id, after).await).await;
            assert_eq!(rest, all[cut..], "cut at {cut}");
            assert_eq!(error.expect("an error").status(), 409);
        }
    }
    assert_eq!(seen("cut").0, 1);
}

#[tokio::test]
async fn who_comes_while_it_runs_gets_what_was_and_what_comes() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let (one, other) = (
        edge(options(server.url())).await,
        edge(options(server.url())).await,
    );
    known(&[&one, &other]).await;
    let args = json!({"key": "runs", "count": 600, "at_once": 20, "ms": 20});
    let mut events = tell(&one, args).await;
    let id = events.kept().cloned().expect("an id");
    let mut begun = Vec::new();
    for _ in 0..130 {
        begun.push(
            next(&mut events)
                .await
                .expect("an event")
                .expect("an event"),
        );
    }
    // One reads on at the first edge, others come at both, from the beginning or in between.
    let followers = join_all([
        follow(&other, &id, None),
        follow(&other, &id, begun[129].0),
        follow(&one, &id, begun[64].0),
        follow(&other, &id, begun[0].0),
    ])
    .await;
    drop(events);
    let taken = followers.into_iter().zip([0, 130, 65, 1]);
    let all = join_all(taken.map(async |(mut events, from)| {
        let (rest, error) = rest(&mut events).await;
        assert!(error.is_none(), "{error:?}");
        assert_story(&rest, from, 600, 0);
        rest
    }))
    .await;
    assert_eq!(all[0][130..], all[1]);
    assert_eq!(seen("runs"), (1, 600, 1));
}

#[tokio::test]
async fn many_streams_with_many_cuts_are_whole() {
    let server = NatsServer::start().await;
    let _workers = [worker(server.url()).await, worker(server.url()).await];
    let edges = [
        edge(options(server.url())).await,
        edge(options(server.url())).await,
    ];
    known(&[&edges[0], &edges[1]]).await;
    let streams = (0..200_usize).map(async |n| {
        let key = format!("many {n}");
        let args = json!({"key": key, "count": 120, "at_once": 1 + n % 9, "ms": 1 + n % 5});
        let mut events = tell(&edges[n % 2], args).await;
        let id = events.kept().cloned().expect("an id");
        let mut all: Vec<Item> = Vec::new();
        let mut random = n * 7919 + 13;
        loop {
            random = (random * 48_271) % 0x7fff_ffff;
            let mut until_cut = random % 50;
            let over = loop {
                match next(&mut events).await {
                    Some(item) => all.push(item.expect("an event")),
                    None => break true,
                }
                until_cut = match until_cut.checked_sub(1) {
                    Some(left) => left,
                    None => break false,
                };
            };
            if over {
                break;
            }
            drop(events);
            let after = all.last().and_then(|(position, ..)| *position);
            events = follow(&edges[random % 2], &id, after).await;
        }
        assert_story(&all, 0, 120, 0);
        assert_eq!(seen(&key), (1, 120, 1));
    });
    join_all(streams).await;
}

#[tokio::test]
async fn a_process_that_serves_itself_keeps_its_streams_too() {
    let server = NatsServer::start().await;
    let whole = edge(options(server.url())).await;
    serve(&whole).await;
    known(&[&whole]).await;
    let other = edge(options(server.url())).await;
    let mut events = tell(&whole, json!({"key": "own", "count": 30})).await;
    let id = events.kept().cloned().expect("an id");
    let (all, _) = rest(&mut events).await;
    assert_story(&all, 0, 30, 0);
    let (rest, _) = rest(&mut follow(&other, &id, all[9].0).await).await;
    assert_eq!(rest, all[10..]);
    // Without a broker it keeps them itself.
    server.kill();
    let gone = || !whole.state().borrow().connected;
    until("the broker is missed", gone).await;
    // By the connection of the calls too.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut events = tell(&whole, json!({"key": "alone", "count": 30})).await;
    let (all, error) = super::rest(&mut events).await;
    assert!(error.is_none(), "{error:?}");
    assert_story(&all, 0, 30, 0);
}

#[tokio::test]
async fn what_is_not_there_is_gone() {
    let server = NatsServer::start().await;
    let _worker = worker(server.url()).await;
    let edge = edge(options(server.url())).await;
    known(&[&edge]).await;
    let id = StreamId::parse(&"a1".repeat(20)).expect("an id");
    let error = find(&edge, &id).await.err().expect("it is not there");
    assert_eq!(
        (error.status().as_u16(), error.code()),
        (410, "stream_gone")
    );
    // Further than it has come.
    let events = tell(&edge, json!({"key": "far", "count": 50, "ms": 20})).await;
    let id = events.kept().cloned().expect("an id");
    let found = find(&edge, &id).await.expect("it is there");
    let far = Position::new(1000, 0);
    let error = patiently("an error", found.follow(far)).await.err();
    let error = error.expect("an error").into_error();
    assert_eq!(error.status(), 410);
}
