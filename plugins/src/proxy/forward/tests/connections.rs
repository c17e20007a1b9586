//! Which connections are used again, by whom, and for how long.

use futures_util::future::join_all;

use super::*;

/// An upstream that answers all, and how many of its connections have ended.
async fn counting() -> (Scripted, Arc<AtomicUsize>) {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let upstream = Scripted::start(move |mut peer, _| {
        let count = Arc::clone(&count);
        async move {
            while peer.head().await.is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                peer.send(answer("200 OK", "", "ok")).await;
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    (upstream, ended)
}

#[tokio::test]
async fn connections_are_used_again() {
    let (upstream, _) = counting().await;
    let forwarder = upstream.forwarder(json!({}));
    for _ in 0..2 {
        let calls = (0..10).map(|_| pass(&forwarder, "GET /x"));
        for got in join_all(calls).await {
            assert_eq!(got.unwrap().text(), "ok");
        }
        assert_eq!(upstream.connections(), 10);
    }
    for _ in 0..3 {
        pass(&forwarder, "POST /x").await.unwrap();
    }
    assert_eq!(upstream.connections(), 10);
}

#[tokio::test]
async fn what_nobody_uses_is_closed() {
    let (upstream, ended) = counting().await;
    let forwarder = upstream.forwarder(json!({}));
    pass(&forwarder, "GET /x").await.unwrap();
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(20)).await;
    tokio::time::resume();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(ended.load(Ordering::Relaxed), 0);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(50)).await;
    tokio::time::resume();
    until(|| ended.load(Ordering::Relaxed) == 1).await;
    assert_eq!(pass(&forwarder, "GET /x").await.unwrap().text(), "ok");
    // With the forwarder goes all that it has.
    drop(forwarder);
    until(|| ended.load(Ordering::Relaxed) == 2).await;
}

#[tokio::test]
async fn each_runtime_has_its_own() {
    let (upstream, _) = counting().await;
    let forwarder = upstream.forwarder(json!({}));
    pass(&forwarder, "GET /x").await.unwrap();
    for number in 2..4 {
        let forwarder = Arc::clone(&forwarder);
        let elsewhere = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                for _ in 0..2 {
                    pass(&forwarder, "GET /x").await.unwrap();
                }
            });
        });
        until(|| elsewhere.is_finished()).await;
        elsewhere.join().unwrap();
        assert_eq!(upstream.connections(), number);
    }
    pass(&forwarder, "GET /x").await.unwrap();
    assert_eq!(upstream.connections(), 3);
}
