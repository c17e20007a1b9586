//! Who still lives.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Life, Pinged, Registry, Topic, Who};
use crate::nats::peers::Instance;

/// One of our own kind that is not heard of for so long is asked.
const BEAT_OVERDUE: u64 = 2_200;
/// A foreign one, which answers our questions and says nothing else.
const ANSWER_OVERDUE: u64 = 1_300;
/// One that keeps calls waiting is asked after so long a silence.
const SUSPICIOUS: u64 = 250;
/// The pause between two questions to one instance.
const ASK_EVERY: u64 = 500;
/// One that the broker does not know is gone if it still does not after so long.
const DOUBT: u64 = 250;
/// One that says nothing for so long is taken for dead ...
const QUIET_AFTER: u64 = 2_700;
/// ... if it was asked at least so long ago.
const TIME_TO_ANSWER: u64 = 400;
/// After a connection came back, everybody has so long to give a sign.
const GRACE: u64 = 3_000;
/// Whoever went without a word is remembered for so long.
const REMEMBERED: u64 = 60_000;
/// Calls that a stopped instance still runs say so at least so often.
const LAST_CALLS: u64 = 3_200;
impl Registry {
    /// The broker is there again: whoever lives has some time to say so.
    pub(in crate::nats::discovery) fn reconnected(&mut self, now: u64) {
        self.everyone_has_until(now + GRACE);
        self.encourage();
    }

    /// The broker has answered something that was asked after all else.
    pub(in crate::nats::discovery) fn broker_answered(&mut self, now: u64) {
        self.broker_answered = now;
    }

    fn everyone_has_until(&mut self, time: u64) {
        self.grace_until = self.grace_until.max(time);
        for peer in self.peers.values_mut() {
            peer.asked = None;
        }
    }

    /// Whom to ask whether it lives. Instances whose calls are lost go to `lost`.
    pub(in crate::nats::discovery) fn look(
        &mut self,
        now: u64,
        lost: &mut Vec<Arc<Instance>>,
    ) -> Vec<Who> {
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
                    // A broker that says nothing itself brings nobody's answers.
                    let waited = asked.is_some_and(|at| {
                        now.saturating_sub(at) >= TIME_TO_ANSWER && self.broker_answered >= at
                    });
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
                        Life::Doubted => DOUBT,
                        Life::Quiet => 2 * ASK_EVERY,
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

    /// The end of a directed PING.
    pub(in crate::nats::discovery) fn pinged(
        &mut self,
        who: &Who,
        outcome: Pinged,
        now: u64,
    ) -> Option<Arc<Instance>> {
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
                let doubted_long = now.saturating_sub(peer.since) >= DOUBT;
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
    pub(super) fn unheard(&mut self, who: &Who, now: u64) {
        if let Some(peer) = self.peers.get_mut(who)
            && peer.life == Life::Live
            && peer.service.is_some()
        {
            peer.becomes(Life::Doubted, now);
            self.dirty = true;
        }
    }
}
