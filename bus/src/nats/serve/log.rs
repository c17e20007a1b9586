//! What callers are not told, and who calls without wanting an answer.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use framex_core::context::RequestId;
use framex_core::error::{CallError, Error};
use framex_core::id::ApiId;

/// Says the same no more often than this.
const PAUSE: Duration = Duration::from_secs(5);

/// Writes the reason of a failure to the log, if it has one that its message
/// does not tell.
pub(super) fn failure(failed: &CallError, api: &ApiId, id: &RequestId) {
    match failed {
        CallError::Handler(error) => error_of(error, api, id),
        CallError::Panicked { message, .. } => {
            tracing::error!(%api, request_id = %id, panic = message, "a call ended in a panic");
        }
        _ => {}
    }
}

/// [`failure`], of a handler's own error.
pub(super) fn error_of(error: &Error, api: &ApiId, id: &RequestId) {
    if let Some(source) = error.source() {
        let status = error.status().as_u16();
        tracing::error!(%api, request_id = %id, status, error = %Chain(source.as_ref()), "{}", error.message());
    }
}

/// An error and its sources in one line.
struct Chain<'a>(&'a (dyn std::error::Error + Send + Sync));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// Keeps one complaint from filling the log.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// How often it has happened since it was last said, if it may be said now.
    pub(super) fn now(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.1 += 1;
        if state.0.is_some_and(|last| now.duration_since(last) < PAUSE) {
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_all_the_time_is_said_once() {
        let seldom = Seldom::default();
        assert_eq!(seldom.now(), Some(1));
        assert_eq!(seldom.now(), None);
    }
}
