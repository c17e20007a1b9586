//! Calls that leave the process.
//!
//! A call goes to one instance, chosen by load. Where nothing can have run (nobody
//! listens, the instance is full or stops) it goes to another at once; where
//! something may have, only if the API is idempotent.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_nats::Subject;
use framex_core::args::Args;
use framex_core::context::{CallMeta, MAX_HOPS, Request};
use framex_core::error::{CallError, Error, Part};
use framex_core::event::EventStream;
use framex_core::payload::Payload;
use framex_core::reply::{RawJson, Reply};
use smallvec::SmallVec;

use super::Shared;
use super::link::{Waiter, publish};
use super::peers::{Endpoint, Instance, Remote, ms_of};
use super::stream::RemoteStream;
use super::waiting::{Expect, Lost};
use super::wire::{self, Answer, Control, Origin, Told};
use crate::call::to_the_millisecond;
use crate::local::deadline;
use crate::{Api, Outcome};

/// How long is waited for interest to travel through a cluster, where somebody
/// should be there.
const ASK_AGAIN: [Duration; 3] = [
    Duration::from_millis(5),
    Duration::from_millis(15),
    Duration::from_millis(30),
];
/// An instance that keeps calls waiting and says nothing comes last. One that is
/// only busy has been asked by then, and has answered.
const QUIET_MS: u64 = 800;
/// Around its deadline a call has timed out, whoever notices first.
const SAME_MOMENT: Duration = Duration::from_millis(25);
/// Foreign answers are checked to be JSON; of our own kind, small ones are.
const CHECKED: usize = 4096;

/// One call, over all its attempts.
struct Journey {
    shared: Arc<Shared>,
    api: Arc<Api>,
    payload: Payload,
    origin: Origin,
    meta: CallMeta,
    started: Instant,
    deadline: Instant,
    only_first_event: bool,
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
        return Err(CallError::NoResponders {
            api: api.descriptor.id.clone(),
        });
    };
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
    let payload = args
        .to_payload(&api.descriptor)
        .map_err(CallError::Handler)?;
    let origin = match args.by_http() {
        true => Origin::Http,
        false => Origin::Bus,
    };
    let journey = Journey {
        shared,
        api,
        payload,
        origin,
        meta,
        started,
        deadline,
        only_first_event,
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
                Err(Attempt::Elsewhere(elsewhere)) => elsewhere,
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

    /// Nobody serves it: the bridge's turn, where there is one.
    async fn nobody(&self) -> Outcome {
        let id = self.api.descriptor.id.clone();
        let Some(fallback) = self.shared.fallback.get() else {
            return Err(CallError::NoResponders { api: id });
        };
        let request = Request {
            args: Args::from_payload(self.payload.clone())
                .made_of_http(self.origin == Origin::Http),
            meta: self.meta.clone(),
        };
        fallback.call(id.as_str(), request).await
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
        let headers = wire::request_headers(&self.meta, api, &self.payload);
        let told = Told {
            origin: self.origin,
            meta: &self.meta,
            left,
            streams: api.streams(),
        };
        let body = self.payload.bytes().clone();
        let size = body.len();
        let expect = Expect {
            deadline: Some(self.deadline),
            instance: instance.cloned(),
            subject: subject.clone(),
            since: ms_of(now),
        };
        let waiter = link.expect(expect, Some(&told));
        let reply = waiter.reply.clone();
        let mut pending = Pending {
            waiter,
            control: self.control(instance),
            over: false,
        };
        if let Err(lost) = publish(client, subject, Some(reply), headers, body).await {
            pending.over = true;
            return Err(match lost {
                Lost::TooLarge => Attempt::Over(CallError::TooLarge {
                    api: api.id.clone(),
                    part: Part::Arguments,
                    size,
                    most: client.max_payload(),
                }),
                lost => self.over(lost),
            });
        }
        if api.streams() {
            return Box::pin(self.stream(pending, instance)).await;
        }
        let message = pending.waiter.next().await;
        pending.over = !matches!(
            message,
            Err(Lost::TimedOut | Lost::Gone | Lost::Disconnected)
        );
        let message = message.map_err(|lost| self.over(lost))?;
        let answer = wire::read_answer(message).map_err(|reason| self.unreadable(reason))?;
        match answer {
            Answer::Value(json) => self.checked(json, instance).map(Reply::Value),
            Answer::Response(response) => Ok(Reply::Response(response)),
            Answer::Failed { error, started } => Err(self.failed(error, started)),
            Answer::Chunks(_) | Answer::End { .. } => {
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
    ) -> Result<Reply, Attempt> {
        let api = &self.api.descriptor;
        let first = std::future::poll_fn(|cx| match pending.waiter.poll_next(cx) {
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
                let answer = wire::read_answer(message);
                Some(answer.map_err(|reason| self.unreadable(reason))?)
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
            first => {
                let deadline = (!self.only_first_event).then_some(self.deadline);
                let timed_out = self.timed_out();
                let events = RemoteStream::new(pending, api.id.clone(), deadline, timed_out, first);
                Ok(Reply::Stream(EventStream::new(events)))
            }
        }
    }

    /// Passed on into other documents, so it has to be one.
    fn checked(
        &self,
        json: bytes::Bytes,
        instance: Option<&Arc<Instance>>,
    ) -> Result<bytes::Bytes, Attempt> {
        let ours = instance.is_some_and(|instance| instance.native);
        if ours && json.len() > CHECKED {
            return Ok(json);
        }
        RawJson::new(json)
            .map(RawJson::into_bytes)
            .map_err(|error| self.unreadable(format!("it is no JSON: {error}")))
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

/// A call that waits. If it goes before its answer has come, whoever runs it is
/// told.
pub(super) struct Pending {
    pub(super) waiter: Waiter,
    /// Where they are told; nowhere for foreign services.
    pub(super) control: Option<Subject>,
    pub(super) over: bool,
}

impl Pending {
    /// Gives whether it is on its way.
    pub(super) fn tell(&self, cancel: bool, credit: Option<u32>) -> bool {
        let Some(control) = &self.control else {
            return true;
        };
        let message = Control {
            call: self.waiter.reply.to_string(),
            cancel,
            credit,
        };
        let link = self.waiter.link();
        link.send_later(control.clone(), message.payload())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.over {
            // Untold, it ends at its deadline, or when nobody takes its beats.
            self.tell(true, None);
        }
    }
}

/// The instance that a message to the whole group will reach, if there is but one.
fn sole(remote: &Remote, instance: Arc<Instance>) -> Option<Arc<Instance>> {
    (remote.endpoints.load().len() == 1).then_some(instance)
}

/// The less loaded of two that are picked by chance: spreads as well as looking
/// at all of them, and callers that know the same do not all choose the same.
fn choose(endpoints: &[Endpoint], tried: &[Arc<Instance>]) -> Option<Endpoint> {
    let free = |endpoint: &&Endpoint| {
        !endpoint.instance.shunned.load(Ordering::Relaxed)
            && !tried.iter().any(|t| Arc::ptr_eq(t, &endpoint.instance))
    };
    match endpoints {
        [] => None,
        [one] => Some(one).filter(free).cloned(),
        many => {
            let from = |offset: usize| {
                let mut order = (0..many.len()).map(|n| (n + offset) % many.len());
                order.find(|at| free(&&many[*at]))
            };
            let first = from(random(many.len()))?;
            // Another one, if there is one: else a frozen one of two would be picked
            // against itself in a quarter of all calls.
            let second = from(first + 1 + random(many.len() - 1))?;
            let (first, second) = (&many[first], &many[second]);
            let better = if load(&second.instance) < load(&first.instance) {
                second
            } else {
                first
            };
            Some(better.clone())
        }
    }
}

fn load(instance: &Instance) -> u32 {
    let mine = instance.outstanding.load(Ordering::Relaxed);
    let all = instance.ongoing.load(Ordering::Relaxed);
    let quiet = instance.suspected.load(Ordering::Relaxed) && instance.silence_ms() > QUIET_MS;
    mine.max(all)
        .saturating_add(if quiet { 1_000_000 } else { 0 })
}

/// A number below `limit`, good enough for spreading.
fn random(limit: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(uuid::Uuid::new_v4().as_u64_pair().1 | 1);
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        usize::try_from(x >> 33).unwrap_or(0) % limit
    })
}
