//! Listening to others, and asking them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures_core::future::LocalBoxFuture;
use futures_util::StreamExt;
use futures_util::stream::{FuturesUnordered, SelectAll};
use tokio::time::MissedTickBehavior;

use super::adr32::{self, ANNOUNCEMENT, Announcement, Said};
use super::check::Shelf;
use super::interest::Interest;
use super::learn::{self, Service, Unlearnt};
use super::merge::merge;
use super::registry::{Pinged, Registry, Topic, Who};
use super::{FENCE_LIMIT, say};
use crate::Bus as _;
use crate::nats::Shared;
use crate::nats::link::Link;
use crate::nats::peers::{Instance, ms_of};
use crate::nats::waiting::Lost;
use crate::nats::wire::{self, Outgoing};

pub(super) const EVERYBODY: &str = "$SRV.PING";
/// How often is looked for what is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often is asked for services that do not announce themselves.
const POLL_EVERY: Duration = Duration::from_millis(750);
/// How long one PING waits for its answer.
const PING_LIMIT: Duration = Duration::from_millis(600);
/// Everybody has answered when nobody has for so long ...
const ROUND_QUIET: Duration = Duration::from_millis(200);
/// ... or, with what they serve, after so long.
const ROUND_LIMIT: Duration = Duration::from_millis(1_500);
/// The catalog is made anew at most so often.
const MERGE_EVERY: Duration = Duration::from_millis(10);
/// Making it may take this part of the thread's time.
const MERGE_SHARE: u32 = 5;

/// The end of a question.
enum Outcome {
    Learnt(Topic, Who, Result<Service, Unlearnt>),
    Pinged(Who, Pinged),
    /// Whether the broker answers at all.
    Broker(bool),
}

/// Hears of others, as far as this process wants to know of them.
pub(super) async fn run(shared: &Arc<Shared>, link: &Arc<Link>) {
    let mut changes = shared.local.changes();
    loop {
        changes.mark_unchanged();
        let interest = Interest::of(shared);
        let changed =
            async { while changes.changed().await.is_ok() && Interest::of(shared) == interest {} };
        if interest.is_none() {
            // Who calls nobody need not know of anybody.
            shared.discovered();
            changed.await;
        } else {
            tokio::select! {
                () = hear(shared, link, &interest) => return,
                () = changed => {}
            }
        }
    }
}

/// Hears of those that are of `interest`, for as long as it is polled.
async fn hear(shared: &Arc<Shared>, link: &Arc<Link>, interest: &Interest) {
    let Some(client) = link.wait_up().await else {
        return;
    };
    let unique = uuid::Uuid::new_v4().simple();
    let inbox = format!("{}.{unique}.answers", shared.options.inbox_prefix);
    let mut heard = SelectAll::new();
    for subject in interest.announcements(&shared.names) {
        match client.subscribe(subject).await {
            Ok(subscriber) => heard.push(subscriber),
            Err(error) => {
                tracing::error!(%error, "others are not found: nothing can be subscribed to");
                return;
            }
        }
    }
    let mut answers = match client.subscribe(inbox.clone()).await {
        Ok(answers) => answers,
        Err(error) => {
            tracing::error!(%error, "others are not found: nothing can be subscribed to");
            return;
        }
    };
    let shelf = Shelf::default();
    // This process is one of those who serve, if its own calls go by the broker.
    let own = match shared.options.prefer_local {
        true => Arc::clone(&shared.id),
        false => Arc::default(),
    };
    let mut others = Others {
        shared,
        link,
        interest,
        shelf: &shelf,
        registry: Registry::new(own, shared.options.namespace.clone()),
        asked: FuturesUnordered::new(),
        inbox,
        deaf: false,
        refused: Vec::new(),
        round: None,
        merged: Instant::now(),
        merge_pause: Duration::ZERO,
    };
    let _ = link.fence(FENCE_LIMIT).await;
    others.ask_everybody().await;

    let mut phase = link.phase();
    phase.mark_unchanged();
    let mut connects = phase.borrow().connects;
    let mut own = shared.local.changes();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut poll = tokio::time::interval(POLL_EVERY);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let merge_at = others.merged + others.merge_pause;
        tokio::select! {
            Some(message) = heard.next() => others.announced(&message),
            Some(message) = answers.next() => others.answered(&message),
            Some(outcome) = others.asked.next() => others.learnt(outcome),
            changed = phase.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = phase.borrow_and_update().clone();
                if now.up && now.connects != connects {
                    connects = now.connects;
                    others.registry.reconnected(others.now());
                    others.ask_everybody().await;
                }
            }
            changed = own.changed() => {
                if changed.is_err() {
                    return;
                }
                others.registry.dirty = true;
            }
            _ = look.tick() => others.look(),
            _ = poll.tick() => others.poll().await,
            () = tokio::time::sleep_until(merge_at.into()), if others.registry.dirty => {
                others.merge();
            }
        }
        if others.registry.curious {
            others.ask();
        }
        if others.registry.dirty && Instant::now() >= others.merged + others.merge_pause {
            others.merge();
        }
    }
}

/// When everybody was asked, and the last answer since.
struct Round {
    begun: Instant,
    last: Instant,
}

struct Others<'a> {
    shared: &'a Arc<Shared>,
    link: &'a Arc<Link>,
    interest: &'a Interest,
    shelf: &'a Shelf,
    registry: Registry,
    asked: FuturesUnordered<LocalBoxFuture<'a, Outcome>>,
    /// Where everybody answers.
    inbox: String,
    /// Announcements are not for this process: everybody has to be asked.
    deaf: bool,
    /// Whose routes are another's.
    refused: Vec<String>,
    /// The first one, until it is over.
    round: Option<Round>,
    merged: Instant,
    merge_pause: Duration,
}

impl Others<'_> {
    fn now(&self) -> u64 {
        ms_of(Instant::now())
    }

    async fn ask_everybody(&mut self) {
        let now = Instant::now();
        self.round = Some(Round {
            begun: now,
            last: now,
        });
        self.ping_everybody(Outgoing::bare(Bytes::new())).await;
    }

    async fn poll(&mut self) {
        let mut announcements = self.interest.announcements(&self.shared.names).into_iter();
        self.deaf = announcements.any(|subject| self.link.may_not_subscribe(&subject));
        if self.round.is_none() {
            self.report_permissions();
        }
        let question = match self.deaf {
            true => Outgoing::bare(Bytes::new()),
            false => wire::poll(),
        };
        self.ping_everybody(question).await;
    }

    async fn ping_everybody(&self, question: Outgoing) {
        for subject in self.interest.questions() {
            let reply = self.inbox.clone().into();
            say(self.link, subject.into(), Some(reply), question.clone()).await;
        }
    }

    fn announced(&mut self, message: &Message) {
        let mut tokens = message.subject.as_str().rsplit('.');
        let (Some(id), Some(plugin)) = (tokens.next(), tokens.next()) else {
            return;
        };
        match serde_json::from_slice::<Announcement>(&message.payload) {
            Ok(said) if said.kind == ANNOUNCEMENT => {
                self.registry.announced((plugin, id), &said, self.now());
            }
            Ok(_) => tracing::debug!(plugin, id, "an announcement of another type"),
            Err(error) => {
                tracing::debug!(plugin, id, %error, "an announcement that cannot be read");
            }
        }
    }

    fn answered(&mut self, message: &Message) {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return;
        }
        let Some(said) = Said::read(adr32::PING, &message.payload) else {
            tracing::debug!("an answer to PING that cannot be read");
            return;
        };
        if let Some(round) = &mut self.round {
            round.last = Instant::now();
        }
        self.registry.answered(&said, self.now());
    }

    fn learnt(&mut self, outcome: Outcome) {
        let now = self.now();
        match outcome {
            Outcome::Learnt(topic, who, outcome) => {
                self.registry.learnt(&topic, &who, outcome, now);
                self.registry.curious = true;
            }
            Outcome::Pinged(who, outcome) => {
                if let Some(gone) = self.registry.pinged(&who, outcome, now) {
                    self.lose(&gone);
                }
            }
            Outcome::Broker(true) => self.registry.broker_answered(now),
            Outcome::Broker(false) => {}
        }
    }

    /// What is due by the clock.
    fn look(&mut self) {
        if !self.link.is_up() {
            return;
        }
        let mut lost = Vec::new();
        let ask = self.registry.look(self.now(), &mut lost);
        for instance in lost {
            self.lose(&instance);
        }
        if !ask.is_empty() {
            let link = self.link;
            self.asked.push(Box::pin(async move {
                Outcome::Broker(link.fence(PING_LIMIT).await.is_ok())
            }));
        }
        for who in ask {
            self.ping(who);
        }
        self.ask();
        self.finish_round();
    }

    fn ping(&mut self, who: Who) {
        let link = self.link;
        self.asked.push(Box::pin(async move {
            let subject = format!("{EVERYBODY}.{}.{}", who.0, who.1);
            let answer = link.request(subject.into(), Bytes::new(), PING_LIMIT).await;
            let outcome = match answer {
                Ok(message) => match Said::read(adr32::PING, &message.payload) {
                    Some(said) => Pinged::Answered(Box::new(said)),
                    None => Pinged::Nothing,
                },
                Err(Lost::NoResponders) => Pinged::NoResponders,
                Err(_) => Pinged::Nothing,
            };
            Outcome::Pinged(who, outcome)
        }));
    }

    /// Asks for everything that is to be learnt.
    fn ask(&mut self) {
        if !self.link.is_up() {
            return;
        }
        let (shared, link, shelf) = (self.shared, self.link, self.shelf);
        for (topic, who) in self.registry.lessons(self.now()) {
            self.asked.push(Box::pin(async move {
                let namespace = shared.options.namespace.as_deref();
                let names = &shared.names;
                let outcome = learn::learn(link, names, namespace, shelf, who.clone()).await;
                Outcome::Learnt(topic, who, outcome)
            }));
        }
    }

    /// Ends the calls that `instance` will not answer any more.
    fn lose(&self, instance: &Instance) {
        for link in self.shared.links() {
            link.waiting.fail(Lost::Gone, |expect| {
                expect.instance.as_ref().is_some_and(|waited_for| {
                    waited_for.id == instance.id && waited_for.plugin == instance.plugin
                })
            });
        }
    }

    /// The first round is over when everybody has answered, and said what they serve.
    fn finish_round(&mut self) {
        let Some(round) = &self.round else {
            return;
        };
        if self.link.may_not_publish(EVERYBODY) {
            self.report_permissions();
            return;
        }
        let heard = round.last.elapsed() >= ROUND_QUIET && self.registry.is_settled();
        if !heard && round.begun.elapsed() < ROUND_LIMIT {
            return;
        }
        self.round = None;
        if self.registry.dirty {
            self.merge();
        }
        self.shared.discovered();
    }

    /// Says what this process may not do to find others.
    fn report_permissions(&self) {
        let mut problems = Vec::new();
        if self.link.may_not_publish(EVERYBODY) {
            problems.push(format!(
                "others are not found: the user of this process may not publish to `{EVERYBODY}`"
            ));
        }
        if self.deaf {
            problems.push(format!(
                "others are found late: the user of this process may not subscribe to `{}`",
                self.shared.names.announcements()
            ));
        }
        self.shared.report("permissions", problems);
    }

    /// Makes the catalog anew.
    fn merge(&mut self) {
        let begun = Instant::now();
        self.registry.dirty = false;
        let local = self.shared.local.catalog();
        let (apis, mut problems) = merge(self.registry.parts(), &local, &self.shared.names);
        self.refused = self.shared.directory.set_remote(apis, &self.shared.local);
        problems.append(&mut self.refused);
        problems.extend(self.registry.problems());
        self.shared.report("others", problems);
        self.merged = Instant::now();
        self.merge_pause = MERGE_EVERY.max((self.merged - begun) * MERGE_SHARE);
    }
}
