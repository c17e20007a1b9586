//! A large upload on its way to a disk, through edge, broker and worker.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::common::figures::{median, verdict};
use crate::common::process;
use crate::common::workload::Workload;
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
    grown: [f64; 3],
}

fn measure() -> Result<usize, String> {
    let specs = ["baseline", "framex"].map(|text| Spec::parse(text).expect("it is written here"));
    let mut turns = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (spec, turns) in specs.iter().zip(&mut turns) {
            let system = System::start(spec, Workload::Echo)?;
            turns.push(turn(&system).map_err(|error| error.to_string())?);
        }
    }
    let [bare, ours] = turns;
    let ratio = median(
        ours.iter()
            .zip(&bare)
            .map(|(ours, bare)| ours.rate / bare.rate),
    );
    let grown = |at: usize| median(ours.iter().map(|turn| turn.grown[at]));
    let rate = |turns: &[Turn]| median(turns.iter().map(|turn| turn.rate));
    println!("| measure | | bound |\n|---|--:|---|");
    println!("| a bare hyper server, MB/s | {:.0} | |", rate(&bare));
    println!("| FrameX, MB/s | {:.0} | |", rate(&ours));
    println!(
        "| ratio | {ratio:.2} | ≥ {BOUND} {} |",
        verdict(ratio >= BOUND)
    );
    println!(
        "| memory that edge, broker and worker have grown by, MB | {:.0}, {:.0}, {:.0} | |",
        grown(0),
        grown(1),
        grown(2)
    );
    Ok(usize::from(ratio < BOUND))
}

fn turn(system: &System) -> std::io::Result<Turn> {
    let pids = system.serving.pids(system.edge.pid());
    let before = pids.map(process::resident_mb);
    let begun = Instant::now();
    upload(system.edge.address)?;
    let took = begun.elapsed().as_secs_f64();
    let after = pids.map(process::resident_mb);
    Ok(Turn {
        rate: SIZE as f64 / took / 1e6,
        grown: std::array::from_fn(|at| after[at] - before[at]),
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
