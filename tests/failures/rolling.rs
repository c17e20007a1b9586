//! Restarts one by one, under load: nothing is lost.

use std::time::Duration;

use framex_test_support::nats::NatsServer;

use crate::load::{Edges, Load, Plan, once};
use crate::process::Serving;
use crate::site::Site;

const ROUNDS: usize = 3;

/// A client that knows NATS and nothing of ours: calls until it is told to stop, and
/// gives how many it sent, and what failed.
fn plain(
    url: String,
    stop: tokio::sync::watch::Receiver<bool>,
) -> tokio::task::JoinHandle<(u64, Vec<String>)> {
    tokio::spawn(async move {
        let options = async_nats::ConnectOptions::new();
        let options = options.request_timeout(Some(Duration::from_secs(10)));
        let client = options.connect(url).await.unwrap();
        let (mut sent, mut failures) = (0, Vec::new());
        while !*stop.borrow() {
            sent += 1;
            match client.request("work.Work.once", "{}".into()).await {
                Ok(reply) if reply.payload.starts_with(b"\"") => {}
                Ok(reply) => failures.push(format!("{:?} {:?}", reply.headers, reply.payload)),
                Err(error) => failures.push(error.to_string()),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (sent, failures)
    })
}

fn stopped(worker: Serving) {
    let log = worker.log();
    assert_eq!(worker.stop(), Some(0), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_workers() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let mut workers = vec![site.worker("w0"), site.worker("w1")];
    let relay = || site.start_plugin("relay", &[]).ready();
    let mut relays = vec![relay(), relay()];
    let edge = site.edge();
    let load = |request, clients| {
        Load::start(Plan {
            edges: Edges::one(edge.address()),
            request,
            clients,
            pause: Duration::from_millis(2),
        })
    };
    let loads = [
        load("POST /api/v1/once", 8),
        load("POST /api/v1/slow?ms=30", 8),
        load("GET /api/v1/quick", 4),
        load("POST /api/v1/relay?ms=30", 4),
    ];
    let (stop, told) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..4).map(|_| plain(broker.url(), told.clone())).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for number in 2..2 + 2 * ROUNDS {
        let (old, old_relay) = (workers.remove(0), relays.remove(0));
        tokio::task::block_in_place(|| {
            // One at a time, but callers and those whom they call.
            stopped(old);
            stopped(old_relay);
            workers.push(site.worker(&format!("w{number}")));
            relays.push(relay());
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for load in loads {
        let report = load.stop();
        eprintln!("{report}");
        assert_eq!(report.failed(), 0, "{report}");
        assert_eq!(report.by.len(), 2 + 2 * ROUNDS, "each worked: {report}");
    }
    stop.send_replace(true);
    let mut all = 0;
    for client in clients {
        let (sent, failures) = client.await.unwrap();
        assert_eq!(failures, [""; 0], "of {sent}");
        all += sent;
    }
    eprintln!("{all} requests of plain clients");
    assert!(all > 500, "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_edges() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let _worker = site.worker("a");
    let mut edges = vec![site.edge(), site.edge()];
    let known = Edges::default();
    known.set(edges.iter().map(Serving::address));
    let load = |request, clients| {
        Load::start(Plan {
            edges: known.clone(),
            request,
            clients,
            pause: Duration::from_millis(2),
        })
    };
    let loads = [
        load("GET /api/v1/quick", 8),
        load("POST /api/v1/slow?ms=50", 8),
    ];
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..2 * ROUNDS {
        let old = edges.remove(0);
        // Clients hear of it only when it has gone.
        stopped(old);
        edges.push(site.edge());
        let ready = once(edges[1].address(), "GET /ready").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        known.set(edges.iter().map(Serving::address));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for load in loads {
        let report = load.stop();
        eprintln!("{report}");
        assert_eq!(report.failed(), 0, "{report}");
        assert!(report.sent > 200, "{report}");
    }
}
