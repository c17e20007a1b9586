//! All kept streams of a process.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use framex_core::context::Principal;
use framex_core::event::EventStream;
use framex_core::id::ApiId;
use framex_core::kept::StreamId;

use super::follower::Found;
use super::stream::Kept;
use super::{KeepOptions, KeptStream};

/// Keeps streams in the memory of this process.
///
/// A stream has no task of its own: whoever follows it drives its handler. Only while
/// nobody does, a task takes their place, for the grace period at most.
pub(crate) struct Keeper {
    me: Weak<Self>,
    options: KeepOptions,
    usage: Arc<Usage>,
    registry: Mutex<Registry>,
}

/// What all streams share.
#[derive(Default)]
pub(super) struct Usage {
    /// What they hold, in bytes.
    pub(super) held: AtomicUsize,
    /// How many of them have ended.
    pub(super) ended: AtomicUsize,
    /// Nobody will come to follow them any more.
    pub(super) stopping: AtomicBool,
}

#[derive(Default)]
struct Registry {
    streams: HashMap<StreamId, Arc<Kept>>,
    /// Those that have ended, the oldest first: when, and how much they hold.
    ended: VecDeque<(Instant, usize, StreamId)>,
}

impl Keeper {
    pub(crate) fn new(options: KeepOptions) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            options,
            usage: Arc::default(),
            registry: Mutex::default(),
        })
    }

    /// Keeps `events`, which are `api`'s answer to `principal`. What it gives are the
    /// same events with their positions, and the first to follow them.
    pub(crate) fn keep(
        &self,
        events: EventStream,
        api: ApiId,
        principal: Option<Principal>,
    ) -> EventStream {
        let id = StreamId::generate();
        let (kept, first) = Kept::new(
            events,
            (api, principal),
            id.clone(),
            self.options,
            Arc::clone(&self.usage),
            Weak::clone(&self.me),
        );
        let mut registry = self.lock();
        let old = registry.sweep(&self.options, &self.usage);
        registry.streams.insert(id, kept);
        drop(registry);
        drop(old);
        first
    }

    /// The stream `id`, if it is kept here.
    pub(crate) fn find(&self, id: &StreamId) -> Option<Arc<dyn KeptStream>> {
        let mut registry = self.lock();
        let old = registry.sweep(&self.options, &self.usage);
        let found = registry.streams.get(id).map(Arc::clone);
        drop(registry);
        drop(old);
        Some(Arc::new(Found(found?)))
    }

    /// Ends the streams that nobody follows, now and from now on at once.
    pub(crate) fn stop_waiting(&self) {
        self.usage.stopping.store(true, Ordering::SeqCst);
        let all: Vec<_> = self.lock().streams.values().map(Arc::clone).collect();
        for kept in all {
            kept.end_if_alone();
        }
    }

    /// `id` has ended and holds `bytes`.
    pub(super) fn ended(&self, id: &StreamId, bytes: usize) {
        let mut registry = self.lock();
        registry
            .ended
            .push_back((Instant::now(), bytes, id.clone()));
        let old = registry.sweep(&self.options, &self.usage);
        drop(registry);
        drop(old);
    }

    /// More is held than may be.
    pub(super) fn press(&self) {
        let old = self.lock().sweep(&self.options, &self.usage);
        drop(old);
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Takes out what is too old, and what is too much, to be dropped without the lock.
    fn sweep(&mut self, options: &KeepOptions, usage: &Usage) -> Vec<Arc<Kept>> {
        let mut out = Vec::new();
        let held = usage.held.load(Ordering::Relaxed);
        let mut freed = 0;
        while let Some((when, bytes, _)) = self.ended.front() {
            let too_much = held.saturating_sub(freed) > options.replay_memory;
            if !too_much && when.elapsed() < options.max_age {
                break;
            }
            freed += bytes;
            if let Some((_, _, id)) = self.ended.pop_front() {
                out.extend(self.streams.remove(&id));
            }
        }
        usage.ended.store(self.ended.len(), Ordering::Relaxed);
        out
    }
}
