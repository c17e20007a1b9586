//! A call whose body is still coming, and what becomes of it when the client leaves.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use framex_bus::Call;
use framex_core::error::CallError;
use framex_core::reply::Reply;
use tokio::runtime::Handle;
use tokio::time::Sleep;
use tokio_util::task::TaskTracker;

use crate::intake::Progress;

/// How long a handler may still run whose body was cut short.
const CLEANING_UP: Duration = Duration::from_secs(2);

/// A call that reads its body itself.
///
/// Dropped before the body has ended, it lets the handler see that and clean up: reading
/// fails at once, and after a while the handler is dropped.
pub(crate) struct Uploading {
    call: Option<Call>,
    progress: Progress,
    /// Runs once the body is cut.
    patience: Option<Pin<Box<Sleep>>>,
    /// Who owns the handlers that clean up.
    leaving: TaskTracker,
}

impl Uploading {
    pub(crate) fn new(call: Call, progress: Progress, leaving: TaskTracker) -> Self {
        Self {
            call: Some(call),
            progress,
            patience: None,
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
        let over = match polled {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending if !self.progress.poll_cut(cx) => return Poll::Pending,
            // Not every server drops its request then.
            Poll::Pending => {
                let patience = || Box::pin(tokio::time::sleep(CLEANING_UP));
                ready!(self.patience.get_or_insert_with(patience).as_mut().poll(cx));
                None
            }
        };
        self.call = None;
        // Whatever the handler made of it: a body that was refused is the client's mistake.
        let refused = self.progress.error().map(CallError::Handler);
        Poll::Ready(match (refused, over) {
            (Some(error), _) => Err(error),
            (None, Some(outcome)) => outcome,
            (None, None) => return Poll::Pending,
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
