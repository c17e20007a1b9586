//! Brokers that are not there, go, freeze and come back.

use std::time::{Duration, Instant};

use framex_test_support::nats::{NatsCluster, NatsServer};

use crate::load::{Edges, Load, Plan, Report, once};
use crate::process::Serving;
use crate::site::Site;
use crate::stopwatch::Stopwatch;

const QUICK: &str = "/api/v1/quick";
/// What a call may take that fails at once, on a machine that is used by others.
const AT_ONCE: Duration = Duration::from_millis(500);

fn load(edge: &Serving, request: &'static str) -> Load {
    Load::start(Plan {
        edges: Edges::one(edge.address()),
        request,
        clients: 8,
        pause: Duration::from_millis(5),
    })
}

/// Waits until the edge answers calls.
async fn answers(edge: &Serving, watch: Stopwatch, limit: Duration) {
    let answers = async || (edge.get(QUICK).await.status == 200).then_some(());
    watch.within(limit, "calls are answered", answers).await;
}

/// Waits until `/ready` of a port says this.
async fn ready_says(serving: &Serving, status: u16, part: &str) {
    let says = async || {
        let ready = once(serving.board(), "GET /ready").await;
        (ready.status == status && ready.body.to_string().contains(part)).then_some(())
    };
    let watch = Stopwatch::start();
    watch.within(Duration::from_secs(3), part, says).await;
}

#[tokio::test]
async fn where_nobody_serves_the_answer_comes_at_once() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let edge = site.edge();
    let mut worker = site.worker("a");
    answers(&edge, Stopwatch::start(), Duration::from_secs(1)).await;
    worker.process().kill();
    let killed = Instant::now();
    let mut gone = Vec::new();
    while gone.len() < 10 && killed.elapsed() < Duration::from_secs(5) {
        let got = edge.get(QUICK).await;
        // The call that finds the worker dying may be lost with it.
        let lost = got.status == 502 && killed.elapsed() < Duration::from_secs(1);
        assert!(lost || [503, 404].contains(&got.status), "{got:?}");
        if !lost {
            gone.push(got);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for got in &gone {
        if got.status == 503 {
            assert_eq!(got.said(), "no_responders", "{got:?}");
        }
    }
    gone.sort_unstable_by_key(|got| got.took);
    let middle = gone[gone.len() / 2].took;
    assert!(middle < Duration::from_millis(100), "{middle:?}");
    let slowest = gone[gone.len() - 1].took;
    assert!(slowest < AT_ONCE, "{slowest:?}");
}

#[tokio::test]
async fn everything_may_start_before_the_broker() {
    let broker = NatsServer::start().await;
    broker.kill();
    let site = Site::of(&broker);
    let edge = site.start_edge(&[]);
    let worker = site.start_worker("a", &[]);
    for serving in [&edge, &worker] {
        let health = once(serving.board(), "GET /health").await;
        assert_eq!(health.status, 200, "{health:?}");
        ready_says(serving, 503, "not connected to NATS").await;
    }
    let health = edge.get("/health").await;
    assert_eq!(health.status, 200, "{health:?}");
    let got = edge.get(QUICK).await;
    assert!(got.status == 404 && got.took < AT_ONCE, "{got:?}");
    broker.restart().await;
    answers(&edge, Stopwatch::start(), Duration::from_secs(5)).await;
    let (edge, worker) = (edge.ready(), worker.ready());
    assert!(edge.documents(QUICK).await);
    for serving in [edge, worker] {
        ready_says(&serving, 200, "ready").await;
    }
}

#[tokio::test]
async fn while_the_broker_is_away_calls_fail_at_once() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let worker = site.worker("a");
    let edge = site.edge();
    answers(&edge, Stopwatch::start(), Duration::from_secs(1)).await;
    for round in 0..2 {
        // Some are on their way when it goes.
        let quick = load(&edge, "GET /api/v1/quick");
        let slow = load(&edge, "POST /api/v1/slow?ms=100");
        tokio::time::sleep(Duration::from_millis(700)).await;
        broker.kill();
        let watch = Stopwatch::start();
        tokio::time::sleep(Duration::from_millis(700)).await;
        ready_says(&edge, 503, "not connected to NATS").await;
        ready_says(&worker, 503, "not connected to NATS").await;
        assert_eq!(edge.get("/health").await.status, 200);
        let (quick, slow) = (quick.stop(), slow.stop());
        eprintln!("round {round}: {quick}\n{slow}");
        let stalled = watch.begun().elapsed().saturating_sub(watch.elapsed());
        for report in [&quick, &slow] {
            named_and_at_once(report, watch.begun(), stalled);
            assert!(report.good() > 0 && report.failed() > 0, "{report}");
        }
        // It comes back by itself.
        broker.restart().await;
        let watch = Stopwatch::start();
        answers(&edge, watch, Duration::from_secs(5)).await;
        ready_says(&edge, 200, "ready").await;
        ready_says(&worker, 200, "ready").await;
    }
}

/// Every failure has a name, and none of those that ended after `from` took long.
fn named_and_at_once(report: &Report, from: Instant, stalled: Duration) {
    assert!(report.broken.is_empty(), "{report}");
    for (status, code) in report.answers.keys() {
        let named = [
            "",
            "disconnected",
            "call_lost",
            "no_responders",
            "not_found",
        ];
        assert!(named.contains(&code.as_str()), "{report}");
        assert!([200, 404, 502, 503].contains(status), "{report}");
    }
    for (begun, end, status) in &report.all {
        // From the moment on that there was no broker.
        let took = *end - (*begun).max(from.min(*end));
        assert!(
            *status == 200 || took < AT_ONCE + stalled,
            "{took:?}: {report}"
        );
    }
}

/// What becomes of calls when a node of a cluster goes. The edge is at node 0, a worker
/// at each of the others; the brokers tell them where else to go.
async fn a_node_goes(node: usize, go: impl Fn(&NatsServer), at_most: Duration) {
    let cluster = NatsCluster::start(3).await;
    let at = |node: usize| Site::at(&[cluster.node(node).url()]);
    let sites = [at(0), at(1), at(2)];
    let _workers = [sites[1].worker("one"), sites[2].worker("two")];
    let edge = sites[0].edge();
    answers(&edge, Stopwatch::start(), Duration::from_secs(2)).await;
    let again = load(&edge, "GET /api/v1/quick");
    let once = load(&edge, "POST /api/v1/once");
    tokio::time::sleep(Duration::from_millis(700)).await;
    let begun = Instant::now();
    go(cluster.node(node));
    let watch = Stopwatch::start();
    while watch.elapsed() < at_most + Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (again, once) = (again.stop(), once.stop());
    eprintln!("node {node}: {again}\n{once}");
    let stalled = watch.begun().elapsed().saturating_sub(watch.elapsed());
    for report in [&again, &once] {
        assert!(report.broken.is_empty(), "{report}");
        let codes = report
            .answers
            .keys()
            .all(|(status, _)| [200, 502, 503].contains(status));
        assert!(codes, "{report}");
        let failing = report
            .last_failure()
            .map(|(start, _)| start.saturating_duration_since(begun));
        let failing = failing.unwrap_or_default();
        eprintln!("failing for {failing:?}");
        assert!(
            failing < at_most + stalled,
            "fails for {failing:?}: {report}"
        );
        let from = begun + at_most + stalled;
        let after = report.good_between(from, from + Duration::from_secs(3));
        assert!(after > 20, "{after} afterwards: {report}");
    }
}

#[tokio::test]
async fn the_edges_node_is_killed() {
    a_node_goes(0, NatsServer::kill, Duration::from_secs(3)).await;
}

#[tokio::test]
async fn the_edges_node_freezes() {
    a_node_goes(0, NatsServer::freeze, Duration::from_secs(8)).await;
}

#[tokio::test]
async fn a_workers_node_is_killed() {
    a_node_goes(1, NatsServer::kill, Duration::from_secs(3)).await;
}

#[tokio::test]
async fn a_workers_node_freezes() {
    a_node_goes(1, NatsServer::freeze, Duration::from_secs(5)).await;
}
