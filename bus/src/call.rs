//! A call that runs, and the stream that it may become.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use framex_core::body::ByteStream;
use framex_core::context::Principal;
use framex_core::error::{CallError, Error};
use framex_core::event::{Event, EventStream};
use framex_core::reply::{Download, Reply};
use framex_core::watch;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use tokio::task::coop::has_budget_remaining;
use tokio::time::Sleep;

use crate::Outcome;
use crate::kept::Keeper;
use crate::local::{LocalApi, Permit};

/// A call on its way. Dropping it stops the handler.
#[must_use = "a call does nothing unless it is awaited"]
pub struct Call(State);

enum State {
    Local(LocalCall),
    Remote(BoxFuture<'static, Outcome>),
    Failed(Option<CallError>),
}

impl Call {
    /// A call that goes elsewhere: another transport's way in.
    pub fn remote(call: BoxFuture<'static, Outcome>) -> Self {
        Self(State::Remote(call))
    }

    /// A call that cannot even start.
    pub fn failed(error: CallError) -> Self {
        Self(State::Failed(Some(error)))
    }

    pub(crate) fn local(call: LocalCall) -> Self {
        Self(State::Local(call))
    }
}

impl Future for Call {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.0 {
            State::Local(call) => {
                let outcome = ready!(call.poll(cx));
                // The call is over, its place is free; a stream's goes on.
                let State::Local(call) = std::mem::replace(&mut self.0, State::Failed(None)) else {
                    return Poll::Pending;
                };
                Poll::Ready(match outcome {
                    Ok(Reply::Stream(events)) => Ok(Reply::Stream(call.stream(events))),
                    Ok(Reply::Download(download)) => Ok(Reply::Download(call.download(download))),
                    outcome => outcome,
                })
            }
            State::Remote(call) => call.as_mut().poll(cx),
            State::Failed(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

/// A handler that runs in this process.
pub(crate) struct LocalCall {
    pub(crate) handler: BoxFuture<'static, Result<Reply, Error>>,
    pub(crate) limit: TimeLimit,
    pub(crate) permit: Permit,
    pub(crate) keep: Option<Box<Keep>>,
}

/// Who keeps a call's stream, and for whom.
pub(crate) struct Keep {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) principal: Option<Principal>,
}

impl LocalCall {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let api = self.permit.api();
        match guarded(api, || self.handler.as_mut().poll(cx)) {
            Ok(Poll::Ready(reply)) => Poll::Ready(reply.map_err(CallError::Handler)),
            Ok(Poll::Pending) => {
                ready!(self.limit.poll(cx));
                Poll::Ready(Err(self.limit.error(api)))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// The permit goes with the stream: the call lasts until its last event.
    fn stream(self, events: EventStream) -> EventStream {
        let api = self
            .keep
            .as_ref()
            .map(|_| self.permit.api().descriptor.id.clone());
        let events = EventStream::new(LocalStream {
            running: Some((events, self.permit)),
            limit: self.limit,
            first: true,
        });
        match (self.keep, api) {
            (Some(keep), Some(api)) => keep.keeper.keep(events, api, keep.principal),
            _ => events,
        }
    }

    /// As [`LocalCall::stream`], where the bytes are not all there already.
    fn download(self, mut download: Download) -> Download {
        if download.body.as_full().is_none() {
            let size = download.body.size();
            let bytes = ByteStream::new(LocalBytes {
                running: Some((download.body, self.permit)),
            });
            download.body = match size {
                Some(size) => bytes.with_size(size),
                None => bytes,
            };
        }
        download
    }
}

/// The bytes of a handler in this process. Its time limit ended with its answer: how long
/// they may take is up to whoever takes them.
struct LocalBytes {
    running: Option<(ByteStream, Permit)>,
}

impl Stream for LocalBytes {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((bytes, permit)) = &mut self.running else {
            return Poll::Ready(None);
        };
        let item = match guarded(permit.api(), || Pin::new(bytes).poll_next(cx)) {
            Ok(polled) => ready!(polled),
            Err(error) => Some(Err(error.into_error())),
        };
        if !matches!(item, Some(Ok(_))) {
            self.running = None;
        }
        Poll::Ready(item)
    }
}

/// The events of a handler in this process.
struct LocalStream {
    running: Option<(EventStream, Permit)>,
    limit: TimeLimit,
    first: bool,
}

impl Stream for LocalStream {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some((events, permit)) = &mut this.running else {
            return Poll::Ready(None);
        };
        let api = permit.api();
        // Events that lie there already are handed on without entering the handler.
        let polled = match events.take_ready() {
            Some(event) => Ok(Poll::Ready(Some(Ok(event)))),
            None => guarded(api, || Pin::new(events).poll_next(cx)),
        };
        let error = match polled {
            Ok(Poll::Ready(Some(Ok(event)))) => {
                if this.first {
                    this.first = false;
                    this.limit.first_event_came();
                }
                // Checked between events too: a stream that never waits ends in time as well.
                if !this.limit.passed() {
                    return Poll::Ready(Some(Ok(event)));
                }
                Some(this.limit.error(api).into_error())
            }
            Ok(Poll::Ready(Some(Err(error)))) => Some(error),
            Ok(Poll::Ready(None)) => None,
            Ok(Poll::Pending) => {
                ready!(this.limit.poll(cx));
                Some(this.limit.error(api).into_error())
            }
            Err(error) => Some(error.into_error()),
        };
        this.running = None;
        Poll::Ready(error.map(Err))
    }
}

/// Polls a handler: noted for the watch, its panics caught.
fn guarded<R>(api: &LocalApi, poll: impl FnOnce() -> R) -> Result<R, CallError> {
    catch_unwind(AssertUnwindSafe(|| watch::noted(api.number, poll)))
        .map_err(|panic| panicked(api, &*panic))
}

pub(crate) fn panicked(api: &LocalApi, panic: &(dyn Any + Send)) -> CallError {
    let message = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no text)".to_owned());
    let api = api.descriptor.id.clone();
    tracing::error!(%api, panic = message, "a handler panicked; its call failed, everything else goes on");
    CallError::Panicked { api, message }
}

/// Until when a call may take. The timer starts when there is something to wait for.
pub(crate) struct TimeLimit {
    started: Instant,
    deadline: Option<Instant>,
    only_first_event: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl TimeLimit {
    pub(crate) fn new(started: Instant, deadline: Option<Instant>, only_first_event: bool) -> Self {
        Self {
            started,
            deadline,
            only_first_event,
            timer: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        if !has_budget_remaining() && self.passed() {
            // Whoever used its whole turn has left none for the timer.
            return Poll::Ready(());
        }
        self.timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())))
            .as_mut()
            .poll(cx)
    }

    fn passed(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn first_event_came(&mut self) {
        if self.only_first_event {
            self.deadline = None;
            self.timer = None;
        }
    }

    fn error(&self, api: &LocalApi) -> CallError {
        let budget = self.deadline.map_or(Duration::ZERO, |deadline| {
            deadline.duration_since(self.started)
        });
        CallError::TimedOut {
            api: api.descriptor.id.clone(),
            budget: to_the_millisecond(budget),
        }
    }
}

/// The nearest whole number of milliseconds, for people: a deadline was a round
/// time before it was on its way here.
pub(crate) fn to_the_millisecond(time: Duration) -> Duration {
    let millis = (time.as_micros() + 500) / 1000;
    u64::try_from(millis).map_or(time, Duration::from_millis)
}
