//! The events of a handler elsewhere.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use framex_core::error::{CallError, Error};
use framex_core::event::{Data, Event};
use framex_core::id::ApiId;
use futures_core::Stream;

use super::pending::Pending;
use super::waiting::Lost;
use super::wire::{self, Answer, WINDOW};

/// Whoever sends has 256 KiB out at most: more is granted before they are all used.
const GRANT_BYTES: usize = 64 * 1024;

/// Takes chunks in order, grants more as they are taken, ends on a gap.
pub(super) struct RemoteStream {
    pending: Option<Pending>,
    api: ApiId,
    timed_out: Option<CallError>,
    /// What came before it was known to be a stream.
    first: Option<Answer>,
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
        let bad = |reason| CallError::BadReply {
            api: self.api.clone(),
            reason,
        };
        let lost = |why| CallError::Lost {
            api: self.api.clone(),
            why,
        };
        Poll::Ready(Some(match ready!(pending.poll_next(cx)) {
            Ok(message) => wire::read_answer(message).map_err(bad),
            Err(Lost::TimedOut) => match self.timed_out.take() {
                Some(error) => Err(error),
                None => return Poll::Ready(None),
            },
            Err(Lost::Disconnected) => Err(lost("the connection to the broker went")),
            Err(Lost::Gone | Lost::NoResponders | Lost::Denied) => {
                Err(lost("the instance that ran it is gone"))
            }
            Err(Lost::Flooded | Lost::TooLarge) => Err(bad("more came than was asked for".into())),
        }))
    }

    /// An event was taken: the time limit may be over, and more may come.
    fn took(&mut self, event: &Event) {
        self.taken += 1;
        self.ungranted += 1;
        self.ungranted_bytes += match event.data() {
            Data::Text(text) => text.len(),
            Data::Json(json) => json.len(),
        };
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
        let Some(answer) = ready!(this.poll_answer(cx)) else {
            return Poll::Ready(None);
        };
        let gap = || CallError::Lost {
            api: this.api.clone(),
            why: "a part of its stream did not arrive",
        };
        let error = match answer {
            Ok(Answer::Chunk { number, event }) if number == this.taken + 1 => {
                this.took(&event);
                return Poll::Ready(Some(Ok(event)));
            }
            Ok(Answer::End { count }) if count == this.taken => {
                this.over(true);
                return Poll::Ready(None);
            }
            Ok(Answer::Failed { error, .. }) => {
                this.over(true);
                return Poll::Ready(Some(Err(error)));
            }
            Ok(Answer::Chunk { .. } | Answer::End { .. }) => gap(),
            Ok(Answer::Value(_) | Answer::Response(_) | Answer::Body { .. }) => {
                CallError::BadReply {
                    api: this.api.clone(),
                    reason: "a stream with something else in it".into(),
                }
            }
            Err(error) => error,
        };
        this.over(false);
        Poll::Ready(Some(Err(error.into_error())))
    }
}
