//! Names, in the log, handlers that block the thread they run on.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use framex_core::watch::{Blocked, Watch};
use tokio_util::sync::CancellationToken;

/// A poll of this length blocks its thread.
const BLOCKED_AFTER: Duration = Duration::from_millis(100);
/// How often a watch of its own looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What has been named already.
#[derive(Default)]
pub(super) struct Reports(Watch);

impl Reports {
    /// Names handlers that have been blocking a thread for some time, each once.
    pub(super) fn look(&mut self) {
        for Blocked { api, thread, .. } in self
            .0
            .look(BLOCKED_AFTER)
            .iter()
            .filter(|blocked| !blocked.reported)
        {
            tracing::warn!(
                %api,
                thread,
                "a handler blocks its thread for more than {BLOCKED_AFTER:?}: move the blocking part into a `#[remote]` function"
            );
        }
    }
}

/// Watches all threads of a process that has no [`Server`](super::Server), which
/// would do so. Dropping it ends it.
pub struct BlockedWatch {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl BlockedWatch {
    /// Starts to watch, on a thread of its own.
    ///
    /// # Errors
    ///
    /// The system's, if no thread can be started.
    pub fn start() -> io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let watch = move || {
            let mut reports = Reports::default();
            while !stopped.is_cancelled() {
                std::thread::sleep(LOOK_EVERY);
                reports.look();
            }
        };
        let thread = std::thread::Builder::new()
            .name("framex-watch".into())
            .spawn(watch)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for BlockedWatch {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watcher of blocked threads panicked");
        }
    }
}
