//! What is to be learnt, and from whom.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::{Life, Peer, Registry, Topic, Who};
use crate::nats::discovery::learn::{Service, Unlearnt};

/// Foreign services are asked again what they serve: they say nothing when it changes.
/// Most of it changes while they start.
const LEARN_AGAIN: [u64; 7] = [400, 700, 1_000, 1_000, 2_000, 5_000, 20_000];
/// Whoever has nothing to do with us, less often in the end.
const LOOK_AGAIN: [u64; 7] = [400, 700, 1_000, 1_000, 2_000, 5_000, 60_000];
/// What cannot be learnt is asked for again, less and less often.
const TRY_AGAIN: [u64; 5] = [150, 500, 2_000, 5_000, 20_000];
/// Whoever is asked may have changed since it announced itself; not all the time.
const PATIENCE_WITH_CHANGES: usize = 3;
/// Instances that are asked what they serve at one time.
const LESSONS_AT_ONCE: usize = 64;

impl Registry {
    /// What to learn now, each with an instance to ask.
    pub(in crate::nats::discovery) fn lessons(&mut self, now: u64) -> Vec<(Topic, Who)> {
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

    pub(super) fn lesson_due(&mut self, topic: Topic, now: u64) {
        let lesson = self.lessons.entry(topic).or_default();
        lesson.due = now;
        lesson.times = 0;
        self.curious = true;
    }

    /// Whether everything that can be known is known.
    pub(in crate::nats::discovery) fn is_settled(&self) -> bool {
        let open = |topic: &Topic| {
            let lesson = self.lessons.get(topic);
            lesson.is_none_or(|lesson| lesson.times == 0 && lesson.failures == 0)
        };
        let unknown = |peer: &Peer| peer.service.is_none() && open(&peer.topic);
        !self.peers.values().any(unknown)
    }

    /// Asks again at once for all that could not be learnt.
    pub(super) fn encourage(&mut self) {
        for lesson in self.lessons.values_mut() {
            if lesson.failures > 0 {
                lesson.failures = 0;
                lesson.due = 0;
            }
        }
        self.curious = true;
    }

    /// The end of a lesson that `teacher` gave.
    pub(in crate::nats::discovery) fn learnt(
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
        drop(service);
        if let Topic::Build {
            plugin, version, ..
        } = topic
        {
            // What one and the same version served before it changed does not come back.
            let same = |other: &Topic| match other {
                Topic::Build {
                    plugin: p,
                    version: v,
                    ..
                } => p == plugin && v == version,
                Topic::One(_) => false,
            };
            self.builds.retain(|other, build| {
                other == topic || Rc::strong_count(build) > 1 || !same(other)
            });
        }
    }

    /// Builds that nobody runs are remembered for a restart, but not all of them.
    pub(super) fn forget(&mut self) {
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
            let topics: HashSet<&Topic> = peers.collect();
            self.lessons
                .retain(|topic, lesson| lesson.running || topics.contains(topic));
        }
    }
}
