//! Workers that die or freeze while they are called.

use std::time::{Duration, Instant};

use framex_test_support::nats::NatsServer;
use framex_test_support::raw::Ask;

use crate::load::{Edges, Load, Plan, Report, once};
use crate::process::Serving;
use crate::site::Site;
use crate::stopwatch::Stopwatch;

/// Of each kind.
const CLIENTS: usize = 8;
/// After which a call on a dead worker has to be over, whatever its own limit.
const OVER: Duration = Duration::from_millis(3_500);

/// Calls that may be repeated, and calls that may not.
struct Both {
    again: Load,
    once: Load,
}

impl Both {
    fn start(edge: &Serving) -> Self {
        let load = |request| {
            Load::start(Plan {
                edges: Edges::one(edge.address()),
                request,
                clients: CLIENTS,
                pause: Duration::from_millis(5),
            })
        };
        Self {
            again: load("GET /api/v1/slow?ms=20"),
            once: load("POST /api/v1/slow?ms=20"),
        }
    }

    fn stop(self) -> (Report, Report) {
        let (again, once) = (self.again.stop(), self.once.stop());
        eprintln!("may be repeated: {again}\nmay not: {once}");
        (again, once)
    }
}

/// Two workers, one of which ends as `end` says while both are called.
async fn one_of_two(end: impl FnOnce(&mut Serving)) {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let (_stays, mut goes) = (site.worker("stays"), site.worker("goes"));
    let edge = site.edge();
    let load = Both::start(&edge);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let watch = Stopwatch::start();
    end(&mut goes);
    let ended = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (again, once) = load.stop();

    for report in [&again, &once] {
        assert!(report.by["goes"] > 0 && report.by["stays"] > 0, "{report}");
        assert!(report.broken.is_empty(), "{report}");
        let stalled = watch.begun().elapsed().saturating_sub(watch.elapsed());
        assert!(report.slowest() < OVER + stalled, "{report}");
        // The other one goes on: meanwhile, and as soon as it is known.
        let meanwhile = report.good_between(ended + Duration::from_millis(500), ended + OVER);
        let known = report.good_between(ended + OVER, ended + Duration::from_secs(5));
        assert!(
            meanwhile > 50 && known > 50,
            "{meanwhile}, {known}: {report}"
        );
    }
    assert_eq!(again.failed(), 0, "{again}");
    // Each client had one call there at most, and no second one went there.
    assert!(once.failed() <= CLIENTS as u64, "{once}");
    assert_eq!(once.failed(), once.with(502) + once.with(503), "{once}");
}

#[tokio::test]
async fn of_two_workers_one_is_killed() {
    one_of_two(|worker| worker.process().kill()).await;
}

#[tokio::test]
async fn of_two_workers_one_is_frozen() {
    one_of_two(|worker| worker.process().freeze()).await;
}

/// Calls that have been running for a while, and say so.
#[tokio::test]
async fn long_work_on_a_dead_worker_is_over_in_seconds() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let mut goes = [site.worker("goes"), site.worker("goes")];
    let _stays = site.worker("stays");
    let edge = site.edge();
    let address = edge.address();
    let long = |request: &'static str| tokio::spawn(async move { once(address, request).await });
    // So many that each of the three has some.
    let again: Vec<_> = (0..9).map(|_| long("GET /api/v1/slow?ms=4000")).collect();
    let only: Vec<_> = (0..9)
        .map(|_| long("POST /api/v1/slow?ms=600000"))
        .collect();
    let mut streams = Vec::new();
    for _ in 0..6 {
        let (head, stream) = Ask::new(address, "GET", "/api/v1/ticks?count=40&ms=100")
            .open()
            .await;
        assert_eq!(head.status, 200);
        streams.push(tokio::spawn(read(stream)));
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    goes[0].process().kill();
    goes[1].process().freeze();
    let watch = Stopwatch::start();

    let mut lost = 0;
    for call in only {
        // Those on the one that lives run on.
        if let Ok(got) = tokio::time::timeout(OVER.saturating_sub(watch.elapsed()), call).await {
            let got = got.unwrap();
            assert!([502, 503].contains(&got.status), "{got:?}");
            lost += 1;
        }
    }
    assert!((2..=8).contains(&lost), "{lost} calls were lost");
    for call in again {
        let got = call.await.unwrap();
        assert_eq!((got.status, got.said()), (200, "stays"), "{got:?}");
    }
    let mut ends = Vec::new();
    for stream in streams {
        ends.push(stream.await.unwrap());
    }
    let broken = ends.iter().filter(|end| end.contains("call_lost")).count();
    let whole = ends.iter().filter(|end| end.starts_with("finish")).count();
    assert!((1..=5).contains(&broken), "{ends:?}");
    assert_eq!(broken + whole, ends.len(), "{ends:?}");
}

/// A stream's last event.
async fn read(mut stream: framex_test_support::Connection) -> String {
    let mut text = Vec::new();
    while let Some(chunk) = stream.chunk().await {
        text.extend(chunk);
    }
    let text = String::from_utf8(text).unwrap();
    let last = text.rsplit("event: ").next();
    last.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn work_that_takes_long_is_not_taken_for_dead() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let worker = site.worker("a");
    let other = site.start_plugin("third", &[]).ready();
    let edge = site.edge();
    let address = edge.address();
    let begun = Instant::now();
    let long = |request: &'static str| tokio::spawn(async move { once(address, request).await });
    let calls = [
        long("GET /api/v1/block?ms=10000"),
        long("GET /api/v1/slow?ms=10000"),
        long("POST /api/v1/slow?ms=10000"),
    ];
    // Everything else goes on meanwhile, in the process whose handler blocks too.
    let mut rounds = 0;
    while begun.elapsed() < Duration::from_millis(9_800) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let watch = Stopwatch::start();
        for worker in [&worker, &other] {
            let ready = once(worker.board(), "GET /ready").await;
            assert_eq!(ready.status, 200, "{ready:?}");
        }
        let quick = edge.get("/api/v1/quick").await;
        assert_eq!(quick.status, 200, "{quick:?}");
        assert!(edge.documents("/api/v1/block").await);
        let took = watch.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?} in round {rounds}");
        rounds += 1;
    }
    assert!(rounds > 10, "{rounds}");
    for call in calls {
        let got = call.await.unwrap();
        assert_eq!((got.status, got.said()), (200, "a"), "{got:?}");
    }
    let log = worker.log();
    assert!(log.contains("work.Work.block"), "named in the log: {log}");
}
