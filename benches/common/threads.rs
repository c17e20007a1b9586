//! The threads and listeners of a server, in each of the shapes that [`Accept`] names.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::thread;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::child::announce;
use super::knob::number;

/// Enough for 1,024 clients that all connect before the first is accepted.
const BACKLOG: i32 = 4096;

/// How connections reach the threads of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// A single-threaded runtime per thread, each with a listener of its own (`SO_REUSEPORT`).
    Reuseport,
    /// A single-threaded runtime per thread, connections dealt to them in turn.
    Deal,
    /// One work-stealing runtime with that many workers.
    Multi,
}

/// The knobs of a server's threads. What is `None` is left as tokio has it.
#[derive(Clone, Debug)]
pub(crate) struct Threads {
    /// `None` where the scenario or the command line decides.
    pub(crate) count: Option<usize>,
    accept: Accept,
    event_interval: Option<u32>,
    global_queue_interval: Option<u32>,
}

impl Threads {
    pub(crate) fn new() -> Self {
        Self {
            count: None,
            accept: Accept::Reuseport,
            event_interval: None,
            global_queue_interval: None,
        }
    }

    /// Sets `knob`, if it is one of threads.
    ///
    /// # Errors
    ///
    /// A text that names the value that is none.
    pub(crate) fn set(&mut self, knob: &str, value: &str) -> Result<bool, String> {
        match knob {
            "threads" => self.count = Some(number(value)?),
            "accept" => self.accept = accept(value)?,
            "event_interval" => self.event_interval = Some(number(value)?),
            "global_queue_interval" => self.global_queue_interval = Some(number(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Threads to run, one where nothing was said.
    fn count(&self) -> usize {
        self.count.unwrap_or(1)
    }

    /// One runtime for all of a process.
    pub(crate) fn main(&self) -> Runtime {
        match self.accept {
            Accept::Multi => self.multi(),
            Accept::Reuseport | Accept::Deal => self.single(),
        }
    }

    fn multi(&self) -> Runtime {
        self.runtime(Builder::new_multi_thread().worker_threads(self.count()))
    }

    /// A runtime for one thread.
    fn single(&self) -> Runtime {
        self.runtime(&mut Builder::new_current_thread())
    }

    fn runtime(&self, builder: &mut Builder) -> Runtime {
        if let Some(interval) = self.event_interval {
            builder.event_interval(interval);
        }
        if let Some(interval) = self.global_queue_interval {
            builder.global_queue_interval(interval);
        }
        builder.enable_all().build().expect("a runtime")
    }
}

fn accept(value: &str) -> Result<Accept, String> {
    match value {
        "reuseport" => Ok(Accept::Reuseport),
        "deal" => Ok(Accept::Deal),
        "multi" => Ok(Accept::Multi),
        _ => Err(format!("`{value}` is not one of reuseport, deal, multi")),
    }
}

/// Where the connections of one runtime come from.
pub(crate) enum Source {
    /// Its own listener.
    Listener(TcpListener),
    /// The thread that accepts for all.
    Dealt(UnboundedReceiver<StdStream>),
}

impl Source {
    /// The next connection; `None` when there will be none.
    pub(crate) async fn accept(&mut self) -> Option<TcpStream> {
        let stream = match self {
            Self::Listener(listener) => {
                listener.accept().await.expect("few descriptors are open").0
            }
            Self::Dealt(queue) => {
                let stream = queue.recv().await?;
                stream.set_nonblocking(true).expect("a socket");
                TcpStream::from_std(stream).expect("inside a runtime")
            }
        };
        stream.set_nodelay(true).expect("a TCP socket");
        Some(stream)
    }
}

/// Runs `serve` on as many threads as `threads` says, and announces the address they share.
pub(crate) fn run<F>(threads: &Threads, serve: impl Fn(Source) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()>,
{
    let first = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let address = first.local_addr().expect("it is bound");

    match threads.accept {
        Accept::Multi => {
            announce(address);
            threads.multi().block_on(async { serve(own(first)).await });
        }
        Accept::Reuseport => {
            let more = (1..threads.count())
                .map(|_| listen(address))
                .collect::<Vec<_>>();
            for listener in more {
                let (serve, threads) = (serve.clone(), threads.clone());
                thread::spawn(move || {
                    threads
                        .single()
                        .block_on(async { serve(own(listener)).await });
                });
            }
            announce(address);
            threads.single().block_on(async { serve(own(first)).await });
        }
        Accept::Deal => {
            let (queues, sources): (Vec<_>, Vec<_>) =
                (0..threads.count()).map(|_| unbounded_channel()).unzip();
            for source in sources {
                let (serve, threads) = (serve.clone(), threads.clone());
                thread::spawn(move || {
                    threads
                        .single()
                        .block_on(async { serve(Source::Dealt(source)).await });
                });
            }
            announce(address);
            first.set_nonblocking(false).expect("a socket");
            for queue in queues.iter().cycle() {
                let (stream, _) = first.accept().expect("few descriptors are open");
                queue.send(stream).expect("the threads never end");
            }
        }
    }
}

fn listen(address: SocketAddr) -> StdListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("Linux has it");
    socket
        .bind(&address.into())
        .expect("a free port of loopback");
    socket.listen(BACKLOG).expect("a bound socket");
    socket.set_nonblocking(true).expect("a socket");
    socket.into()
}

/// Inside the runtime that is to watch it.
fn own(listener: StdListener) -> Source {
    Source::Listener(TcpListener::from_std(listener).expect("inside a runtime"))
}
