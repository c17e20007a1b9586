//! From messages to events: each once, in order, whatever happens on the way.
//!
//! Messages come as they are sent, or out of the store. What came too early is
//! held, what came twice is dropped, and what does not come at all is asked for:
//! the reader follows the stream anew, behind what it has given.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_nats::Message;
use framex_core::error::{CallError, Error};
use framex_core::event::{Event, EventStream};
use framex_core::kept::{Position, StreamId, gone, incomplete, interrupted};
use futures_core::Stream;
use futures_core::future::BoxFuture;
use tokio::time::Sleep;

use super::attach::{Attached, Live, Missing, Source, Why, attach, fetch};
use crate::nats::Shared;
use crate::nats::pending::Pending;
use crate::nats::stream::GRANT_BYTES;
use crate::nats::waiting::Lost;
use crate::nats::wire::{self, Answer, Chunks, KeptMessage, WINDOW};

/// How long a stream may stand still while it is followed anew.
const TROUBLE_LIMIT: Duration = Duration::from_secs(30);
/// A message that others have overtaken may still come in this time ...
const LATE: Duration = Duration::from_millis(250);
/// ... or in up to this, doubled each time it was too short.
const LATEST: Duration = Duration::from_secs(4);
/// Between two attempts to fetch.
const FETCH_PAUSE: Duration = Duration::from_millis(100);
/// Messages that came too early, and are held.
const MOST_EARLY: usize = 512;

/// See the module.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    source: Arc<Source>,
    live: Option<Live>,
    work: Option<BoxFuture<'static, Work>>,
    /// The number of the message that comes next ...
    next: u64,
    /// ... and how many of its events have been given already.
    skip: u64,
    /// What is left of the message before, its number, and the place of what is left.
    current: Option<(u64, u64, Chunks)>,
    early: BTreeMap<u64, Message>,
    /// Messages up to this one are in the store, and will not come otherwise.
    stored: u64,
    /// From the next message on, events count against the window.
    counted_from: u64,
    ungranted: u32,
    ungranted_bytes: usize,
    /// Since when it stands still.
    trouble: Option<Instant>,
    /// A message that was sent, and when it is missed.
    late: Option<(u64, Pin<Box<Sleep>>)>,
    patience: Duration,
    limit: Option<Limit>,
    over: bool,
}

/// Until when a call may take.
struct Limit {
    deadline: Option<Instant>,
    error: CallError,
    /// No event has come yet.
    first: bool,
}

enum Work {
    Attached(Result<Attached, CallError>),
    Fetched(Result<Vec<Message>, Missing>),
}

impl Reader {
    /// Whether `message` says that the stream `id` is kept.
    pub(crate) fn is_of(shared: &Shared, id: &StreamId, message: &Message) -> bool {
        let subject = shared.names.stream(id);
        wire::is_beat(message) || message.subject.as_str().starts_with(&subject)
    }

    /// The stream of a call of ours; its first message, or the first beat, has come.
    pub(crate) fn of_call(
        shared: &Arc<Shared>,
        source: (StreamId, framex_core::id::ApiId, &str),
        mut pending: Pending,
        first: Message,
        (deadline, timed_out): (Option<Instant>, CallError),
    ) -> EventStream {
        pending.kept = true;
        let (id, api, instance) = source;
        let source = Source::new(shared, id, api, instance.to_owned());
        let mut reader = Self::new(Arc::clone(shared), Arc::new(source), None);
        reader.live = Some(Live {
            pending,
            others: None,
        });
        reader.limit = Some(Limit {
            deadline,
            error: timed_out,
            first: true,
        });
        if let Some(Err(error)) = reader.arrived(first) {
            reader.over = true;
            let failed = futures_util::stream::iter([Err(error)]);
            return EventStream::new(failed).kept_as(reader.source.id.clone());
        }
        reader.events()
    }

    /// A stream that somebody wants from `after` on.
    ///
    /// # Errors
    ///
    /// [`gone`] if it has never come so far; [`incomplete`] if a part was never stored.
    pub(super) async fn follow(
        shared: Arc<Shared>,
        source: Arc<Source>,
        after: Option<Position>,
    ) -> Result<EventStream, CallError> {
        let until = Instant::now() + TROUBLE_LIMIT / 3;
        let begin = attach(
            Arc::clone(&shared),
            Arc::clone(&source),
            None,
            Why::Asked,
            until,
        );
        let attached = begin.await?;
        let running = attached.live.is_some();
        if running && after.is_some_and(|after| after.message() > attached.followed.last) {
            return Err(CallError::Handler(gone()));
        }
        let mut reader = Self::new(shared, source, after);
        reader.attached(attached).map_err(CallError::Handler)?;
        Ok(reader.events())
    }

    fn new(shared: Arc<Shared>, source: Arc<Source>, after: Option<Position>) -> Self {
        Self {
            shared,
            source,
            live: None,
            work: None,
            next: after.map_or(1, Position::message),
            skip: after.map_or(0, |after| after.place() + 1),
            current: None,
            early: BTreeMap::new(),
            stored: 0,
            counted_from: 0,
            ungranted: 0,
            ungranted_bytes: 0,
            trouble: None,
            late: None,
            patience: LATE,
            limit: None,
            over: false,
        }
    }

    fn events(self) -> EventStream {
        let id = self.source.id.clone();
        EventStream::new(self).kept_as(id)
    }

    fn attached(&mut self, attached: Attached) -> Result<(), Error> {
        let Attached { live, followed } = attached;
        if followed.broken && followed.last >= self.next.max(followed.stored + 1) {
            return Err(incomplete());
        }
        self.stored = match &live {
            Some(_) => followed.stored,
            None => u64::MAX,
        };
        self.counted_from = followed.last + 1;
        self.ungranted = 0;
        self.ungranted_bytes = 0;
        self.late = None;
        if live.is_some() && followed.last >= self.next && followed.last > followed.stored {
            // What is not stored is sent again; if that does not come, neither is this.
            self.miss(followed.last);
        }
        self.live = live;
        Ok(())
    }

    /// Follows the stream anew.
    fn again(&mut self, why: Why) -> Result<(), Error> {
        let since = *self.trouble.get_or_insert_with(Instant::now);
        let until = since + TROUBLE_LIMIT;
        if Instant::now() >= until {
            return Err(interrupted());
        }
        tracing::debug!(stream = %self.source.id, next = self.next, ?why, "a stream is followed anew");
        let work = attach(
            Arc::clone(&self.shared),
            Arc::clone(&self.source),
            self.live.take(),
            why,
            until,
        );
        self.work = Some(Box::pin(async { Work::Attached(work.await) }));
        Ok(())
    }

    fn fetch(&mut self, after: Duration) {
        let to = (self.stored != u64::MAX).then_some(self.stored);
        let work = fetch(
            Arc::clone(&self.shared),
            Arc::clone(&self.source),
            self.next,
            to,
        );
        self.work = Some(Box::pin(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            Work::Fetched(work.await)
        }));
    }

    fn worked(&mut self, work: Work) -> Result<(), Error> {
        match work {
            Work::Attached(Ok(attached)) => self.attached(attached)?,
            Work::Attached(Err(error)) => {
                let stream = &self.source.id;
                tracing::warn!(%stream, %error, "a stream cannot be followed now");
                return Err(interrupted());
            }
            Work::Fetched(Ok(messages)) => {
                let numbers = self.next..;
                self.early.extend(numbers.zip(messages));
            }
            Work::Fetched(Err(Missing::Message(error))) => return Err(error),
            Work::Fetched(Err(Missing::NotNow)) => {
                let since = *self.trouble.get_or_insert_with(Instant::now);
                if since.elapsed() > TROUBLE_LIMIT {
                    return Err(interrupted());
                }
                self.fetch(FETCH_PAUSE);
            }
        }
        Ok(())
    }

    /// Takes a message as it comes; gives the end, if this is it.
    fn arrived(&mut self, message: Message) -> Option<Result<(), Error>> {
        match self.source.number(message.subject.as_str()) {
            Some(number) if number < self.next => None,
            Some(number) if number == self.next => self.open(message),
            Some(number) => {
                if self.early.len() < MOST_EARLY {
                    self.early.insert(number, message);
                }
                self.miss(number - 1);
                None
            }
            None if wire::is_beat(&message) => {
                if let Some(last) = wire::last_by_beat(&message) {
                    self.miss(last);
                }
                None
            }
            None => Some(Err(match wire::read_answer(message) {
                Ok(Answer::Failed { error, .. }) => error,
                Ok(_) => self.bad("a stream with something else in it".into()),
                Err(reason) => self.bad(reason),
            })),
        }
    }

    /// The messages up to `last` have been sent: they come now or have to be fetched.
    fn miss(&mut self, last: u64) {
        if last >= self.next && self.late.is_none() {
            self.late = Some((last, Box::pin(tokio::time::sleep(self.patience))));
        }
    }

    /// Takes the message that comes next; gives the end, if this is it.
    fn open(&mut self, message: Message) -> Option<Result<(), Error>> {
        let number = self.next;
        self.next += 1;
        let skip = std::mem::take(&mut self.skip);
        match wire::read_kept(message) {
            Ok(KeptMessage::Events(mut chunks)) => {
                for _ in 0..skip {
                    if chunks.next().is_none() {
                        return Some(Err(gone()));
                    }
                }
                self.current = Some((number, skip, chunks));
                None
            }
            Ok(KeptMessage::End { number: last }) if last == number => Some(Ok(())),
            Ok(KeptMessage::Failed(error)) => Some(Err(error)),
            Ok(KeptMessage::End { .. }) => {
                let lost = self.source.lost("a part of its stream did not arrive");
                Some(Err(lost.into_error()))
            }
            Err(reason) => Some(Err(self.bad(reason))),
        }
    }

    fn bad(&self, reason: String) -> Error {
        CallError::BadReply {
            api: self.source.api.clone(),
            reason,
        }
        .into_error()
    }

    /// An event is given: more may come.
    fn took(&mut self, number: u64, event: &Event) {
        self.trouble = None;
        if number >= self.counted_from {
            self.ungranted += 1;
            self.ungranted_bytes += wire::size_of(event);
        }
        if let Some(limit) = &mut self.limit
            && std::mem::take(&mut limit.first)
            && let Some(live) = &self.live
        {
            live.pending.waiter.set_deadline(limit.deadline);
        }
    }

    /// Lets more come, once enough was taken.
    fn grant(&mut self) {
        let enough = self.ungranted >= WINDOW / 2 || self.ungranted_bytes >= GRANT_BYTES;
        if enough
            && let Some(live) = &self.live
            && live.pending.tell(false, Some(self.ungranted))
        {
            self.ungranted = 0;
            self.ungranted_bytes = 0;
        }
    }

    fn poll_live(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Lost>> {
        let Some(live) = &mut self.live else {
            return Poll::Pending;
        };
        if let Some(others) = &mut live.others
            && let Poll::Ready(message) = Pin::new(others).poll_next(cx)
        {
            return Poll::Ready(message.ok_or(Lost::Disconnected));
        }
        live.pending.poll_next(cx)
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((last, timer)) = &mut self.late else {
            return Poll::Pending;
        };
        if *last >= self.next {
            ready!(timer.as_mut().poll(cx));
            self.late = None;
            // Whoever is only busy is not helped by more questions.
            self.patience = (self.patience * 2).min(LATEST);
            return Poll::Ready(());
        }
        self.late = None;
        Poll::Pending
    }

    /// What to do next; gives an event, or the end.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        loop {
            if let Some((number, place, chunks)) = &mut self.current {
                let number = *number;
                match chunks.next() {
                    Some(Ok(event)) => {
                        let position = Position::new(number, *place);
                        *place += 1;
                        self.took(number, &event);
                        return Poll::Ready(Ok(Some(match position {
                            Some(position) => event.at(position),
                            None => event,
                        })));
                    }
                    Some(Err(reason)) => return Poll::Ready(Err(self.bad(reason))),
                    None => self.current = None,
                }
            }
            let end = if let Some(message) = self.early.remove(&self.next) {
                self.open(message)
            } else if let Some(work) = &mut self.work {
                let work_done = ready!(work.as_mut().poll(cx));
                self.work = None;
                self.worked(work_done)?;
                None
            } else if self.next <= self.stored {
                self.fetch(Duration::ZERO);
                None
            } else {
                match self.poll_live(cx) {
                    Poll::Ready(Ok(message)) => self.arrived(message),
                    Poll::Ready(Err(Lost::TimedOut)) if self.limit.is_some() => {
                        let limit = self.limit.take();
                        let error = limit.map(|limit| limit.error.into_error());
                        return Poll::Ready(error.map_or(Ok(None), Err));
                    }
                    Poll::Ready(Err(lost)) => {
                        self.again(Why::Lost(lost))?;
                        None
                    }
                    Poll::Pending => {
                        ready!(self.poll_late(cx));
                        self.again(Why::Gap)?;
                        None
                    }
                }
            };
            match end {
                Some(Ok(())) => {
                    self.ended();
                    return Poll::Ready(Ok(None));
                }
                Some(Err(error)) => {
                    self.ended();
                    return Poll::Ready(Err(error));
                }
                None => {}
            }
        }
    }

    /// The other side has said its last.
    fn ended(&mut self) {
        if let Some(live) = &mut self.live {
            live.pending.over = true;
        }
    }
}

impl Stream for Reader {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        this.grant();
        let event = ready!(this.poll_event(cx));
        if !matches!(event, Ok(Some(_))) {
            this.over = true;
            this.live = None;
            this.work = None;
            this.early.clear();
        }
        Poll::Ready(event.transpose())
    }
}
