//! Connections: broken requests, limits, slow and silent clients.
//!
//! What hyper refuses before there is a request (400, 414, 431) has no body:
//! hyper gives no hook to add the envelope.

use std::time::{Duration, Instant};

use framex_test_support::{Server, until};

use crate::zoo::{Zoo, seen};

const SOON: Duration = Duration::from_secs(2);

async fn alive(server: &Server) {
    let answer = server.get("/api/v1/echo?message=alive").send().await;
    assert_eq!(answer.data(), "alive");
}

#[tokio::test]
async fn requests_that_are_none() {
    let server = Server::of::<Zoo>().await;
    for request in [
        &b"\r\n\r\nnonsense\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1 more\r\nHost: x\r\n\r\n",
        b"GET /he alth HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G\x00T /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nna me: v\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nname : v\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\na: \x00\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\na: b\rc\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nfolded: a\r\n b\r\n\r\n",
        b"POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nab",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        let mut connection = server.connect().await;
        connection.send(request).await;
        connection.half_close().await;
        let said = String::from_utf8_lossy(&connection.rest().await).into_owned();
        let shown = String::from_utf8_lossy(request);
        // Refused, or ended without a word; never an answer of success, never
        // silence. HTTP/2 says so in frames.
        let frames = shown.starts_with("PRI") && !said.contains("HTTP");
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 4") || frames,
            "{shown:?}: {said}"
        );
    }
    alive(&server).await;
}

/// Both framings at once is how requests are smuggled through proxies.
#[tokio::test]
async fn length_and_chunks_at_once() {
    let server = Server::of::<Zoo>().await;
    let mut connection = server.connect().await;
    connection
        .send("POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    let first = connection.head().await;
    // Refused, or read as chunked: never as five bytes.
    if first.status == 200 {
        let length: usize = first.header("content-length").unwrap().parse().unwrap();
        assert!(length > 0);
    } else {
        assert_eq!(first.status, 400);
    }
}

#[tokio::test]
async fn heads_that_are_too_large() {
    let server = Server::of::<Zoo>().await;
    let long = "x".repeat(20_000);
    for (head, statuses) in [
        (
            format!("GET /health HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n"),
            &[431][..],
        ),
        (
            format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
            &[414, 431],
        ),
        (
            format!(
                "GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n",
                "a: b\r\n".repeat(200)
            ),
            &[431],
        ),
        (
            format!(
                "GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n",
                "a: b\r\n".repeat(5000)
            ),
            &[431],
        ),
    ] {
        let mut connection = server.connect().await;
        let _ = connection.try_send(&head).await;
        let answer = connection.head().await;
        assert!(
            statuses.contains(&answer.status),
            "{}: {:.60}",
            answer.status,
            head
        );
    }
    // What fits passes.
    let text = "x".repeat(12_000);
    let answer = server
        .get(&format!("/api/v1/echo?message={text}"))
        .send()
        .await;
    assert_eq!(answer.data().as_str().unwrap().len(), 12_000);
    let mut ask = server.get("/health");
    for number in 0..80 {
        ask = ask.header(&format!("x-{number}"), "value");
    }
    assert_eq!(ask.send().await.status, 200);
    alive(&server).await;
}

#[tokio::test]
async fn the_size_of_heads_is_a_setting() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("max_header_size", "64KiB")
        .start()
        .await;
    let text = "x".repeat(50_000);
    let answer = server
        .get(&format!("/api/v1/echo?message={text}"))
        .send()
        .await;
    assert_eq!(answer.data().as_str().unwrap().len(), 50_000);
    let text = "x".repeat(70_000);
    let mut connection = server
        .get(&format!("/api/v1/echo?message={text}"))
        .start()
        .await;
    assert!([414, 431].contains(&connection.head().await.status));
}

#[tokio::test]
async fn many_requests_on_one_connection() {
    let server = Server::of::<Zoo>().await;
    let mut connection = server.connect().await;
    let ask = |text: &str| format!("GET /api/v1/echo?message={text} HTTP/1.1\r\nHost: x\r\n\r\n");
    for number in 0..20 {
        connection.send(ask(&number.to_string())).await;
        assert_eq!(connection.answer().await.data(), number.to_string());
    }
    // All at once, in order; a stream and a failure among them.
    let mut all = String::new();
    for number in 0..50 {
        all.push_str(&ask(&number.to_string()));
    }
    all.push_str("GET /api/v1/stream/texts HTTP/1.1\r\nHost: x\r\n\r\n");
    all.push_str("GET /api/v1/fail/panic HTTP/1.1\r\nHost: x\r\n\r\n");
    all.push_str("POST /api/v1/value HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n[1]");
    all.push_str("GET /api/v1/unit HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    connection.send(all).await;
    for number in 0..50 {
        assert_eq!(connection.answer().await.data(), number.to_string());
    }
    assert!(
        connection
            .answer()
            .await
            .text()
            .ends_with("event: finish\ndata: {}\n\n")
    );
    assert_eq!(connection.answer().await.status, 500);
    assert_eq!(connection.answer().await.data()[0], 1);
    let last = connection.answer().await;
    assert_eq!(last.header("connection"), Some("close"));
    assert!(connection.closes_within(SOON).await);
}

#[tokio::test]
async fn old_clients_and_upgrades() {
    let server = Server::of::<Zoo>().await;
    let mut connection = server.connect().await;
    connection
        .send("GET /api/v1/echo?message=old HTTP/1.0\r\n\r\n")
        .await;
    let answer = connection.answer().await;
    assert_eq!(
        (answer.version.as_str(), answer.data().as_str()),
        ("HTTP/1.0", Some("old"))
    );
    assert!(connection.closes_within(SOON).await);
    let mut connection = server.connect().await;
    connection
        .send("GET /api/v1/unit HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    assert_eq!(
        connection.answer().await.header("connection"),
        Some("keep-alive")
    );
    // Chunks are unknown to it: the end of the connection is the end.
    let mut connection = server.connect().await;
    connection
        .send("GET /api/v1/stream/texts HTTP/1.0\r\n\r\n")
        .await;
    let answer = connection.answer().await;
    assert_eq!(answer.header("transfer-encoding"), None);
    assert!(answer.text().starts_with("event: message_chunk\n"));
    assert!(answer.text().ends_with("event: finish\ndata: {}\n\n"));
    // Nobody is obliged to upgrade.
    for upgrade in ["websocket", "h2c"] {
        let answer = server
            .get("/api/v1/unit")
            .header("Connection", "Upgrade, HTTP2-Settings")
            .header("Upgrade", upgrade)
            .header("HTTP2-Settings", "AAMAAABkAAQAAP__")
            .send()
            .await;
        assert_eq!(answer.status, 200);
    }
    // No host, two hosts: a matter of virtual hosts, which there are none of.
    let mut connection = server.connect().await;
    connection.send("GET /health HTTP/1.1\r\n\r\n").await;
    assert!([200, 400].contains(&connection.answer().await.status));
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("header_timeout", "300ms")
        .start()
        .await;
    let begun = Instant::now();
    let mut connection = server.connect().await;
    let head = format!(
        "GET /health HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
        "x".repeat(200)
    );
    let sent = connection.trickle(&head, Duration::from_millis(20)).await;
    assert!(sent < head.len() / 2, "{sent} of {}", head.len());
    assert!(
        begun.elapsed() >= Duration::from_millis(280),
        "{:?}",
        begun.elapsed()
    );
    // So is the second one of a connection, and one that stops after a byte.
    let mut connection = server.connect().await;
    connection
        .send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert_eq!(connection.answer().await.status, 200);
    connection.send("G").await;
    let begun = Instant::now();
    assert!(connection.closes_within(SOON).await);
    assert!(
        begun.elapsed() >= Duration::from_millis(200),
        "{:?}",
        begun.elapsed()
    );
}

/// The limit is for heads: neither a handler that takes long, nor a stream,
/// nor an answer to a slow reader is one, whatever the client sends meanwhile.
#[tokio::test]
async fn the_limit_for_heads_cuts_nothing_else() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("header_timeout", "200ms")
        .start()
        .await;
    let ask = "GET /api/v1/ticks?key=not_slow&ms=50&count=20 HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut connection = server.connect().await;
    connection.send(ask).await;
    assert_eq!(connection.head().await.status, 200);
    assert!(connection.chunk().await.is_some());
    // The next request, while the stream still runs.
    connection
        .send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    while connection.chunk().await.is_some() {}
    assert_eq!(connection.answer().await.status, 200);

    let mut connection = server
        .get("/api/v1/wait?key=not_slow_call&ms=600")
        .start()
        .await;
    connection.send("GET /health HTTP/1.1\r\nHo").await;
    assert_eq!(connection.answer().await.data(), 600);
    connection.send("st: x\r\n\r\n").await;
    assert_eq!(connection.answer().await.status, 200);
}

#[tokio::test]
async fn a_slow_body_is_refused() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("body_timeout", "200ms")
        .start()
        .await;
    let mut connection = server.connect().await;
    connection
        .send("POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        .await;
    let answer = connection.answer().await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.json()["status"], 408);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(connection.closes_within(SOON).await);
    // Slow but steady passes.
    let mut connection = server.connect().await;
    connection
        .send("POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        .await;
    assert_eq!(
        connection
            .trickle("0123456789", Duration::from_millis(40))
            .await,
        10
    );
    assert_eq!(connection.answer().await.data()["length"], 10);
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("idle_timeout", "300ms")
        .server("sse_heartbeat", "10s")
        .start()
        .await;
    let mut fresh = server.connect().await;
    let mut used = server.connect().await;
    used.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(used.answer().await.status, 200);
    // A stream that has nothing to say is not idle, nor is a handler that works.
    let (_, mut stream) = server
        .get("/api/v1/ticks?key=idle&ms=1200&count=2")
        .open()
        .await;
    let mut call = server
        .get("/api/v1/wait?key=idle_call&ms=1200")
        .start()
        .await;
    let begun = Instant::now();
    assert!(fresh.closes_within(SOON).await);
    assert!(used.closes_within(SOON).await);
    assert!(
        (200..1500).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(call.answer().await.data(), 1200);
    let mut text = Vec::new();
    while let Some(chunk) = stream.chunk().await {
        text.extend(chunk);
    }
    assert!(
        String::from_utf8(text)
            .unwrap()
            .ends_with("event: finish\ndata: {}\n\n")
    );
}

/// A client that takes nothing of what is ready for it is not there any more.
#[tokio::test]
async fn a_reader_that_stopped_reading_is_cut() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("idle_timeout", "400ms")
        .start()
        .await;
    let (_, stuck) = server.get("/api/v1/flood?key=stuck").open().await;
    until("it is cut", || seen("stuck").gone == 1).await;
    drop(stuck);
    // One that reads slowly is.
    let (_, mut slow) = server.get("/api/v1/flood?key=slow_reader").open().await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1200) {
        for _ in 0..40 {
            slow.chunk().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(seen("slow_reader").gone, 0);
}

#[tokio::test]
async fn connections_are_bounded() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("max_connections", 2)
        .start()
        .await;
    let ask = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for connection in [&mut first, &mut second] {
        connection.send(ask).await;
        assert_eq!(connection.answer().await.status, 200);
    }
    // The third waits its turn.
    let mut third = server.connect().await;
    third.send(ask).await;
    let early = tokio::time::timeout(Duration::from_millis(200), third.answer()).await;
    assert!(early.is_err());
    drop(first);
    assert_eq!(third.answer().await.status, 200);
    second.send(ask).await;
    assert_eq!(second.answer().await.status, 200);
}

#[tokio::test]
async fn hundreds_of_connections_come_and_go() {
    let server = Server::of::<Zoo>().await;
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(server.get("/api/v1/hang?key=crowd").start().await);
    }
    until("all run", || seen("crowd").begun == 300).await;
    alive(&server).await;
    drop(open);
    until("all are gone", || seen("crowd").gone == 300).await;
    alive(&server).await;
}
