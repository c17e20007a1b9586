//! How long a stream lasts that nobody follows.

use std::time::{Duration, Instant};

use framex_test_support::until;
use serde_json::json;

use super::{SSE, address, asking, blocks, builder, id, server, some};
use crate::zoo::seen;

#[tokio::test]
async fn it_runs_on_for_a_while_and_ends() {
    let streams = json!({ "grace": "500ms" });
    let server = builder().set("streams", streams).start().await;
    let (head, mut connection) = server.get("/api/v1/kept?key=alone&ms=20").open().await;
    some(&mut connection, SSE, 2).await;
    let left = Instant::now();
    drop(connection);
    until("it is gone", || seen("alone").gone == 1).await;
    assert!(
        left.elapsed() > Duration::from_millis(450),
        "{:?}",
        left.elapsed()
    );
    assert!(
        left.elapsed() < Duration::from_secs(2),
        "{:?}",
        left.elapsed()
    );
    let whole = server.get(&address(&head)).send().await;
    let events = blocks(whole.text(), SSE);
    assert_eq!(events.len(), seen("alone").events + 1);
    assert!(events.len() > 10, "it ran on: {events:?}");
    let last = *events.last().unwrap();
    assert!(id(last, SSE).ends_with(".end") && last.contains("\"code\": \"stream_abandoned\""));
    assert!(
        last.contains("nobody followed the stream for 500ms"),
        "{last}"
    );
    // An `EventSource` that comes back is told that there is nothing more.
    let over = asking(server.get("/api/v1/kept?key=alone"), SSE, id(last, SSE));
    assert_eq!(over.send().await.status, 204);
}

#[tokio::test]
async fn whoever_comes_in_time_takes_it_over() {
    let streams = json!({ "grace": "400ms" });
    let server = builder().set("streams", streams).start().await;
    let (head, mut connection) = server.get("/api/v1/kept?key=over-taken&ms=20").open().await;
    let target = address(&head);
    let mut last = String::new();
    for _ in 0..4 {
        let body = some(&mut connection, SSE, 2).await;
        last = id(blocks(&body, SSE).last().unwrap(), SSE).to_owned();
        drop(connection);
        tokio::time::sleep(Duration::from_millis(250)).await;
        (_, connection) = asking(server.get(&target), SSE, &last).open().await;
    }
    assert_eq!(seen("over-taken").gone, 0, "{last}");
    drop(connection);
    until("it is gone", || seen("over-taken").gone == 1).await;
}

/// It ends as it would have: the client finds everything when it comes back.
#[tokio::test]
async fn it_may_end_meanwhile() {
    let server = server().await;
    let target = "/api/v1/kept?key=meanwhile&count=40&ms=5";
    let (_, mut connection) = server.get(target).open().await;
    let body = some(&mut connection, SSE, 2).await;
    let events = blocks(&body, SSE);
    drop(connection);
    until("it has ended", || seen("meanwhile").gone == 1).await;
    let rest = asking(server.get(target), SSE, id(events[0], SSE))
        .send()
        .await;
    assert_eq!(blocks(rest.text(), SSE).len(), 40);
    assert!(rest.text().ends_with(".end\nevent: finish\ndata: {}\n\n"));
}

/// Who leaves before the first event leaves a stream that nobody knows of.
#[tokio::test]
async fn before_the_first_event() {
    let streams = json!({ "grace": "300ms" });
    let server = builder().set("streams", streams).start().await;
    let connection = server.get("/api/v1/kept/silence?key=first").start().await;
    until("it runs", || seen("first").begun == 1).await;
    drop(connection);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(seen("first").gone, 0);
    until("it is gone", || seen("first").gone == 1).await;
}

/// A stream that nobody follows does not hold up a stop.
#[tokio::test]
async fn a_stop_does_not_wait_for_who_left() {
    let server = server().await;
    let (_, mut connection) = server.get("/api/v1/kept?key=stopping&ms=20").open().await;
    some(&mut connection, SSE, 2).await;
    drop(connection);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(seen("stopping").gone, 0);
    let begun = Instant::now();
    server.stop().await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(seen("stopping").gone, 1);
}
