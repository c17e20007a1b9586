//! Workers that come and go, and how soon edges know.

use std::time::Duration;

use framex_test_support::nats::NatsServer;

use crate::process::{PATIENCE, Serving};
use crate::site::Site;
use crate::stopwatch::Stopwatch;

const QUICK: &str = "/api/v1/quick";

/// Whether every edge answers so.
async fn all_answer(edges: &[Serving], status: u16) -> Option<()> {
    for edge in edges {
        if edge.get(QUICK).await.status != status {
            return None;
        }
    }
    Some(())
}

async fn all_document(edges: &[Serving], wanted: bool) -> Option<()> {
    for edge in edges {
        if edge.documents(QUICK).await != wanted {
            return None;
        }
    }
    Some(())
}

#[tokio::test]
async fn a_new_plugin_is_routable_at_once_and_a_stopped_one_is_not() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let edges = [site.edge(), site.edge()];
    all_answer(&edges, 404).await.unwrap();
    for _ in 0..2 {
        let worker = site.worker("a");
        let watch = Stopwatch::start();
        let routable = || all_answer(&edges, 200);
        let limit = Duration::from_secs(1);
        watch
            .within(limit, "routable", async || routable().await)
            .await;
        all_document(&edges, true).await.expect("documented");

        let mut worker = worker;
        worker.process().terminate();
        let watch = Stopwatch::start();
        let gone = async || {
            let mut gone = true;
            for edge in &edges {
                let got = edge.get(QUICK).await;
                assert!([200, 404, 503].contains(&got.status), "{got:?}");
                gone &= got.status == 404;
            }
            gone.then_some(())
        };
        watch
            .within(Duration::from_millis(500), "unrouted", gone)
            .await;
        all_document(&edges, false).await.expect("not documented");
        let ended = worker.process().wait(PATIENCE).expect("it ends");
        assert_eq!(ended.code(), Some(0));
    }
}

#[tokio::test]
async fn a_killed_worker_is_noticed_within_three_seconds() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let edges = [site.edge(), site.edge()];
    let mut worker = site.worker("a");
    let up = async || all_answer(&edges, 200).await;
    let watch = Stopwatch::start();
    watch.within(Duration::from_secs(1), "routable", up).await;

    worker.process().kill();
    let watch = Stopwatch::start();
    let gone = async || all_document(&edges, false).await;
    let limit = Duration::from_secs(3);
    watch.within(limit, "a killed one is noticed", gone).await;
    all_answer(&edges, 503).await.expect("nobody serves it");
}

#[tokio::test]
async fn a_frozen_worker_is_noticed_within_three_seconds_and_comes_back() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let edges = [site.edge(), site.edge()];
    let mut worker = site.worker("a");
    let up = async || all_answer(&edges, 200).await;
    let watch = Stopwatch::start();
    watch.within(Duration::from_secs(1), "routable", up).await;

    for _ in 0..2 {
        worker.process().freeze();
        let watch = Stopwatch::start();
        // Nobody calls it meanwhile: its silence alone has to tell.
        let gone = async || all_document(&edges, false).await;
        let limit = Duration::from_secs(3);
        watch.within(limit, "a frozen one is noticed", gone).await;
        all_answer(&edges, 503).await.expect("nobody serves it");

        worker.process().thaw();
        let watch = Stopwatch::start();
        let limit = Duration::from_secs(4);
        watch.within(limit, "a thawed one is back", up).await;
        all_document(&edges, true).await.expect("documented");
    }
}
