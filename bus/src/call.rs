//! A call that runs, and the stream that it may become.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use framex_core::error::{CallError, Error};
use framex_core::event::{Event, EventStream};
use framex_core::reply::Reply;
use framex_core::watch;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use tokio::time::Sleep;

use crate::Outcome;
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
            State::Local(call) => call.poll(cx),
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
    pub(crate) api: Arc<LocalApi>,
    pub(crate) handler: BoxFuture<'static, Result<Reply, Error>>,
    pub(crate) limit: TimeLimit,
    pub(crate) permit: Option<Permit>,
}

impl LocalCall {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Self { api, handler, .. } = self;
        let polled = guarded(api, || handler.as_mut().poll(cx));
        match polled {
            Ok(Poll::Ready(Ok(Reply::Stream(events)))) => {
                Poll::Ready(Ok(Reply::Stream(self.stream(events))))
            }
            Ok(Poll::Ready(reply)) => {
                self.permit = None;
                Poll::Ready(reply.map_err(CallError::Handler))
            }
            Ok(Poll::Pending) => {
                if self.limit.poll(cx).is_ready() {
                    self.permit = None;
                    return Poll::Ready(Err(self.limit.error(&self.api)));
                }
                Poll::Pending
            }
            Err(error) => {
                self.permit = None;
                Poll::Ready(Err(error))
            }
        }
    }

    /// The permit goes with the stream: the call lasts until its last event.
    fn stream(&mut self, events: EventStream) -> EventStream {
        EventStream::new(LocalStream {
            api: Arc::clone(&self.api),
            events: Some(events),
            limit: std::mem::replace(&mut self.limit, TimeLimit::none()),
            permit: self.permit.take(),
            first: true,
        })
    }
}

/// The events of a handler in this process.
struct LocalStream {
    api: Arc<LocalApi>,
    events: Option<EventStream>,
    limit: TimeLimit,
    permit: Option<Permit>,
    first: bool,
}

impl LocalStream {
    fn end(&mut self) {
        self.events = None;
        self.permit = None;
    }
}

impl Stream for LocalStream {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(events) = &mut this.events else {
            return Poll::Ready(None);
        };
        let error = match guarded(&this.api, || Pin::new(events).poll_next(cx)) {
            Ok(Poll::Ready(Some(Ok(event)))) => {
                if this.first {
                    this.first = false;
                    this.limit.first_event_came();
                }
                // Checked between events too: a stream that never waits ends in time as well.
                if !this.limit.passed() {
                    return Poll::Ready(Some(Ok(event)));
                }
                this.limit.error(&this.api).into_error()
            }
            Ok(Poll::Ready(Some(Err(error)))) => error,
            Ok(Poll::Ready(None)) => {
                this.end();
                return Poll::Ready(None);
            }
            Ok(Poll::Pending) => {
                if this.limit.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.limit.error(&this.api).into_error()
            }
            Err(error) => error.into_error(),
        };
        this.end();
        Poll::Ready(Some(Err(error)))
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
    pub(crate) fn none() -> Self {
        Self {
            started: Instant::now(),
            deadline: None,
            only_first_event: false,
            timer: None,
        }
    }

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
fn to_the_millisecond(time: Duration) -> Duration {
    let millis = (time.as_micros() + 500) / 1000;
    u64::try_from(millis).map_or(time, Duration::from_millis)
}
