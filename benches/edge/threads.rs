//! The threads and listeners of a server, in each of the shapes that [`Accept`] names.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::thread;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::child::announce;
use crate::spec::{Accept, Spec};

/// Enough for 1,024 clients that all connect before the first is accepted.
const BACKLOG: i32 = 4096;

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

/// Runs `serve` on as many threads as `spec` says, and announces the address they share.
pub(crate) fn run<F>(spec: &Spec, serve: impl Fn(Source) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()>,
{
    let first = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let address = first.local_addr().expect("it is bound");

    match spec.accept {
        Accept::Multi => {
            let runtime = runtime(
                Builder::new_multi_thread().worker_threads(spec.threads()),
                spec,
            );
            announce(address);
            runtime.block_on(async { serve(own(first)).await });
        }
        Accept::Reuseport => {
            let more = (1..spec.threads())
                .map(|_| listen(address))
                .collect::<Vec<_>>();
            for listener in more {
                let (serve, spec) = (serve.clone(), spec.clone());
                thread::spawn(move || {
                    single(&spec).block_on(async { serve(own(listener)).await });
                });
            }
            announce(address);
            single(spec).block_on(async { serve(own(first)).await });
        }
        Accept::Deal => {
            let (queues, sources): (Vec<_>, Vec<_>) =
                (0..spec.threads()).map(|_| unbounded_channel()).unzip();
            for source in sources {
                let (serve, spec) = (serve.clone(), spec.clone());
                thread::spawn(move || {
                    single(&spec).block_on(async { serve(Source::Dealt(source)).await });
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

fn single(spec: &Spec) -> Runtime {
    runtime(&mut Builder::new_current_thread(), spec)
}

fn runtime(builder: &mut Builder, spec: &Spec) -> Runtime {
    if let Some(interval) = spec.event_interval {
        builder.event_interval(interval);
    }
    if let Some(interval) = spec.global_queue_interval {
        builder.global_queue_interval(interval);
    }
    builder.enable_all().build().expect("a runtime")
}
