//! Processes that belong together: a broker, and who talks over it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use framex_test_support::nats::{NatsServer, nats_server};
use tokio::runtime::{Builder, Runtime};

use crate::common::child::{Process, Server};
use crate::common::workload::Workload;
use crate::spec::{Kind, Spec};
use crate::{baseline, framex};

/// Edge and worker that have not found each other by then never will.
const PATIENCE: Duration = Duration::from_secs(10);

/// A broker and a worker.
pub(crate) struct Serving {
    worker: Process,
    pub(crate) broker: NatsServer,
}

impl Serving {
    /// Starts them, and waits until the worker says that it is ready.
    ///
    /// # Errors
    ///
    /// What the process said that ended before.
    pub(crate) fn start(spec: &Spec, store: bool) -> Result<Self, String> {
        let broker = broker(store);
        let url = broker.url();
        let worker = says_ready(match spec.kind {
            Kind::Baseline => baseline::command(spec, "worker", &url),
            Kind::Framex => framex::worker(spec, "bench", &url),
        })?;
        Ok(Self { worker, broker })
    }

    /// Those of `first`, the broker and the worker.
    pub(crate) fn pids(&self, first: u32) -> [u32; 3] {
        [first, self.broker.id(), self.worker.pid()]
    }
}

/// A broker as it comes, with or without JetStream.
pub(crate) fn broker(store: bool) -> NatsServer {
    let broker = NatsServer::builder();
    runtime().block_on(match store {
        true => broker.start(),
        false => broker.without_jetstream().start(),
    })
}

/// What the broker calls itself.
pub(crate) fn broker_version() -> String {
    let output = Command::new(nats_server()).arg("--version").output();
    let output = output.expect("it ran before");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// For the bench's own part in the conversation.
pub(crate) fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// Starts `command`, and waits until it prints a line that begins with `ready`.
///
/// # Errors
///
/// What the process said, if it ended before.
pub(crate) fn says_ready(command: Command) -> Result<Process, String> {
    Process::spawn(command, |line| line.starts_with("ready").then_some(()))
        .map(|(process, ())| process)
}

/// An edge, a broker and a worker.
pub(crate) struct System {
    pub(crate) edge: Server,
    pub(crate) serving: Serving,
}

impl System {
    /// Starts them, and waits until a request for `workload` is answered.
    ///
    /// # Errors
    ///
    /// What the process said that ended before, or the last answer that was no success.
    pub(crate) fn start(spec: &Spec, workload: Workload) -> Result<Self, String> {
        let store = workload == Workload::Kept && spec.kind == Kind::Framex;
        let serving = Serving::start(spec, store)?;
        let url = serving.broker.url();
        let edge = Server::spawn(match spec.kind {
            Kind::Baseline => baseline::command(spec, "gateway", &url),
            Kind::Framex => framex::edge(spec, &url),
        })?;
        let begun = Instant::now();
        while let Err(why) = ask(&edge, workload) {
            if begun.elapsed() > PATIENCE {
                return Err(why);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { edge, serving })
    }
}

/// Sends one request.
fn ask(edge: &Server, workload: Workload) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(edge.address).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(&workload.request()).map_err(failed)?;
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer).map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer[..length]);
    if answer.starts_with("HTTP/1.1 200") {
        Ok(())
    } else {
        Err(answer.into_owned())
    }
}
