//! Streams that are left and taken up again, and streams that wait: how long, how much memory.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::figures::{median, verdict};
use crate::common::process;
use crate::common::workload::Workload;
use crate::spec::Spec;
use crate::system::System;

/// So often is a stream left and taken up.
const RESUMES: usize = 100;
/// Streams that wait at the same time.
const IDLE: usize = 1000;
/// Between two figures of a process' memory.
const SETTLE: Duration = Duration::from_secs(2);
/// A stream that has said nothing by then never will.
const PATIENCE: Duration = Duration::from_secs(10);
/// Milliseconds from the request to the first chunk that was not seen yet.
const BOUND: f64 = 20.0;

/// Prints its own small table; returns how many bounds FrameX missed.
pub(crate) fn run() -> usize {
    eprintln!("streams that are left and taken up");
    println!("\nStreams that are left and taken up again, or wait, in JetStream on file:\n");
    match measure() {
        Ok(seen) => seen.print(),
        Err(why) => {
            println!("not available ({why})");
            1
        }
    }
}

struct Seen {
    /// Milliseconds to the first chunk of a stream that has ended, and of one that runs.
    ended: f64,
    running: f64,
    /// KB at the edge and at the worker, for each waiting stream.
    live: [f64; 2],
    kept: [f64; 2],
}

impl Seen {
    fn print(&self) -> usize {
        let mut missed = 0;
        println!("| measure | | bound |\n|---|--:|---|");
        for (what, took) in [("has ended", self.ended), ("runs", self.running)] {
            let holds = took < BOUND;
            missed += usize::from(!holds);
            println!(
                "| resume to first chunk, a stream that {what}, ms at the median | {took:.2} | < {BOUND:.0} {} |",
                verdict(holds)
            );
        }
        for (what, [edge, worker]) in [("live", self.live), ("kept", self.kept)] {
            println!(
                "| memory of a waiting {what} stream, KB at the edge and at the worker | {edge:.1}, {worker:.1} | |"
            );
        }
        missed
    }
}

fn measure() -> Result<Seen, String> {
    let spec = Spec::parse("framex").expect("it is written here");
    let failed = |error: io::Error| error.to_string();
    let system = System::start(&spec, Workload::Kept)?;
    let address = system.edge.address;
    let ended = resumes(address, "/api/v1/kept?n=1000").map_err(failed)?;
    let running = resumes(address, "/api/v1/paced?n=1000").map_err(failed)?;
    let live = memory(&system, "/api/v1/idle").map_err(failed)?;
    drop(system);
    // Another one: what the first has given back to no system should not help.
    let system = System::start(&spec, Workload::Kept)?;
    let kept = memory(&system, "/api/v1/idle_kept").map_err(failed)?;
    Ok(Seen {
        ended,
        running,
        live,
        kept,
    })
}

/// The median, in milliseconds.
fn resumes(address: SocketAddr, path: &str) -> io::Result<f64> {
    let mut took = Vec::new();
    for _ in 0..RESUMES {
        let (_, id) = first_chunk(address, path, "")?;
        let header = format!("Last-Event-ID: {id}\r\n");
        let begun = Instant::now();
        let (_, next) = first_chunk(address, path, &header)?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        assert_ne!(id, next, "it goes on behind what was seen");
    }
    Ok(median(took.into_iter()))
}

/// Asks for a stream and reads up to its first chunk: the connection, and the chunk's id.
fn first_chunk(address: SocketAddr, path: &str, header: &str) -> io::Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{header}\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        let length = stream.read(&mut piece)?;
        answer.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&answer);
        let id = text.lines().find_map(|line| line.strip_prefix("id: "));
        if let (Some(id), true) = (id, text.contains("\n\n")) {
            return Ok((stream, id.to_owned()));
        }
        if length == 0 || path.contains("idle") && text.contains("\n\n") {
            return Ok((stream, String::new()));
        }
    }
}

/// What each waiting stream takes, in KB, at the edge and at the worker.
fn memory(system: &System, path: &str) -> io::Result<[f64; 2]> {
    let [edge, _, worker] = system.serving.pids(system.edge.pid());
    let pids = [edge, worker];
    let before = pids.map(process::resident_mb);
    let mut open = Vec::new();
    for _ in 0..IDLE {
        open.push(first_chunk(system.edge.address, path, "")?);
    }
    thread::sleep(SETTLE);
    let after = pids.map(process::resident_mb);
    Ok(std::array::from_fn(|at| {
        (after[at] - before[at]) * 1024.0 / IDLE as f64
    }))
}
