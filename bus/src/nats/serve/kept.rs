//! A handler's events, as messages of a stream that is kept.
//!
//! Each message goes to a subject of its own: to whoever follows, and into the
//! store, which answers each with an acknowledgement. What is not acknowledged is
//! held, and sent again.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_nats::Message;
use bytes::Bytes;
use framex_core::error::Error;
use framex_core::event::EventStream;
use framex_core::kept::{abandoned, stopped};
use serde::Deserialize;
use tokio::time::Sleep;

use super::answer::{Service, Task};
use super::batch::Batch;
use super::followers::{Credit, Kept, Progress};
use super::log;
use super::stream::Flow;
use crate::nats::durable::ApiError;
use crate::nats::link::{self, Link, Waiter};
use crate::nats::peers::ms_of;
use crate::nats::waiting::{Expect, Lost};
use crate::nats::wire::{self, Head, Keep, Outgoing, WINDOW};

/// Sent and not stored: more are not sent.
const MOST_UNSTORED: usize = 64;
/// The same, in bytes.
const MOST_UNSTORED_BYTES: usize = 1 << 20;
/// With nobody following, the handler is asked for no more than this.
const MOST_ALONE: usize = 16 << 20;
/// What is not stored after this is sent again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// What is not stored after this will not be.
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);
/// How often is looked whether the connection is back.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a stream that nobody follows looks whether its process stops.
const LOOK_WHETHER_STOPPING: Duration = Duration::from_millis(500);
/// How long the last message may take to be stored, whatever the reason.
const END_LIMIT: Duration = Duration::from_secs(30);
/// A stream that took longer has its head sent again at its end.
const HEAD_OLD_AFTER: Duration = Duration::from_secs(1);
/// A store that is full, in words of JetStream's own.
const STORE_FAILED: u64 = 10_077;
/// The store has no room or no leader for a moment.
const NOT_NOW: u64 = 503;

/// Sends and keeps `events` until they end.
pub(super) async fn pump(
    service: &Service,
    mut events: EventStream,
    task: &Task,
    keep: &Keep,
    kept: &Kept,
) {
    let Some(link) = service.shared.data() else {
        return;
    };
    kept.begins();
    let mut outlet = Outlet::new(service, link, task, keep, kept);
    let mut flow = Flow::new(Some(WINDOW));
    let mut batch = Batch::default();
    outlet.send_head().await;
    let end = loop {
        let next = poll_fn(|cx| match outlet.poll_urgent(cx, true) {
            Poll::Ready(urgent) => Poll::Ready(Err(urgent)),
            Poll::Pending => match outlet.room(&mut flow) {
                Some(room) => Poll::Ready(Ok(room)),
                None => Poll::Pending,
            },
        });
        let urgent = match next.await {
            Err(urgent) => Some(urgent),
            Ok((most, bytes)) => {
                let max_payload = service.client.max_payload();
                tokio::select! {
                    biased;
                    urgent = poll_fn(|cx| outlet.poll_urgent(cx, true)) => Some(urgent),
                    () = batch.fill(&mut events, most, bytes, max_payload) => None,
                }
            }
        };
        match urgent {
            Some(Urgent::End(error)) => break Err(error),
            Some(Urgent::Again) => {
                outlet.send_again().await;
                continue;
            }
            Some(Urgent::Head) => {
                outlet.send_head().await;
                continue;
            }
            None => {}
        }
        if !batch.events.is_empty() {
            let out = wire::kept_events(&batch.events);
            if let Some(too_large) = service.too_large(&out) {
                break Err(too_large.into_error());
            }
            for event in &batch.events {
                flow.sent(wire::size_of(event));
            }
            outlet.progress.sent += batch.events.len() as u64;
            outlet.send(out).await;
        }
        if let Some(end) = batch.end.take() {
            break end;
        }
    };
    // The call is over, its last message is not sent: a stop waits for it.
    let _answering = service.answering();
    drop(events);
    if let Err(error) = &end {
        log::error_of(error, service.id(), &task.id);
        service.api.record.stats.count_error(error);
    }
    let number = outlet.progress.last + 1;
    let mut last = wire::kept_end(number, end.as_ref().map(|&()| ()));
    if let Some(too_large) = service.too_large(&last) {
        last = wire::kept_end(number, Err(&too_large.into_error()));
    }
    outlet.send_head_if_old().await;
    outlet.send(last).await;
    let stored = outlet.everything_stored();
    if tokio::time::timeout(END_LIMIT, stored).await.is_err() {
        let stream = keep.id.as_str();
        tracing::warn!(api = %service.id(), stream, "the end of a stream could not be stored");
    }
}

/// What cannot wait for the handler.
enum Urgent {
    /// The stream is to end.
    End(Error),
    /// What is not stored is to be sent again.
    Again,
    /// The head would soon be forgotten.
    Head,
}

/// A message that is sent and not stored.
struct Unstored {
    number: u64,
    out: Outgoing,
    first: Instant,
    sent: Instant,
    stored: bool,
}

/// Where the messages of one stream go.
struct Outlet<'a> {
    service: &'a Service,
    link: &'a Arc<Link>,
    kept: &'a Kept,
    keep: &'a Keep,
    /// Subjects without their numbers.
    subject: String,
    head: Bytes,
    head_sent: Option<Instant>,
    /// Where acknowledgements come; not without a connection.
    acks: Option<Waiter>,
    unstored: VecDeque<Unstored>,
    bytes: usize,
    progress: Progress,
    /// Sent since nobody follows, in bytes.
    alone: usize,
    /// Everything that is not stored is to be sent again.
    again: bool,
    /// The connection went, and is not known to be back.
    cut_off: bool,
    /// The store takes no more: it goes on without.
    degraded: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ack {
    error: Option<ApiError>,
}

impl<'a> Outlet<'a> {
    fn new(
        service: &'a Service,
        link: &'a Arc<Link>,
        task: &Task,
        keep: &'a Keep,
        kept: &'a Kept,
    ) -> Self {
        let shared = &service.shared;
        let head = Head::new(service.id().as_str(), &shared.id, task.principal.as_deref());
        Self {
            service,
            link,
            kept,
            keep,
            subject: shared.names.stream(&keep.id),
            head: head.payload(),
            head_sent: None,
            acks: None,
            unstored: VecDeque::new(),
            bytes: 0,
            progress: Progress::default(),
            alone: 0,
            again: false,
            cut_off: false,
            degraded: false,
            timer: None,
        }
    }

    /// The head comes first, and again before the store forgets it.
    async fn send_head(&mut self) {
        self.head_sent = Some(Instant::now());
        // One that is held already is sent again until it is stored.
        if !self.unstored.iter().any(|held| held.number == 0) {
            self.hold(0, Outgoing::bare(self.head.clone())).await;
        }
    }

    /// Without its head nobody finds what the store still has of a stream that is over.
    async fn send_head_if_old(&mut self) {
        let old = |sent: Instant| sent.elapsed() > HEAD_OLD_AFTER;
        if !self.degraded && self.head_sent.is_none_or(old) {
            self.send_head().await;
        }
    }

    /// The next message.
    async fn send(&mut self, out: Outgoing) {
        self.progress.last += 1;
        self.alone += out.payload.len();
        self.hold(self.progress.last, out).await;
    }

    async fn hold(&mut self, number: u64, out: Outgoing) {
        if !self.degraded {
            let now = Instant::now();
            self.bytes += out.payload.len();
            self.unstored.push_back(Unstored {
                number,
                out: out.clone(),
                first: now,
                sent: now,
                stored: false,
            });
        }
        self.publish(number, out).await;
        // After that: who hears of it before has missed it.
        self.kept.sent(self.progress);
    }

    async fn publish(&mut self, number: u64, out: Outgoing) {
        self.listen();
        let reply = match &self.acks {
            Some(acks) if !self.degraded => Some(format!("{}-{number}", acks.reply).into()),
            // Sent again when the connection is back.
            None if !self.degraded => return,
            _ => None,
        };
        let subject = format!("{}.{number}", self.subject);
        let client = &self.service.client;
        let sent = link::publish(client, subject.into(), reply, out.headers, out.payload);
        if let Err(lost) = sent.await {
            tracing::debug!(api = %self.service.id(), ?lost, "a message of a stream could not be sent");
        }
    }

    /// Sees to it that there is somewhere for acknowledgements to come to.
    fn listen(&mut self) {
        if self.acks.is_none() && !self.degraded && self.link.is_up() {
            let expect = Expect {
                deadline: None,
                instance: None,
                subject: self.subject.as_str().into(),
                sends: None,
                since: ms_of(Instant::now()),
            };
            self.acks = Some(self.link.expect(expect, None));
        }
    }

    /// Sends what is not stored again: all of it, or what is overdue.
    async fn send_again(&mut self) {
        let all = std::mem::take(&mut self.again);
        let now = Instant::now();
        let mut due = Vec::new();
        for unstored in &mut self.unstored {
            if all || (!unstored.stored && now - unstored.sent >= AGAIN_AFTER) {
                unstored.sent = now;
                due.push((unstored.number, unstored.out.clone()));
            }
        }
        for (number, out) in due {
            self.publish(number, out).await;
        }
        self.let_go();
    }

    /// What has to be done before anything else; wakes when there is something.
    fn poll_urgent(&mut self, cx: &mut Context<'_>, running: bool) -> Poll<Urgent> {
        self.take_acks(cx);
        if running && self.kept.is_stopped() {
            return Poll::Ready(Urgent::End(stopped()));
        }
        if self.kept.wants_again() {
            self.again = true;
        }
        let up = self.link.is_up();
        self.waited_for_connection(up);
        let mut wake: Option<Duration> = None;
        let mut until = |left: Duration| wake = Some(wake.map_or(left, |wake| wake.min(left)));
        if running && let Credit::Alone(since) = self.kept.credit() {
            let stopping = self.service.shared.local.is_stopping();
            match self.keep.grace.checked_sub(since.elapsed()) {
                Some(left) if !left.is_zero() && !stopping => {
                    until(left.min(LOOK_WHETHER_STOPPING));
                }
                _ => return Poll::Ready(Urgent::End(abandoned(self.keep.grace))),
            }
        }
        self.again &= !self.unstored.is_empty();
        if self.again {
            match up {
                true => return Poll::Ready(Urgent::Again),
                false => until(LOOK_EVERY),
            }
        }
        if let Some(oldest) = self.unstored.iter().find(|u| !u.stored) {
            if !up {
                until(LOOK_EVERY);
            } else if oldest.first.elapsed() > GIVE_UP_AFTER {
                self.degrade("it does not answer");
            } else {
                match AGAIN_AFTER.checked_sub(oldest.sent.elapsed()) {
                    Some(left) if !left.is_zero() => until(left),
                    _ => return Poll::Ready(Urgent::Again),
                }
            }
        }
        if let Some(sent) = self.head_sent.filter(|_| !self.degraded && running) {
            match (self.keep.age / 2).checked_sub(sent.elapsed()) {
                Some(left) if !left.is_zero() => until(left),
                _ if up => return Poll::Ready(Urgent::Head),
                _ => until(LOOK_EVERY),
            }
        }
        if let Some(left) = wake {
            return self.sleep(left, cx);
        }
        Poll::Pending
    }

    /// Has the task woken at the latest after `left`.
    fn sleep(&mut self, left: Duration, cx: &mut Context<'_>) -> Poll<Urgent> {
        let at = tokio::time::Instant::now() + left;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        // One that fires earlier only looks too soon.
        if timer.deadline() > at || timer.is_elapsed() {
            timer.as_mut().reset(at);
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn take_acks(&mut self, cx: &mut Context<'_>) {
        loop {
            self.listen();
            let Some(acks) = &mut self.acks else {
                return;
            };
            match acks.poll_next(cx) {
                Poll::Ready(Ok(message)) => {
                    self.acknowledged(&message);
                    self.let_go();
                }
                Poll::Ready(Err(lost)) => {
                    self.acks = None;
                    if lost == Lost::Disconnected {
                        self.again = true;
                        self.cut_off = true;
                    } else if lost == Lost::Denied {
                        self.degrade("the user of this process may not publish there");
                    }
                }
                Poll::Pending => return,
            }
        }
    }

    /// The store's time begins when it can be reached again.
    fn waited_for_connection(&mut self, up: bool) {
        if !up {
            self.cut_off = true;
        } else if std::mem::take(&mut self.cut_off) {
            let now = Instant::now();
            for unstored in &mut self.unstored {
                unstored.first = now;
            }
        }
    }

    fn acknowledged(&mut self, message: &Message) {
        let number = message.subject.as_str().rsplit('-').next();
        let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else {
            return;
        };
        let ack: Ack = serde_json::from_slice(&message.payload).unwrap_or_default();
        if let Some(error) = ack.error {
            let final_one = error.code != NOT_NOW || error.err_code == STORE_FAILED;
            if final_one {
                self.degrade(&error.description);
            }
            return;
        }
        let found = self.unstored.iter_mut().find(|u| u.number == number);
        if let Some(unstored) = found {
            unstored.stored = true;
        }
    }

    /// Lets go of what is stored.
    fn let_go(&mut self) {
        while let Some(first) = self.unstored.front().filter(|u| u.stored) {
            if self.again || !self.kept.stored(first.number) {
                return;
            }
            self.bytes -= first.out.payload.len();
            self.unstored.pop_front();
        }
    }

    /// Goes on without the store.
    fn degrade(&mut self, why: &str) {
        if !std::mem::replace(&mut self.degraded, true) {
            let stream = self.keep.id.as_str();
            tracing::error!(api = %self.service.id(), stream, "a stream is not kept from here on: JetStream does not take it ({why})");
        }
        self.kept.breaks();
        self.unstored.clear();
        self.bytes = 0;
        self.acks = None;
    }

    /// How many events may be sent now, and how many bytes; none if none may.
    fn room(&mut self, flow: &mut Flow) -> Option<(u64, usize)> {
        if self.unstored.len() >= MOST_UNSTORED || self.bytes >= MOST_UNSTORED_BYTES {
            return None;
        }
        match self.kept.credit() {
            Credit::Followed { granted, taken } => {
                self.alone = 0;
                flow.taken(taken);
                flow.may_send(granted).then(|| flow.left(granted))
            }
            Credit::Alone(_) => {
                flow.taken(u64::MAX);
                (self.alone < MOST_ALONE).then_some((u64::from(WINDOW), MOST_ALONE))
            }
        }
    }

    /// Waits until there is nothing that is not stored.
    async fn everything_stored(&mut self) {
        loop {
            let urgent = poll_fn(|cx| match self.poll_urgent(cx, false) {
                Poll::Ready(urgent) => Poll::Ready(Some(urgent)),
                Poll::Pending if self.unstored.is_empty() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            match urgent.await {
                Some(Urgent::Again) => self.send_again().await,
                Some(Urgent::End(_) | Urgent::Head) => {}
                None => return,
            }
        }
    }
}
