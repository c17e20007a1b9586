//! The load generator: a closed loop over keep-alive connections.
//!
//! One thread, epoll and no runtime, so that the server is what is measured even where both share
//! two cores. A connection sends its next request when the answer to the last is complete. The
//! first answer of each connection is checked to the letter, every further one by its status, its
//! length and, for streams, its number of chunks.

mod expect;
mod histogram;
mod launch;
mod response;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

pub(crate) use self::launch::Load;

use self::histogram::Histogram;
use self::response::Response;
use crate::common::process;
use crate::common::workload::Workload;

/// What to do, for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The processes whose CPU time is read at both ends of the window, the server's first.
    #[arg(long = "pid", required = true)]
    pub(crate) pids: Vec<u32>,
    #[arg(long)]
    pub(crate) workload: Workload,
    #[arg(long)]
    pub(crate) connections: usize,
    #[arg(long)]
    pub(crate) seconds: f64,
    #[arg(long, default_value_t = 0.3)]
    pub(crate) warm_up: f64,
    /// Ends after that many requests, should the time not have passed.
    #[arg(long, default_value_t = u64::MAX)]
    pub(crate) requests: u64,
}

/// What was seen between the end of the warm-up and the end.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Sample {
    /// Requests a second, or chunks where they are counted.
    pub(crate) rate: f64,
    /// CPU of each process for each of them, in microseconds.
    pub(crate) cpus: Vec<f64>,
    /// Microseconds from the request's first byte to the answer's last, or to a stream's first
    /// event.
    pub(crate) p50: f64,
    /// The same for the slowest hundredth.
    pub(crate) p99: f64,
    /// The server's resident memory at the end, in MB.
    pub(crate) rss: f64,
    /// Share of a core that this process used: near 1, it was the bottleneck.
    pub(crate) load: f64,
}

impl Sample {
    /// CPU of all processes together.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpus.iter().sum()
    }
}

/// Loads a server.
///
/// # Panics
///
/// On any answer that is not the right one.
pub(crate) fn run(options: &Options) -> Sample {
    let request = options.workload.request();
    let mut poll = Poll::new().expect("epoll");
    let mut clients = (0..options.connections)
        .map(|index| Client::connect(options, index, &poll))
        .collect::<Vec<_>>();
    for client in &mut clients {
        client.send(&request);
    }

    let mut buffer = vec![0; 256 << 10];
    let mut events = Events::with_capacity(1024);
    let mut window = Window::begin(&options.pids);
    let warm = Instant::now() + Duration::from_secs_f64(options.warm_up);
    let length = Duration::from_secs_f64(options.seconds);
    let mut end = warm + length;
    let mut warming = true;
    loop {
        let now = Instant::now();
        if warming && now >= warm {
            window = Window::begin(&options.pids);
            // From now: on a busy machine the warm-up may have taken longer.
            end = now + length;
            warming = false;
        }
        if now >= end || window.latencies.count() >= options.requests {
            break;
        }
        poll.poll(&mut events, Some(Duration::from_millis(100)))
            .expect("epoll");
        for event in &events {
            let client = &mut clients[event.token().0];
            if event.is_writable() {
                client.write(&request);
            }
            if event.is_readable() && client.read(&mut buffer) {
                let first = client.first.take();
                window
                    .latencies
                    .record(first.unwrap_or_else(|| client.sent_at.elapsed()));
                client.send(&request);
            }
        }
    }
    window.end(options)
}

/// What is counted from one moment on.
struct Window {
    started: Instant,
    cpu: Vec<Duration>,
    own_cpu: Duration,
    latencies: Histogram,
}

impl Window {
    fn begin(pids: &[u32]) -> Self {
        Self {
            started: Instant::now(),
            cpu: pids.iter().map(|pid| process::cpu_time(*pid)).collect(),
            own_cpu: process::cpu_time(std::process::id()),
            latencies: Histogram::new(),
        }
    }

    fn end(self, options: &Options) -> Sample {
        let seconds = self.started.elapsed().as_secs_f64();
        let used = options
            .pids
            .iter()
            .zip(&self.cpu)
            .map(|(pid, before)| process::cpu_time(*pid).saturating_sub(*before))
            .collect::<Vec<_>>();
        let own = process::cpu_time(std::process::id()) - self.own_cpu;
        let requests = self.latencies.count();
        assert!(requests > 0, "no answer in {seconds:.1} s");

        let units = (requests * u64::from(options.workload.chunks().unwrap_or(1))) as f64;
        Sample {
            rate: units / seconds,
            cpus: used
                .iter()
                .map(|cpu| cpu.as_secs_f64() * 1e6 / units)
                .collect(),
            p50: self.latencies.quantile(0.50).as_secs_f64() * 1e6,
            p99: self.latencies.quantile(0.99).as_secs_f64() * 1e6,
            rss: process::resident_mb(options.pids[0]),
            load: own.as_secs_f64() / seconds,
        }
    }
}

/// One connection.
struct Client {
    stream: TcpStream,
    /// Bytes of the request that the socket has taken.
    written: usize,
    sent_at: Instant,
    /// How long a stream's first event took, once it is there.
    first: Option<Duration>,
    response: Response,
}

impl Client {
    fn connect(options: &Options, index: usize, poll: &Poll) -> Self {
        let stream = StdStream::connect(options.address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_nonblocking(true).expect("a socket");
        let mut stream = TcpStream::from_std(stream);
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut stream, Token(index), both)
            .expect("epoll");
        let response = Response::first(options.workload);
        Self {
            stream,
            written: usize::MAX,
            sent_at: Instant::now(),
            first: None,
            response,
        }
    }

    fn send(&mut self, request: &[u8]) {
        self.written = 0;
        self.sent_at = Instant::now();
        self.write(request);
    }

    /// Writes what the socket takes; the rest follows when it says that it takes more.
    fn write(&mut self, request: &[u8]) {
        while self.written < request.len() {
            match self.stream.write(&request[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server closed the connection: {error}"),
            }
        }
    }

    /// Reads what there is. Whether the answer is complete.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => panic!("the server closed the connection"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("the server closed the connection: {error}"),
            };
            let complete = self.response.feed(&buffer[..length]);
            if self.first.is_none() && (complete || self.response.has_begun()) {
                self.first = Some(self.sent_at.elapsed());
            }
            if complete {
                return true;
            }
            // A short read has emptied the socket: no need to be told so by another.
            if length < buffer.len() {
                return false;
            }
        }
    }
}
