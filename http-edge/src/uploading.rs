//! A call whose body is still coming, and what becomes of it when the client leaves.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use framex_bus::Call;
use framex_core::error::CallError;
use framex_core::reply::Reply;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::intake::Progress;

/// How long a handler may still run whose client left in the middle of its body.
const CLEANING_UP: Duration = Duration::from_secs(2);

/// A call that reads its body itself.
///
/// Dropped before the body has ended, it lets the handler see that and clean up: reading
/// fails at once, and after a while the handler is dropped.
pub(crate) struct Uploading {
    call: Option<Call>,
    progress: Progress,
    /// Who owns the handlers that clean up.
    leaving: TaskTracker,
}

impl Uploading {
    pub(crate) fn new(call: Call, progress: Progress, leaving: TaskTracker) -> Self {
        Self {
            call: Some(call),
            progress,
            leaving,
        }
    }
}

impl Future for Uploading {
    type Output = Result<Reply, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = &mut self.call else {
            return Poll::Pending;
        };
        let polled = Pin::new(call).poll(cx);
        if polled.is_ready() {
            self.call = None;
        }
        // Whatever the handler made of it: a body that was refused is the client's mistake.
        polled.map(|outcome| match self.progress.error() {
            Some(error) => Err(CallError::Handler(error)),
            None => outcome,
        })
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else {
            return;
        };
        if self.progress.ended() {
            return;
        }
        self.progress.leave();
        if let Ok(runtime) = Handle::try_current() {
            let cleaning_up = async {
                // Nobody is there to be told.
                let _ = tokio::time::timeout(CLEANING_UP, call).await;
            };
            self.leaving.spawn_on(cleaning_up, &runtime);
        }
    }
}
