//! Who is there: what is known of each instance, and how sure.
//!
//! No network here. What was heard goes in, with the time; what to ask, and
//! whose calls are lost, comes out. [`lessons`] finds out what is served,
//! [`life`] who still lives.

mod lessons;
mod life;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use framex_core::id::is_token;

use super::adr32::{Announcement, Said, Stage, key};
use super::check::LONGEST_NAME;
use super::learn::{Service, cut};
use super::merge::{Part, instances};
use crate::nats::peers::Instance;

/// The most instances that are known at one time.
const MOST: usize = 10_000;
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
    broker_answered: u64,
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
    /// 0 if it does not say.
    connects: u64,
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
            broker_answered: 0,
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
            connects: said.connects,
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
        let connects = said.metadata.get(key::CONNECTS);
        let sign = Sign {
            plugin: &said.name,
            id: &said.id,
            version: &said.version,
            digest: said.metadata.get(key::DIGEST).unwrap_or_default(),
            native,
            state: Stage::read(said.metadata.get(key::STATE)),
            connects: connects.and_then(|text| text.parse().ok()).unwrap_or(0),
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
        peer.instance.connected(sign.connects, now);
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

    /// Everything that is served, by those who take calls and those who do not now.
    /// What has stopped in good order is nobody's.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.peers.values().filter_map(|peer| {
            let service = peer.service.as_deref()?;
            let live = match peer.life {
                Life::Live => true,
                Life::Draining | Life::Doubted | Life::Quiet | Life::Gone => false,
                Life::Stopped => return None,
            };
            Some(Part {
                instance: &peer.instance,
                service,
                live,
                quiet: peer.life == Life::Quiet,
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
