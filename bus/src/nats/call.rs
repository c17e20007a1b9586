//! Calls that leave the process.
//!
//! A call goes to one instance, chosen by load. Where nothing can have run (nobody
//! listens, the instance is full or stops) it goes to another at once; where
//! something may have, only if the API is idempotent.

mod choose;
mod large;
mod nobody;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_nats::Subject;
use bytes::Bytes;
use framex_core::args::{Args, Message};
use framex_core::context::{CallMeta, MAX_HOPS, Request};
use framex_core::error::{CallError, Error};
use framex_core::event::EventStream;
use framex_core::reply::{RawJson, Reply};
use smallvec::SmallVec;

use choose::{choose, sole};
use large::gather;
use nobody::{bridge_for, give, nobody_serves};

use super::Shared;
use super::durable::Reader;
use super::large::caller::Luggage;
use super::link::{Link, publish};
use super::peers::{Instance, Remote, ms_of};
use super::pending::Pending;
use super::stream::RemoteStream;
use super::waiting::{Expect, Lost};
use super::wire::{self, Answer, Keep, Origin, Told};
use crate::call::to_the_millisecond;
use crate::kept::is_kept;
use crate::local::deadline;
use crate::{Api, Outcome};

/// How long is waited for interest to travel through a cluster, where somebody
/// should be there.
const ASK_AGAIN: [Duration; 3] = [
    Duration::from_millis(5),
    Duration::from_millis(15),
    Duration::from_millis(30),
];
/// Around its deadline a call has timed out, whoever notices first.
const SAME_MOMENT: Duration = Duration::from_millis(25);
/// Files up to this size travel with the other arguments, in bytes.
const INLINE: usize = 64 * 1024;
/// Foreign answers are checked to be JSON; of our own kind, small ones are.
const CHECKED: usize = 4096;

/// One call, over all its attempts.
struct Journey {
    shared: Arc<Shared>,
    api: Arc<Api>,
    luggage: Arc<Luggage>,
    origin: Origin,
    meta: CallMeta,
    started: Instant,
    deadline: Instant,
    only_first_event: bool,
    /// What the bridge gets in place of the luggage.
    again: Option<Args>,
}

/// How an attempt ended that did not end the call.
enum Elsewhere {
    /// The message reached nobody.
    Nobody,
    /// The instance takes no call now.
    Full(CallError),
    /// The instance's own subject is not for this process.
    Denied,
    /// It was lost, and may run again.
    Again(CallError),
}

pub(super) async fn call(shared: Arc<Shared>, api: Arc<Api>, request: Request) -> Outcome {
    let Some(remote) = api.remote.clone() else {
        return Err(nobody_serves(&api));
    };
    let fallback = bridge_for(&shared, &api);
    if let Some(fallback) = fallback
        && remote.endpoints.load().is_empty()
        && !request.args.has_form()
    {
        return give(fallback, &api, request).await;
    }
    let Request { args, meta } = request;
    if meta.hops > MAX_HOPS {
        return Err(CallError::Loop {
            api: api.descriptor.id.clone(),
            hops: meta.hops,
        });
    }
    let started = Instant::now();
    let (deadline, only_first_event) = deadline(
        &api.descriptor,
        meta.deadline,
        started,
        shared.options.default_timeout,
    );
    let native = |remote: &Remote| remote.endpoints.load().iter().all(|e| e.instance.native);
    if !native(&remote) {
        Box::pin(gather(&shared, &api, &args)).await?;
    }
    let inline = match native(&remote) {
        true => INLINE,
        false => usize::MAX,
    };
    let again = fallback.and_then(|_| args.again());
    let message = args.to_message(&api.descriptor, inline);
    let Message { payload, bodies } = message.map_err(CallError::Handler)?;
    let origin = match args.by_http() {
        true => Origin::Http,
        false => Origin::Bus,
    };
    let journey = Journey {
        shared,
        api,
        luggage: Luggage::new(payload, bodies),
        origin,
        meta,
        started,
        deadline,
        only_first_event,
        again,
    };
    if deadline <= started {
        return Err(journey.timed_out());
    }
    journey.run(&remote).await
}

impl Journey {
    async fn run(&self, remote: &Remote) -> Outcome {
        let mut tried: SmallVec<[Arc<Instance>; 4]> = SmallVec::new();
        let mut full: Option<CallError> = None;
        let mut asked_all = false;
        let mut own_subjects = true;
        let mut pauses = ASK_AGAIN.iter();
        let mut now = self.started;
        loop {
            let choice = choose(&remote.endpoints.load(), &tried);
            let (subject, instance) = match choice {
                Some(endpoint) => match endpoint.own_subject.filter(|_| own_subjects) {
                    Some(own) => (own, Some(endpoint.instance)),
                    None => (remote.subject.clone(), sole(remote, endpoint.instance)),
                },
                None => {
                    if let Some(full) = full.take() {
                        return Err(full);
                    }
                    if remote.endpoints.load().is_empty() && remote.shut.load(Ordering::Relaxed) {
                        return Box::pin(self.nobody()).await;
                    }
                    asked_all = true;
                    (remote.subject.clone(), None)
                }
            };
            let to_one = subject != remote.subject;
            let elsewhere = match self.attempt(subject, instance.as_ref(), now).await {
                Ok(reply) => return Ok(reply),
                Err(Attempt::Over(error)) => return Err(error),
                Err(Attempt::Elsewhere(elsewhere)) => self.spent(elsewhere)?,
            };
            now = Instant::now();
            match elsewhere {
                Elsewhere::Denied if to_one => {
                    own_subjects = false;
                    continue;
                }
                Elsewhere::Denied => {
                    return Err(CallError::Refused {
                        api: self.api.descriptor.id.clone(),
                        subject: remote.subject.to_string(),
                    });
                }
                Elsewhere::Full(error) => full = Some(error),
                Elsewhere::Nobody => {}
                Elsewhere::Again(error) => full = Some(error),
            }
            match instance {
                Some(instance) if to_one => tried.push(instance),
                // The public way in leads to all of them.
                _ => asked_all = true,
            }
            if !asked_all {
                continue;
            }
            if let Some(full) = full.take() {
                return Err(full);
            }
            let expected = !remote.endpoints.load().is_empty();
            match pauses.next() {
                Some(pause) if expected && Instant::now() + *pause < self.deadline => {
                    Box::pin(tokio::time::sleep(*pause)).await;
                    tried.clear();
                    asked_all = false;
                }
                _ => return Box::pin(self.nobody()).await,
            }
        }
    }

    async fn attempt(
        &self,
        subject: Subject,
        instance: Option<&Arc<Instance>>,
        now: Instant,
    ) -> Result<Reply, Attempt> {
        let api = &self.api.descriptor;
        let Some(link) = self.shared.link() else {
            return Err(self.over(Lost::Disconnected));
        };
        let mut now = now;
        let client = match link.now_up() {
            Some(client) => client,
            None => {
                let client = Box::pin(link.soon_up(Some(self.deadline))).await;
                now = Instant::now();
                client.map_err(|_| {
                    Attempt::Over(CallError::Disconnected {
                        api: api.id.clone(),
                    })
                })?
            }
        };
        let left = self.deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Err(Attempt::Over(self.timed_out()));
        }
        let usual = self.shared.options.default_timeout;
        let left = wire::tells_time(self.meta.deadline, api, usual).then_some(left);
        let payload = self.luggage.payload();
        let keep = self.keep(&link, instance);
        let mut headers = wire::request_headers(&self.meta, api, payload);
        if let Some(keep) = &keep {
            keep.ask(headers.get_or_insert_default());
        }
        let told = Told {
            origin: self.origin,
            meta: &self.meta,
            left,
            // What a bridged one answers may turn out to be one.
            streams: api.streams() || api.bridged,
        };
        let body = payload.bytes().clone();
        let expect = Expect {
            deadline: Some(self.deadline),
            instance: instance.cloned(),
            subject: subject.clone(),
            sends: None,
            since: ms_of(now),
        };
        let bodies = self.luggage.has_bodies();
        if bodies && self.takes_frames(instance) == Some(false) {
            return Err(self.too_large(client));
        }
        let mut waiter = link.expect(expect, Some(&told));
        if let Some(keep) = &keep {
            waiter.follow(&keep.id);
        }
        let reply = waiter.reply.clone();
        let mut pending = Pending {
            waiter,
            control: self.control(instance),
            kept: false,
            over: false,
            feeder: bodies.then(|| self.feeder(client)),
        };
        let to = subject.clone();
        let sent = match publish(client, to, Some(reply), headers, body).await {
            Err(Lost::TooLarge) => {
                let keep = keep.as_ref();
                Box::pin(self.announce(client, subject, instance, keep, &mut pending)).await
            }
            sent => sent.map_err(|lost| self.over(lost)),
        };
        if let Err(unsent) = sent {
            pending.over = true;
            return Err(unsent);
        }
        // What a bridged one answers, its answer says.
        if api.streams() && !api.bridged {
            return Box::pin(self.stream(pending, instance, keep)).await;
        }
        let message = pending.next().await;
        pending.over = match message {
            Err(Lost::TimedOut | Lost::Gone | Lost::Disconnected) => false,
            // The request came through, and what goes after it does not.
            Err(Lost::Denied) => !self.luggage.is_asked_for(),
            _ => true,
        };
        let message = message.map_err(|lost| self.over(lost))?;
        let mut answer = wire::read_answer(message).map_err(|reason| self.unreadable(reason))?;
        if let Answer::Body {
            head,
            announced,
            back,
        } = answer
        {
            pending.over = false;
            if announced.stream {
                return self.download(head, announced, back, pending);
            }
            answer = Box::pin(self.whole(head, announced, back, &mut pending)).await?;
        }
        match answer {
            Answer::Value(json) => self.checked(json, instance).map(Reply::Value),
            Answer::Response(response) => Ok(Reply::Response(response)),
            Answer::Download(download) => Ok(Reply::Download(download)),
            Answer::Failed { error, started } => Err(self.failed(error, started)),
            first @ (Answer::Chunks(_) | Answer::End { .. }) if api.bridged => {
                pending.over = false;
                Ok(Reply::Stream(self.events(pending, Some(first))))
            }
            Answer::Chunks(_) | Answer::End { .. } | Answer::Body { .. } => {
                pending.over = false;
                Err(self.unreadable("a stream, which its descriptor does not promise".into()))
            }
        }
    }

    /// A stream begins with its first message, or with the news that it is being
    /// worked on.
    async fn stream(
        &self,
        mut pending: Pending,
        instance: Option<&Arc<Instance>>,
        keep: Option<Keep>,
    ) -> Result<Reply, Attempt> {
        let api = &self.api.descriptor;
        let first = std::future::poll_fn(|cx| match pending.poll_next(cx) {
            Poll::Pending if pending.waiter.is_beating() => Poll::Ready(None),
            polled => polled.map(Some),
        });
        let answer = match first.await {
            None => None,
            Some(Err(lost)) => {
                pending.over = lost == Lost::NoResponders;
                return Err(self.over(lost));
            }
            Some(Ok(message)) => {
                if let (Some(keep), Some(instance)) = (keep, instance)
                    && Reader::is_of(&self.shared, &keep.id, &message)
                {
                    let deadline = (!self.only_first_event).then_some(self.deadline);
                    let source = (keep.id, api.id.clone(), &*instance.id);
                    let limit = (self.deadline, deadline, self.timed_out());
                    let events = Reader::of_call(&self.shared, source, pending, message, limit);
                    return Ok(Reply::Stream(events));
                }
                let answer = wire::read_answer(message);
                Some(match answer.map_err(|reason| self.unreadable(reason))? {
                    Answer::Body {
                        head,
                        announced,
                        back,
                    } if !announced.stream => {
                        self.whole(head, announced, back, &mut pending).await?
                    }
                    answer => answer,
                })
            }
        };
        match answer {
            Some(Answer::Value(json)) => {
                pending.over = true;
                self.checked(json, instance).map(Reply::Value)
            }
            Some(Answer::Response(response)) => {
                pending.over = true;
                Ok(Reply::Response(response))
            }
            Some(Answer::Failed {
                error,
                started: false,
            }) => {
                pending.over = true;
                Err(self.failed(error, false))
            }
            Some(Answer::Download(download)) => {
                pending.over = true;
                Ok(Reply::Download(download))
            }
            Some(Answer::Body {
                head,
                announced,
                back,
            }) => self.download(head, announced, back, pending),
            first => {
                let events = self.events(pending, first);
                // No store, or an instance that knows of none.
                let events = match self.meta.keep && is_kept(api) {
                    true => {
                        let keeper = &self.shared.local.keeper;
                        keeper.keep(events, api.id.clone(), self.meta.principal.clone())
                    }
                    false => events,
                };
                Ok(Reply::Stream(events))
            }
        }
    }

    /// The events of a stream that has begun, or is being worked on.
    fn events(&self, pending: Pending, first: Option<Answer>) -> EventStream {
        let deadline = (!self.only_first_event).then_some(self.deadline);
        let id = self.api.descriptor.id.clone();
        let timed_out = self.timed_out();
        EventStream::new(RemoteStream::new(pending, id, deadline, timed_out, first))
    }

    /// Passed on into other documents, so it has to be one.
    fn checked(&self, json: Bytes, instance: Option<&Arc<Instance>>) -> Result<Bytes, Attempt> {
        let ours = instance.is_some_and(|instance| instance.native);
        if ours && json.len() > CHECKED {
            return Ok(json);
        }
        RawJson::new(json)
            .map(RawJson::into_bytes)
            .map_err(|error| self.unreadable(format!("it is no JSON: {error}")))
    }

    /// How its stream is to be kept, if it is.
    fn keep(&self, link: &Link, instance: Option<&Arc<Instance>>) -> Option<Keep> {
        let api = &self.api.descriptor;
        let wanted = self.meta.keep && is_kept(api);
        let native = instance.is_some_and(|instance| instance.native);
        let store = self.shared.durable.ready();
        let store = store.filter(|_| wanted && native && link.starts_streams())?;
        Some(Keep {
            id: wire::new_stream(link.token())?,
            grace: store.grace,
            age: store.max_age,
        })
    }

    fn control(&self, instance: Option<&Arc<Instance>>) -> Option<Subject> {
        let plugin = self.api.descriptor.id.plugin();
        match instance {
            Some(instance) if !instance.native => None,
            Some(instance) => Some(self.shared.names.control(plugin, Some(&instance.id)).into()),
            None => Some(self.shared.names.control(plugin, None).into()),
        }
    }

    fn failed(&self, error: Error, started: bool) -> Attempt {
        let id = || self.api.descriptor.id.clone();
        if error.code() == "deadline_exceeded" && Instant::now() + SAME_MOMENT >= self.deadline {
            return Attempt::Over(self.timed_out());
        }
        if started {
            return Attempt::Over(CallError::Handler(error));
        }
        Attempt::Elsewhere(Elsewhere::Full(match error.code() {
            "overloaded" => CallError::Overloaded { api: id() },
            "stopping" => CallError::Stopping { api: id() },
            _ => CallError::Handler(error),
        }))
    }

    fn unreadable(&self, reason: String) -> Attempt {
        Attempt::Over(CallError::BadReply {
            api: self.api.descriptor.id.clone(),
            reason,
        })
    }

    fn over(&self, lost: Lost) -> Attempt {
        let api = || self.api.descriptor.id.clone();
        let lost = match lost {
            Lost::NoResponders => return Attempt::Elsewhere(Elsewhere::Nobody),
            Lost::Denied => return Attempt::Elsewhere(Elsewhere::Denied),
            Lost::TimedOut => return Attempt::Over(self.timed_out()),
            Lost::TooLarge | Lost::Flooded => {
                return self.unreadable("more came than was asked for".into());
            }
            Lost::Disconnected => CallError::Lost {
                api: api(),
                why: "the connection to the broker went",
            },
            Lost::Gone => CallError::Lost {
                api: api(),
                why: "the instance that ran it is gone",
            },
        };
        self.again(lost)
    }

    /// What was lost may have run: only what is idempotent runs again.
    fn again(&self, lost: CallError) -> Attempt {
        if self.api.descriptor.idempotent {
            Attempt::Elsewhere(Elsewhere::Again(lost))
        } else {
            Attempt::Over(lost)
        }
    }

    fn timed_out(&self) -> CallError {
        CallError::TimedOut {
            api: self.api.descriptor.id.clone(),
            budget: to_the_millisecond(self.deadline.saturating_duration_since(self.started)),
        }
    }
}

/// Why an attempt gave no reply.
enum Attempt {
    Over(CallError),
    Elsewhere(Elsewhere),
}
