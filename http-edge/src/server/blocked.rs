//! Names, in the log, handlers that block the thread they run on.

use std::time::Duration;

use framex_core::watch::{Blocked, Watch};

/// A poll of this length blocks its thread.
const BLOCKED_AFTER: Duration = Duration::from_millis(100);

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
