//! The events of a handler elsewhere.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use framex_core::error::{CallError, Error};
use framex_core::event::Event;
use framex_core::id::ApiId;
use futures_core::Stream;

use super::pending::Pending;
use super::waiting::Lost;
use super::wire::{self, Answer, Chunks, WINDOW};

/// Whoever sends has 256 KiB out at most: more is granted before they are all used.
pub(super) const GRANT_BYTES: usize = 64 * 1024;

/// Takes chunks in order, grants more as they are taken, ends on a gap.
pub(super) struct RemoteStream {
    pending: Option<Pending>,
    api: ApiId,
    timed_out: Option<CallError>,
    /// What came before it was known to be a stream.
    first: Option<Answer>,
    /// Came together; the next events are these.
    chunks: Option<Chunks>,
    taken: u64,
    /// Taken, and not granted again yet.
    ungranted: u32,
    /// The same, in bytes.
    ungranted_bytes: usize,
    /// Of the whole stream; until the first event has come, the call's.
    deadline: Option<Instant>,
}

impl RemoteStream {
    pub(super) fn new(
        pending: Pending,
        api: ApiId,
        deadline: Option<Instant>,
        timed_out: CallError,
        first: Option<Answer>,
    ) -> Self {
        if first.is_some() {
            pending.waiter.set_deadline(deadline);
        }
        Self {
            pending: Some(pending),
            api,
            timed_out: Some(timed_out),
            first,
            chunks: None,
            taken: 0,
            ungranted: 0,
            ungranted_bytes: 0,
            deadline,
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Answer, CallError>>> {
        if let Some(answer) = self.first.take() {
            return Poll::Ready(Some(Ok(answer)));
        }
        let Some(pending) = &mut self.pending else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(match ready!(pending.poll_next(cx)) {
            Ok(message) => wire::read_answer(message).map_err(|reason| self.bad(reason)),
            Err(Lost::TimedOut) => match self.timed_out.take() {
                Some(error) => Err(error),
                None => return Poll::Ready(None),
            },
            Err(Lost::Disconnected) => Err(self.lost("the connection to the broker went")),
            Err(Lost::Gone | Lost::NoResponders | Lost::Denied) => {
                Err(self.lost("the instance that ran it is gone"))
            }
            Err(Lost::Flooded | Lost::TooLarge) => {
                Err(self.bad("more came than was asked for".into()))
            }
        }))
    }

    fn bad(&self, reason: String) -> CallError {
        CallError::BadReply {
            api: self.api.clone(),
            reason,
        }
    }

    fn lost(&self, why: &'static str) -> CallError {
        CallError::Lost {
            api: self.api.clone(),
            why,
        }
    }

    /// An event was taken: the time limit may be over, and more may come.
    fn took(&mut self, event: &Event) {
        self.taken += 1;
        self.ungranted += 1;
        self.ungranted_bytes += wire::size_of(event);
        let Some(pending) = &self.pending else {
            return;
        };
        if self.taken == 1 {
            pending.waiter.set_deadline(self.deadline);
        }
        self.grant();
    }

    /// Lets more come, once enough was taken. What cannot be told now is told with
    /// the next chunk or beat: without it the other side would wait for ever.
    fn grant(&mut self) {
        let Some(pending) = &self.pending else {
            return;
        };
        let enough = self.ungranted >= WINDOW / 2 || self.ungranted_bytes >= GRANT_BYTES;
        if enough && pending.tell(false, Some(self.ungranted)) {
            self.ungranted = 0;
            self.ungranted_bytes = 0;
        }
    }

    /// Nothing more comes; `answered`: of the other side's own accord.
    fn over(&mut self, answered: bool) {
        if let Some(mut pending) = self.pending.take() {
            pending.over = answered;
        }
    }
}

impl Stream for RemoteStream {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.grant();
        let error = loop {
            match this.chunks.as_mut().and_then(Chunks::next) {
                Some(Ok(event)) => {
                    this.took(&event);
                    return Poll::Ready(Some(Ok(event)));
                }
                Some(Err(reason)) => break this.bad(reason),
                None => this.chunks = None,
            }
            let Some(answer) = ready!(this.poll_answer(cx)) else {
                return Poll::Ready(None);
            };
            match answer {
                Ok(Answer::Chunks(chunks)) if chunks.number == this.taken + 1 => {
                    this.chunks = Some(chunks);
                }
                Ok(Answer::End { count }) if count == this.taken => {
                    this.over(true);
                    return Poll::Ready(None);
                }
                Ok(Answer::Failed { error, .. }) => {
                    this.over(true);
                    return Poll::Ready(Some(Err(error)));
                }
                Ok(Answer::Chunks(_) | Answer::End { .. }) => {
                    break this.lost("a part of its stream did not arrive");
                }
                Ok(_) => {
                    break this.bad("a stream with something else in it".into());
                }
                Err(error) => break error,
            }
        };
        this.over(false);
        Poll::Ready(Some(Err(error.into_error())))
    }
}
