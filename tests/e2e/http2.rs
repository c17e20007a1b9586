//! HTTP/2 without TLS, by prior knowledge.

use std::time::Duration;

use framex_test_support::h2::Client;
use framex_test_support::{Server, patiently, until};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::zoo::{Zoo, seen};

async fn json_of(response: Response<Incoming>) -> Value {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn calls() {
    let server = Server::of::<Zoo>().await;
    let mut client = Client::open(server.address()).await;
    let response = client.send("GET", "/api/v1/echo?message=two", "").await;
    assert_eq!(
        (response.status(), response.version()),
        (hyper::StatusCode::OK, hyper::Version::HTTP_2)
    );
    assert_eq!(json_of(response).await["data"], "two");
    let response = client.send("POST", "/api/v1/value", "[1,2]").await;
    assert_eq!(json_of(response).await["data"], json!([1, 2]));
    let response = client.send("GET", "/api/v1/fail/panic", "").await;
    assert_eq!(response.status(), 500);
    let response = client.send("GET", "/nowhere", "").await;
    assert_eq!(json_of(response).await["status"], 404);
    let response = client.send("HEAD", "/health", "").await;
    assert_eq!(response.status(), 200);
    // Headers of the connection are none of HTTP/2.
    for target in ["closing", "chunked", "long_length"] {
        let response = client
            .send("GET", &format!("/api/v1/response/{target}"), "")
            .await;
        assert_eq!(response.status(), 200, "{target}");
        response.into_body().collect().await.unwrap();
    }
    let large = format!("\"{}\"", "x".repeat(5 << 20));
    let response = client.send("POST", "/api/v1/value", &large).await;
    assert_eq!(response.status(), 413);
    let response = client.send("GET", "/api/v1/unit", "").await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn streams_beside_calls() {
    let server = Server::of::<Zoo>().await;
    let mut client = Client::open(server.address()).await;
    let stream = client
        .send("GET", "/api/v1/ticks?key=h2&ms=20&count=5", "")
        .await;
    let call = client.send("GET", "/api/v1/echo?message=beside", "").await;
    assert_eq!(json_of(call).await["data"], "beside");
    assert_eq!(seen("h2").gone, 0);
    let text = stream.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert_eq!(text.matches("message_chunk").count(), 5);
    assert!(text.ends_with("event: finish\ndata: {}\n\n"));
}

#[tokio::test]
async fn cancelling_one_stream_stops_its_handler_only() {
    let server = Server::of::<Zoo>().await;
    let mut client = Client::open(server.address()).await;
    let mut stream = client
        .send("GET", "/api/v1/ticks?key=h2_cancel&ms=10", "")
        .await;
    assert!(stream.body_mut().frame().await.is_some());
    let other = client
        .send("GET", "/api/v1/ticks?key=h2_other&ms=10", "")
        .await;
    drop(stream);
    let took = until("it is gone", || seen("h2_cancel").gone == 1).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    // A call that has not answered yet.
    let call = client.send("GET", "/api/v1/hang?key=h2_hang", "");
    assert!(
        tokio::time::timeout(Duration::from_millis(200), call)
            .await
            .is_err()
    );
    assert_eq!(seen("h2_hang").begun, 1);
    until("it is gone too", || seen("h2_hang").gone == 1).await;
    assert_eq!(seen("h2_other").gone, 0);
    drop(other);
    drop(client);
    until("all are gone", || seen("h2_other").gone == 1).await;
}

/// The limit for heads and that for silence are HTTP/1's: pings and window
/// updates are no heads, and a long stream is no silence.
#[tokio::test]
async fn long_streams_are_not_cut() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("header_timeout", "200ms")
        .server("idle_timeout", "400ms")
        .server("sse_heartbeat", "10s")
        .start()
        .await;
    let mut client = Client::open(server.address()).await;
    let stream = client
        .send("GET", "/api/v1/ticks?key=h2_long&ms=10&count=120", "")
        .await;
    let quiet = client
        .send("GET", "/api/v1/ticks?key=h2_quiet&ms=1000&count=2", "")
        .await;
    let text = patiently("the stream", stream.into_body().collect())
        .await
        .unwrap();
    assert!(text.to_bytes().ends_with(b"event: finish\ndata: {}\n\n"));
    let text = patiently("the stream", quiet.into_body().collect())
        .await
        .unwrap();
    assert!(text.to_bytes().ends_with(b"event: finish\ndata: {}\n\n"));
    // A connection without requests ends in good order.
    until("it is closed", || client.is_closed()).await;
}

#[tokio::test]
async fn a_used_connection_stays_for_the_next_request() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("header_timeout", "200ms")
        .start()
        .await;
    let mut client = Client::open(server.address()).await;
    for _ in 0..3 {
        let response = client.send("GET", "/api/v1/big?size=200000", "").await;
        assert_eq!(
            json_of(response).await["data"].as_str().unwrap().len(),
            200_000
        );
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert!(!client.is_closed());
}

#[tokio::test]
async fn a_stop_finishes_what_runs() {
    let server = Server::of::<Zoo>().await;
    let mut client = Client::open(server.address()).await;
    let stream = client
        .send("GET", "/api/v1/ticks?key=h2_stop&ms=50&count=6", "")
        .await;
    let stop = tokio::spawn(server.stop());
    let text = patiently("the stream", stream.into_body().collect())
        .await
        .unwrap();
    assert!(text.to_bytes().ends_with(b"event: finish\ndata: {}\n\n"));
    patiently("the stop", stop).await.unwrap();
}
