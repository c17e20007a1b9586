//! Stops: what runs is finished, what is new is refused, nothing lasts for ever.

use std::time::{Duration, Instant};

use framex_test_support::raw::Ask;
use framex_test_support::{Connection, Server, until};

use crate::zoo::{Zoo, seen};

#[tokio::test]
async fn what_runs_is_finished() {
    let server = Server::of::<Zoo>().await;
    let address = server.address();
    let mut running = server.get("/api/v1/wait?key=finish&ms=600").start().await;
    let (_, mut stream) = server
        .get("/api/v1/ticks?key=finish_ticks&ms=100&count=6")
        .open()
        .await;
    let mut idle = server.connect().await;
    idle.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.answer().await;
    let silent = server.connect().await;
    until("it runs", || seen("finish").begun == 1).await;

    let begun = Instant::now();
    let stop = tokio::spawn(server.stop());
    // Connections between two requests end at once.
    assert!(idle.closes_within(Duration::from_millis(500)).await);
    // New ones are refused while what runs goes on.
    loop {
        match Connection::try_open(address).await {
            Err(_) => break,
            Ok(_) => assert!(
                begun.elapsed() < Duration::from_millis(500),
                "still listening"
            ),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(seen("finish").gone, 0);
    let answer = running.answer().await;
    assert_eq!(answer.data(), 600);
    assert_eq!(answer.header("connection"), Some("close"));
    let mut text = Vec::new();
    while let Some(chunk) = stream.chunk().await {
        text.extend(chunk);
    }
    assert!(
        String::from_utf8(text)
            .unwrap()
            .ends_with("event: finish\ndata: {}\n\n")
    );
    stop.await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    drop(silent);
}

#[tokio::test]
async fn the_grace_period_bounds_it() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("shutdown_grace", "300ms")
        .start()
        .await;
    let (_, mut stream) = server.get("/api/v1/ticks?key=grace&ms=20").open().await;
    let call = server.get("/api/v1/hang?key=grace_call").start().await;
    until("both run", || {
        seen("grace").begun + seen("grace_call").begun == 2
    })
    .await;
    let begun = Instant::now();
    server.stop().await;
    let took = begun.elapsed();
    assert!((250..1500).contains(&took.as_millis()), "{took:?}");
    assert_eq!((seen("grace").gone, seen("grace_call").gone), (1, 1));
    // The stream breaks off; it does not look finished.
    let mut text = Vec::new();
    let end = loop {
        match stream.try_chunk().await {
            Ok(Some(chunk)) => text.extend(chunk),
            end => break end,
        }
    };
    assert_eq!(end, Err(()));
    assert!(!String::from_utf8(text).unwrap().contains("finish"));
    drop(call);
}

/// A handler that blocks its thread cannot be stopped, nor may it stop the stop.
#[tokio::test]
async fn a_blocked_thread_is_given_up() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("shutdown_grace", "100ms")
        .server("num_cpus", 1)
        .start()
        .await;
    let address = server.address();
    let _blocked = server
        .get("/api/v1/block?key=stop_blocked&ms=3000")
        .start()
        .await;
    until("it blocks", || seen("stop_blocked").begun == 1).await;
    let begun = Instant::now();
    server.stop().await;
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    assert!(Connection::try_open(address).await.is_err());
}

#[tokio::test]
async fn the_dashboard_says_that_it_stops() {
    let server = Server::of::<Zoo>().await;
    let dashboard = server.dashboard();
    let mut call = server
        .get("/api/v1/wait?key=stop_ready&ms=500")
        .start()
        .await;
    until("it runs", || seen("stop_ready").begun == 1).await;
    let stop = tokio::spawn(server.stop());
    loop {
        let ready = Ask::new(dashboard, "GET", "/ready").send().await;
        if ready.status == 503 {
            assert_eq!(ready.json()["status"], "stopping");
            break;
        }
    }
    let health = Ask::new(dashboard, "GET", "/health").send().await;
    assert_eq!((health.status, seen("stop_ready").gone), (200, 0));
    assert_eq!(call.answer().await.status, 200);
    stop.await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_goes() {
    let server = Server::of::<Zoo>().await;
    let address = server.address();
    drop(server);
    let begun = Instant::now();
    while Connection::try_open(address).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(2), "still listening");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
