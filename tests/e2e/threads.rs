//! Handlers that block their thread stop neither health nor other plugins.

use std::time::{Duration, Instant};

use framex_test_support::raw::Ask;
use framex_test_support::{Server, log, until};

use crate::zoo::{Zoo, seen};

#[tokio::test]
async fn a_blocked_thread_is_not_the_process() {
    log::keep();
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("num_cpus", 1)
        .start()
        .await;
    let mut blocked = Vec::new();
    for round in 1..=2 {
        blocked.push(server.get("/api/v1/block?key=block&ms=1500").start().await);
        until("it blocks", || seen("block").begun == round).await;
        for (address, path) in [
            (server.address(), "/health"),
            (server.dashboard(), "/health"),
            (server.address(), "/api/v1/echo?message=x"),
        ] {
            let begun = Instant::now();
            let answer = Ask::new(address, "GET", path).send().await;
            let took = begun.elapsed();
            assert_eq!(answer.status, 200);
            assert!(took < Duration::from_millis(300), "{path}: {took:?}");
        }
    }
    assert_eq!(
        seen("block").gone,
        0,
        "the handlers were to block all the while"
    );
    until("the log names the handler", || {
        !log::lines_with("zoo.Zoo.block").is_empty()
    })
    .await;
    let lines = log::lines_with("zoo.Zoo.block");
    assert!(lines[0].contains("blocks its thread"), "{lines:?}");
    for mut connection in blocked {
        assert_eq!(connection.answer().await.data(), 1500);
    }
}

#[tokio::test]
async fn secrets_and_causes_are_in_the_log_with_the_request_id() {
    log::keep();
    let server = Server::of::<Zoo>().await;
    let ask = server
        .get("/api/v1/fail/other")
        .header("X-Request-Id", "find-me-in-the-log");
    assert_eq!(ask.send().await.status, 500);
    until("it is logged", || {
        !log::lines_with("find-me-in-the-log").is_empty()
    })
    .await;
    let line = &log::lines_with("find-me-in-the-log")[0];
    assert!(
        line.contains("zoo.Zoo.fail") && line.contains("hunter2"),
        "{line}"
    );
    let ask = server
        .get("/api/v1/fail/panic")
        .header("X-Request-Id", "find-the-panic");
    assert_eq!(ask.send().await.status, 500);
    until("it is logged", || {
        !log::lines_with("find-the-panic").is_empty()
    })
    .await;
}
