//! How soon is the program that users run there, and how much memory does it keep?
//!
//! The release `framex` binary with its echo plugin, beside the baseline (which shows what the
//! process, the runtime and the sockets cost anyway).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::child::Server;
use crate::common::figures::{median, verdict};
use crate::common::load::Load;
use crate::common::process::resident_mb;
use crate::common::workload::Workload;
use crate::spec::Spec;

const STARTS: usize = 10;
const CONNECTIONS: usize = 1024;
/// Calls through the bridge.
const FORWARDED: u64 = 100_000;
/// "Flat": MB that may be added by nine tenths of the calls.
const GROWTH: f64 = 1.0;

/// What one program needed.
struct Life {
    /// Milliseconds from the spawn to the first 200.
    start: f64,
    /// MB after one request.
    idle: f64,
    /// MB with [`CONNECTIONS`] open, each of which had an answer.
    connected: f64,
    /// MB added from a tenth of the calls to all of them.
    growth: f64,
}

/// Prints the second table; returns how many bounds FrameX missed.
pub(crate) fn run(calls: u64) -> usize {
    eprintln!("start-up and memory");
    let baseline = Spec::parse("baseline").expect("it is written here");
    let baseline = measure(|| baseline.start(), calls);
    let framex = measure(start_framex_binary, calls);
    if let Err(why) = &framex {
        println!("\nstart-up and memory of the `framex` binary: not available ({why})");
    }

    println!("\n| measure | framex | baseline | bound |\n|---|--:|--:|---|");
    let mut missed = 0;
    let mut row = |what: &str, figure: fn(&Life) -> f64, bound: f64| {
        let show = |life: &Result<Life, String>| {
            life.as_ref().map_or("not available".to_owned(), |life| {
                format!("{:.1}", figure(life))
            })
        };
        let judged = framex.as_ref().map_or("", |life| {
            missed += usize::from(figure(life) > bound);
            verdict(figure(life) <= bound)
        });
        println!(
            "| {what} | {} | {} | ≤ {bound} {judged} |",
            show(&framex),
            show(&baseline)
        );
    };
    row("start to first 200, ms", |life| life.start, 50.0);
    row("memory idle, MB", |life| life.idle, 12.0);
    row(
        "memory at 1,024 connections, MB",
        |life| life.connected,
        60.0,
    );
    row(
        &format!("memory growth over {calls} calls, MB"),
        |life| life.growth,
        GROWTH,
    );
    missed + forwarded()
}

/// Prints the last row, for calls that go through the bridge; returns how many bounds it missed.
fn forwarded() -> usize {
    let grown = |server: &str| {
        let spec = Spec::parse(server).expect("it is written here");
        let server = spec.start().unwrap_or_else(|why| panic!("{why}"));
        growth(&server, FORWARDED)
    };
    let (bridge, reverse) = (grown("bridge"), grown("reverse"));
    let holds = bridge <= GROWTH;
    println!(
        "| memory growth over {FORWARDED} forwarded calls, MB | {bridge:.1} | {reverse:.1} | ≤ {GROWTH} {} |",
        verdict(holds)
    );
    usize::from(!holds)
}

/// Starts the program that users run.
fn start_framex_binary() -> Result<Server, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framex"));
    command.args([
        "run",
        "--load-builtin-plugins",
        "echo",
        "--port",
        "0",
        "--dashboard-port",
        "0",
    ]);
    Server::spawn(command)
}

fn measure(start: impl Fn() -> Result<Server, String>, calls: u64) -> Result<Life, String> {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let began = Instant::now();
        let server = start()?;
        ask(&mut connect(server.address));
        starts.push(began.elapsed().as_secs_f64() * 1e3);
    }

    let server = start()?;
    ask(&mut connect(server.address));
    thread::sleep(Duration::from_millis(500));
    let idle = resident_mb(server.pid());

    let mut clients = (0..CONNECTIONS)
        .map(|_| connect(server.address))
        .collect::<Vec<_>>();
    clients.iter_mut().for_each(ask);
    let connected = resident_mb(server.pid());
    drop(clients);

    // Fresh, so that the connections above have not widened what there is to grow into.
    let growth = growth(&start()?, calls);
    Ok(Life {
        start: median(starts.into_iter()),
        idle,
        connected,
        growth,
    })
}

/// MB that are added from a tenth of the calls to all of them.
fn growth(server: &Server, calls: u64) -> f64 {
    let load = Load {
        address: server.address,
        workload: Workload::Echo,
        connections: 64,
        processes: &[server.pid()],
    };
    let early = load.send(calls / 10).rss;
    load.send(calls).rss - early
}

/// A connection, as soon as the server takes one: its address may be known before.
fn connect(address: SocketAddr) -> TcpStream {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) if Instant::now() > patience => {
                panic!("{address} takes no connection: {error}")
            }
            Err(_) => thread::sleep(Duration::from_micros(200)),
        }
    }
}

fn ask(stream: &mut TcpStream) {
    stream
        .write_all(&Workload::Echo.request())
        .expect("the server reads");
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).expect("the server answers");
    assert!(
        answer[..length].starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer[..length])
    );
}
