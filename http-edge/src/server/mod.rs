//! Brings requests to an [`Edge`]: a listening socket, threads, limits, a stop.
//!
//! Each thread runs a single-threaded runtime of its own and takes connections
//! from the one listening socket; a request never changes threads, nor does its
//! handler, but for that of a kept stream: it runs wherever somebody follows. So no
//! runtime ends while another thread still serves, within the grace period. A thread
//! that a handler blocks takes no new connections, the others do; where all are
//! blocked, a spare one is started.

mod blocked;
mod connection;
mod listener;
mod patience;
mod threads;

use std::net::SocketAddr;
use std::time::Duration;

use framex_core::settings::Server as Settings;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::Edge;
pub use listener::{ListenError, bind};
use threads::Threads;

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that take connections.
    pub threads: usize,
    /// Connections at once; more wait in the socket's queue.
    pub max_connections: usize,
    /// The largest head of a request, in bytes.
    pub max_header_size: usize,
    /// How long a head may take to come.
    pub header_timeout: Duration,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Duration,
    /// How long requests may still run after a stop.
    pub grace: Duration,
}

impl From<&Settings> for Options {
    fn from(settings: &Settings) -> Self {
        Self {
            threads: settings.num_cpus.unwrap_or_else(default_threads),
            max_connections: settings.max_connections,
            max_header_size: settings.max_header_size.as_usize(),
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            grace: settings.shutdown_grace,
        }
    }
}

/// All cores but one, which the kernel's side of the network needs: measured,
/// two threads on two cores serve no more requests than one and triple the
/// slowest of them (docs/performance.md).
#[must_use]
pub fn default_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).max(1)
}

/// A server that runs. Dropping it stops it without waiting.
pub struct Server {
    address: SocketAddr,
    stop: DropGuard,
    threads: Threads,
}

impl Server {
    /// Serves `edge` on `listener`.
    ///
    /// # Errors
    ///
    /// The system's, if no thread can be started.
    pub fn start(
        listener: std::net::TcpListener,
        edge: Edge,
        options: Options,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let threads = Threads::start(listener, edge, options, stop.clone())?;
        Ok(Self {
            address,
            stop: stop.drop_guard(),
            threads,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.threads.connections()
    }

    /// Takes no more connections, lets requests finish within the grace period,
    /// then ends them. Blocks until all threads are done, or are given up
    /// because a handler blocks them.
    ///
    /// Gives the number of connections that were cut.
    pub fn stop(self) -> usize {
        drop(self.stop);
        self.threads.join()
    }
}
