//! A large upload on its way to a disk: in one process, and through edge, broker and worker.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::common::child::Server;
use crate::common::figures::{median, verdict};
use crate::common::process;
use crate::common::workload::Workload;
use crate::framex;
use crate::spec::Spec;
use crate::system::System;

/// Bytes of an upload.
const SIZE: usize = 100 << 20;
/// Each has so many turns.
const ROUNDS: usize = 5;
/// An upload without an answer by then never gets one.
const PATIENCE: Duration = Duration::from_secs(60);
/// FrameX's rate over that of a bare hyper server.
const BOUND: f64 = 0.5;

/// Prints its own small table; returns how many bounds FrameX missed.
pub(crate) fn run() -> usize {
    eprintln!("uploads of {} MB", SIZE >> 20);
    println!("\nAn upload of {} MB to a file on disk:\n", SIZE >> 20);
    match measure() {
        Ok(missed) => missed,
        Err(why) => {
            println!("not available ({why})");
            1
        }
    }
}

/// MB a second, and by how many MB each process has grown.
struct Turn {
    rate: f64,
    grown: Vec<f64>,
}

fn measure() -> Result<usize, String> {
    let specs = ["baseline", "framex"].map(|text| Spec::parse(text).expect("it is written here"));
    let [baseline, framex] = &specs;
    let mut turns = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let [bare, whole, over] = &mut turns;
        for (spec, turns) in [(baseline, bare), (framex, over)] {
            let system = System::start(spec, Workload::Echo)?;
            let pids = system.serving.pids(system.edge.pid());
            turns.push(turn(system.edge.address, &pids)?);
        }
        let server = Server::spawn(framex::whole(framex))?;
        whole.push(turn(server.address, &[server.pid()])?);
    }
    let rate = |turns: &[Turn]| median(turns.iter().map(|turn| turn.rate));
    let [bare, whole, over] = &turns;
    println!("| | MB/s | ratio | processes have grown by, MB | bound |\n|---|--:|--:|---|---|");
    println!("| a bare hyper server | {:.0} | 1 | | |", rate(bare));
    let mut missed = 0;
    for (name, turns) in [("FrameX in one process", whole), ("FrameX over NATS", over)] {
        let rounds = turns.iter().zip(bare);
        let ratio = median(rounds.map(|(ours, bare)| ours.rate / bare.rate));
        let processes = turns.first().map_or(0, |turn| turn.grown.len());
        let grown = |at: usize| median(turns.iter().map(|turn| turn.grown[at]));
        let grown: Vec<_> = (0..processes)
            .map(|at| format!("{:.0}", grown(at)))
            .collect();
        missed += usize::from(ratio < BOUND);
        println!(
            "| {name} | {:.0} | {ratio:.2} | {} | ≥ {BOUND} {} |",
            rate(turns),
            grown.join(", "),
            verdict(ratio >= BOUND)
        );
    }
    Ok(missed)
}

fn turn(address: SocketAddr, pids: &[u32]) -> Result<Turn, String> {
    let memory = || pids.iter().map(|pid| process::resident_mb(*pid));
    let before: Vec<_> = memory().collect();
    let begun = Instant::now();
    upload(address).map_err(|error| error.to_string())?;
    let took = begun.elapsed().as_secs_f64();
    Ok(Turn {
        rate: SIZE as f64 / took / 1e6,
        grown: memory()
            .zip(before)
            .map(|(after, before)| after - before)
            .collect(),
    })
}

/// Sends an upload, and checks that all of it has arrived.
fn upload(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "PUT /api/v1/upload HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {SIZE}\r\n\r\n"
    )?;
    let piece = vec![b'x'; 256 << 10];
    for _ in 0..SIZE / piece.len() {
        stream.write_all(&piece)?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let right = answer.starts_with("HTTP/1.1 200") && answer.contains(&format!(":{SIZE}}}"));
    assert!(right, "{answer}");
    Ok(())
}
