//! Upstreams that fail, and what clients, operators and plugins hear of it.

use std::time::{Duration, Instant};

use framex_test_support::{Answer, Connection, Server, patiently};
use serde_json::{Value, json};

use crate::site::{application, bridge_to, everything, front, imported, ready, seen, until};

/// That `answer` is a failure of the upstream called `name`, in our words.
#[track_caller]
fn failed(answer: &Answer, status: u16, code: &str, name: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.lossy());
    let body = answer.json();
    assert_eq!(
        (&body["status"], &body["code"]),
        (&json!(status), &json!(code)),
        "{body}"
    );
    let message = body["message"].as_str().unwrap();
    assert!(
        message.contains(name) && !message.contains("127.0.0.1"),
        "{body}"
    );
    assert!(
        body["request_id"].is_string() && body["timestamp"].is_string(),
        "{body}"
    );
    body
}

async fn call(server: &Server, target: &str, values: Value) -> Answer {
    let target = target.replace(' ', "%20");
    let call = server.post(&format!("/api/v1/call?target={target}"));
    call.json(values.to_string()).send().await
}

/// The value of a metric of the upstream `name`.
async fn metric(server: &Server, metric: &str, name: &str) -> f64 {
    let metrics = server.get("/metrics").send().await;
    let start = format!("{metric}{{upstream=\"{name}\"}} ");
    let line = metrics
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(&start));
    let value = line.unwrap_or_else(|| panic!("no {start} in {}", metrics.text()));
    value.parse().unwrap()
}

/// It is killed, and started again; the breaker is told of, and closes by itself.
#[tokio::test]
async fn killed_and_back() {
    let mut upstream = application("clash").started();
    let server = bridge_to(&upstream, "mortal", json!({})).start().await;
    imported(&server, "mortal").await;
    assert_eq!(server.get("/orders").send().await.status, 200);
    assert!(metric(&server, "framex_upstream_requests_total", "mortal").await >= 1.0);
    assert_eq!(
        metric(&server, "framex_upstream_circuit_open", "mortal").await,
        0.0
    );

    upstream.stop();
    failed(
        &server.get("/orders").send().await,
        502,
        "upstream_unreachable",
        "mortal",
    );
    failed(
        &call(&server, "GET /orders", json!({})).await,
        502,
        "upstream_unreachable",
        "mortal",
    );
    let open = until("the circuit is open", async || {
        let answer = server.get("/orders").send().await;
        (answer.json()["code"] == "upstream_down").then_some(answer)
    })
    .await;
    failed(&open, 502, "upstream_down", "mortal");
    let after: u64 = open.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=15).contains(&after), "{after}");
    let told = ready(&server).await;
    assert_eq!(told["status"], "degraded", "{told}");
    assert!(told.to_string().contains("mortal"), "{told}");
    assert_eq!(
        metric(&server, "framex_upstream_circuit_open", "mortal").await,
        1.0
    );
    assert!(metric(&server, "framex_upstream_failures_total", "mortal").await >= 5.0);
    // At once, without asking anybody.
    let begun = Instant::now();
    server.get("/orders").send().await;
    assert!(
        begun.elapsed() < Duration::from_millis(200),
        "{:?}",
        begun.elapsed()
    );

    upstream.start();
    until("it answers again", async || {
        (server.get("/orders").send().await.status == 200).then_some(())
    })
    .await;
    until("all is well", async || {
        (ready(&server).await["status"] == "ready").then_some(())
    })
    .await;
    assert_eq!(
        metric(&server, "framex_upstream_circuit_open", "mortal").await,
        0.0
    );
    server.stop().await;
}

/// It is there and says nothing.
#[tokio::test]
async fn too_slow() {
    let server = bridge_to(everything(), "slow", json!({ "timeout": "300ms" }));
    let server = server.start().await;
    imported(&server, "slow").await;
    let begun = Instant::now();
    let answer = server.get("/slow?seconds=5").send().await;
    failed(&answer, 504, "upstream_timeout", "slow");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let called = call(&server, "/slow", json!({ "seconds": 5 })).await;
    failed(&called, 504, "upstream_timeout", "slow");
    // What has begun may take its time, as long as it goes on.
    let lines = server.get("/sse?pause=0.1").send().await;
    assert_eq!(lines.status, 200);
    assert!(lines.text().ends_with("[DONE]\n\n"));
    assert_eq!(
        server.get("/slow?seconds=0.05").send().await.json(),
        "at last"
    );
    server.stop().await;
}

/// A frozen process has open sockets and no answer; a thawed one goes on.
#[tokio::test]
async fn frozen() {
    let upstream = application("clash").started();
    let server = bridge_to(&upstream, "frozen", json!({ "timeout": "300ms" }));
    let server = server.start().await;
    imported(&server, "frozen").await;
    upstream.process().freeze();
    failed(
        &server.get("/orders").send().await,
        504,
        "upstream_timeout",
        "frozen",
    );
    // Nobody else waits for it.
    assert_eq!(server.get("/health").send().await.status, 200);
    upstream.process().thaw();
    until("it answers again", async || {
        (server.get("/orders").send().await.status == 200).then_some(())
    })
    .await;
    server.stop().await;
}

/// It dies in the middle of a body.
#[tokio::test]
async fn killed_within_an_answer() {
    let mut upstream = application("everything").started();
    let server = bridge_to(&upstream, "dying", json!({})).start().await;
    imported(&server, "dying").await;
    let (head, mut download) = server.get("/large?size=200000000&known=true").open().await;
    assert_eq!(head.header("content-length"), Some("200000000"));
    let (_, mut stream) = server.get("/sse?pause=5").open().await;
    stream.chunk().await.unwrap();
    upstream.stop();
    let got = patiently("the end", download.rest()).await.len();
    assert!(got < 200_000_000, "{got}");
    let mut rest = String::new();
    while let Some(chunk) = patiently("the end", stream.chunk()).await {
        rest.push_str(&String::from_utf8_lossy(&chunk));
    }
    let (_, error) = rest.rsplit_once("event: error\ndata: ").unwrap();
    let error: Value = serde_json::from_str(error.trim_end()).unwrap();
    assert_eq!(
        (&error["status"], &error["code"]),
        (&json!(502), &json!("upstream_broken"))
    );
    server.stop().await;
}

/// Connections that were left idle have died with the process; a safe request does not notice.
#[tokio::test]
async fn idle_connections_that_died() {
    let mut upstream = application("clash").started();
    let server = bridge_to(&upstream, "reborn", json!({})).start().await;
    imported(&server, "reborn").await;
    for _ in 0..5 {
        assert_eq!(server.get("/orders").send().await.status, 200);
        upstream.stop();
        upstream.start();
        let answer = server.get("/orders").send().await;
        assert_eq!(answer.status, 200, "{}", answer.lossy());
    }
    server.stop().await;
}

/// More than may wait for it at once are refused, and the others are served.
#[tokio::test]
async fn too_many() {
    let rules = json!({ "max_ongoing_requests": 2 });
    let server = bridge_to(everything(), "narrow", rules).start().await;
    imported(&server, "narrow").await;
    let slow = |_| server.get("/slow?seconds=0.6&count=narrow").send();
    let (slow, refused) = tokio::join!(futures_util::future::join_all((0..2).map(slow)), async {
        until("both are there", async || {
            (seen("narrow").await == 2).then_some(())
        })
        .await;
        server.get("/text").send().await
    });
    failed(&refused, 503, "overloaded", "narrow");
    assert!(refused.header("retry-after").is_some());
    assert!(slow.iter().all(|answer| answer.status == 200));
    assert_eq!(server.get("/text").send().await.status, 200);
    server.stop().await;
}

/// A call that nobody waits for any more ends there too, and so does a body that breaks off.
#[tokio::test]
async fn callers_that_leave() {
    let waiting = front().get("/waits?key=caller&count=caller").start().await;
    until("it is there", async || {
        (seen("caller").await == 1).then_some(())
    })
    .await;
    drop(waiting);
    until("the upstream's client has gone", async || {
        (seen("caller-gone").await == 1).then_some(())
    })
    .await;
    let mut connection = Connection::open(front().address()).await;
    let head = "POST /raw?count=half HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
    connection.send(head).await.send(vec![0; 300_000]).await;
    until("it is there", async || {
        (seen("half").await == 1).then_some(())
    })
    .await;
    drop(connection);
    until("the upstream's body has broken off", async || {
        (seen("raw-broken-off").await == 1).then_some(())
    })
    .await;
}
