//! Bridged APIs obey what all APIs obey: deadlines, sizes, the end of the process.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::documents::{to_paper, with_paths, write};
use crate::site::{bridge_to, everything, front, imported, seen, until};

/// A caller that has no more time is answered, and the upstream is left alone.
#[tokio::test]
async fn the_deadline_of_a_caller() {
    let begun = Instant::now();
    let values = json!({ "key": "impatient", "count": "impatient" });
    let answer = front()
        .post("/api/v1/impatient?target=/waits")
        .json(values.to_string())
        .send()
        .await;
    assert_eq!(answer.status, 504, "{}", answer.lossy());
    assert_eq!(answer.json()["code"], "deadline_exceeded");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    until("the upstream's client has gone", async || {
        (seen("impatient-gone").await == 1).then_some(())
    })
    .await;
}

/// A client's request may take longer than calls of plugins do: its upstream's time counts.
#[tokio::test]
async fn no_deadline_but_the_upstreams() {
    let server = bridge_to(everything(), "patient", json!({ "timeout": "5s" }));
    let server = server.server("request_timeout", "200ms").start().await;
    imported(&server, "patient").await;
    let stream = server.get("/sse?pause=0.1").send().await;
    assert!(stream.text().ends_with("[DONE]\n\n"));
    let slow = server.get("/slow?seconds=0.6").send().await;
    assert_eq!(slow.status, 200, "{}", slow.lossy());
    server.stop().await;
}

#[tokio::test]
async fn the_size_of_bodies() {
    let server = bridge_to(everything(), "small", json!({}));
    let server = server.server("max_upload_size", "1 MiB").start().await;
    imported(&server, "small").await;
    let send = async |size: usize| {
        let answer = server.post("/raw?count=small").body(vec![1; size]).send();
        answer.await.status
    };
    assert_eq!(send(1 << 20).await, 200);
    assert_eq!(send((1 << 20) + 1).await, 413);
    assert_eq!(seen("small").await, 1);
    server.stop().await;
}

/// A stop lets what has begun come to its end.
#[tokio::test]
async fn an_orderly_stop() {
    let server = bridge_to(everything(), "stopping", json!({})).start().await;
    imported(&server, "stopping").await;
    let slow = server.get("/slow?seconds=0.5&count=stopping").start().await;
    let stream = server.get("/sse?pause=0.1&count=stopping").start().await;
    until("both are there", async || {
        (seen("stopping").await == 2).then_some(())
    })
    .await;
    let read = async |mut connection: framex_test_support::Connection| connection.answer().await;
    let begun = Instant::now();
    let ((), slow, stream) = tokio::join!(server.stop(), read(slow), read(stream));
    assert_eq!((slow.status, slow.json()), (200, json!("at last")));
    assert!(stream.text().ends_with("[DONE]\n\n"));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

/// A stream of the upstream's is not one of those that are kept here.
#[tokio::test]
async fn streams_are_the_upstreams_own() {
    let stream = front()
        .get("/sse")
        .header("Last-Event-ID", "1")
        .send()
        .await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.header("x-framex-stream"), None);
    let mirror = front()
        .get("/mirror/x")
        .header("Last-Event-ID", "7.x")
        .send();
    let headers = mirror.await.json()["headers"].clone();
    let headers: &Vec<Value> = headers.as_array().unwrap();
    assert!(headers.contains(&json!(["last-event-id", "7.x"])));
}

/// A document of many operations is there soon, and reading it again disturbs nobody.
#[tokio::test]
async fn a_large_document() {
    let operation = json!({ "get": {
        "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "integer" } }],
        "responses": { "200": { "description": "ok" } },
    }});
    let paths = |count: usize| -> Value {
        (0..count)
            .map(|n| (format!("/things/{n}/{{id}}"), operation.clone()))
            .collect()
    };
    let at = write("large", "application/json", &with_paths(paths(1500))).await;
    let begun = Instant::now();
    let server = to_paper("large", &at).await;
    imported(&server, "large").await;
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        server.get("/things/1499/5").send().await.json()["path"],
        "/things/1499/5"
    );
    write("large", "application/json", &with_paths(paths(1501))).await;
    let mut slowest = Duration::ZERO;
    until("the new one is there", async || {
        let begun = Instant::now();
        assert_eq!(server.get("/health").send().await.status, 200);
        slowest = slowest.max(begun.elapsed());
        (server.get("/things/1500/5").send().await.status == 200).then_some(())
    })
    .await;
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    server.stop().await;
}
