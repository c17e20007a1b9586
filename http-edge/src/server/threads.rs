//! The threads of a server.

use std::io;
use std::net::{Shutdown, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use framex_core::watch::Watch;
use futures_core::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::blocked::Reports;
use super::patience::{Keeper, Order};
use super::{Options, connection};
use crate::Edge;

/// Without a free thread, a spare one comes after this.
const SPARE_AFTER: Duration = Duration::from_millis(20);
/// How often the threads are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Spare threads at most.
const MOST_SPARE: usize = 64;
/// Beyond the grace period, the time for a thread to give up by itself.
const GIVE_UP_AFTER: Duration = Duration::from_millis(500);

/// What the threads share.
pub(super) struct Shared {
    /// None once the server stops.
    listener: Mutex<Option<TcpListener>>,
    pub(super) edge: Edge,
    pub(super) options: Options,
    pub(super) stop: CancellationToken,
    /// Open connections, by thread.
    load: Mutex<Vec<Arc<AtomicUsize>>>,
    open: AtomicUsize,
    cut: AtomicUsize,
}

pub(super) struct Threads {
    shared: Arc<Shared>,
    running: Arc<Mutex<Vec<JoinHandle<()>>>>,
    watcher: JoinHandle<()>,
}

impl Threads {
    pub(super) fn start(
        listener: TcpListener,
        edge: Edge,
        options: Options,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let count = options.threads.max(1);
        let shared = Arc::new(Shared {
            listener: Mutex::new(Some(listener)),
            edge,
            options,
            stop,
            load: Mutex::default(),
            open: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
        });
        let running = Arc::new(Mutex::new(Vec::new()));
        for number in 0..count {
            let thread = spawn(&shared, format!("edge-{number}"))?;
            lock(&running).push(thread);
        }
        let watcher = {
            let shared = Arc::clone(&shared);
            let running = Arc::clone(&running);
            std::thread::Builder::new()
                .name("edge-watch".into())
                .spawn(move || watch(&shared, &running))?
        };
        Ok(Self {
            shared,
            running,
            watcher,
        })
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Waits for all threads; gives the number of connections that were cut.
    pub(super) fn join(self) -> usize {
        let shared = self.shared;
        let patience = Instant::now() + shared.options.grace + GIVE_UP_AFTER;
        let threads = std::mem::take(&mut *lock(&self.running));
        for thread in threads {
            while !thread.is_finished() && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() && thread.join().is_err() {
                tracing::error!("a thread of the edge panicked");
            }
        }
        if self.watcher.join().is_err() {
            tracing::error!("the watcher of the edge's threads panicked");
        }
        shared.cut.load(Ordering::Relaxed) + shared.open.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(shared: &Arc<Shared>, name: String) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = match &*lock(&shared.listener) {
        Some(listener) => listener.try_clone()?,
        None => return Err(io::Error::other("the server is stopping")),
    };
    let load = Arc::new(AtomicUsize::new(0));
    lock(&shared.load).push(Arc::clone(&load));
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name(name).spawn(move || {
        runtime.block_on(run(&shared, listener, &load));
        // Blocking functions that still run are not waited for.
        runtime.shutdown_background();
    })
}

/// One thread: takes connections until the stop, then lets them finish.
async fn run(shared: &Arc<Shared>, listener: TcpListener, load: &Arc<AtomicUsize>) {
    // The thread's own part of the bus outlives its calls.
    let _attending = shared.edge.bus().attend().map(Attending::start);
    let tasks = TaskTracker::new();
    let keeper = Keeper::new(shared.options.header_timeout, shared.options.idle_timeout);
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => {
            let accept = accept(shared, &listener, load, &tasks, &keeper);
            tokio::select! {
                () = accept => {}
                () = keeper.look() => {}
                () = shared.stop.cancelled() => {}
            }
            take_the_last(shared, &listener, load, &tasks, &keeper).await;
        }
        Err(error) => tracing::error!(%error, "a thread of the edge cannot listen"),
    }
    tasks.close();
    keeper.tell_all(Order::Close);
    // Slow and silent clients are not waited for.
    let finished = async {
        tokio::select! {
            () = async {
                tasks.wait().await;
                shared.edge.left().await;
            } => {}
            () = keeper.look() => {}
        }
    };
    if tokio::time::timeout(shared.options.grace, finished)
        .await
        .is_ok()
    {
        return;
    }
    let cut = tasks.len();
    shared.cut.fetch_add(cut, Ordering::Relaxed);
    tracing::warn!(connections = cut, grace = ?shared.options.grace, "grace period over, cutting connections");
    keeper.tell_all(Order::Cut);
    tasks.wait().await;
}

/// What the bus does on this thread. Dropping it ends it.
struct Attending(tokio::task::JoinHandle<()>);

impl Attending {
    fn start(work: BoxFuture<'static, ()>) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(
    shared: &Arc<Shared>,
    listener: &tokio::net::TcpListener,
    load: &Arc<AtomicUsize>,
    tasks: &TaskTracker,
    keeper: &Keeper,
) {
    loop {
        // A thread with more connections than another lets that one go first;
        // if the other is blocked it takes no part, and this one goes on.
        if busier_than_another(shared, load) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while shared.open.load(Ordering::Relaxed) >= shared.options.max_connections {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                if shared.stop.is_cancelled() {
                    return;
                }
                // The peer left, or the process has too many files open: the
                // next one may do better, in a moment.
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        begin(shared, stream, load, tasks, keeper);
    }
}

fn begin(
    shared: &Arc<Shared>,
    stream: tokio::net::TcpStream,
    load: &Arc<AtomicUsize>,
    tasks: &TaskTracker,
    keeper: &Keeper,
) {
    let counted = Counted::new(shared, load);
    let connection = connection::serve(Arc::clone(shared), stream, keeper.admit());
    tasks.spawn(async move {
        connection.await;
        drop(counted);
    });
}

/// At the stop: clients whose connections wait to be taken believe that they have
/// one. Takes those, and no more from then on.
async fn take_the_last(
    shared: &Arc<Shared>,
    listener: &tokio::net::TcpListener,
    load: &Arc<AtomicUsize>,
    tasks: &TaskTracker,
    keeper: &Keeper,
) {
    std::future::poll_fn(|cx| {
        while let Poll::Ready(Ok((stream, _))) = listener.poll_accept(cx) {
            begin(shared, stream, load, tasks, keeper);
        }
        Poll::Ready(())
    })
    .await;
    close(shared);
}

fn busier_than_another(shared: &Shared, mine: &AtomicUsize) -> bool {
    let load = lock(&shared.load);
    let least = load
        .iter()
        .map(|l| l.load(Ordering::Relaxed))
        .min()
        .unwrap_or(0);
    mine.load(Ordering::Relaxed) > least
}

/// One open connection.
struct Counted {
    shared: Arc<Shared>,
    load: Arc<AtomicUsize>,
}

impl Counted {
    fn new(shared: &Arc<Shared>, load: &Arc<AtomicUsize>) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        load.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(shared),
            load: Arc::clone(load),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Names handlers that block, and starts a spare thread where none is left.
fn watch(shared: &Arc<Shared>, running: &Mutex<Vec<JoinHandle<()>>>) {
    let mut looks = Watch::default();
    let mut reports = Reports::default();
    let mut spare = 0;
    while !shared.stop.is_cancelled() {
        std::thread::sleep(LOOK_EVERY);
        let stuck = looks.look(SPARE_AFTER);
        reports.look();
        let mine = stuck
            .iter()
            .filter(|b| b.thread.starts_with("edge-"))
            .count();
        let threads = lock(running).len();
        // A server that stops has given its threads away, and starts none.
        if mine >= threads.max(1) && spare < MOST_SPARE && !shared.stop.is_cancelled() {
            spare += 1;
            match spawn(shared, format!("edge-spare-{spare}")) {
                Ok(thread) => lock(running).push(thread),
                Err(error) => {
                    tracing::error!(%error, "every thread is blocked and no spare one can be started");
                }
            }
        }
    }
    // By now every thread that is not blocked has taken what waited.
    std::thread::sleep(LOOK_EVERY);
    close(shared);
}

/// New connections are refused from now on, also where a thread that is blocked
/// holds on to its part of the socket.
fn close(shared: &Shared) {
    if let Some(listener) = lock(&shared.listener).take()
        && let Err(error) = socket2::SockRef::from(&listener).shutdown(Shutdown::Both)
    {
        // Not every system can; closing does it once every thread has.
        tracing::debug!(%error, "a listening socket is closed, not shut down");
    }
}
