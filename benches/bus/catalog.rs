//! An edge on a large site: how soon it is ready, and what discovery costs while nothing happens.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use framex_test_support::nats::NatsServer;

use crate::common::child::{self, Server};
use crate::common::figures::{median, verdict};
use crate::common::process;
use crate::framex::{self, instances};
use crate::spec::Spec;
use crate::system::{broker, runtime, says_ready};

const INSTANCES: usize = 200;
/// The edge starts so often.
const STARTS: usize = 5;
/// An edge that has not found everybody by then never will.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of the steady state, before and while it is watched.
const SETTLE: Duration = Duration::from_secs(3);
const WATCH: Duration = Duration::from_secs(10);
/// Seconds from the start of an edge to its answering for everybody.
const BOUND: f64 = 2.0;

/// Prints its own small table; returns how many bounds FrameX missed.
pub(crate) fn run() -> usize {
    eprintln!("catalog of {INSTANCES} instances");
    println!(
        "\nAn edge on a site of {INSTANCES} instances of {} plugins with {} APIs each:\n",
        instances::PLUGINS,
        instances::APIS
    );
    match measure() {
        Ok(seen) => seen.print(),
        Err(why) => {
            println!("not available ({why})");
            1
        }
    }
}

struct Seen {
    /// Milliseconds from the start of an edge to the 200 of its `/ready`.
    ready: f64,
    /// Milliseconds until the routes of all plugins answered 200.
    complete: f64,
    /// MB of an edge that knows everybody.
    memory: f64,
    /// A second, while nothing is asked: messages and kilobytes into the broker and out of it.
    messages: [f64; 2],
    kilobytes: [f64; 2],
    /// Share of a core: edge, broker, all instances.
    cpu: [f64; 3],
}

impl Seen {
    fn print(&self) -> usize {
        let holds = self.complete < BOUND * 1e3;
        println!("| measure | | bound |\n|---|--:|---|");
        println!(
            "| start of an edge to its `/ready`, ms | {:.0} | |",
            self.ready
        );
        println!(
            "| start to an answer of each plugin, ms | {:.0} | < {:.0} {} |",
            self.complete,
            BOUND * 1e3,
            verdict(holds)
        );
        println!("| its memory then, MB | {:.1} | |", self.memory);
        let [to, from] = self.messages;
        println!("| steady: messages/s into and out of the broker | {to:.0}, {from:.0} | |");
        let [to, from] = self.kilobytes;
        println!("| steady: KB/s into and out of the broker | {to:.1}, {from:.1} | |");
        let [edge, broker, all] = self.cpu.map(|share| share * 100.0);
        println!("| steady: CPU of the edge, % of a core | {edge:.2} | |");
        println!("| steady: CPU of the broker, % | {broker:.2} | |");
        println!(
            "| steady: CPU of one instance, % | {:.3} | |",
            all / INSTANCES as f64
        );
        usize::from(!holds)
    }
}

fn measure() -> Result<Seen, String> {
    let broker = broker(false);
    let mut command = child::again();
    command.args(["instances", &INSTANCES.to_string(), &broker.url()]);
    let all = says_ready(command)?;

    let spec = Spec::parse("framex").expect("it is written here");
    let mut ready = Vec::new();
    let mut complete = Vec::new();
    let mut edge = None;
    for _ in 0..STARTS {
        drop(edge.take());
        let begun = Instant::now();
        let started = Server::spawn(framex::edge(&spec, &broker.url()))?;
        answers(&started, "/ready")?;
        ready.push(begun.elapsed().as_secs_f64() * 1e3);
        for plugin in 0..instances::PLUGINS {
            answers(&started, &instances::path(plugin, instances::APIS - 1))?;
        }
        complete.push(begun.elapsed().as_secs_f64() * 1e3);
        edge = Some(started);
    }
    let edge = edge.ok_or("no edge was started")?;

    thread::sleep(SETTLE);
    let pids = [edge.pid(), broker.id(), all.pid()];
    let cpu_before = pids.map(process::cpu_time);
    let before = traffic(&broker);
    let begun = Instant::now();
    thread::sleep(WATCH);
    let seconds = begun.elapsed().as_secs_f64();
    let after = traffic(&broker);
    let cpu = std::array::from_fn(|i| {
        let used = process::cpu_time(pids[i]).saturating_sub(cpu_before[i]);
        used.as_secs_f64() / seconds
    });
    let rate = |key: usize, unit: f64| (after[key] - before[key]) / seconds / unit;
    Ok(Seen {
        ready: median(ready.into_iter()),
        complete: median(complete.into_iter()),
        memory: process::resident_mb(edge.pid()),
        messages: [rate(0, 1.0), rate(1, 1.0)],
        kilobytes: [rate(2, 1e3), rate(3, 1e3)],
        cpu,
    })
}

/// Messages in and out, bytes in and out: since the broker's start.
fn traffic(broker: &NatsServer) -> [f64; 4] {
    let told = runtime().block_on(broker.monitor("/varz"));
    ["in_msgs", "out_msgs", "in_bytes", "out_bytes"]
        .map(|key| told[key].as_f64().expect("the broker counts"))
}

/// Asks until the answer is a 200.
fn answers(edge: &Server, path: &str) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let answer = get(edge, path).unwrap_or_else(|error| error.to_string());
        if answer.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{path}: {answer}"));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn get(edge: &Server, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(edge.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
