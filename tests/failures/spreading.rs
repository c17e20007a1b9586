//! Calls go where there is room.

use std::time::Duration;

use framex_test_support::nats::NatsServer;

use crate::load::{Edges, Load, Plan};
use crate::site::Site;

fn load(edge: &crate::process::Serving, request: &'static str, clients: usize) -> Load {
    Load::start(Plan {
        edges: Edges::one(edge.address()),
        request,
        clients,
        pause: Duration::from_millis(1),
    })
}

#[tokio::test]
async fn the_faster_one_gets_more() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let slowness = |ms| [("PLUGINS__WORK__SLOWNESS_MS", ms)];
    let _fast = site.start_worker("fast", &slowness("1")).ready();
    let _slow = site.start_worker("slow", &slowness("50")).ready();
    let edge = site.edge();
    let load = load(&edge, "GET /api/v1/quick", 16);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = load.stop();
    eprintln!("{report}");
    assert_eq!(report.failed(), 0, "{report}");
    // By turns, as a queue group spreads them, there would be as many here as there.
    assert!(report.by["fast"] > 3 * report.by["slow"], "{report}");
}

#[tokio::test]
async fn who_is_full_is_passed_over_at_once() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let _workers = [site.worker("a"), site.worker("b"), site.worker("c")];
    let edges = [site.edge(), site.edge()];
    // As many clients as there is room for, and callers that do not know of each other.
    let ms = "GET /api/v1/single?ms=100";
    let loads = [load(&edges[0], ms, 2), load(&edges[1], ms, 1)];
    tokio::time::sleep(Duration::from_secs(2)).await;
    for load in loads {
        let report = load.stop();
        eprintln!("{report}");
        assert_eq!(report.failed(), 0, "{report}");
    }
    // One more than there is room for is told so at once.
    let load = load(&edges[0], "GET /api/v1/single?ms=500", 6);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = load.stop();
    eprintln!("{report}");
    assert!(report.with(503) > 0 && report.good() > 0, "{report}");
    assert_eq!(report.failed(), report.with(503), "{report}");
    assert!(
        report.answers.contains_key(&(503, "overloaded".into())),
        "{report}"
    );
    let refused = report.all.iter().filter(|(_, _, status)| *status == 503);
    let mut took: Vec<Duration> = refused.map(|(begun, end, _)| *end - *begun).collect();
    took.sort_unstable();
    let middle = took[took.len() / 2];
    assert!(middle < Duration::from_millis(100), "{middle:?}: {report}");
}
