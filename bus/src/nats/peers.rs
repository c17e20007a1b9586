//! Who serves what elsewhere.
//!
//! Discovery writes here, calls read. An [`Instance`] is one process as one
//! plugin's server; a [`Remote`] is an API with those who serve it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;

/// One process that serves one plugin, as seen from here.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) plugin: Arc<str>,
    pub(crate) id: Arc<str>,
    pub(crate) version: String,
    /// Speaks this protocol: has subjects of its own, announces itself, beats.
    /// A foreign service does not.
    pub(crate) native: bool,
    /// Calls of this process that it has not answered.
    pub(crate) outstanding: AtomicU32,
    /// Calls that it runs altogether, as it last said.
    pub(crate) ongoing: AtomicU32,
    /// It is gone, quiet or draining: no new calls.
    pub(crate) shunned: AtomicBool,
    /// A caller waits longer than usual: look whether it still lives.
    pub(crate) suspected: AtomicBool,
    /// How often it has connected to a broker, as it last said; 0 if it has not.
    connects: AtomicU64,
    /// When it was heard of another connection, in the clock of [`ms_of`]; 0 if never.
    moved: AtomicU64,
    /// When it last gave a sign of life, in the clock of [`ms_of`].
    last_sign: AtomicU64,
}

impl Instance {
    pub(crate) fn new(plugin: &str, id: &str, version: &str, native: bool) -> Arc<Self> {
        let instance = Self {
            plugin: plugin.into(),
            id: id.into(),
            version: version.to_owned(),
            native,
            outstanding: AtomicU32::new(0),
            ongoing: AtomicU32::new(0),
            shunned: AtomicBool::new(false),
            suspected: AtomicBool::new(false),
            connects: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            last_sign: AtomicU64::new(0),
        };
        instance.lives();
        Arc::new(instance)
    }

    /// Notes a sign of life, now.
    pub(crate) fn lives(&self) {
        self.lives_at(ms_of(Instant::now()));
    }

    /// Notes a sign of life at a time of [`ms_of`]. Cheap enough for every reply.
    pub(crate) fn lives_at(&self, now: u64) {
        self.last_sign.store(now, Ordering::Relaxed);
    }

    /// Notes how often it has connected, if it says so.
    pub(crate) fn connected(&self, connects: u64, now: u64) {
        if connects == 0 {
            return;
        }
        let before = self.connects.swap(connects, Ordering::Relaxed);
        if before != 0 && before != connects {
            self.moved.store(now, Ordering::Relaxed);
        }
    }

    /// When its connection was another one than at `since`: what was on its way then
    /// may be lost. Times of [`ms_of`].
    pub(crate) fn moved_after(&self, since: u64) -> Option<u64> {
        let moved = self.moved.load(Ordering::Relaxed);
        (moved > since).then_some(moved)
    }

    /// Milliseconds since the last sign of life.
    pub(crate) fn silence_ms(&self) -> u64 {
        self.silence_at(ms_of(Instant::now()))
    }

    /// As [`Instance::silence_ms`], at a time of [`ms_of`].
    pub(crate) fn silence_at(&self, now: u64) -> u64 {
        now.saturating_sub(self.last_sign.load(Ordering::Relaxed))
    }
}

/// A time as milliseconds since this process began to count.
pub(crate) fn ms_of(time: Instant) -> u64 {
    static EPOCH: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    u64::try_from(time.saturating_duration_since(*EPOCH).as_millis()).unwrap_or(u64::MAX)
}

/// An instance that serves an API.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) instance: Arc<Instance>,
    /// The subject of this API at this instance alone; none for foreign services.
    pub(crate) own_subject: Option<async_nats::Subject>,
}

/// An API that others serve.
#[derive(Debug)]
pub(crate) struct Remote {
    /// The public way in: whoever of the queue group takes it.
    pub(crate) subject: async_nats::Subject,
    /// Those with the descriptor that the catalog shows, or one that fits it.
    pub(crate) endpoints: ArcSwap<Vec<Endpoint>>,
    /// The public way in may lead to somebody who must get no calls: one that is
    /// frozen would keep them.
    pub(crate) shut: AtomicBool,
}
