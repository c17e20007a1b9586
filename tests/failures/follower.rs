//! Clients that follow a stream, lose their connection and go on.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::load::Edges;

/// Longer than any stream here is silent.
const SILENCE: Duration = Duration::from_secs(40);
/// Between a connection that broke and the next.
const PAUSE: Duration = Duration::from_millis(50);
/// More connections in a row that bring nothing mean that nothing will come.
const IN_VAIN: usize = 400;

/// One client, as a browser's `EventSource` behaves.
pub(crate) struct Follower {
    pub(crate) edges: Edges,
    pub(crate) target: String,
    /// So often it closes its connection itself, after a number of bytes that
    /// `chance` gives: at times before the first event, or before any byte.
    pub(crate) cuts: usize,
    pub(crate) chance: Chance,
}

/// What a client saw.
pub(crate) struct Seen {
    /// Every event but comments, byte for byte, in the order in which they came.
    pub(crate) bytes: Vec<u8>,
    /// The contents of its `message_chunk`s.
    pub(crate) texts: Vec<String>,
    pub(crate) end: End,
    /// Requests, and those among them that asked for a new stream.
    pub(crate) requests: usize,
    pub(crate) fresh: usize,
    /// The longest time without an event.
    pub(crate) pause: Duration,
    /// When the last event came.
    pub(crate) last: Instant,
    /// The id of the last event.
    pub(crate) id: String,
}

/// How a stream ended for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With `finish`.
    Finished,
    /// With an `error`: its data.
    Error(String),
    /// It was not taken up again: status and body.
    Refused(u16, String),
}

/// Numbers that look like chance, the same ones for the same seed.
#[derive(Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// Why a connection gives no more.
enum Broken {
    /// It went, or was cut.
    Away,
    /// The stream is over.
    Over(End),
}

impl Follower {
    /// A client that stays for as long as it is let.
    pub(crate) fn new(edges: &Edges, target: impl Into<String>) -> Self {
        Self {
            edges: edges.clone(),
            target: target.into(),
            cuts: 0,
            chance: Chance::new(1),
        }
    }

    /// Follows the stream to its end.
    pub(crate) async fn follow(mut self) -> Seen {
        let mut seen = Seen {
            bytes: Vec::new(),
            texts: Vec::new(),
            end: End::Finished,
            requests: 0,
            fresh: 0,
            pause: Duration::ZERO,
            last: Instant::now(),
            id: String::new(),
        };
        let mut in_vain = 0;
        loop {
            let before = seen.bytes.len();
            match self.connection(&mut seen).await {
                Ok(Broken::Over(end)) => {
                    seen.end = end;
                    return seen;
                }
                Ok(Broken::Away) | Err(_) => {}
            }
            in_vain = match seen.bytes.len() > before {
                true => 0,
                false => in_vain + 1,
            };
            assert!(in_vain < IN_VAIN, "{} does not go on", self.target);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn connection(&mut self, seen: &mut Seen) -> io::Result<Broken> {
        let edge = self.edges.pick(seen.requests);
        // One that is cut reads so many bytes.
        let mut left = match self.cuts {
            0 => usize::MAX,
            _ => {
                self.cuts -= 1;
                let few = self.chance.below(4) == 0;
                usize::try_from(self.chance.below(if few { 400 } else { 4000 })).unwrap()
            }
        };
        let mut stream = TcpStream::connect(edge).await?;
        stream.set_nodelay(true)?;
        seen.requests += 1;
        let resume = match seen.id.as_str() {
            "" => {
                // Nobody knows what it missed: from the beginning.
                seen.fresh += 1;
                seen.bytes.clear();
                seen.texts.clear();
                String::new()
            }
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n{resume}\r\n",
            self.target
        );
        stream.write_all(request.as_bytes()).await?;
        let mut reader = Reader::default();
        let mut piece = [0; 4096];
        loop {
            if left == 0 {
                return Ok(Broken::Away);
            }
            let most = left.min(piece.len());
            let read = stream.read(&mut piece[..most]);
            let Ok(read) = tokio::time::timeout(SILENCE, read).await else {
                panic!("{} says nothing for {SILENCE:?}", self.target);
            };
            let read = read?;
            left = left.saturating_sub(read);
            let over = reader.feed(&piece[..read], seen);
            if let Some(end) = over {
                return Ok(Broken::Over(end));
            }
            if read == 0 {
                return Ok(Broken::Away);
            }
        }
    }
}

/// An answer, as far as it came.
#[derive(Default)]
struct Reader {
    head: Option<u16>,
    raw: Vec<u8>,
    body: Vec<u8>,
    chunked: bool,
    complete: bool,
}

impl Reader {
    /// Takes bytes as they came, none at the end.
    fn feed(&mut self, bytes: &[u8], seen: &mut Seen) -> Option<End> {
        self.raw.extend_from_slice(bytes);
        if self.head.is_none() {
            let at = find(&self.raw, b"\r\n\r\n")?;
            let head = String::from_utf8(self.raw.drain(..at + 4).collect()).unwrap();
            self.chunked = head
                .to_ascii_lowercase()
                .contains("transfer-encoding: chunked");
            self.head = Some(head[9..12].parse().unwrap());
        }
        self.unchunk();
        match self.head {
            Some(200) => self.events(seen),
            Some(204) => Some(End::Refused(204, String::new())),
            // At a loss for a moment: another edge, or the same one later.
            Some(502..=504) => None,
            status => {
                let whole = self.complete || bytes.is_empty() || !self.chunked;
                let body = String::from_utf8_lossy(&self.body).into_owned();
                whole.then(|| End::Refused(status.unwrap_or(0), body))
            }
        }
    }

    fn unchunk(&mut self) {
        if !self.chunked {
            self.body.append(&mut self.raw);
            return;
        }
        while let Some(line) = find(&self.raw, b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if self.raw.len() < line + 2 + size + 2 {
                return;
            }
            self.body
                .extend_from_slice(&self.raw[line + 2..line + 2 + size]);
            self.raw.drain(..line + 2 + size + 2);
            if size == 0 {
                self.complete = true;
                return;
            }
        }
    }

    fn events(&mut self, seen: &mut Seen) -> Option<End> {
        while let Some(at) = find(&self.body, b"\n\n") {
            let event: Vec<u8> = self.body.drain(..at + 2).collect();
            let text = std::str::from_utf8(&event).unwrap();
            if text.starts_with(':') {
                continue;
            }
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.map(str::to_owned)
            };
            if let Some(id) = field("id: ") {
                seen.id = id;
            }
            seen.pause = seen.pause.max(seen.last.elapsed());
            seen.last = Instant::now();
            seen.bytes.extend_from_slice(&event);
            let data = field("data: ").unwrap_or_default();
            match field("event: ").as_deref() {
                Some("finish") => return Some(End::Finished),
                Some("error") => return Some(End::Error(data)),
                _ => {
                    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
                    seen.texts
                        .push(data["content"].as_str().unwrap().to_owned());
                }
            }
        }
        None
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The edge's own word for a stream: what it says to a request with these headers.
pub(crate) async fn ask(edge: SocketAddr, target: &str, id: &str) -> End {
    let edges = Edges::one(edge);
    let mut seen = Follower::new(&edges, target);
    seen.cuts = 0;
    let mut told = Seen {
        bytes: Vec::new(),
        texts: Vec::new(),
        end: End::Finished,
        requests: 0,
        fresh: 0,
        pause: Duration::ZERO,
        last: Instant::now(),
        id: id.to_owned(),
    };
    match seen.connection(&mut told).await.unwrap() {
        Broken::Over(end) => end,
        Broken::Away => panic!("{target} was broken off"),
    }
}
