//! Streams as they come, and what becomes of them when somebody leaves.

use std::time::{Duration, Instant};

use framex_test_support::raw::Ask;

use crate::forwarding::Both;
use crate::site::{front, seen, until};

#[tokio::test]
async fn byte_by_byte() {
    for target in ["/sse", "/sse-unsaid", "/lines"] {
        Both::ask("GET", target, |ask| ask).await.same(target);
    }
    let chat = |ask: Ask| ask.json(r#"{"prompt": "a b c"}"#);
    let chat = Both::ask("POST", "/chat", chat).await.same("chat");
    assert_eq!(chat.text(), "data: a\n\ndata: b\n\ndata: c\n\n");
}

/// Each piece is here when it is there.
#[tokio::test]
async fn as_it_comes() {
    let begun = Instant::now();
    let (head, mut connection) = front().get("/sse?pause=0.4").open().await;
    assert_eq!(
        head.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    let first = connection.chunk().await.unwrap();
    assert_eq!(first, b": a comment\n\n");
    assert!(
        begun.elapsed() < Duration::from_millis(390),
        "{:?}",
        begun.elapsed()
    );
    let second = connection.chunk().await.unwrap();
    assert_eq!(second, b"data: plain\n\n");
    assert!(
        begun.elapsed() < Duration::from_millis(790),
        "{:?}",
        begun.elapsed()
    );
}

/// A stream that breaks says so in its own terms; the upstream's words stay inside.
#[tokio::test]
async fn broken_off() {
    let answer = front().get("/sse?breaks=true").send().await;
    let text = answer.text();
    assert!(text.contains("event: named\nid: 1\n"), "{text}");
    let (_, error) = text.rsplit_once("event: error\ndata: ").unwrap();
    let error: serde_json::Value = serde_json::from_str(error.trim_end()).unwrap();
    assert_eq!(error["status"], 502);
    assert!(error["request_id"].is_string());
    assert!(error["message"].as_str().unwrap().contains("everything"));
    assert!(
        !text.contains("password") && !text.contains("127.0.0.1"),
        "{text}"
    );
    // Other bodies break as they broke there.
    for kind in ["length", "chunked"] {
        let (head, mut connection) = front().get(&format!("/cut?kind={kind}")).open().await;
        assert_eq!(head.status, 200);
        let rest = connection.rest().await;
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.contains("half of it"), "{rest}");
        assert!(!rest.ends_with("0\r\n\r\n"), "{rest}");
    }
}

/// Whoever leaves ends the work there.
#[tokio::test]
async fn the_client_leaves() {
    let (_, mut connection) = front().get("/sse?pause=0.2&key=leaver").open().await;
    connection.chunk().await.unwrap();
    drop(connection);
    until("the upstream's stream is dropped", async || {
        (seen("leaver-cancelled").await == 1).then_some(())
    })
    .await;
}

/// Streams that wait do not wait for each other.
#[tokio::test]
async fn many_at_once() {
    let begun = Instant::now();
    let asks = (0..40).map(|_| front().get("/sse?pause=0.1").send());
    for answer in framex_test_support::patiently("all", futures_util::future::join_all(asks)).await
    {
        assert_eq!(answer.status, 200);
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}
