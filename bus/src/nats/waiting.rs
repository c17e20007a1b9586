//! The calls of one connection that wait for replies.
//!
//! A call has a slot; its reply subject names the slot. What arrives for a slot
//! is queued there, what goes wrong ends it. A slot is freed when its
//! [`Waiter`] goes, whatever happened: nothing is left behind by calls that
//! nobody answers.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use async_nats::{Message, StatusCode, Subject};

use super::peers::{Instance, ms_of};
use super::wire;

/// Whoever says that it still works says so every second, or works no more.
const SILENT_MS: u64 = 3_200;
/// Whoever has another connection than when it was called, and still works on the
/// call, has said so after this.
const MOVED_MS: u64 = 2_500;
/// A call without an answer after this makes its instance suspect ...
const SUSPECT_MS: u64 = 250;
/// ... or after this, if it is known to be worked on.
const BEAT_OVERDUE_MS: u64 = 1_500;
/// More messages than this are never waiting in a slot of an honest sender.
const MOST_QUEUED: usize = 1024;

/// Why no (further) reply comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Nobody is subscribed: the message reached no one.
    NoResponders,
    /// The connection to the broker went; the work may have been done.
    Disconnected,
    /// The broker does not let this process publish there.
    Denied,
    /// The instance is gone, or says nothing any more.
    Gone,
    /// The deadline passed.
    TimedOut,
    /// It is more than the broker takes.
    TooLarge,
    /// More came than was asked for.
    Flooded,
}

/// What a call waits for.
pub(crate) struct Expect {
    pub(crate) deadline: Option<Instant>,
    pub(crate) instance: Option<Arc<Instance>>,
    /// Where the request goes, to be matched with refusals.
    pub(crate) subject: Subject,
    /// Where parts of it go, likewise.
    pub(crate) sends: Option<Subject>,
    /// When the call began, in the clock of [`ms_of`].
    pub(crate) since: u64,
}

#[derive(Default)]
struct Slot {
    /// Counts its uses: a late reply of an earlier call finds another stamp.
    stamp: u32,
    expect: Option<Expect>,
    /// When it was last heard of, in the clock of [`ms_of`].
    sign: u64,
    /// The other side has said that it works, and will go on saying so.
    beating: bool,
    messages: VecDeque<Message>,
    failed: Option<Lost>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Slots>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot; gives its number and its stamp.
    pub(crate) fn insert(&self, expect: Expect) -> (u32, u32) {
        if let Some(instance) = &expect.instance {
            instance.outstanding.fetch_add(1, Ordering::Relaxed);
        }
        let mut slots = self.lock();
        let index = match slots.free.pop() {
            Some(index) => index,
            None => {
                slots.all.push(Slot::default());
                u32::try_from(slots.all.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let slot = &mut slots.all[index as usize];
        slot.stamp = slot.stamp.wrapping_add(1);
        slot.sign = expect.since;
        slot.beating = false;
        slot.expect = Some(expect);
        (index, slot.stamp)
    }

    /// Frees a slot. Later messages for it go nowhere.
    pub(crate) fn remove(&self, index: u32) {
        let mut slots = self.lock();
        let slot = &mut slots.all[index as usize];
        let expect = slot.expect.take();
        slot.messages.clear();
        slot.failed = None;
        slot.waker = None;
        slots.free.push(index);
        drop(slots);
        if let Some(instance) = expect.and_then(|e| e.instance) {
            instance.outstanding.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Hands a message to the call it is for; gives it back if nobody waits for it.
    pub(crate) fn deliver(&self, index: u32, stamp: u32, message: Message) -> Option<Message> {
        let mut slots = self.lock();
        let Some(slot) = slots.all.get_mut(index as usize) else {
            return Some(message);
        };
        let Some(expect) = slot.expect.as_ref().filter(|_| slot.stamp == stamp) else {
            return Some(message);
        };
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            slot.failed.get_or_insert(Lost::NoResponders);
        } else {
            let now = ms_of(Instant::now());
            if let Some(instance) = &expect.instance {
                instance.lives_at(now);
            }
            slot.sign = now;
            let beat = wire::is_beat(&message);
            slot.beating |= beat;
            if beat && message.payload.is_empty() {
                // Nothing but a sign of life.
            } else if beat && slot.messages.back().is_some_and(wire::is_beat) {
                // The later one says more.
                slot.messages.pop_back();
                slot.messages.push_back(message);
            } else if slot.messages.len() >= MOST_QUEUED {
                slot.failed.get_or_insert(Lost::Flooded);
            } else {
                slot.messages.push_back(message);
            }
        }
        let waker = slot.waker.take();
        drop(slots);
        if let Some(waker) = waker {
            waker.wake();
        }
        None
    }

    /// The next message of a slot.
    pub(crate) fn poll(&self, index: u32, cx: &mut Context<'_>) -> Poll<Result<Message, Lost>> {
        let mut slots = self.lock();
        let slot = &mut slots.all[index as usize];
        if let Some(message) = slot.messages.pop_front() {
            return Poll::Ready(Ok(message));
        }
        if let Some(lost) = slot.failed {
            return Poll::Ready(Err(lost));
        }
        match &mut slot.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    pub(crate) fn is_beating(&self, index: u32) -> bool {
        self.lock().all[index as usize].beating
    }

    /// As if a sign of life had come now, and more would.
    pub(crate) fn expect_beats(&self, index: u32) {
        let slot = &mut self.lock().all[index as usize];
        slot.sign = ms_of(Instant::now());
        slot.beating = true;
    }

    pub(crate) fn set_deadline(&self, index: u32, deadline: Option<Instant>) {
        if let Some(expect) = &mut self.lock().all[index as usize].expect {
            expect.deadline = deadline;
        }
    }

    pub(crate) fn sends_to(&self, index: u32, subject: &Subject) {
        if let Some(expect) = &mut self.lock().all[index as usize].expect {
            expect.sends = Some(subject.clone());
        }
    }

    /// How many slots are taken.
    pub(crate) fn taken(&self) -> usize {
        let slots = self.lock();
        slots.all.len() - slots.free.len()
    }

    /// Ends the waiting of all that `wanted` names.
    pub(crate) fn fail(&self, lost: Lost, wanted: impl Fn(&Expect) -> bool) {
        self.judge(|slot| {
            let expect = slot.expect.as_ref()?;
            wanted(expect).then_some(lost)
        });
    }

    /// Ends what is overdue, and suspects whoever keeps calls waiting. Gives
    /// whether anything waits.
    pub(crate) fn sweep(&self) -> bool {
        self.sweep_at(Instant::now())
    }

    fn sweep_at(&self, now: Instant) -> bool {
        let now_ms = ms_of(now);
        let mut waits = false;
        self.judge(|slot| {
            let expect = slot.expect.as_ref()?;
            waits = true;
            if expect.deadline.is_some_and(|deadline| deadline <= now) {
                return Some(Lost::TimedOut);
            }
            let silence = now_ms.saturating_sub(slot.sign);
            let usual = match slot.beating {
                true => BEAT_OVERDUE_MS,
                false => SUSPECT_MS,
            };
            if silence > usual
                && let Some(instance) = &expect.instance
            {
                instance.suspected.store(true, Ordering::Relaxed);
            }
            let moved = || {
                let moved = expect.instance.as_ref()?.moved_after(expect.since)?;
                Some(now_ms.saturating_sub(moved.max(slot.sign)) > MOVED_MS)
            };
            let lost = match slot.beating {
                true => silence > SILENT_MS,
                false => moved().unwrap_or(false),
            };
            lost.then_some(Lost::Gone)
        });
        waits
    }

    fn judge(&self, mut verdict: impl FnMut(&Slot) -> Option<Lost>) {
        let mut wakers = Vec::new();
        for slot in &mut self.lock().all {
            if slot.failed.is_none()
                && let Some(lost) = verdict(slot)
            {
                slot.failed = Some(lost);
                wakers.extend(slot.waker.take());
            }
        }
        for waker in wakers {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_the_other_sides_connection_took_with_it_is_lost() {
        let begun = Instant::now();
        let after = |ms| begun + Duration::from_millis(ms);
        let waiting = Waiting::default();
        let instance = Instance::new("p", "i", "1.0.0", true);
        instance.connected(1, ms_of(after(50)));
        let call = |ms| {
            let expect = Expect {
                deadline: None,
                instance: Some(Arc::clone(&instance)),
                subject: "a.B.c".into(),
                sends: None,
                since: ms_of(after(ms)),
            };
            waiting.insert(expect).0
        };
        let lost = |index: u32, ms| {
            waiting.sweep_at(after(ms));
            waiting.lock().all[index as usize].failed
        };
        let (before, later) = (call(100), call(300));
        assert_eq!(lost(before, 60_000), None, "it says nothing, and stays");
        instance.connected(1, ms_of(after(150)));
        assert_eq!(lost(before, 60_000), None, "as before");
        instance.connected(2, ms_of(after(200)));
        assert_eq!(lost(before, 200 + MOVED_MS), None);
        assert_eq!(lost(before, 201 + MOVED_MS), Some(Lost::Gone));
        assert_eq!(lost(later, 60_000), None);
    }
}
