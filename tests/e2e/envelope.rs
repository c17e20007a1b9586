//! The envelope, the error table, answers of a handler's own.

use std::collections::HashSet;

use framex_test_support::{Answer, Server, until};
use serde_json::json;

use crate::zoo::{Zoo, seen};

/// The timestamp of an envelope must be the time in UTC, in its one format.
fn assert_now(answer: &Answer) {
    let json = answer.json();
    let text = json["timestamp"].as_str().unwrap();
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
    let age = chrono::Utc::now().naive_utc() - time;
    assert!((-2..15).contains(&age.num_seconds()), "{text}: {age}");
    assert_eq!(text.len(), 19);
}

/// What every failure has.
fn assert_failure(answer: &Answer, status: u16, message: &str) {
    assert_eq!(answer.status, status, "{}", answer.lossy());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let json = answer.json();
    assert_eq!(json["status"], status);
    assert_eq!(json["message"], message);
    assert_eq!(json["request_id"].as_str(), answer.header("x-request-id"));
    let text = answer.text();
    let first = format!("{{\"status\":{status},\"message\":");
    assert!(text.starts_with(&first), "{text}");
    assert!(
        !text.contains("hunter2") && !text.contains("/srv"),
        "{text}"
    );
    assert_now(answer);
}

#[tokio::test]
async fn success_byte_for_byte() {
    let server = Server::of::<Zoo>().await;
    let answer = server.get("/api/v1/echo?message=hello").send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_now(&answer);
    let time = answer.json()["timestamp"].as_str().unwrap().to_owned();
    assert_eq!(
        answer.text(),
        format!(r#"{{"status":200,"message":"success","timestamp":"{time}","data":"hello"}}"#)
    );
    let length = answer.body.len().to_string();
    assert_eq!(answer.header("content-length"), Some(length.as_str()));
    assert!(answer.header("date").is_some());

    assert_eq!(server.get("/api/v1/unit").send().await.data(), json!(null));
    let spoof = server.get("/api/v1/spoof").send().await;
    assert_eq!(spoof.data()["message"], "spoof");
    // Large results take another way out.
    let big = server.get("/api/v1/big?size=300000").send().await.data();
    assert_eq!(big.as_str().unwrap().len(), 300_000);
    assert_eq!(
        server.get("/api/v1/floats").send().await.data(),
        json!([1.5, null, null])
    );
}

#[tokio::test]
async fn raw_routes_answer_bare_and_fail_in_the_envelope() {
    let server = Server::of::<Zoo>().await;
    let answer = server.get("/api/v1/raw").send().await;
    assert_eq!((answer.status, answer.text()), (200, r#"{"bare":true}"#));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let answer = server.get("/api/v1/raw?fail=true").send().await;
    assert_failure(&answer, 409, "raw and wrong");
    let answer = server.get("/api/v1/raw?fail=maybe").send().await;
    assert_eq!(answer.kinds(), [r#"bool_parsing ["query","fail"]"#]);
}

#[tokio::test]
async fn failures_of_handlers() {
    let server = Server::of::<Zoo>().await;
    for kind in ["io", "other", "panic"] {
        let answer = server.get(&format!("/api/v1/fail/{kind}")).send().await;
        assert_failure(&answer, 500, "Internal Server Error");
        assert_eq!(answer.json()["code"], "internal");
    }
    // The process lives.
    let answer = server.get("/api/v1/echo?message=alive").send().await;
    assert_eq!(answer.data(), "alive");

    let answer = server.get("/api/v1/fail/conflict").send().await;
    assert_failure(&answer, 409, "taken");
    assert_eq!(answer.json()["code"], "name_taken");
    assert_eq!(answer.json()["detail"], json!({"name": "x"}));
    assert_eq!(answer.header("x-more"), Some("1"));

    let answer = server.get("/api/v1/fail/busy").send().await;
    assert_failure(&answer, 503, "come back");
    assert_eq!(answer.header("retry-after"), Some("7"));

    let answer = server.get("/api/v1/fail/unauthorized").send().await;
    assert_failure(&answer, 401, "who?");
    assert!(answer.header("www-authenticate").is_some());

    let answer = server.get("/api/v1/fail/lying").send().await;
    assert_failure(&answer, 409, "taken");
}

#[tokio::test]
async fn the_edges_own_failures() {
    let server = Server::of::<Zoo>().await;
    let answer = server.get("/api/v1/nowhere").send().await;
    assert_failure(&answer, 404, "Not Found");
    assert_failure(&server.get("/").send().await, 404, "Not Found");
    let answer = server.post("/api/v1/echo").send().await;
    assert_failure(&answer, 405, "Method Not Allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    let answer = server.get("/api/v1/echo").send().await;
    assert_failure(&answer, 422, "Request validation failed");
    assert_eq!(
        answer.json()["data"],
        json!({"detail": [{"type": "missing", "loc": ["query", "message"], "msg": "`message` is required"}]})
    );
    let answer = server
        .post("/api/v1/model")
        .header("Content-Type", "text/plain")
        .body("{}")
        .send()
        .await;
    assert_eq!(answer.status, 415);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("application/json"), "{message}");
    assert_failure(&answer, 415, &message);
}

#[tokio::test]
async fn overloaded_and_late() {
    let server = Server::of::<Zoo>().await;
    let target = "/api/v1/one_at_a_time?key=overloaded";
    let first = server.get(target).start().await;
    until("the handler runs", || seen("overloaded").begun == 1).await;
    let answer = server.get(target).send().await;
    assert_failure(&answer, 503, "`zoo.Zoo.one_at_a_time` is overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.json()["code"], "overloaded");
    drop(first);
    until("its place is free", || seen("overloaded").gone == 1).await;
    let _second = server.get(target).start().await;
    until("the next runs", || seen("overloaded").begun == 2).await;

    let answer = server.get("/api/v1/slow?key=late").send().await;
    assert_failure(&answer, 504, "`zoo.Zoo.slow` did not answer within 100ms");
    assert_eq!(answer.json()["code"], "deadline_exceeded");
    assert_eq!(seen("late").gone, 1);
}

#[tokio::test]
async fn the_general_timeout_is_a_setting() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("request_timeout", "80ms")
        .start()
        .await;
    let answer = server.get("/api/v1/hang?key=general").send().await;
    assert_failure(&answer, 504, "`zoo.Zoo.hang` did not answer within 80ms");
}

#[tokio::test]
async fn too_large() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("max_body_size", 1000)
        .start()
        .await;
    // By the announced length, without reading a byte of it.
    let mut connection = server.connect().await;
    connection
        .send("POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\nContent-Length: 107374182400\r\n\r\n")
        .await;
    let answer = connection.answer().await;
    let message = "the body is larger than the 1000 bytes that `server.max_body_size` allows";
    assert_failure(&answer, 413, message);
    // By what really comes.
    let mut connection = server.connect().await;
    connection
        .send("POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..3 {
        connection
            .send(format!("190\r\n{}\r\n", "x".repeat(400)))
            .await;
    }
    assert_failure(&connection.answer().await, 413, message);
    // The limit itself passes, one more does not.
    let answer = server
        .post("/api/v1/bytes")
        .body("x".repeat(1000))
        .send()
        .await;
    assert_eq!(answer.data()["length"], 1000);
    let answer = server
        .post("/api/v1/bytes")
        .body("x".repeat(1001))
        .send()
        .await;
    assert_failure(&answer, 413, message);
}

#[tokio::test]
async fn two_megabytes_pass_by_default() {
    let server = Server::of::<Zoo>().await;
    let text = format!("\"{}\"", "x".repeat(2_000_000));
    for route in ["value", "raw_json"] {
        let answer = server
            .post(&format!("/api/v1/{route}"))
            .json(text.clone())
            .send()
            .await;
        assert_eq!(answer.data().as_str().unwrap().len(), 2_000_000, "{route}");
    }
    let answer = server
        .post("/api/v1/bytes")
        .body(vec![7; 4 << 20])
        .send()
        .await;
    assert_eq!(answer.data()["length"], 4 << 20);
    let answer = server
        .post("/api/v1/bytes")
        .body(vec![7; (4 << 20) + 1])
        .send()
        .await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn responses_of_a_handlers_own() {
    let server = Server::of::<Zoo>().await;
    let get = async |kind: &str| server.get(&format!("/api/v1/response/{kind}")).send().await;

    let answer = get("created").await;
    assert_eq!((answer.status, answer.text()), (201, r#"{"id":1}"#));
    assert_eq!(answer.header("location"), Some("/api/v1/items/1"));
    assert!(answer.header("x-request-id").is_some());
    let answer = get("html").await;
    assert_eq!((answer.status, answer.text()), (200, "<h1>hi</h1>"));
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let answer = get("redirect").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (307, Some("/elsewhere"))
    );
    let answer = get("nothing").await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    let answer = get("teapot").await;
    assert_eq!((answer.status, answer.text()), (418, "short and stout"));
    let answer = get("download").await;
    assert_eq!(answer.body, [0, 255]);
    assert!(
        answer
            .header("content-disposition")
            .unwrap()
            .contains("%C3%A4.bin")
    );
    let cookies = get("cookies").await;
    let cookies: Vec<_> = cookies
        .headers
        .iter()
        .filter(|(n, _)| n == "set-cookie")
        .collect();
    assert_eq!(cookies.len(), 2);
    assert_failure(&get("none").await, 404, "no such response");
}

/// What a handler says about framing cannot break the connection for others.
#[tokio::test]
async fn responses_cannot_break_their_connection() {
    let server = Server::of::<Zoo>().await;
    for (kind, status, body) in [
        ("long_length", 200, "short"),
        ("short_length", 200, "long enough"),
        ("chunked", 200, "text"),
        ("nothing_with_body", 204, ""),
        ("unchanged_with_body", 304, ""),
        ("informational", 500, ""),
    ] {
        let mut connection = server.connect().await;
        connection
            .send(format!(
                "GET /api/v1/response/{kind} HTTP/1.1\r\nHost: x\r\n\r\n"
            ))
            .await;
        let answer = connection.answer().await;
        assert_eq!(answer.status, status, "{kind}");
        if status != 500 {
            assert_eq!(answer.lossy(), body, "{kind}");
        }
        connection
            .send("GET /api/v1/echo?message=next HTTP/1.1\r\nHost: x\r\n\r\n")
            .await;
        assert_eq!(connection.answer().await.data(), "next", "{kind}");
    }
}

#[tokio::test]
async fn request_ids() {
    let server = Server::of::<Zoo>().await;
    let id = async |header: Option<&str>| {
        let mut ask = server.get("/api/v1/who");
        if let Some(value) = header {
            ask = ask.header("X-Request-Id", value);
        }
        let answer = ask.send().await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(answer.data()["request_id"], id.as_str());
        id
    };
    assert_eq!(id(Some("my-own:id/1")).await, "my-own:id/1");
    let long = "x".repeat(129);
    for junk in ["", "with space", "ümlaut", "tab\tbed", long.as_str()] {
        let given = id(Some(junk)).await;
        assert_ne!(given, junk);
        assert!(given.len() >= 16 && given.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
    let mut ids = HashSet::new();
    for _ in 0..50 {
        assert!(ids.insert(id(None).await));
    }
    for target in [
        "/health",
        "/nowhere",
        "/api/v1/stream/texts",
        "/api/v1/response/html",
    ] {
        let answer = server
            .get(target)
            .header("X-Request-Id", "own")
            .send()
            .await;
        assert_eq!(answer.header("x-request-id"), Some("own"), "{target}");
    }
}
