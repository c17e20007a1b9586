//! Streams that clients take up again, whatever was killed meanwhile.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use framex_test_support::nats::{NatsCluster, NatsServer};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::site::Site;
use crate::streams::text;

/// No stream stands still for so long.
const LIMIT: Duration = Duration::from_secs(25);

/// A client that reads one story to its end.
#[derive(Default)]
struct Reader {
    key: String,
    count: usize,
    ms: u64,
    /// Of the event that came last.
    last: Option<String>,
    texts: Vec<String>,
    /// The error at the end, if that was one.
    error: Option<Value>,
    /// The longest pause between two lines.
    pause: Duration,
}

/// Why reading stopped.
#[derive(Debug, PartialEq, Eq)]
enum Stopped {
    /// The story is over.
    Over,
    /// As many events as were wanted have come.
    Enough,
    /// The connection broke off.
    Broken,
    Refused(u16),
}

impl Reader {
    fn new(key: String, count: usize, ms: u64) -> Self {
        Self {
            key,
            count,
            ms,
            ..Self::default()
        }
    }

    /// Reads `most` events at an edge, the next ones.
    async fn read(&mut self, edge: SocketAddr, most: usize) -> Stopped {
        let read = self.try_read(edge, most).await;
        read.unwrap_or(Stopped::Broken)
    }

    async fn try_read(&mut self, edge: SocketAddr, most: usize) -> std::io::Result<Stopped> {
        let mut stream = TcpStream::connect(edge).await?;
        let last = match &self.last {
            Some(id) => format!("Last-Event-ID: {id}\r\n"),
            None => String::new(),
        };
        let (key, count, ms) = (self.key.clone(), self.count, self.ms);
        // Without chunks: every line is one of the body.
        let request = format!(
            "GET /api/v1/tale?key={key}&count={count}&ms={ms} HTTP/1.0\r\nHost: x\r\nAccept: application/x-ndjson\r\n{last}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut lines = BufReader::new(stream).lines();
        let mut next = async || {
            let begun = Instant::now();
            let line = timeout(LIMIT, lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{key} stands still"))?;
            Ok::<_, std::io::Error>((line, begun.elapsed()))
        };
        let Some(status) = next().await?.0 else {
            return Ok(Stopped::Broken);
        };
        let status = status.split(' ').nth(1).and_then(|s| s.parse().ok());
        if status != Some(200) {
            while let Some(line) = next().await?.0 {
                eprintln!("{key}: {line}");
            }
            return Ok(Stopped::Refused(status.unwrap_or(0)));
        }
        while next().await?.0.is_some_and(|header| !header.is_empty()) {}
        let mut enough = most;
        while let Some(left) = enough.checked_sub(1) {
            let (line, pause) = next().await?;
            let Some(line) = line else {
                return Ok(Stopped::Broken);
            };
            self.pause = self.pause.max(pause);
            let Ok(event) = serde_json::from_str::<Value>(&line) else {
                // A heartbeat.
                continue;
            };
            match event["event"].as_str() {
                Some("finish") => return Ok(Stopped::Over),
                Some("error") => {
                    self.error = Some(event["data"].clone());
                    return Ok(Stopped::Over);
                }
                _ => {}
            }
            self.last = event["id"].as_str().map(str::to_owned);
            let text = event["data"]["content"].as_str();
            self.texts.push(text.unwrap_or_default().to_owned());
            enough = left;
        }
        Ok(Stopped::Enough)
    }

    /// Asserts that the first `count` events came, each once and in order.
    fn has_read(&self, count: usize) {
        let expected: Vec<_> = (0..count).map(|n| text(&self.key, n)).collect();
        assert!(
            self.texts == expected,
            "{} of {count}: {:?}",
            self.texts.len(),
            self.texts
        );
    }

    fn is_whole(&self) {
        assert_eq!(self.error, None, "{}", self.key);
        self.has_read(self.count);
    }
}

/// How often the handler of each story began.
fn begun(site: &Site) -> BTreeMap<String, usize> {
    let mut begun = BTreeMap::new();
    for line in site.notes().lines() {
        if let Some(key) = line.strip_prefix("begun tale ") {
            *begun.entry(key.to_owned()).or_default() += 1;
        }
    }
    begun
}

#[tokio::test]
async fn a_handler_runs_once_however_often_its_stream_is_cut() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let _worker = site.worker("a");
    let edges = [site.edge(), site.edge()];
    let at = [edges[0].address(), edges[1].address()];
    let clients = (0..30).map(|n| async move {
        let mut reader = Reader::new(format!("s{n}"), 60, 20);
        let mut turn = n;
        while reader.read(at[turn % 2], 1 + turn % 5).await == Stopped::Enough {
            turn += 1;
        }
        reader
    });
    for reader in join_all(clients).await {
        reader.is_whole();
    }
    let begun = begun(&site);
    assert!(
        begun.len() == 30 && begun.values().all(|times| *times == 1),
        "{begun:?}"
    );
}

#[tokio::test]
async fn the_leader_of_the_store_is_killed_under_a_hundred_streams() {
    let cluster = NatsCluster::start(3).await;
    let site = Site::at(&cluster.urls());
    let _workers = [site.worker("a"), site.worker("b")];
    let settings = [("STREAMS__REPLICAS", "3")];
    let edges = [
        site.start_edge(&settings).ready(),
        site.start_edge(&settings).ready(),
    ];
    let at = [edges[0].address(), edges[1].address()];
    let clients = (0..100).map(|n| async move {
        let mut reader = Reader::new(format!("s{n}"), 300, 50);
        let stopped = reader.read(at[n % 2], 1000).await;
        assert_eq!(stopped, Stopped::Over, "{}", reader.key);
        // The same again, out of the store, at the other edge.
        let mut again = Reader::new(reader.key.clone(), 300, 50);
        again.last = reader.last.as_ref().map(|last| {
            let (stream, _) = last.split_once('.').unwrap();
            format!("{stream}.1")
        });
        again.texts = reader.texts[..1].to_vec();
        let stopped = again.read(at[(n + 1) % 2], 1000).await;
        assert_eq!(stopped, Stopped::Over, "{}", reader.key);
        [reader, again]
    });
    let kill = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let streams = cluster.node(0).monitor("/jsz?streams=true").await;
        let stream = &streams["account_details"][0]["stream_detail"][0];
        assert_eq!(stream["cluster"]["replicas"].as_array().unwrap().len(), 2);
        let leader = stream["cluster"]["leader"].as_str().unwrap().to_owned();
        let node = leader.trim_start_matches('n').parse().unwrap();
        cluster.node(node).kill();
        leader
    };
    let (readers, leader) = tokio::join!(join_all(clients), kill);
    let mut longest = Duration::ZERO;
    for reader in readers.iter().flatten() {
        reader.is_whole();
        longest = longest.max(reader.pause);
    }
    eprintln!("without {leader}, the longest pause was {longest:?}");
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    assert!(begun(&site).values().all(|times| *times == 1));
}

#[tokio::test]
async fn an_edge_is_killed_and_the_other_goes_on() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let _worker = site.worker("a");
    let mut edges = [site.edge(), site.edge()];
    let at = [edges[0].address(), edges[1].address()];
    let clients = (0..50).map(|n| async move {
        let mut reader = Reader::new(format!("s{n}"), 150, 20);
        assert_eq!(reader.read(at[0], 1000).await, Stopped::Broken, "s{n}");
        assert!(!reader.texts.is_empty());
        assert_eq!(reader.read(at[1], 1000).await, Stopped::Over, "s{n}");
        reader
    });
    let kill = async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        edges[0].process().kill();
    };
    let (readers, ()) = tokio::join!(join_all(clients), kill);
    readers.iter().for_each(Reader::is_whole);
    assert!(begun(&site).values().all(|times| *times == 1));
}

#[tokio::test]
async fn a_worker_is_killed_and_every_client_gets_an_error_in_time() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let mut worker = site.worker("a");
    let edges = [site.edge(), site.edge()];
    let at = [edges[0].address(), edges[1].address()];
    let begun = Instant::now();
    let killed = Duration::from_millis(1500);
    let clients = (0..30).map(|n| async move {
        let mut reader = Reader::new(format!("s{n}"), 10_000, 20);
        assert_eq!(reader.read(at[0], 100_000).await, Stopped::Over, "s{n}");
        let over = begun.elapsed();
        // What is stored is there for the others too; then it ends the same way.
        let mut again = Reader::new(reader.key.clone(), 10_000, 20);
        again.last = reader.last.clone();
        again.texts = reader.texts.clone();
        assert!(matches!(
            again.read(at[1], 100_000).await,
            Stopped::Refused(502) | Stopped::Over
        ));
        (reader, again, over)
    });
    let kill = async {
        tokio::time::sleep(killed).await;
        worker.process().kill();
    };
    let (readers, ()) = tokio::join!(join_all(clients), kill);
    let mut slowest = Duration::ZERO;
    for (reader, again, over) in readers {
        let error = reader.error.as_ref().expect("an error");
        assert_eq!(error["code"], "call_lost", "{error}");
        let count = reader.texts.len();
        assert!(count > 20, "{count}");
        reader.has_read(count);
        again.has_read(again.texts.len());
        slowest = slowest.max(over - killed);
    }
    eprintln!("the last one knew after {slowest:?}");
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
}

#[tokio::test]
async fn the_broker_is_restarted_under_streams() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let _worker = site.worker("a");
    let edge = site.edge();
    let at = edge.address();
    let clients = (0..50).map(|n| async move {
        let mut reader = Reader::new(format!("s{n}"), 250, 20);
        assert_eq!(reader.read(at, 1000).await, Stopped::Over, "s{n}");
        reader
    });
    let restart = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        broker.restart().await;
    };
    let (readers, ()) = tokio::join!(join_all(clients), restart);
    readers.iter().for_each(Reader::is_whole);
    assert!(begun(&site).values().all(|times| *times == 1));
}
