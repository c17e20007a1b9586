//! Who follows a kept stream, and how far it may go for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_nats::Subject;
use framex_core::kept::StreamId;
use smallvec::SmallVec;

use crate::nats::wire::{Followed, WINDOW};

/// A stream that is kept, as those see it who are not running it.
pub(super) struct Kept {
    pub(super) stream: StreamId,
    pub(super) plugin: Arc<str>,
    state: Mutex<State>,
}

struct State {
    followers: SmallVec<[Follower; 1]>,
    /// Number of the next one.
    next: u32,
    /// Since when there is none.
    alone_since: Option<Instant>,
    progress: Progress,
    /// Messages up to this one are stored.
    stored: u64,
    /// No more will be.
    broken: bool,
    stop: bool,
    /// Somebody came, and was promised what is not stored.
    resend: bool,
}

struct Follower {
    number: u32,
    reply: Subject,
    /// Events that may be sent, since the beginning.
    granted: u64,
    /// What it was granted at first.
    window: u64,
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Events that were sent.
    pub(super) sent: u64,
    /// The number of the last message that was sent.
    pub(super) last: u64,
}

/// What the followers allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credit {
    /// The slowest has been granted so many events since the beginning, and has taken
    /// so many.
    Followed { granted: u64, taken: u64 },
    /// Nobody follows, since then.
    Alone(Instant),
}

impl Kept {
    /// A stream with its first follower.
    pub(super) fn new(stream: StreamId, plugin: &str, reply: Subject, window: Option<u32>) -> Self {
        let window = u64::from(window.unwrap_or(WINDOW));
        let first = Follower {
            number: 0,
            reply,
            granted: window,
            window,
        };
        Self {
            stream,
            plugin: plugin.into(),
            state: Mutex::new(State {
                followers: SmallVec::from_iter([first]),
                next: 1,
                alone_since: None,
                progress: Progress::default(),
                stored: 0,
                broken: false,
                stop: false,
                resend: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, in place of `instead` if that is still there. What is not stored yet
    /// will be sent again.
    pub(super) fn follow(
        &self,
        reply: Subject,
        window: Option<u32>,
        instead: Option<&str>,
    ) -> Followed {
        let mut state = self.lock();
        let old = instead.unwrap_or_default();
        state
            .followers
            .retain(|f| f.reply.as_str() != old && f.reply != reply);
        let window = u64::from(window.unwrap_or(WINDOW));
        let Progress { sent, last } = state.progress;
        let stored = state.stored;
        let number = state.next;
        state.next += 1;
        state.followers.push(Follower {
            number,
            reply,
            granted: sent + window,
            window,
        });
        state.alone_since = None;
        state.resend = true;
        Followed {
            unknown: false,
            stored,
            last,
            broken: state.broken,
        }
    }

    /// One less.
    pub(super) fn leave(&self, gone: impl Fn(u32, &Subject) -> bool) {
        let mut state = self.lock();
        state.followers.retain(|f| !gone(f.number, &f.reply));
        if state.followers.is_empty() {
            state.alone_since.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn grant(&self, reply: &str, events: u32) {
        for follower in &mut self.lock().followers {
            if follower.reply.as_str() == reply {
                follower.granted = follower.granted.saturating_add(u64::from(events));
            }
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stop
    }

    /// Whether somebody who came wants what is not stored yet; asked once.
    pub(super) fn wants_again(&self) -> bool {
        std::mem::take(&mut self.lock().resend)
    }

    pub(super) fn credit(&self) -> Credit {
        let mut state = self.lock();
        let granted = state.followers.iter().map(|f| f.granted).min();
        let taken = state.followers.iter().map(|f| f.granted - f.window).min();
        match granted.zip(taken) {
            Some((granted, taken)) => Credit::Followed { granted, taken },
            None => Credit::Alone(*state.alone_since.get_or_insert_with(Instant::now)),
        }
    }

    /// Notes how much was sent.
    pub(super) fn sent(&self, progress: Progress) {
        self.lock().progress = progress;
    }

    /// Notes that nothing more will be stored.
    pub(super) fn breaks(&self) {
        self.lock().broken = true;
    }

    /// Notes how much is stored. Not while somebody waits for what was not stored
    /// when they came: it has to be held until it is sent again.
    pub(super) fn stored(&self, stored: u64) -> bool {
        let mut state = self.lock();
        if !state.resend {
            state.stored = stored;
        }
        !state.resend
    }

    /// Who has to hear that it goes on: numbers and reply subjects, and what was
    /// sent last.
    pub(super) fn beats(&self) -> (SmallVec<[(u32, Subject); 1]>, u64) {
        let state = self.lock();
        let followers = state.followers.iter();
        let all = followers.map(|f| (f.number, f.reply.clone())).collect();
        (all, state.progress.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats::wire;

    fn kept() -> Kept {
        let id = wire::new_stream(&wire::random(wire::TOKEN)).unwrap();
        Kept::new(id, "p", "a".into(), Some(10))
    }

    #[test]
    fn the_slowest_follower_counts() {
        let kept = kept();
        kept.sent(Progress { sent: 100, last: 7 });
        assert!(kept.stored(5));
        let followed = kept.follow("b".into(), Some(20), None);
        assert_eq!((followed.stored, followed.last), (5, 7));
        assert!(!kept.stored(6), "6 is promised to come again");
        assert!(kept.wants_again() && !kept.wants_again());
        assert!(kept.stored(7));
        assert_eq!(
            kept.credit(),
            Credit::Followed {
                granted: 10,
                taken: 0
            }
        );
        kept.grant("a", 200);
        assert_eq!(
            kept.credit(),
            Credit::Followed {
                granted: 120,
                taken: 100
            }
        );
    }

    #[test]
    fn whoever_comes_again_is_one_follower() {
        let kept = kept();
        kept.follow("b".into(), None, Some("a"));
        kept.follow("b".into(), None, None);
        let (followers, _) = kept.beats();
        assert_eq!(followers.len(), 1);
        kept.leave(|number, _| number == 0);
        assert!(matches!(kept.credit(), Credit::Followed { .. }));
        kept.leave(|_, reply| reply.as_str() == "b");
        assert!(matches!(kept.credit(), Credit::Alone(_)));
        kept.follow("c".into(), None, None);
        assert!(matches!(kept.credit(), Credit::Followed { .. }));
    }
}
