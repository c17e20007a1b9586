//! The end of a call reaches the work at every depth: client, edge, and three
//! workers that call each other.

use std::time::Duration;

use framex_test_support::nats::NatsServer;
use framex_test_support::raw::Ask;

use crate::load::once;
use crate::process::Serving;
use crate::site::Site;
use crate::stopwatch::Stopwatch;

const DEPTHS: [&str; 3] = ["first", "second", "third"];

struct Chain {
    site: Site,
    edge: Serving,
    workers: [Serving; 3],
    _broker: NatsServer,
}

impl Chain {
    async fn start() -> Self {
        let broker = NatsServer::start().await;
        let site = Site::of(&broker);
        let workers = DEPTHS.map(|plugin| site.start_plugin(plugin, &[]).ready());
        let edge = site.edge();
        let there = async || (edge.documents("/api/v1/chain").await).then_some(());
        let watch = Stopwatch::start();
        watch
            .within(Duration::from_secs(2), "the chain is there", there)
            .await;
        Self {
            site,
            edge,
            workers,
            _broker: broker,
        }
    }

    /// Whether `what` (`begun` or `gone`) was written down at every depth.
    fn all(&self, what: &str, key: &str) -> Option<()> {
        let notes = self.site.notes();
        let noted = |depth: &&str| {
            let line = format!("{what} {depth} {key}");
            notes.lines().any(|noted| noted == line)
        };
        DEPTHS.iter().all(noted).then_some(())
    }

    async fn begun(&self, key: &str) {
        let begun = async || self.all("begun", key);
        let watch = Stopwatch::start();
        watch
            .within(Duration::from_secs(2), "three deep", begun)
            .await;
    }

    async fn gone(&self, key: &str, limit: Duration) {
        let gone = async || self.all("gone", key);
        Stopwatch::start().within(limit, key, gone).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_work_at_every_depth() {
    let chain = Chain::start().await;
    // At once, and when the work has been going on for some time.
    for (key, pause_ms) in [("soon", 0), ("late", 1_500)] {
        let path = format!("/api/v1/chain?key={key}");
        let client = Ask::new(chain.edge.address(), "GET", &path).start().await;
        chain.begun(key).await;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        assert_eq!(chain.all("gone", key), None);
        drop(client);
        chain.gone(key, Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_deadline_ends_the_work_at_every_depth() {
    let chain = Chain::start().await;
    let got = once(chain.edge.address(), "GET /api/v1/short_chain?key=short").await;
    assert_eq!(
        (got.status, got.said()),
        (504, "deadline_exceeded"),
        "{got:?}"
    );
    assert!(got.took >= Duration::from_millis(690), "{got:?}");
    assert!(got.took < Duration::from_secs(3), "{got:?}");
    assert_eq!(chain.all("begun", "short"), Some(()));
    chain.gone("short", Duration::from_secs(1)).await;
}

#[tokio::test]
async fn the_death_of_the_edge_ends_the_work_at_every_depth() {
    let mut chain = Chain::start().await;
    let path = "/api/v1/chain?key=killed";
    let _client = Ask::new(chain.edge.address(), "GET", path).start().await;
    chain.begun("killed").await;
    chain.edge.process().kill();
    // Nobody says so any more: that nobody listens has to be found out.
    chain.gone("killed", Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_death_in_the_middle_ends_the_work_above_and_below() {
    let mut chain = Chain::start().await;
    let address = chain.edge.address();
    let call = tokio::spawn(async move { once(address, "GET /api/v1/chain?key=middle").await });
    chain.begun("middle").await;
    chain.workers[1].process().kill();
    let watch = Stopwatch::start();
    let got = call.await.unwrap();
    let took = watch.elapsed();
    assert_eq!((got.status, got.said()), (502, "call_lost"), "{got:?}");
    assert!(took < Duration::from_secs(3), "{took:?}: {got:?}");
    let below = async || {
        let notes = chain.site.notes();
        notes.contains("gone third middle").then_some(())
    };
    watch
        .within(Duration::from_secs(5), "the work below", below)
        .await;
}
