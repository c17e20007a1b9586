//! Who is there: what is known of each instance, and how sure.
//!
//! No network here. What was heard goes in, with the time; what to ask, and
//! whose calls are lost, comes out.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use framex_core::id::is_token;

use super::adr32::{Announcement, Said, Stage, key};
use super::check::LONGEST_NAME;
use super::learn::{Service, Unlearnt, cut};
use super::merge::{Part, instances};
use crate::nats::peers::Instance;

/// The most instances that are known at one time.
const MOST: usize = 10_000;
/// One of our own kind that is not heard of for so long is asked.
const BEAT_OVERDUE: u64 = 2_300;
/// A foreign one, which answers our questions and says nothing else.
const ANSWER_OVERDUE: u64 = 1_300;
/// One that keeps calls waiting is asked after so long a silence.
const SUSPICIOUS: u64 = 250;
/// The pause between two questions to one instance.
const ASK_EVERY: u64 = 250;
/// One that says nothing for so long is taken for dead ...
const QUIET_AFTER: u64 = 2_800;
/// ... if it was asked at least so long ago.
const TIME_TO_ANSWER: u64 = 400;
/// After a connection came back, everybody has so long to give a sign.
const GRACE: u64 = 3_000;
/// Whoever went without a word is remembered for so long.
const REMEMBERED: u64 = 60_000;
/// Calls that a stopped instance still runs say so at least so often.
const LAST_CALLS: u64 = 3_200;
/// Foreign services are asked again what they serve: they say nothing when it changes.
const LEARN_AGAIN: [u64; 4] = [700, 3_000, 10_000, 30_000];
/// Whoever has nothing to do with us, less often.
const LOOK_AGAIN: [u64; 3] = [700, 5_000, 60_000];
/// What cannot be learnt is asked for again, less and less often.
const TRY_AGAIN: [u64; 5] = [150, 500, 2_000, 5_000, 20_000];
/// Whoever is asked may have changed since it announced itself; not all the time.
const PATIENCE_WITH_CHANGES: usize = 3;
/// Instances that are asked what they serve at one time.
const LESSONS_AT_ONCE: usize = 64;

/// A plugin and an instance of it.
pub(super) type Who = (Arc<str>, Arc<str>);

/// What there is to learn: what all instances of one build serve, or what a
/// foreign instance serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    Build {
        plugin: Arc<str>,
        version: String,
        digest: String,
    },
    One(Who),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It takes calls.
    Live,
    /// It takes no new ones, by its own word.
    Draining,
    /// As before, and it has left.
    Stopped,
    /// The broker knows nobody of its id; that may be about to change.
    Doubted,
    /// It says nothing any more.
    Quiet,
    /// The broker has known nobody of its id for a while.
    Gone,
}

/// How a directed PING ended.
#[derive(Debug)]
pub(super) enum Pinged {
    Answered(Box<Said>),
    NoResponders,
    Nothing,
}

struct Peer {
    instance: Arc<Instance>,
    topic: Topic,
    service: Option<Rc<Service>>,
    life: Life,
    /// When `life` began.
    since: u64,
    /// Its last announcement or answer.
    heard: u64,
    /// The first question since then.
    asked: Option<u64>,
    /// The last question.
    pinged: u64,
    pinging: bool,
    trouble: Option<String>,
}

impl Peer {
    /// Whether anything is to be found out about its life.
    fn matters(&self) -> bool {
        self.service.as_ref().is_none_or(|service| service.ours)
    }

    fn becomes(&mut self, life: Life, now: u64) {
        self.life = life;
        self.since = now;
        self.instance
            .shunned
            .store(life != Life::Live, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Lesson {
    running: bool,
    /// Failures in a row.
    failures: usize,
    /// How often it was learnt.
    times: usize,
    /// Not before.
    due: u64,
}

/// See the module.
pub(super) struct Registry {
    own: Arc<str>,
    namespace: Option<String>,
    peers: HashMap<Who, Peer>,
    builds: HashMap<Topic, Rc<Service>>,
    lessons: HashMap<Topic, Lesson>,
    grace_until: u64,
    looked: u64,
    /// Who serves what has changed.
    pub(super) dirty: bool,
    /// There is something to learn.
    pub(super) curious: bool,
}

/// A sign of life, however it came.
struct Sign<'a> {
    plugin: &'a str,
    id: &'a str,
    version: &'a str,
    digest: &'a str,
    native: bool,
    state: Stage,
}

impl Registry {
    pub(super) fn new(own: Arc<str>, namespace: Option<String>) -> Self {
        Self {
            own,
            namespace,
            peers: HashMap::new(),
            builds: HashMap::new(),
            lessons: HashMap::new(),
            grace_until: 0,
            looked: 0,
            dirty: false,
            curious: false,
        }
    }

    /// Takes an announcement of the instance `who`, as its subject says.
    pub(super) fn announced(&mut self, who: (&str, &str), said: &Announcement, now: u64) {
        if who != (&said.name, &said.id) {
            tracing::debug!(plugin = who.0, id = who.1, "announces somebody else");
            return;
        }
        // Without a beat it only wants to be looked at.
        let native = said.beat > 0;
        let sign = Sign {
            plugin: &said.name,
            id: &said.id,
            version: &said.version,
            digest: &said.digest,
            native,
            state: said.state,
        };
        if let Some(peer) = self.sign(&sign, now) {
            peer.instance.ongoing.store(said.ongoing, Ordering::Relaxed);
            if !native {
                let topic = peer.topic.clone();
                self.lesson_due(topic, now);
            }
        }
    }

    /// Takes an answer to PING.
    pub(super) fn answered(&mut self, said: &Said, now: u64) {
        let native = said.is_native();
        if native && said.metadata.get(key::NAMESPACE) != self.namespace.as_deref() {
            return;
        }
        let sign = Sign {
            plugin: &said.name,
            id: &said.id,
            version: &said.version,
            digest: said.metadata.get(key::DIGEST).unwrap_or_default(),
            native,
            state: Stage::read(said.metadata.get(key::STATE)),
        };
        self.sign(&sign, now);
    }

    fn sign(&mut self, sign: &Sign<'_>, now: u64) -> Option<&mut Peer> {
        let usable = |text: &str| is_token(text) && text.len() <= LONGEST_NAME;
        if sign.id == &*self.own || !usable(sign.plugin) || !usable(sign.id) {
            return None;
        }
        let who: Who = (sign.plugin.into(), sign.id.into());
        if !self.peers.contains_key(&who) {
            if sign.state == Stage::Stopped || !self.has_room() {
                return None;
            }
            tracing::debug!(plugin = sign.plugin, id = sign.id, "an instance is there");
        }
        let known = self.peers.get(&who);
        // One and the same id may come back as another build.
        let version = cut(sign.version);
        let renewed = known.is_none_or(|peer| {
            peer.instance.version != version || peer.instance.native != sign.native
        });
        if renewed {
            // What a foreign one says unasked is not all of what it can do.
            if known.is_some_and(|peer| peer.instance.native && !sign.native) {
                return None;
            }
            let instance = Instance::new(sign.plugin, sign.id, &version, sign.native);
            let peer = Peer {
                topic: Topic::One(who.clone()),
                service: None,
                life: Life::Live,
                since: now,
                heard: now,
                asked: None,
                pinged: 0,
                pinging: false,
                trouble: None,
                instance,
            };
            let old = self.peers.insert(who.clone(), peer);
            self.dirty |= old.is_some();
            self.curious = true;
        }
        let peer = self.peers.get_mut(&who)?;
        peer.instance.lives_at(now);
        peer.instance.suspected.store(false, Ordering::Relaxed);
        peer.heard = now;
        peer.asked = None;
        let life = match sign.state {
            Stage::Ready => Life::Live,
            Stage::Draining => Life::Draining,
            Stage::Stopped => Life::Stopped,
        };
        if peer.life != life {
            if matches!(peer.life, Life::Quiet | Life::Gone) {
                tracing::info!(plugin = sign.plugin, id = sign.id, "the instance is back");
            }
            peer.becomes(life, now);
            self.dirty = true;
        }
        if sign.native {
            let topic = Topic::Build {
                plugin: Arc::clone(&who.0),
                version,
                digest: cut(sign.digest),
            };
            if peer.topic != topic {
                // Until the new one is learnt, the old one is the best guess.
                if let Some(service) = self.builds.get(&topic) {
                    peer.service = Some(Rc::clone(service));
                    self.dirty = true;
                }
                peer.topic = topic;
                self.curious = true;
            }
        }
        Some(peer)
    }

    fn has_room(&mut self) -> bool {
        if self.peers.len() >= MOST {
            let lasting = |peer: &Peer| {
                let gone = matches!(peer.life, Life::Gone | Life::Quiet | Life::Stopped);
                !gone && peer.matters()
            };
            self.peers.retain(|_, peer| lasting(peer));
            self.dirty = true;
        }
        self.peers.len() < MOST
    }

    /// The broker is there again: whoever lives has some time to say so.
    pub(super) fn reconnected(&mut self, now: u64) {
        self.everyone_has_until(now + GRACE);
    }

    fn everyone_has_until(&mut self, time: u64) {
        self.grace_until = self.grace_until.max(time);
        for peer in self.peers.values_mut() {
            peer.asked = None;
        }
    }

    /// What to learn now, each with an instance to ask.
    pub(super) fn lessons(&mut self, now: u64) -> Vec<(Topic, Who)> {
        self.curious = false;
        let running = self
            .lessons
            .values()
            .filter(|lesson| lesson.running)
            .count();
        let mut room = LESSONS_AT_ONCE.saturating_sub(running);
        let mut teachers: HashMap<&Topic, Vec<&Who>> = HashMap::new();
        for (who, peer) in &self.peers {
            let there = matches!(peer.life, Life::Live | Life::Draining);
            let settled = match &peer.topic {
                build @ Topic::Build { .. } => {
                    self.builds.get(build).is_some_and(|known| known.complete)
                }
                Topic::One(_) => false,
            };
            if there && !settled {
                teachers.entry(&peer.topic).or_default().push(who);
            }
        }
        let mut asked = Vec::new();
        for (topic, teachers) in teachers {
            let lesson = self.lessons.entry(topic.clone()).or_default();
            if lesson.running || lesson.due > now {
                continue;
            }
            if room == 0 {
                self.curious = true;
                break;
            }
            room -= 1;
            lesson.running = true;
            // Another one each time: the first may be the one that is gone.
            let teacher = teachers[lesson.failures % teachers.len()];
            asked.push((topic.clone(), teacher.clone()));
        }
        asked
    }

    fn lesson_due(&mut self, topic: Topic, now: u64) {
        let lesson = self.lessons.entry(topic).or_default();
        lesson.due = now;
        lesson.times = 0;
        self.curious = true;
    }

    /// Whether everything that can be known is known.
    pub(super) fn is_settled(&self) -> bool {
        let open = |topic: &Topic| {
            let lesson = self.lessons.get(topic);
            lesson.is_none_or(|lesson| lesson.times == 0 && lesson.failures == 0)
        };
        let unknown = |peer: &Peer| peer.service.is_none() && open(&peer.topic);
        !self.peers.values().any(unknown)
    }

    /// The end of a lesson that `teacher` gave.
    pub(super) fn learnt(
        &mut self,
        topic: &Topic,
        teacher: &Who,
        outcome: Result<Service, Unlearnt>,
        now: u64,
    ) {
        let lesson = self.lessons.entry(topic.clone()).or_default();
        lesson.running = false;
        let outcome = match (&outcome, topic) {
            // It has changed meanwhile, and will be asked as what it is now.
            (Ok(service), Topic::Build { digest, .. }) if service.digest != *digest => {
                Err(match lesson.failures {
                    0..PATIENCE_WITH_CHANGES => Unlearnt::Silent,
                    _ => Unlearnt::Nonsense("it announces another digest than it has".into()),
                })
            }
            _ => outcome,
        };
        match outcome {
            Ok(service) => {
                lesson.failures = match service.complete {
                    true => 0,
                    false => lesson.failures + 1,
                };
                lesson.times += 1;
                let pauses = match (service.complete, service.ours) {
                    (false, _) => &TRY_AGAIN[..],
                    (true, true) => &LEARN_AGAIN[..],
                    (true, false) => &LOOK_AGAIN[..],
                };
                let step = lesson.times.max(lesson.failures) - 1;
                lesson.due = now + pauses[step.min(pauses.len() - 1)];
                self.taught(topic, service);
            }
            Err(why) => {
                let pause = TRY_AGAIN[lesson.failures.min(TRY_AGAIN.len() - 1)];
                lesson.failures += 1;
                lesson.due = now + pause;
                if let Some(peer) = self.peers.get_mut(teacher) {
                    match why {
                        Unlearnt::Nonsense(reason) => {
                            self.dirty |= peer.trouble.as_ref() != Some(&reason);
                            peer.trouble = Some(reason);
                        }
                        Unlearnt::Nobody => self.unheard(teacher, now),
                        Unlearnt::Silent => {}
                    }
                }
            }
        }
    }

    fn taught(&mut self, topic: &Topic, service: Service) {
        let old = match topic {
            Topic::Build { .. } => self.builds.get(topic),
            Topic::One(who) => self.peers.get(who).and_then(|peer| peer.service.as_ref()),
        };
        let same =
            old.is_some_and(|old| old.digest == service.digest && old.complete == service.complete);
        if let Topic::One(who) = topic
            && same
        {
            if let Some(peer) = self.peers.get_mut(who) {
                self.dirty |= peer.trouble.take().is_some();
            }
            return;
        }
        self.dirty = true;
        let service = Rc::new(service);
        if let Topic::Build { .. } = topic {
            self.builds.insert(topic.clone(), Rc::clone(&service));
        }
        for peer in self.peers.values_mut().filter(|peer| peer.topic == *topic) {
            peer.service = Some(Rc::clone(&service));
            peer.trouble = None;
        }
    }

    /// Whom to ask whether it lives. Instances whose calls are lost go to `lost`.
    pub(super) fn look(&mut self, now: u64, lost: &mut Vec<Arc<Instance>>) -> Vec<Who> {
        // Whoever was away itself cannot tell who was silent.
        let slept = now.saturating_sub(self.looked) > 1_000;
        self.looked = now;
        if slept {
            self.everyone_has_until(now + TIME_TO_ANSWER);
        }
        let mut ask = Vec::new();
        let mut over = Vec::new();
        for (who, peer) in &mut self.peers {
            let instance = &peer.instance;
            let silence = instance.silence_at(now);
            let asked = peer
                .asked
                .filter(|asked| now.saturating_sub(*asked) <= silence);
            peer.asked = asked;
            let age = now.saturating_sub(peer.since);
            match peer.life {
                Life::Gone if age > REMEMBERED => over.push(who.clone()),
                Life::Quiet if age > REMEMBERED => over.push(who.clone()),
                Life::Gone => {}
                Life::Stopped => {
                    // Nobody answers for it any more but the calls that it still runs.
                    if instance.outstanding.load(Ordering::Relaxed) == 0 {
                        over.push(who.clone());
                    } else if silence > LAST_CALLS && age > LAST_CALLS {
                        lost.push(Arc::clone(instance));
                        over.push(who.clone());
                    }
                }
                Life::Live | Life::Draining | Life::Doubted | Life::Quiet => {
                    if now < self.grace_until || !peer.matters() {
                        if !peer.matters() && now.saturating_sub(peer.heard) > REMEMBERED {
                            over.push(who.clone());
                        }
                        continue;
                    }
                    let waited = asked.is_some_and(|at| now.saturating_sub(at) >= TIME_TO_ANSWER);
                    if silence > QUIET_AFTER && waited && peer.life != Life::Quiet {
                        tracing::warn!(
                            plugin = &*who.0,
                            id = &*who.1,
                            "the instance says nothing any more; it gets no calls until it does"
                        );
                        lost.push(Arc::clone(instance));
                        peer.becomes(Life::Quiet, now);
                        self.dirty = true;
                    }
                    let limit = match peer.instance.native {
                        true => BEAT_OVERDUE,
                        false => ANSWER_OVERDUE,
                    };
                    let overdue = now.saturating_sub(peer.heard) > limit;
                    let suspected =
                        peer.instance.suspected.load(Ordering::Relaxed) && silence > SUSPICIOUS;
                    let doubted = peer.life == Life::Doubted;
                    let pause = match peer.life {
                        Life::Quiet => 4 * ASK_EVERY,
                        _ => ASK_EVERY,
                    };
                    if (overdue || suspected || doubted)
                        && !peer.pinging
                        && now.saturating_sub(peer.pinged) >= pause
                    {
                        peer.pinging = true;
                        peer.pinged = now;
                        peer.asked.get_or_insert(now);
                        ask.push(who.clone());
                    }
                }
            }
        }
        for who in over {
            self.dirty = true;
            self.peers.remove(&who);
            self.lessons.remove(&Topic::One(who));
        }
        self.forget();
        ask
    }

    /// Builds that nobody runs are remembered for a restart, but not all of them.
    fn forget(&mut self) {
        const UNUSED: usize = 64;
        if self.builds.len() > UNUSED {
            let unused = self
                .builds
                .values()
                .filter(|b| Rc::strong_count(b) == 1)
                .count();
            if unused > UNUSED {
                self.builds.retain(|_, build| Rc::strong_count(build) > 1);
            }
        }
        if self.lessons.len() > 2 * self.peers.len() + UNUSED {
            let peers = self.peers.values().map(|peer| &peer.topic);
            let topics: std::collections::HashSet<&Topic> = peers.collect();
            self.lessons
                .retain(|topic, lesson| lesson.running || topics.contains(topic));
        }
    }

    /// The end of a directed PING.
    pub(super) fn pinged(&mut self, who: &Who, outcome: Pinged, now: u64) -> Option<Arc<Instance>> {
        let peer = self.peers.get_mut(who)?;
        peer.pinging = false;
        match outcome {
            Pinged::Answered(said) => {
                if said.name == *who.0 && said.id == *who.1 {
                    self.answered(&said, now);
                }
                None
            }
            Pinged::Nothing => None,
            Pinged::NoResponders => {
                let doubted_long = now.saturating_sub(peer.since) >= ASK_EVERY;
                match peer.life {
                    Life::Live => {
                        self.unheard(who, now);
                        return None;
                    }
                    Life::Doubted if !doubted_long => return None,
                    Life::Stopped | Life::Gone => return None,
                    Life::Doubted | Life::Quiet | Life::Draining => {}
                }
                tracing::info!(plugin = &*who.0, id = &*who.1, "the instance is gone");
                self.dirty = true;
                let instance = Arc::clone(&peer.instance);
                if peer.life == Life::Draining {
                    // It had said that it would go.
                    self.peers.remove(who);
                } else {
                    peer.becomes(Life::Gone, now);
                }
                Some(instance)
            }
        }
    }

    /// The broker knows nobody of this id: no new calls. It may be on its way to
    /// another node of the cluster, and the calls that it runs with it.
    fn unheard(&mut self, who: &Who, now: u64) {
        if let Some(peer) = self.peers.get_mut(who)
            && peer.life == Life::Live
        {
            peer.becomes(Life::Doubted, now);
            self.dirty = true;
        }
    }

    /// Everything that is served, by those who are there and those who are missed.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.peers.values().filter_map(|peer| {
            let service = peer.service.as_deref()?;
            let live = match peer.life {
                Life::Live => true,
                Life::Doubted | Life::Quiet | Life::Gone => false,
                Life::Draining | Life::Stopped => return None,
            };
            Some(Part {
                instance: &peer.instance,
                service,
                live,
            })
        })
    }

    /// What is not believed, with those who said it.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut by_reason: HashMap<(String, &str), Vec<&Arc<Instance>>> = HashMap::new();
        for (who, peer) in &self.peers {
            if peer.life != Life::Live {
                continue;
            }
            let version = &peer.instance.version;
            let of = format!("of `{}` (version {version})", who.0);
            let refused = peer.service.iter().flat_map(|service| &service.refused);
            for reason in refused.chain(&peer.trouble) {
                let by = by_reason.entry((of.clone(), reason)).or_default();
                by.push(&peer.instance);
            }
        }
        let mut problems: Vec<String> = by_reason
            .into_iter()
            .map(|((of, reason), by)| format!("{} {of}: {reason}", instances(by.into_iter())))
            .collect();
        if self.peers.len() >= MOST {
            problems.push(format!(
                "there are more than {MOST} instances: the rest is ignored"
            ));
        }
        problems.sort();
        problems
    }
}
