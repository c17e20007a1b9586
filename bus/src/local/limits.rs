//! How much runs at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::LocalApi;

/// What runs in this process, all plugins together.
#[derive(Default)]
pub(super) struct Load {
    pub(super) stopping: AtomicBool,
    pub(super) ongoing: AtomicUsize,
    pub(super) idle: Notify,
}

/// How many calls may run at once, and how many do.
pub(super) struct Limit {
    most: usize,
    running: AtomicUsize,
}

impl Limit {
    pub(super) fn new(most: Option<usize>) -> Self {
        Self {
            most: most.unwrap_or(usize::MAX),
            running: AtomicUsize::new(0),
        }
    }

    /// Whether there is one at all.
    pub(super) fn is_set(&self) -> bool {
        self.most != usize::MAX
    }

    fn enter(&self) -> bool {
        if self.most == usize::MAX {
            return true;
        }
        let entered = self.running.fetch_add(1, Ordering::Relaxed) < self.most;
        if !entered {
            self.running.fetch_sub(1, Ordering::Relaxed);
        }
        entered
    }

    pub(super) fn is_full(&self) -> bool {
        self.most != usize::MAX && self.running.load(Ordering::Relaxed) >= self.most
    }

    fn leave(&self) {
        if self.most != usize::MAX {
            self.running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The right to run one call; gives its place back when it goes.
pub(crate) struct Permit(Arc<LocalApi>);

impl Permit {
    pub(super) fn take(api: &Arc<LocalApi>) -> Option<Self> {
        if !api.limit.enter() {
            return None;
        }
        if let Some(plugin) = &api.plugin_limit
            && !plugin.enter()
        {
            api.limit.leave();
            return None;
        }
        api.load.ongoing.fetch_add(1, Ordering::SeqCst);
        Some(Self(Arc::clone(api)))
    }

    pub(crate) fn api(&self) -> &LocalApi {
        &self.0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let api = &self.0;
        api.limit.leave();
        if let Some(plugin) = &api.plugin_limit {
            plugin.leave();
        }
        api.load.less();
    }
}

impl Load {
    fn less(&self) {
        let was = self.ongoing.fetch_sub(1, Ordering::SeqCst);
        if was == 1 && self.stopping.load(Ordering::SeqCst) {
            self.idle.notify_waiters();
        }
    }
}

/// See [`LocalBus::hold`](super::LocalBus::hold).
pub(crate) struct Held(pub(super) Arc<Load>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.less();
    }
}
