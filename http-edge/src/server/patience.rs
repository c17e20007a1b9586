//! How long a connection may be slow or silent.
//!
//! hyper can limit the time for a head, at the price of a timer for each
//! request. Here a thread has one timer for all its connections: now and then
//! its [`Keeper`] looks at what moved since, and tells a connection to end.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What moves on a connection, and what is to become of it.
///
/// Only the connection's own thread writes, so a store is enough where
/// otherwise an addition would be needed.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    received: AtomicU64,
    sent: AtomicU64,
    /// `received` when the last request was answered.
    answered_at: AtomicU64,
    running: AtomicU32,
    /// The socket takes nothing more for now.
    full: AtomicBool,
    /// Many requests at once, and frames that belong to none.
    http2: AtomicBool,
    order: AtomicU8,
    task: OnceLock<Waker>,
}

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Order {
    GoOn = 0,
    /// Let what runs finish, take no more.
    Close = 1,
    /// End now.
    Cut = 2,
}

/// A request, from its head to the last byte of its answer's body.
#[derive(Debug)]
pub(super) struct Running(Arc<Pulse>);

fn add(counter: &AtomicU64, count: usize) {
    counter.store(
        counter.load(Ordering::Relaxed) + count as u64,
        Ordering::Relaxed,
    );
}

impl Pulse {
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        let running = self.running.load(Ordering::Relaxed);
        self.running.store(running + 1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// The connection speaks HTTP/2.
    pub(super) fn is_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    /// What the connection is told; wakes `task`, always the same one, when that changes.
    pub(super) fn order(&self, task: &Waker) -> Order {
        if self.task.get().is_none() {
            self.task.get_or_init(|| task.clone());
        }
        match self.order.load(Ordering::Relaxed) {
            0 => Order::GoOn,
            1 => Order::Close,
            _ => Order::Cut,
        }
    }

    fn tell(&self, order: Order) {
        let before = self.order.fetch_max(order as u8, Ordering::Relaxed);
        if before < order as u8
            && let Some(task) = self.task.get()
        {
            task.wake_by_ref();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pulse = &self.0;
        let running = pulse.running.load(Ordering::Relaxed);
        pulse.running.store(running - 1, Ordering::Relaxed);
        let received = pulse.received.load(Ordering::Relaxed);
        pulse.answered_at.store(received, Ordering::Relaxed);
    }
}

/// Looks after the connections of one thread.
pub(super) struct Keeper {
    head: Duration,
    idle: Duration,
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    pulse: Weak<Pulse>,
    patience: Patience,
}

impl Keeper {
    pub(super) fn new(head: Duration, idle: Duration) -> Self {
        let kept = Mutex::default();
        Self { head, idle, kept }
    }

    /// The pulse of a new connection.
    pub(super) fn admit(&self) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::default());
        self.kept().push(Kept {
            pulse: Arc::downgrade(&pulse),
            patience: Patience::new(self.head, self.idle, Instant::now()),
        });
        pulse
    }

    /// Looks until the end of the thread.
    pub(super) async fn look(&self) {
        let pause =
            (self.head.min(self.idle) / 4).clamp(Duration::from_millis(20), Duration::from_secs(2));
        loop {
            tokio::time::sleep(pause).await;
            let now = Instant::now();
            self.kept().retain_mut(|kept| {
                let Some(pulse) = kept.pulse.upgrade() else {
                    return false;
                };
                match kept.patience.look(&pulse, now) {
                    Verdict::GoOn => {}
                    Verdict::Idle if pulse.order.load(Ordering::Relaxed) == Order::Close as u8 => {
                        pulse.tell(Order::Cut);
                    }
                    Verdict::Idle => {
                        // Once more the idle time for an answer that nobody reads.
                        kept.patience.moved_at = now;
                        pulse.tell(Order::Close);
                    }
                    Verdict::Slow => pulse.tell(Order::Cut),
                }
                true
            });
        }
    }

    /// Tells every connection.
    pub(super) fn tell_all(&self, order: Order) {
        for pulse in self.kept().iter().filter_map(|kept| kept.pulse.upgrade()) {
            pulse.tell(order);
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look finds.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    GoOn,
    /// Nothing has moved for the idle time, between requests: end it in good order.
    Idle,
    /// A head has been coming for too long, or nothing of what is ready is
    /// taken: close it.
    Slow,
}

/// Looks at a [`Pulse`] now and then.
struct Patience {
    head: Duration,
    idle: Duration,
    moved: (u64, u64),
    moved_at: Instant,
    head_since: Option<Instant>,
    /// Since when the socket takes nothing, and how much it had taken by then.
    full_since: Option<(Instant, u64)>,
}

impl Patience {
    fn new(head: Duration, idle: Duration, now: Instant) -> Self {
        Self {
            head,
            idle,
            moved: (0, 0),
            moved_at: now,
            head_since: Some(now),
            full_since: None,
        }
    }

    fn look(&mut self, pulse: &Pulse, now: Instant) -> Verdict {
        let received = pulse.received.load(Ordering::Relaxed);
        let sent = pulse.sent.load(Ordering::Relaxed);
        let answered_at = pulse.answered_at.load(Ordering::Relaxed);
        let http2 = pulse.http2.load(Ordering::Relaxed);
        // Pings and their like keep no HTTP/2 connection open, requests do.
        let moved = if http2 {
            (answered_at, 0)
        } else {
            (received, sent)
        };
        if moved != self.moved {
            self.moved = moved;
            self.moved_at = now;
        }
        if pulse.full.load(Ordering::Relaxed) {
            self.head_since = None;
            self.moved_at = now;
            let since = match self.full_since {
                Some((since, taken)) if taken == sent => since,
                _ => now,
            };
            self.full_since = Some((since, sent));
            if now.duration_since(since) >= self.idle {
                return Verdict::Slow;
            }
            return Verdict::GoOn;
        }
        self.full_since = None;
        if pulse.running.load(Ordering::Relaxed) > 0 {
            self.head_since = None;
            self.moved_at = now;
            return Verdict::GoOn;
        }
        if !http2 && received > answered_at {
            let since = *self.head_since.get_or_insert(now);
            if now.duration_since(since) >= self.head {
                return Verdict::Slow;
            }
        } else if received > 0 {
            self.head_since = None;
        }
        if now.duration_since(self.moved_at) >= self.idle {
            return Verdict::Idle;
        }
        Verdict::GoOn
    }
}

/// A socket whose traffic is counted.
pub(super) struct Counted<S> {
    socket: S,
    pulse: Arc<Pulse>,
}

impl<S> Counted<S> {
    pub(super) fn new(socket: S, pulse: Arc<Pulse>) -> Self {
        Self { socket, pulse }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = result {
            add(&self.pulse.sent, *count);
        }
        self.pulse
            .full
            .store(result.is_pending(), Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, buf);
        let count = buf.filled().len() - before;
        if count > 0 {
            add(&self.pulse.received, count);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);

    fn receive(pulse: &Pulse, bytes: u64) {
        pulse.received.fetch_add(bytes, Ordering::Relaxed);
    }

    #[test]
    fn a_head_that_trickles_is_slow() {
        let pulse = Arc::new(Pulse::default());
        let start = Instant::now();
        let mut patience = Patience::new(HEAD, IDLE, start);
        for second in 0..10 {
            receive(&pulse, 1);
            let now = start + Duration::from_secs(second);
            assert_eq!(patience.look(&pulse, now), Verdict::GoOn, "{second}");
        }
        assert_eq!(patience.look(&pulse, start + HEAD), Verdict::Slow);
    }

    #[test]
    fn a_silent_connection_is_idle() {
        let pulse = Arc::new(Pulse::default());
        let start = Instant::now();
        let mut patience = Patience::new(HEAD, IDLE, start);
        receive(&pulse, 100);
        drop(pulse.begin());
        assert_eq!(patience.look(&pulse, start + HEAD * 2), Verdict::GoOn);
        assert_eq!(
            patience.look(&pulse, start + HEAD * 2 + IDLE),
            Verdict::Idle
        );
    }

    #[test]
    fn a_handler_may_take_its_time() {
        let pulse = Arc::new(Pulse::default());
        let start = Instant::now();
        let mut patience = Patience::new(HEAD, IDLE, start);
        receive(&pulse, 100);
        let running = pulse.begin();
        assert_eq!(patience.look(&pulse, start + IDLE * 3), Verdict::GoOn);
        drop(running);
        assert_eq!(
            patience.look(&pulse, start + IDLE * 3 + HEAD),
            Verdict::GoOn
        );
        // The next head, late.
        receive(&pulse, 1);
        assert_eq!(patience.look(&pulse, start + IDLE * 4), Verdict::GoOn);
        assert_eq!(
            patience.look(&pulse, start + IDLE * 4 + HEAD),
            Verdict::Slow
        );
    }

    #[test]
    fn frames_between_requests_are_neither_heads_nor_life() {
        let pulse = Arc::new(Pulse::default());
        pulse.is_http2();
        let start = Instant::now();
        let mut patience = Patience::new(HEAD, IDLE, start);
        receive(&pulse, 100);
        drop(pulse.begin());
        let mut seconds = 0;
        let verdict = loop {
            receive(&pulse, 17);
            let verdict = patience.look(&pulse, start + Duration::from_secs(seconds));
            if verdict != Verdict::GoOn {
                break verdict;
            }
            seconds += 5;
        };
        assert_eq!((verdict, seconds), (Verdict::Idle, IDLE.as_secs()));
    }

    #[test]
    fn a_client_that_takes_nothing_is_cut() {
        let pulse = Arc::new(Pulse::default());
        let start = Instant::now();
        let mut patience = Patience::new(HEAD, IDLE, start);
        receive(&pulse, 100);
        let _running = pulse.begin();
        pulse.full.store(true, Ordering::Relaxed);
        assert_eq!(patience.look(&pulse, start), Verdict::GoOn);
        // A little, now and then, is enough.
        pulse.sent.fetch_add(1, Ordering::Relaxed);
        assert_eq!(patience.look(&pulse, start + IDLE), Verdict::GoOn);
        assert_eq!(patience.look(&pulse, start + IDLE * 2), Verdict::Slow);
    }
}
