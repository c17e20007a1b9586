//! Bodies that are too large, or come too slowly.

use std::time::{Duration, Instant};

use framex_test_support::{Answer, Server};

use crate::depot::{Depot, seen};
use crate::sender::{Framing, Part, Sender, end, file, head, post, put, text};

fn refused(answer: &Answer, by: &str) {
    assert_eq!(answer.status, 413, "{}", answer.lossy());
    let json = answer.json();
    assert_eq!(json["code"], "payload_too_large");
    let message = json["message"].as_str().unwrap();
    assert!(message.contains(by), "{message}");
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn what_is_announced_too_large_is_refused_before_it_is_sent() {
    let server = Server::builder()
        .plugin::<Depot>()
        .server("max_body_size", 1000)
        .server("max_upload_size", "50MB")
        .start()
        .await;
    for (target, most, by) in [
        (
            "/api/v1/memory",
            8 << 20,
            "8388608 bytes that the API's own `max_body_size`",
        ),
        (
            "/api/v1/raw",
            50_000_000,
            "50000000 bytes that `server.max_upload_size`",
        ),
        (
            "/api/v1/watched?key=announced",
            50_000_000,
            "`server.max_upload_size`",
        ),
        (
            "/api/v1/ordinary",
            1000,
            "1000 bytes that `server.max_body_size`",
        ),
    ] {
        let mut connection = server.connect().await;
        let more = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", most + 1);
        connection.send(head("PUT", target, &more)).await;
        // No 100: an answer at once.
        let answer = connection.head().await;
        assert_eq!(answer.status, 413, "{target}");
        let answer = put(&server, target, most + 1, Framing::Length).await;
        refused(&answer, by);
    }
    assert!(!seen("announced").begun);
    // One byte less is welcome.
    let answer = put(&server, "/api/v1/ordinary", 1000, Framing::Length).await;
    assert_eq!(answer.data(), 1000);
    let answer = put(&server, "/api/v1/memory", 8 << 20, Framing::Length).await;
    assert_eq!(answer.data(), 8 << 20);
    let ask = |body: &str| server.post("/api/v1/json").json(body);
    assert_eq!(ask("\"123456789012345678\"").send().await.status, 200);
    refused(
        &ask("\"1234567890123456789\"").send().await,
        "the API's own",
    );
}

#[tokio::test]
async fn who_waits_is_told_to_go_on() {
    let server = Server::of::<Depot>().await;
    let mut connection = server.connect().await;
    let more = "Expect: 100-continue\r\nContent-Length: 100000\r\n";
    connection.send(head("PUT", "/api/v1/raw", more)).await;
    assert_eq!(connection.head().await.status, 100);
    connection.send(crate::depot::pattern(0, 100_000)).await;
    assert_eq!(connection.answer().await.data()["size"], 100_000);
}

#[tokio::test]
async fn what_turns_out_too_large_ends_with_an_error() {
    let server = Server::builder()
        .plugin::<Depot>()
        .server("max_upload_size", 1_000_000)
        .start()
        .await;
    let key = "/api/v1/watched?key=grown";
    let answer = put(&server, key, 1_500_000, Framing::Chunked).await;
    // The handler took it for a success; it was none.
    refused(&answer, "`server.max_upload_size`");
    let seen = seen("grown");
    assert_eq!(seen.end.as_deref(), Some("payload_too_large"));
    assert!(seen.bytes <= 1_000_000, "{seen:?}");

    let mut parts: Vec<Part> = file("file", "f", 1_500_000).into();
    parts.push(end());
    for target in ["/api/v1/one", "/api/v1/form"] {
        let answer = post(&server, target, &parts, Framing::Chunked).await;
        refused(&answer, "`server.max_upload_size`");
    }
}

#[tokio::test]
async fn texts_and_parts_are_bounded() {
    let server = Server::builder()
        .plugin::<Depot>()
        .server("max_body_size", 100_000)
        .start()
        .await;
    let form = |parts: Vec<Part>| {
        let server = &server;
        async move { post(server, "/api/v1/form", &parts, Framing::Chunked).await }
    };
    let answer = form(vec![Part::Text(text("note", &"x".repeat(100_001))), end()]).await;
    assert_eq!(answer.status, 413);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`server.max_body_size`"), "{message}");
    // What nobody asks for takes no room.
    let mut parts = vec![Part::Text(
        text("other", &"x".repeat(200_000)) + &text("note", "n"),
    )];
    parts.extend(file("file", "f", 5));
    parts.push(end());
    assert_eq!(form(parts).await.data()["size"], 5);
    let answer = form(vec![Part::Text(text("note", "x").repeat(1001)), end()]).await;
    assert_eq!(answer.status, 422, "{}", answer.lossy());
    assert!(answer.lossy().contains("more than 1000 parts"));
    for endless in [
        format!("--XX\r\nA: {}", "b".repeat(100_000)),
        "x".repeat(100_000),
        format!("--XX{}", " ".repeat(100_000)),
    ] {
        let answer = form(vec![Part::Text(endless)]).await;
        assert_eq!(answer.status, 422, "{}", answer.lossy());
    }
}

#[tokio::test]
async fn a_client_that_falls_silent() {
    let server = Server::builder()
        .plugin::<Depot>()
        .server("body_timeout", "300ms")
        .start()
        .await;
    let target = "/api/v1/watched?key=silent";
    let mut sender = Sender::start(&server, "PUT", target, "", Framing::Length, 500_000).await;
    for _ in 0..3 {
        // Slow, but not silent.
        sender.part(&Part::Pattern(1000)).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let begun = Instant::now();
    let answer = sender.connection.answer().await;
    assert_eq!(answer.status, 408, "{}", answer.lossy());
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(seen("silent").end.as_deref(), Some("request_timeout"));
}

#[tokio::test]
async fn an_answer_before_the_end() {
    let server = Server::of::<Depot>().await;
    // Nothing of the body is sent at all.
    let mut sender = Sender::start(
        &server,
        "PUT",
        "/api/v1/ignored",
        "",
        Framing::Length,
        1 << 30,
    )
    .await;
    let answer = sender.connection.answer().await;
    assert_eq!(answer.data(), 1 << 30);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(
        sender
            .connection
            .closes_within(Duration::from_secs(2))
            .await
    );
    // What is small was read all the same, and the connection goes on.
    let mut sender =
        Sender::start(&server, "PUT", "/api/v1/ignored", "", Framing::Length, 1000).await;
    sender.part(&Part::Pattern(1000)).await;
    assert_eq!(sender.connection.answer().await.data(), 1000);
    sender.connection.send(head("GET", "/ping", "")).await;
    assert_eq!(sender.connection.answer().await.status, 200);
    // So it does behind what was read by the handler.
    for framing in [Framing::Length, Framing::Chunked] {
        let mut sender = Sender::start(&server, "PUT", "/api/v1/raw", "", framing, 200_000).await;
        sender.part(&Part::Pattern(200_000)).await;
        if let Framing::Chunked = framing {
            sender.connection.send("0\r\n\r\n").await;
        }
        let answer = sender.connection.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (200, None));
        sender.connection.send(head("GET", "/ping", "")).await;
        assert_eq!(sender.connection.answer().await.status, 200);
    }
}
