//! Streams whose clients, edges, workers and brokers come and go: every event is
//! counted, and compared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use framex_test_support::nats::NatsServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::follower::{Chance, End, Follower, Seen, ask};
use crate::load::Edges;
use crate::process::Serving;
use crate::site::Site;

/// What the handler says at `n`.
pub(crate) fn text(key: &str, n: usize) -> String {
    format!("{key} {n} {}", "x".repeat(n * 7919 % 97))
}

fn told(key: &str, count: usize, ms: u64) -> String {
    format!("/api/v1/tale?key={key}&count={count}&ms={ms}")
}

/// All of it, in order, once.
fn is_whole(seen: &Seen, key: &str, count: usize) {
    assert_eq!(seen.end, End::Finished, "{key}");
    assert_eq!(seen.texts.len(), count, "{key}");
    for (n, said) in seen.texts.iter().enumerate() {
        assert_eq!(*said, text(key, n), "{key}");
    }
}

/// How often each handler ran.
fn runs(site: &Site) -> BTreeMap<String, usize> {
    let mut runs = BTreeMap::new();
    for line in site.notes().lines() {
        if let Some(key) = line.strip_prefix("begun tale ") {
            *runs.entry(key.to_owned()).or_default() += 1;
        }
    }
    runs
}

fn edges(of: &[&Serving]) -> Edges {
    let edges = Edges::default();
    edges.set(of.iter().map(|edge| edge.address()));
    edges
}

/// Follows `count` streams at the same time.
fn many(edges: &Edges, streams: usize, count: usize, ms: u64) -> JoinSet<(String, Seen)> {
    let mut all = JoinSet::new();
    for number in 0..streams {
        let key = format!("k{number}");
        let follower = Follower::new(edges, told(&key, count, ms));
        all.spawn(async move { (key, follower.follow().await) });
    }
    all
}

/// Each stream came whole, and its handler ran once.
async fn all_whole(mut all: JoinSet<(String, Seen)>, count: usize, site: &Site) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(done) = all.join_next().await {
        let (key, one) = done.unwrap();
        is_whole(&one, &key, count);
        assert_eq!(one.fresh, 1, "{key}");
        seen.push(one);
    }
    for (key, runs) in runs(site) {
        assert_eq!(runs, 1, "{key}");
    }
    seen
}

#[tokio::test]
async fn a_thousand_streams_survive_their_clients() {
    const STREAMS: usize = 1000;
    const COUNT: usize = 40;
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let _workers = [site.worker("a"), site.worker("b")];
    let (first, second) = (site.edge(), site.edge());
    let edges = edges(&[&first, &second]);
    let at_once = Arc::new(Semaphore::new(150));
    let mut all = JoinSet::new();
    for number in 0..STREAMS {
        let key = format!("k{number}");
        let mut chance = Chance::new(number as u64);
        let follower = Follower {
            edges: edges.clone(),
            target: told(&key, COUNT, 20),
            cuts: usize::try_from(chance.below(6)).unwrap(),
            chance,
        };
        let at_once = Arc::clone(&at_once);
        all.spawn(async move {
            let _permit = at_once.acquire_owned().await.unwrap();
            (key, follower.follow().await)
        });
    }
    let (mut requests, mut fresh) = (0, BTreeMap::new());
    while let Some(done) = all.join_next().await {
        let (key, seen) = done.unwrap();
        is_whole(&seen, &key, COUNT);
        // Put together of many answers, it is what one client gets that stays.
        let (stream, _) = seen.id.split_once('.').unwrap();
        let whole = Follower::new(&edges, format!("/api/v1/streams/{stream}"));
        let whole = whole.follow().await;
        assert!(whole.bytes == seen.bytes, "{key}");
        requests += seen.requests;
        fresh.insert(key, seen.fresh);
    }
    assert!(requests > STREAMS * 2, "{requests} requests: no test");
    // A stream whose id its client has seen is never run again.
    for (key, runs) in runs(&site) {
        assert!(runs <= fresh[&key], "{key}: {runs} runs");
        assert!(runs >= 1, "{key}");
    }
}

#[tokio::test]
async fn a_stream_whose_worker_dies_ends_with_an_error() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let mut worker = site.worker("a");
    let edge = site.edge();
    let edges = edges(&[&edge]);
    let mut all = many(&edges, 20, 1000, 30);
    tokio::time::sleep(Duration::from_secs(1)).await;
    worker.process().kill();
    let killed = Instant::now();
    while let Some(done) = all.join_next().await {
        let (key, seen) = done.unwrap();
        let End::Error(data) = &seen.end else {
            panic!("{key}: {:?}", seen.end);
        };
        assert!(data.contains("\"call_lost\""), "{data}");
        let took = killed.elapsed();
        assert!(took < Duration::from_millis(4500), "{took:?}");
        assert!(!seen.texts.is_empty(), "{key}");
        for (n, said) in seen.texts.iter().enumerate() {
            assert_eq!(*said, text(&key, n), "{key}");
        }
        // Whoever asks again hears that this was all.
        assert!(seen.id.ends_with(".end"), "{}", seen.id);
        let again = ask(edge.address(), &told(&key, 1000, 30), &seen.id).await;
        assert_eq!(again, End::Refused(204, String::new()));
    }
}

/// In MB.
fn memory(serving: &mut Serving) -> u64 {
    let status = format!("/proc/{}/status", serving.process().id());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn clients_that_read_a_byte_a_second_slow_nobody_else_down() {
    const SLOW: usize = 40;
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let mut worker = site.worker("a");
    let mut edge = site.edge();
    let edges = edges(&[&edge]);
    // Each would be 100 MB.
    let flood = told("flood", 1_000_000, 0);
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut stream = TcpStream::connect(edge.address()).await.unwrap();
        let request = format!("GET {flood} HTTP/1.1\r\nHost: test\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let before = (memory(&mut edge), memory(&mut worker));
    let others = many(&edges, 10, 100, 30);
    for _ in 0..5 {
        for stream in &mut slow {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let after = (memory(&mut edge), memory(&mut worker));
    let grown = (
        after.0.saturating_sub(before.0),
        after.1.saturating_sub(before.1),
    );
    assert!(grown.0 < 96 && grown.1 < 96, "{grown:?} MB");
    let mut others = others;
    while let Some(done) = others.join_next().await {
        let (key, seen) = done.unwrap();
        is_whole(&seen, &key, 100);
        assert!(seen.pause < Duration::from_secs(3), "{:?}", seen.pause);
    }
}

#[tokio::test]
async fn a_full_store_loses_the_oldest_and_says_so() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let _worker = site.worker("a");
    let edge = site.start_edge(&[("STREAMS__MAX_BYTES", "1MiB")]).ready();
    let edges = edges(&[&edge]);
    // Seen in part, and then left.
    let early = told("early", 50, 1);
    let mut stream = TcpStream::connect(edge.address()).await.unwrap();
    let request = format!("GET {early} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("\n\n") || !text.contains("id: ") {
        let mut piece = [0; 512];
        let read = stream.read(&mut piece).await.unwrap();
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    drop(stream);
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap()
        .to_owned();
    // Far more than there is room for; those who follow miss nothing.
    let all = many(&edges, 20, 3000, 0);
    all_whole(all, 3000, &site).await;
    let refused = ask(edge.address(), &early, &id).await;
    let End::Refused(410, said) = &refused else {
        panic!("{refused:?}");
    };
    assert!(
        said.contains("stream_gone") || said.contains("stream_incomplete"),
        "{said}"
    );
}
