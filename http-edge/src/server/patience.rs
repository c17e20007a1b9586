//! How long a connection may be slow or silent.
//!
//! hyper can limit the time for a head, at the price of a timer for each
//! request. Here a connection has one timer, that looks every now and then at
//! what moved since.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What moves on a connection.
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
}

/// A request, from its head to the last byte of its answer's body.
#[derive(Debug)]
pub(super) struct Running(Arc<Pulse>);

impl Pulse {
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        if version == Version::HTTP_2 {
            self.http2.store(true, Ordering::Relaxed);
        }
        Running(Arc::clone(self))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pulse = &self.0;
        pulse.running.fetch_sub(1, Ordering::Relaxed);
        let received = pulse.received.load(Ordering::Relaxed);
        pulse.answered_at.store(received, Ordering::Relaxed);
    }
}

/// What to do with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    /// Nothing has moved for the idle time, between requests: end it in good order.
    Idle,
    /// A head has been coming for too long: close it.
    Slow,
    /// The client takes nothing of what is ready for it: close it.
    Stuck,
}

/// Looks at a [`Pulse`] now and then.
pub(super) struct Patience {
    head: Duration,
    idle: Duration,
    moved: (u64, u64),
    moved_at: Instant,
    head_since: Option<Instant>,
    /// Since when the socket takes nothing, and how much it had taken by then.
    full_since: Option<(Instant, u64)>,
}

impl Patience {
    pub(super) fn new(head: Duration, idle: Duration, now: Instant) -> Self {
        Self {
            head,
            idle,
            moved: (0, 0),
            moved_at: now,
            head_since: Some(now),
            full_since: None,
        }
    }

    /// How often to look.
    pub(super) fn pause(&self) -> Duration {
        (self.head.min(self.idle) / 4).clamp(Duration::from_millis(20), Duration::from_secs(5))
    }

    pub(super) fn look(&mut self, pulse: &Pulse, now: Instant) -> Verdict {
        let received = pulse.received.load(Ordering::Relaxed);
        let sent = pulse.sent.load(Ordering::Relaxed);
        let answered_at = pulse.answered_at.load(Ordering::Relaxed);
        let http2 = pulse.http2.load(Ordering::Relaxed);
        // Pings and their like keep no HTTP/2 connection open, requests do.
        let moved = (if http2 { answered_at } else { received }, sent);
        if http2 && moved.0 != self.moved.0 || !http2 && moved != self.moved {
            self.moved_at = now;
        }
        self.moved = moved;
        if pulse.full.load(Ordering::Relaxed) {
            self.head_since = None;
            self.moved_at = now;
            let since = match self.full_since {
                Some((since, taken)) if taken == sent => since,
                _ => now,
            };
            self.full_since = Some((since, sent));
            if now.duration_since(since) >= self.idle {
                return Verdict::Stuck;
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
            // What comes on HTTP/2 between requests is no head.
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
            self.pulse.sent.fetch_add(*count as u64, Ordering::Relaxed);
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
            self.pulse
                .received
                .fetch_add(count as u64, Ordering::Relaxed);
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
        drop(pulse.begin(Version::HTTP_11));
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
        let running = pulse.begin(Version::HTTP_11);
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
        let start = Instant::now();
        let mut patience = Patience::new(HEAD, IDLE, start);
        receive(&pulse, 100);
        drop(pulse.begin(Version::HTTP_2));
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
    fn a_client_that_takes_nothing_is_stuck() {
        let pulse = Arc::new(Pulse::default());
        let start = Instant::now();
        let mut patience = Patience::new(HEAD, IDLE, start);
        receive(&pulse, 100);
        let _running = pulse.begin(Version::HTTP_11);
        pulse.full.store(true, Ordering::Relaxed);
        assert_eq!(patience.look(&pulse, start), Verdict::GoOn);
        // A little, now and then, is enough.
        pulse.sent.fetch_add(1, Ordering::Relaxed);
        assert_eq!(patience.look(&pulse, start + IDLE), Verdict::GoOn);
        assert_eq!(patience.look(&pulse, start + IDLE * 2), Verdict::Stuck);
    }
}
