//! From a request to its answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use async_nats::{Client, Message, Subject};
use framex_core::context::{CallMeta, Request, RequestId};
use framex_core::error::{CallError, Part};
use framex_core::event::EventStream;
use framex_core::id::ApiId;
use framex_core::reply::Reply;
use futures_core::future::BoxFuture;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::large::{Awaited, Large};
use super::log::{self, Seldom};
use super::stream::pump;
use super::{OfferedApi, Record, kept};
use crate::call::LocalCall;
use crate::kept::is_kept;
use crate::nats::large::server::Dock;
use crate::nats::wire::{self, Asked, Given, Incoming, Keep, Outgoing};
use crate::nats::{Shared, link};
use crate::{Call, Outcome};

/// Calls of one API at once, where neither it nor its plugin says how many.
const MOST_RUNNING: usize = 4096;
/// One API, with what it takes to answer for it.
pub(super) struct Service {
    pub(super) shared: Arc<Shared>,
    pub(super) api: Arc<OfferedApi>,
    pub(super) client: Client,
    /// Where what is larger than a message comes and goes.
    pub(super) dock: Dock,
    /// Whether a thread that is blocked can hand its work on.
    pub(super) threads: bool,
    pub(super) silent: Seldom,
}

/// Who wants an answer, and how.
pub(super) struct Task {
    pub(super) reply: Subject,
    pub(super) asked: Asked,
    pub(super) id: RequestId,
    pub(super) began: Instant,
    /// How its stream is to be kept.
    pub(super) keep: Option<Keep>,
    pub(super) principal: Option<String>,
    /// They end with the call.
    _bodies: Option<DropGuard>,
}

/// A message that is to be sent.
pub(super) struct Answer {
    pub(super) reply: Subject,
    pub(super) out: Outgoing,
}

/// What became of a request.
pub(super) enum Begun {
    /// Nobody wants an answer.
    Nothing,
    Answered(Answer),
    /// It takes a while.
    Running(Work),
    /// It has to run where it may block.
    Apart(Work),
}

/// A call that takes a while; gives its last message, unless that is sent already.
pub(super) type Work = BoxFuture<'static, Option<Answer>>;

enum Started {
    Awaited(Awaited),
    Call(Call),
    Stream(EventStream),
    Large(Large),
}

enum Concluded {
    Answer(Answer),
    Stream(EventStream, Task),
    Large(Large, Task),
}

impl Service {
    /// The same, for an API that is described in another way.
    pub(super) fn become_another(&self, api: Arc<OfferedApi>) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            api,
            client: self.client.clone(),
            dock: self.dock.clone(),
            threads: self.threads,
            silent: Seldom::default(),
        }
    }

    pub(super) fn id(&self) -> &ApiId {
        &self.api.descriptor.id
    }

    /// Whether its handler has held a thread.
    pub(super) fn is_heavy(&self) -> bool {
        self.threads && self.api.record.heavy.load(Ordering::Relaxed)
    }

    /// Whether the next call may block: its handler has, or is not known yet.
    fn is_careful(&self) -> bool {
        let left = &self.api.record.probation;
        let new = left.load(Ordering::Relaxed) > 0
            && left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok();
        self.threads && (new || self.api.record.heavy.load(Ordering::Relaxed))
    }

    /// Runs `work`, which may block, so that other tasks of this thread go on.
    pub(super) fn in_place<R>(&self, work: impl FnOnce() -> R) -> R {
        match self.threads {
            true => tokio::task::block_in_place(work),
            false => work(),
        }
    }

    /// Starts what `message` asks for, and finishes it if that needs no waiting.
    /// `clock` is the time, before and after.
    pub(super) fn begin(
        self: &Arc<Self>,
        message: Message,
        clock: &mut Instant,
        cx: &mut Context<'_>,
    ) -> Begun {
        let Some(reply) = message.reply else {
            self.wants_no_answer(&message.subject);
            return Begun::Nothing;
        };
        let began = *clock;
        let read = wire::read_request(message.payload, message.headers.as_ref(), &reply, began);
        let Incoming {
            args,
            meta,
            asked,
            keep,
        } = match read {
            Ok(incoming) => incoming,
            Err(error) => {
                self.api.record.stats.count(began, began);
                self.api.record.stats.count_error(&error);
                // Not for another instance to try: it would refuse it too.
                let out = wire::error(&error, true);
                return Begun::Answered(Answer { reply, out });
            }
        };
        // Everything else ends with its caller.
        let descriptor = &self.api.descriptor;
        let keep = keep.filter(|_| is_kept(descriptor));
        let (bodies, over) = self.bodies(&reply, args.form()).unzip();
        let task = Task {
            reply,
            asked,
            id: meta.request_id.clone(),
            began,
            principal: principal_of(&meta, keep.as_ref()),
            keep,
            _bodies: over.map(CancellationToken::drop_guard),
        };
        let careful = self.is_careful();
        let args = match args {
            Given::Here { payload, form } => form.read(payload, bodies),
            Given::ToCome { size, form } => {
                let started = match self.await_arguments(size, form, meta, bodies) {
                    Ok(awaited) => Started::Awaited(awaited),
                    Err(failed) => return Begun::Answered(self.failed(failed, task, *clock)),
                };
                return match self.work(started, task) {
                    Some(work) if careful => Begun::Apart(work),
                    Some(work) => Begun::Running(work),
                    None => Begun::Nothing,
                };
            }
        };
        let request = Request { args, meta };
        let started = match careful {
            false => self.start(request),
            // Making the future may block too: a stream is made by a plain function.
            true => self.in_place(|| {
                let started = self.start(request);
                *clock = Instant::now();
                started
            }),
        };
        let mut call = match started {
            Ok(call) => Call::local(call),
            Err(failed) => return Begun::Answered(self.failed(failed, task, *clock)),
        };
        if careful {
            return match self.work(Started::Call(call), task) {
                Some(work) => Begun::Apart(work),
                None => Begun::Nothing,
            };
        }
        let started = match Pin::new(&mut call).poll(cx) {
            Poll::Ready(outcome) => {
                *clock = Instant::now();
                match self.conclude(outcome, task, *clock) {
                    Concluded::Answer(answer) => return Begun::Answered(answer),
                    Concluded::Stream(events, task) => (Started::Stream(events), task),
                    Concluded::Large(large, task) => (Started::Large(large), task),
                }
            }
            Poll::Pending => {
                *clock = Instant::now();
                (Started::Call(call), task)
            }
        };
        match self.work(started.0, started.1) {
            Some(work) => Begun::Running(work),
            None => Begun::Nothing,
        }
    }

    pub(super) fn start(&self, request: Request) -> Result<LocalCall, CallError> {
        if self.runs_too_many() {
            return Err(CallError::Overloaded {
                api: self.id().clone(),
            });
        }
        self.shared.local.start(&self.api.local, request)
    }

    /// Where neither the API nor its plugin says how many calls may run.
    pub(super) fn runs_too_many(&self) -> bool {
        !self.api.local.is_bounded()
            && self.api.record.running.load(Ordering::Relaxed) >= MOST_RUNNING
    }

    /// The rest of a call that did not finish at once; nothing if it is cancelled.
    fn work(self: &Arc<Self>, started: Started, task: Task) -> Option<Work> {
        let jobs = &self.shared.offers.jobs;
        let keep = task.keep.as_ref();
        let keep = keep.map(|keep| (keep, self.id().plugin()));
        let entered = jobs.enter(&task.reply, task.asked, keep, task.began)?;
        let job = Arc::clone(entered.job());
        let service = Arc::clone(self);
        let running = Running::new(&self.api.record);
        let work = entered.run(async move {
            let _running = running;
            let mut started = started;
            if let Started::Awaited(awaited) = started {
                started = match Box::pin(service.arrived(awaited, &task)).await {
                    Ok(call) => Started::Call(Call::local(call)),
                    Err(failed) => return Some(service.failed(failed, task, Instant::now())),
                };
            }
            let mut task = task;
            if let Started::Call(call) = started {
                let outcome = call.await;
                (started, task) = match service.conclude(outcome, task, Instant::now()) {
                    Concluded::Answer(answer) => return Some(answer),
                    Concluded::Stream(events, task) => (Started::Stream(events), task),
                    Concluded::Large(large, task) => (Started::Large(large), task),
                };
            }
            match started {
                Started::Stream(events) => {
                    match (&task.keep, job.kept()) {
                        (Some(keep), Some(kept)) => {
                            kept::pump(&service, events, &task, keep, kept).await;
                        }
                        _ => pump(&service, events, &task, &job).await,
                    }
                    service.api.record.stats.count(task.began, Instant::now());
                }
                Started::Large(large) => Box::pin(service.send_large(large, &task)).await,
                Started::Awaited(_) | Started::Call(_) => {}
            }
            None
        });
        Some(Box::pin(async move { work.await.flatten() }))
    }

    /// What is to be done about a call's outcome.
    fn conclude(&self, outcome: Outcome, task: Task, now: Instant) -> Concluded {
        let out = match outcome {
            Ok(Reply::Value(json)) => wire::value(json, task.asked),
            Ok(Reply::Response(response)) => wire::response(response),
            Ok(Reply::Download(download)) if download.body.as_full().is_none() => {
                self.api.record.stats.count(task.began, now);
                return Concluded::Large(Large::download(download), task);
            }
            Ok(Reply::Download(download)) => wire::download(download, task.asked),
            Ok(Reply::Stream(events)) => return Concluded::Stream(events, task),
            Err(failed) if task.asked.frames => {
                let out = self.error(failed, &task, now);
                return match self.too_large(&out) {
                    Some(_) => Concluded::Large(Large::of(out), task),
                    None => Concluded::Answer(Answer {
                        reply: task.reply,
                        out,
                    }),
                };
            }
            Err(failed) => return Concluded::Answer(self.failed(failed, task, now)),
        };
        if let Some(too_large) = self.too_large(&out) {
            return match task.asked.frames {
                true => {
                    self.api.record.stats.count(task.began, now);
                    Concluded::Large(Large::of(out), task)
                }
                false => Concluded::Answer(self.failed(too_large, task, now)),
            };
        }
        self.api.record.stats.count(task.began, now);
        let reply = task.reply;
        Concluded::Answer(Answer { reply, out })
    }

    /// An error, as one message.
    fn failed(&self, failed: CallError, task: Task, now: Instant) -> Answer {
        let may_have_run = wire::may_have_run(&failed);
        let mut out = self.error(failed, &task, now);
        if let Some(too_large) = self.too_large(&out) {
            out = wire::error(&too_large.into_error(), may_have_run);
        }
        Answer {
            reply: task.reply,
            out,
        }
    }

    /// An error, noted and counted.
    fn error(&self, failed: CallError, task: &Task, now: Instant) -> Outgoing {
        log::failure(&failed, self.id(), &task.id);
        let may_have_run = wire::may_have_run(&failed);
        let error = failed.into_error();
        self.api.record.stats.count(task.began, now);
        self.api.record.stats.count_error(&error);
        wire::error(&error, may_have_run)
    }

    /// What to say instead of a message that the broker would not take.
    pub(super) fn too_large(&self, out: &Outgoing) -> Option<CallError> {
        let most = self.client.max_payload();
        let size = out.payload.len() + out.headers.as_ref().map_or(0, wire::size_of_headers);
        (size > most).then(|| CallError::TooLarge {
            api: self.id().clone(),
            part: Part::Answer,
            size,
            most,
        })
    }

    /// Hands a message to the connection; waits while that has too many already.
    pub(super) async fn send(&self, reply: &Subject, out: Outgoing) {
        let Outgoing { headers, payload } = out;
        if let Err(lost) = link::publish(&self.client, reply.clone(), None, headers, payload).await
        {
            tracing::warn!(api = %self.id(), ?lost, "an answer could not be sent");
        }
    }

    /// For as long as the result lives, a stop waits: an answer is being made.
    pub(super) fn answering(&self) -> Answering {
        self.api.record.answering.fetch_add(1, Ordering::SeqCst);
        Answering(Arc::clone(&self.api.record))
    }

    fn wants_no_answer(&self, subject: &str) {
        if let Some(times) = self.silent.now() {
            tracing::warn!(
                api = %self.id(),
                subject,
                times,
                "a message without a reply subject is no request: nothing runs"
            );
        }
    }
}

/// See [`Service::answering`].
pub(super) struct Answering(Arc<Record>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Who started a stream that is kept: nobody else may follow it.
fn principal_of(meta: &CallMeta, keep: Option<&Keep>) -> Option<String> {
    keep?;
    let principal = meta.principal.as_ref()?;
    Some(principal.name().to_owned())
}

/// One of the calls that did not finish at once.
struct Running(Arc<Record>);

impl Running {
    fn new(record: &Arc<Record>) -> Self {
        record.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(record))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
