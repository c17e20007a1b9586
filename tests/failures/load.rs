//! Clients that keep calling, and count.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than any call here may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A number of clients, each with one request at a time on a connection that it keeps.
/// They run in a thread of their own.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Report>,
}

/// What the clients ask.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) edges: Edges,
    pub(crate) request: &'static str,
    pub(crate) clients: usize,
    /// Between an answer and the next request.
    pub(crate) pause: Duration,
}

/// The edges that clients know, now: they take one after the other, as a load balancer
/// does it, and the next where nobody listens.
#[derive(Clone, Default)]
pub(crate) struct Edges(Arc<Mutex<Vec<SocketAddr>>>);

impl Edges {
    pub(crate) fn one(edge: SocketAddr) -> Self {
        let edges = Self::default();
        edges.set([edge]);
        edges
    }

    pub(crate) fn set(&self, edges: impl IntoIterator<Item = SocketAddr>) {
        *self.0.lock().unwrap() = edges.into_iter().collect();
    }

    pub(crate) fn pick(&self, turn: usize) -> SocketAddr {
        let edges = self.0.lock().unwrap();
        edges[turn % edges.len()]
    }

    fn are_many(&self) -> bool {
        self.0.lock().unwrap().len() > 1
    }
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) sent: u64,
    /// By status and code.
    pub(crate) answers: BTreeMap<(u16, String), u64>,
    /// The successes, by who gave them.
    pub(crate) by: BTreeMap<String, u64>,
    /// Connections that ended instead of an answer, and how.
    pub(crate) broken: BTreeMap<&'static str, u64>,
    /// Sent again, since a kept connection had been closed before it took anything.
    pub(crate) again: u64,
    /// What some of the failures said, and when.
    pub(crate) said: Vec<String>,
    /// When requests began and ended, each with its status (0 for none).
    pub(crate) all: Vec<(Instant, Instant, u16)>,
}

enum Outcome {
    Answer {
        status: u16,
        body: Vec<u8>,
        close: bool,
    },
    /// The connection was closed before anything came.
    Unused,
    Broken,
}

impl Load {
    pub(crate) fn start(plan: Plan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                let clients = (0..plan.clients).map(|at| client(at, &plan, &stopped));
                let mut report = Report::default();
                for one in futures_util::future::join_all(clients).await {
                    report.add(one);
                }
                report
            })
        });
        Self { stop, thread }
    }

    /// Lets every client finish what it does.
    pub(crate) fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let report = self.thread.join().expect("the clients do not panic");
        let answered: u64 = report.answers.values().sum();
        let broken: u64 = report.broken.values().sum();
        assert_eq!(report.sent, answered + broken, "{report}");
        report
    }
}

async fn client(at: usize, plan: &Plan, stop: &AtomicBool) -> Report {
    let mut report = Report::default();
    let mut connection: Option<TcpStream> = None;
    let mut turn = at;
    while !stop.load(Ordering::Relaxed) {
        report.sent += 1;
        let begun = Instant::now();
        let mut status = 0;
        loop {
            let kept = connection.is_some();
            let stream = match connection.take() {
                Some(stream) => Some(stream),
                None => {
                    turn += 1;
                    TcpStream::connect(plan.edges.pick(turn)).await.ok()
                }
            };
            // Who does not listen got no request: the next one has its turn, once.
            let Some(mut stream) = stream else {
                if plan.edges.are_many() && begun.elapsed() < Duration::from_secs(1) {
                    continue;
                }
                report.breaks("refused");
                break;
            };
            match ask(&mut stream, plan.request).await {
                Outcome::Answer {
                    status: got,
                    body,
                    close,
                } => {
                    status = got;
                    report.answered(got, &body);
                    connection = (!close).then_some(stream);
                    break;
                }
                Outcome::Unused if kept => report.again += 1,
                Outcome::Unused => {
                    report.breaks("closed at once");
                    break;
                }
                Outcome::Broken => {
                    report.breaks("closed within the answer, or none in time");
                    break;
                }
            }
        }
        report.all.push((begun, Instant::now(), status));
        tokio::time::sleep(plan.pause).await;
    }
    report
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Got {
    /// 0 if there was none.
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) took: Duration,
}

impl Got {
    /// The result, or the code of the error.
    pub(crate) fn said(&self) -> &str {
        let key = if self.status == 200 { "data" } else { "code" };
        self.body[key].as_str().unwrap_or_default()
    }
}

/// One request on a connection of its own.
pub(crate) async fn once(address: SocketAddr, request: &str) -> Got {
    let begun = Instant::now();
    let (mut status, mut body) = (0, Value::Null);
    if let Ok(mut stream) = TcpStream::connect(address).await
        && let Outcome::Answer {
            status: got,
            body: bytes,
            ..
        } = ask(&mut stream, request).await
    {
        status = got;
        body = serde_json::from_slice(&bytes).unwrap_or_default();
    }
    let took = begun.elapsed();
    Got { status, body, took }
}

/// Sends `GET /api/v1/x` or the like, and reads the answer.
async fn ask(stream: &mut TcpStream, request: &str) -> Outcome {
    let text = format!("{request} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    let mut buffer = Vec::new();
    let asked = async {
        if stream.write_all(text.as_bytes()).await.is_err() {
            return None;
        }
        loop {
            if let Some(answer) = answer(&buffer) {
                return Some(answer);
            }
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    };
    match tokio::time::timeout(LIMIT, asked).await {
        Ok(Some(answer)) => answer,
        Ok(None) if buffer.is_empty() => Outcome::Unused,
        Ok(None) | Err(_) => Outcome::Broken,
    }
}

/// The whole answer, once it is there.
fn answer(buffer: &[u8]) -> Option<Outcome> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(buffer).ok()? else {
        return None;
    };
    let header = |name: &str| {
        let found = response.headers.iter();
        let found = { found }.find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).into_owned())
    };
    let length: usize = header("content-length")?.parse().ok()?;
    let body = buffer.get(head..head + length)?.to_vec();
    let close = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Some(Outcome::Answer {
        status: response.code?,
        body,
        close,
    })
}

impl Report {
    fn breaks(&mut self, how: &'static str) {
        *self.broken.entry(how).or_default() += 1;
    }

    fn answered(&mut self, status: u16, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        if status == 200 {
            *self.by.entry(text("data")).or_default() += 1;
        } else if self.said.len() < 3 {
            let now = chrono::Utc::now().format("%T%.3f");
            self.said.push(format!("{now} {}", text("message")));
        }
        *self.answers.entry((status, text("code"))).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.again += other.again;
        self.all.extend(other.all);
        self.said.extend(other.said);
        for (key, count) in other.answers {
            *self.answers.entry(key).or_default() += count;
        }
        for (how, count) in other.broken {
            *self.broken.entry(how).or_default() += count;
        }
        for (name, count) in other.by {
            *self.by.entry(name).or_default() += count;
        }
    }

    /// Requests that were answered with a success.
    pub(crate) fn good(&self) -> u64 {
        let good = self.answers.iter();
        good.filter(|((status, _), _)| *status == 200)
            .map(|(_, count)| count)
            .sum()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.sent - self.good()
    }

    /// Answers with this status.
    pub(crate) fn with(&self, status: u16) -> u64 {
        let answers = self.answers.iter();
        answers
            .filter(|((got, _), _)| *got == status)
            .map(|(_, count)| count)
            .sum()
    }

    /// The longest that a request took.
    pub(crate) fn slowest(&self) -> Duration {
        let took = self.all.iter().map(|(begun, end, _)| *end - *begun);
        took.max().unwrap_or_default()
    }

    /// Successes that came between two moments.
    pub(crate) fn good_between(&self, from: Instant, to: Instant) -> usize {
        let good = self.all.iter();
        good.filter(|(_, end, status)| *status == 200 && *end >= from && *end < to)
            .count()
    }

    /// When the last request that failed began, and when it had failed.
    pub(crate) fn last_failure(&self) -> Option<(Instant, Instant)> {
        let failed = self.all.iter().filter(|(_, _, status)| *status != 200);
        failed
            .max_by_key(|(_, end, _)| *end)
            .map(|(begun, end, _)| (*begun, *end))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            broken,
            again,
            ..
        } = self;
        let slowest = self.slowest();
        write!(
            f,
            "{sent} sent, broken: {broken:?}, {again} sent again, the slowest took {slowest:?}"
        )?;
        for ((status, code), count) in &self.answers {
            write!(f, "; {count} x {status} {code}")?;
        }
        write!(f, "; by {:?}", self.by)?;
        match self.said.is_empty() {
            true => Ok(()),
            false => write!(f, "; {}", self.said.join("; ")),
        }
    }
}
