//! Connections to an upstream, and those that wait for their next request.
//!
//! A connection has no task: whoever has it polls it, together with the answer that he waits
//! for. So a request never changes threads, bodies go at the pace of whoever takes them, and
//! a call that is dropped takes its connection with it. One that waits is not polled; whether
//! it was closed meanwhile is looked at when it is taken. It stays with the runtime that
//! opened it, which knows when bytes have come.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::connect::Connector;
use super::failure::Failure;
use super::outgoing::Outgoing;
use super::wire::Wire;

/// How long a connection waits for its next request.
const IDLE: Duration = Duration::from_secs(30);
/// How many wait in one runtime.
const MOST_IDLE: usize = 256;
/// The head of an answer, and what is read of a body at once, in bytes.
const BUFFER: usize = 64 * 1024;
/// The lines of headers of an answer.
const MOST_HEADERS: usize = 512;

/// A connection that can take a request, or has one.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Outgoing>,
    /// None once it has ended.
    driver: Option<http1::Connection<TokioIo<Wire>, Outgoing>>,
    /// How many bytes have come since it was taken.
    heard: Arc<AtomicU64>,
    runtime: Id,
    /// Whether it has had a request before.
    pub(super) reused: bool,
}

/// See the module.
pub(super) struct Pool {
    connector: Connector,
    idle: Mutex<HashMap<Id, Place>>,
}

/// What waits in one runtime, the longest first.
#[derive(Default)]
struct Place {
    idle: VecDeque<(Connection, Instant)>,
    /// Closes those that have waited for too long, while there are any.
    reaper: Option<AbortHandle>,
}

impl Place {
    /// Whether somebody closes what waits here.
    fn is_reaped(&self) -> bool {
        let reaper = self.reaper.as_ref();
        reaper.is_some_and(|reaper| !reaper.is_finished())
    }
}

impl Connection {
    /// Does what there is to do. Whether it has ended.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(driver) = &mut self.driver else {
            return true;
        };
        // An error is told to whoever waits for the answer or its body.
        let ended = Pin::new(driver).poll(cx).is_ready();
        if ended {
            self.driver = None;
        }
        ended
    }

    /// How many bytes of the answer have come.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Whether it can take a request now.
    fn is_ready(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Arc<Self> {
        Arc::new(Self {
            connector,
            idle: Mutex::default(),
        })
    }

    /// One that waits here and is still open.
    pub(super) fn take(&self) -> Option<Connection> {
        let runtime = Handle::current().id();
        loop {
            let (mut connection, _) = self.idle().get_mut(&runtime)?.idle.pop_back()?;
            // If the upstream has closed it, this is where that shows.
            connection.drive(&mut Context::from_waker(Waker::noop()));
            if connection.is_ready() {
                connection.heard.store(0, Ordering::Relaxed);
                connection.reused = true;
                return Some(connection);
            }
        }
    }

    /// A new one.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let stream = self.connector.connect().await;
        let stream = stream.map_err(|error| Failure::Unreachable(error.into()))?;
        let heard = Arc::new(AtomicU64::new(0));
        let io = TokioIo::new(Wire::new(stream, Arc::clone(&heard)));
        let mut http = http1::Builder::new();
        http.max_buf_size(BUFFER).max_headers(MOST_HEADERS);
        let made = http.handshake(io).await;
        let (sender, driver) = made.map_err(|error| Failure::Unreachable(error.into()))?;
        Ok(Connection {
            sender,
            driver: Some(driver),
            heard,
            runtime: Handle::current().id(),
            reused: false,
        })
    }

    /// Keeps a connection whose answer has come to its end, if it can take another request.
    pub(super) fn put(self: &Arc<Self>, mut connection: Connection, cx: &mut Context<'_>) {
        if connection.drive(cx) || !connection.is_ready() {
            return;
        }
        let runtime = connection.runtime;
        // What another runtime opened may have nobody there to close it in time.
        let Some(here) = Handle::try_current()
            .ok()
            .filter(|here| here.id() == runtime)
        else {
            return;
        };
        let mut idle = self.idle();
        let place = idle.entry(runtime).or_default();
        if place.idle.len() < MOST_IDLE {
            place.idle.push_back((connection, Instant::now()));
        }
        if !place.is_reaped() {
            let reaper = here.spawn(reap(Arc::downgrade(self), runtime));
            place.reaper = Some(reaper.abort_handle());
        }
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Id, Place>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for place in self.idle().values_mut() {
            if let Some(reaper) = place.reaper.take() {
                reaper.abort();
            }
        }
    }
}

/// Closes connections that have waited for too long, until none waits in `runtime`. Those of
/// runtimes that have ended have nobody else.
async fn reap(pool: Weak<Pool>, runtime: Id) {
    loop {
        sleep(IDLE / 2).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let mut all = pool.idle();
        let late = |(_, since): &(Connection, Instant)| since.elapsed() >= IDLE;
        for place in all.values_mut() {
            while place.idle.front().is_some_and(late) {
                place.idle.pop_front();
            }
        }
        all.retain(|_, place| !place.idle.is_empty() || place.is_reaped());
        if all.get(&runtime).is_none_or(|place| place.idle.is_empty()) {
            all.remove(&runtime);
            return;
        }
    }
}
