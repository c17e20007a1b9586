//! Those who follow a stream, and who drives it while nobody does.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use framex_core::context::Principal;
use framex_core::error::{CallError, Error};
use framex_core::event::{Event, EventStream};
use framex_core::id::ApiId;
use framex_core::kept::Position;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use tokio::time::Sleep;

use super::KeptStream;
use super::stream::{Kept, Step};

/// One who follows.
pub(super) struct Follower {
    kept: Arc<Kept>,
    key: u64,
    ready: VecDeque<Event>,
    over: bool,
}

impl Follower {
    /// The events for the place `key`.
    pub(super) fn stream(kept: &Arc<Kept>, key: u64) -> EventStream {
        let follower = Self {
            kept: Arc::clone(kept),
            key,
            ready: VecDeque::new(),
            over: false,
        };
        EventStream::new(follower).kept_as(kept.id.clone())
    }
}

impl Stream for Follower {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(event) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if this.over {
                return Poll::Ready(None);
            }
            let last = match ready!(this.kept.poll(this.key, &mut this.ready, cx)) {
                Step::Events => continue,
                Step::Over(error) => error,
                Step::Replaced => None,
            };
            this.over = true;
            this.kept.leave(this.key);
            return Poll::Ready(last.map(Err));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.kept.leave(self.key);
    }
}

/// Drives a stream that nobody follows, until somebody does again, it ends, or time is up.
pub(super) struct Alone {
    kept: Arc<Kept>,
    key: u64,
    until: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alone {
    pub(super) fn new(kept: &Arc<Kept>, key: u64, until: Instant) -> Self {
        Self {
            kept: Arc::clone(kept),
            key,
            until,
            timer: None,
        }
    }
}

impl Future for Alone {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
        if timer.as_mut().poll(cx).is_ready() {
            // Being dropped ends the stream.
            return Poll::Ready(());
        }
        let mut events = VecDeque::new();
        match ready!(self.kept.poll(self.key, &mut events, cx)) {
            Step::Events => {
                // Others on this thread have their turn.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Step::Over(error) => {
                if let Some(source) = error.as_ref().and_then(Error::source) {
                    let api = &self.kept.api;
                    tracing::error!(%api, error = %source, "a stream failed that nobody followed");
                }
                Poll::Ready(())
            }
            Step::Replaced => Poll::Ready(()),
        }
    }
}

impl Drop for Alone {
    /// Its time is up, or its runtime goes.
    fn drop(&mut self) {
        self.kept.end_if_left_to(self.key);
    }
}

/// A stream that was asked for by its id.
pub(super) struct Found(pub(super) Arc<Kept>);

impl KeptStream for Found {
    fn api(&self) -> &ApiId {
        &self.0.api
    }

    fn principal(&self) -> Option<&str> {
        self.0.principal.as_ref().map(Principal::name)
    }

    fn follow(
        &self,
        after: Option<Position>,
    ) -> BoxFuture<'static, Result<EventStream, CallError>> {
        Box::pin(std::future::ready(self.0.follow(after)))
    }

    fn stop(&self) -> BoxFuture<'static, Result<(), CallError>> {
        self.0.stop();
        Box::pin(std::future::ready(Ok(())))
    }
}
