//! Server-sent events and lines.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use framex_test_support::{Answer, Server, until};
use serde_json::{Value, json};

use crate::zoo::{Zoo, seen};

async fn get(server: &Server, kind: &str, accept: &str) -> Answer {
    let ask = server.get(&format!("/api/v1/stream/{kind}"));
    ask.header("Accept", accept).send().await
}

#[tokio::test]
async fn bytes_are_exact() {
    let server = Server::of::<Zoo>().await;
    let answer = get(&server, "texts", "*/*").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(
        answer.text(),
        "event: message_chunk\ndata: {\"content\": \"T\"}\n\n\
         event: message_chunk\ndata: {\"content\": \"\"}\n\n\
         event: message_chunk\ndata: {\"content\": \"a\\nb \\\"c\\\" ä\"}\n\n\
         event: finish\ndata: {}\n\n"
    );
    assert_eq!(
        get(&server, "objects", "text/event-stream").await.text(),
        "event: message_chunk\ndata: {\"n\":1}\n\n\
         event: message_chunk\ndata: [1,2]\n\n\
         event: debug\ndata: {\"content\": \"why\"}\n\n\
         event: mine\ndata: {\"content\": \"x\"}\n\n\
         event: finish\ndata: {}\n\n"
    );
    assert_eq!(
        get(&server, "empty", "*/*").await.text(),
        "event: finish\ndata: {}\n\n"
    );
    // A handler's own `finish` is the only one.
    assert_eq!(
        get(&server, "finishes", "*/*").await.text(),
        "event: message_chunk\ndata: {\"content\": \"T\"}\n\nevent: finish\ndata: {\"total\":1}\n\n"
    );
}

#[tokio::test]
async fn lines_on_request() {
    let server = Server::of::<Zoo>().await;
    let answer = get(&server, "mid", "application/x-ndjson").await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-ndjson; charset=utf-8")
    );
    let lines: Vec<Value> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines[0],
        json!({"event": "message_chunk", "data": {"content": "T"}})
    );
    assert_eq!(lines[1]["event"], "error");
    assert_eq!(lines[1]["data"]["status"], 409);
    assert_eq!(lines.len(), 2);
    let answer = get(&server, "early", "application/x-ndjson").await;
    assert_eq!(answer.status, 409);
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-ndjson; charset=utf-8")
    );
    let line: Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(line["data"]["message"], "early boom");
}

#[tokio::test]
async fn failures_after_the_first_event() {
    let server = Server::of::<Zoo>().await;
    for (kind, status, message, code) in [
        ("mid", 409, "mid boom", "conflict"),
        ("mid_io", 500, "Internal Server Error", "internal"),
        ("mid_panic", 500, "Internal Server Error", "internal"),
    ] {
        let answer = get(&server, kind, "*/*").await;
        assert_eq!(answer.status, 200);
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(
            answer.text(),
            format!(
                "event: message_chunk\ndata: {{\"content\": \"T\"}}\n\n\
                 event: error\ndata: {{\"status\": {status}, \"message\": \"{message}\", \"code\": \"{code}\", \"request_id\": \"{id}\"}}\n\n"
            )
        );
    }
}

#[tokio::test]
async fn failures_before_the_first_event() {
    let server = Server::of::<Zoo>().await;
    for (kind, status, message) in [
        ("early", 409, "early boom"),
        ("early_panic", 500, "Internal Server Error"),
        ("unknown", 404, "no such stream"),
    ] {
        for accept in [
            "*/*",
            "text/event-stream",
            "text/event-stream, application/json",
        ] {
            let answer = get(&server, kind, accept).await;
            assert_eq!(answer.status, status);
            assert_eq!(
                answer.header("content-type"),
                Some("text/event-stream; charset=utf-8")
            );
            let start =
                format!("event: error\ndata: {{\"status\": {status}, \"message\": \"{message}\", ");
            assert!(
                answer.text().starts_with(&start) && answer.text().ends_with("}\n\n"),
                "{}",
                answer.text()
            );
        }
        let answer = get(&server, kind, "application/json").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json()["message"], message);
    }
    assert_eq!(
        get(&server, "early", "*/*").await.header("x-more"),
        Some("1")
    );
    let answer = server.get("/api/v1/ticks?ms=x").send().await;
    assert_eq!(answer.status, 422);
    let (event, data) = answer.text().trim_end().split_once("\ndata: ").unwrap();
    assert_eq!(event, "event: error");
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["message"], "Request validation failed");
    assert_eq!(data["detail"].as_array().unwrap().len(), 2);
    assert_eq!(server.post("/api/v1/ticks").send().await.status, 405);
}

#[tokio::test]
async fn events_leave_as_they_come() {
    let server = Server::of::<Zoo>().await;
    let target = "/api/v1/ticks?key=pace&ms=50&count=3";
    let begun = Instant::now();
    let (_, mut connection) = server.get(target).open().await;
    for number in 0..3 {
        let chunk = connection.chunk().await.unwrap();
        let text = String::from_utf8(chunk).unwrap();
        assert!(text.contains(&format!("\"{number}\"")), "{text}");
        assert!(begun.elapsed() >= Duration::from_millis(50 * number));
        assert!(begun.elapsed() < Duration::from_millis(50 * number + 1000));
    }
    while connection.chunk().await.is_some() {}
    assert_eq!(seen("pace").gone, 1);
}

#[tokio::test]
async fn silence_is_broken_by_comments() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("sse_heartbeat", "50ms")
        .start()
        .await;
    for (accept, beat) in [("*/*", ": keep-alive\n\n"), ("application/x-ndjson", "\n")] {
        let ask = server
            .get("/api/v1/silence?key=beats")
            .header("Accept", accept);
        let (head, mut connection) = ask.open().await;
        assert_eq!(head.status, 200);
        for _ in 0..3 {
            assert_eq!(connection.chunk().await.unwrap(), beat.as_bytes());
        }
    }
    until("both handlers are gone", || seen("beats").gone == 2).await;
}

/// A client that does not read slows its producer; nothing piles up.
#[tokio::test]
async fn a_slow_reader_holds_its_handler_back() {
    let server = Server::of::<Zoo>().await;
    let (_, mut connection) = server.get("/api/v1/flood?key=flood").open().await;
    let mut last = 0;
    until("the handler waits", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = seen("flood").events;
        std::mem::replace(&mut last, now) == now
    })
    .await;
    // What lies in buffers: the two sockets', hyper's, ours.
    assert!((1..20_000).contains(&last), "{last} events of a kilobyte");
    for _ in 0..200 {
        connection.chunk().await.unwrap();
    }
    until("it goes on", || seen("flood").events > last).await;
    assert_eq!(server.get("/health").send().await.status, 200);
    drop(connection);
    until("it is gone", || seen("flood").gone == 1).await;
}

/// Streams that are always ready, and clients that take all, leave time for others.
#[tokio::test]
async fn a_flood_starves_nobody() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("num_cpus", 1)
        .start()
        .await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (_, mut connection) = server.get("/api/v1/flood?key=starve").open().await;
        readers.spawn(async move { while connection.chunk().await.is_some() {} });
    }
    let mut second = framex_test_support::h2::Client::open(server.address()).await;
    let flood = second.send("GET", "/api/v1/flood?key=starve", "").await;
    readers.spawn(async move {
        let mut body = flood.into_body();
        while let Some(Ok(_)) = http_body_util::BodyExt::frame(&mut body).await {}
    });
    // From a thread of its own: the readers keep this one busy.
    let address = server.address();
    let longest = tokio::task::spawn_blocking(move || {
        let ask = || {
            let begun = Instant::now();
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream
                .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            begun.elapsed()
        };
        (0..10).map(|_| ask()).max().unwrap()
    });
    let longest = longest.await.unwrap();
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    assert_eq!(seen("starve").gone, 0);
    drop(readers);
    drop(second);
    until("all are gone", || seen("starve").gone == 4).await;
}

#[tokio::test]
async fn places_are_free_when_streams_end() {
    let server = Server::of::<Zoo>().await;
    let target = "/api/v1/one_stream?key=one_stream";
    let (head, first) = server.get(target).open().await;
    assert_eq!(head.status, 200);
    let refused = server.get(target).send().await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    drop(first);
    until("the first is gone", || seen("one_stream").gone == 1).await;
    let (head, _second) = server.get(target).open().await;
    assert_eq!(head.status, 200);
}
