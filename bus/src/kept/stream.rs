//! One kept stream: its handler, what came of it, and how far each who follows is.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use framex_core::context::Principal;
use framex_core::error::{CallError, Error};
use framex_core::event::{Event, EventStream};
use framex_core::id::ApiId;
use framex_core::kept::{self, Position, StreamId};
use tokio::runtime::Handle;

use super::KeepOptions;
use super::follower::{Alone, Follower};
use super::keeper::{Keeper, Usage};
use super::log::{Cursor, Log};
use super::source::{Polled, poll_source, without_source};
use crate::call::to_the_millisecond;

/// A stream and what came of it.
pub(super) struct Kept {
    pub(super) id: StreamId,
    pub(super) api: ApiId,
    pub(super) principal: Option<Principal>,
    pub(super) options: KeepOptions,
    usage: Arc<Usage>,
    keeper: Weak<Keeper>,
    state: Mutex<State>,
}

struct State {
    source: Source,
    log: Log,
    /// Those who follow; or, while nobody does, the task that drives on.
    places: Vec<Place>,
    last_key: u64,
    /// Since when nobody follows.
    alone: Option<Instant>,
    /// Somebody waits for the slowest to take more.
    held: bool,
    /// What it is to end with, once whoever polls it brings it back.
    verdict: Option<Error>,
    /// What of the log is in [`Usage::held`].
    counted: usize,
}

enum Source {
    Here(EventStream),
    /// Somebody polls it now: never under the lock, for a handler may come here itself.
    Out,
    Over(Result<(), Error>),
}

/// How far somebody has come.
struct Place {
    key: u64,
    at: Cursor,
    waker: Option<Waker>,
}

/// What there is for a place.
pub(super) enum Step {
    /// Events, one at least.
    Events,
    /// Nothing more, or this error as the last.
    Over(Option<Error>),
    /// The place is gone: others follow.
    Replaced,
}

impl Place {
    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
    }
}

impl State {
    fn place(&mut self, key: u64) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.key == key)
    }

    fn enter(&mut self, at: Cursor) -> u64 {
        self.last_key += 1;
        self.places.push(Place {
            key: self.last_key,
            at,
            waker: None,
        });
        self.last_key
    }

    /// Nothing before this is needed.
    fn needed(&self) -> Cursor {
        let places = self.places.iter().map(|place| place.at);
        places
            .min_by_key(|at| at.number)
            .unwrap_or_else(|| self.log.end())
    }

    /// How much the slowest has not taken, in bytes.
    fn ahead(&self) -> u64 {
        self.log.came() - self.needed().offset
    }

    /// Those of all but `key`.
    fn wakers(&mut self, key: u64) -> Vec<Waker> {
        let others = self.places.iter_mut().filter(|place| place.key != key);
        others.filter_map(|place| place.waker.take()).collect()
    }

    /// Ends it. What it gives is to be dropped, and all are to be woken, without the lock.
    fn end(&mut self, end: Result<(), Error>) -> (Source, Vec<Waker>) {
        let source = std::mem::replace(&mut self.source, Source::Over(end));
        self.log.close();
        (source, self.wakers(0))
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl Kept {
    /// The stream, and its first follower.
    pub(super) fn new(
        events: EventStream,
        of: (ApiId, Option<Principal>),
        id: StreamId,
        options: KeepOptions,
        usage: Arc<Usage>,
        keeper: Weak<Keeper>,
    ) -> (Arc<Self>, EventStream) {
        let mut state = State {
            source: Source::Here(events),
            log: Log::new(options.replay_buffer),
            places: Vec::with_capacity(1),
            last_key: 0,
            alone: None,
            held: false,
            verdict: None,
            counted: 0,
        };
        let key = state.enter(Cursor::START);
        let kept = Arc::new(Self {
            id,
            api: of.0,
            principal: of.1,
            options,
            usage,
            keeper,
            state: Mutex::new(state),
        });
        let first = Follower::stream(&kept, key);
        (kept, first)
    }

    /// One more who follows, behind `after`.
    pub(super) fn follow(
        self: &Arc<Self>,
        after: Option<Position>,
    ) -> Result<EventStream, CallError> {
        // An event that never was is of another stream, or made up.
        let unknown = || CallError::Handler(kept::gone());
        let number = match after {
            None => 1,
            Some(position) if position.place() == 0 => position.message() + 1,
            Some(_) => return Err(unknown()),
        };
        let mut state = self.lock();
        if number > state.log.count() + 1 {
            return Err(unknown());
        }
        let at = state.log.seek(number);
        let at = at.ok_or_else(|| CallError::Handler(kept::incomplete()))?;
        let mut replaced = Vec::new();
        if state.alone.take().is_some() {
            replaced = state.wakers(0);
            state.places.clear();
        }
        let key = state.enter(at);
        drop(state);
        wake(replaced);
        Ok(Follower::stream(self, key))
    }

    /// What comes next for `key`: out of the log, else from the handler, which whoever
    /// asks drives on.
    pub(super) fn poll(
        &self,
        key: u64,
        out: &mut VecDeque<Event>,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        loop {
            let mut state = self.lock();
            let alone = state.alone.is_some();
            let count = state.log.count();
            let Some(place) = state.place(key) else {
                return Poll::Ready(Step::Replaced);
            };
            if !alone && place.at.number <= count {
                return Poll::Ready(self.read(state, key, out));
            }
            if let Source::Over(end) = &mut state.source {
                return Poll::Ready(Step::Over(match end {
                    Ok(()) => None,
                    // The reason behind it is for the log: one gets it.
                    Err(error) => {
                        let copy = without_source(error);
                        Some(std::mem::replace(error, copy))
                    }
                }));
            }
            let full = state.ahead() >= self.most() as u64 / 2;
            if full || matches!(state.source, Source::Out) {
                state.held |= full;
                if let Some(place) = state.place(key) {
                    place.wait(cx);
                }
                return Poll::Pending;
            }
            let Source::Here(mut events) = std::mem::replace(&mut state.source, Source::Out) else {
                return Poll::Pending;
            };
            drop(state);
            let unless_it_panics = Unless(Some(self));
            let polled = poll_source(&mut events, count + 1, out, cx);
            unless_it_panics.it_did_not();
            let waiting = self.bring_back(events, polled, key, out, cx);
            if !out.is_empty() {
                return Poll::Ready(Step::Events);
            }
            if waiting {
                return Poll::Pending;
            }
        }
    }

    fn read(&self, mut state: MutexGuard<'_, State>, key: u64, out: &mut VecDeque<Event>) -> Step {
        let State { log, places, .. } = &mut *state;
        if let Some(place) = places.iter_mut().find(|place| place.key == key) {
            log.read(&mut place.at, out);
        }
        let mut held = Vec::new();
        if state.held && state.ahead() < self.most() as u64 / 2 {
            state.held = false;
            held = state.wakers(key);
        }
        drop(state);
        wake(held);
        match out.is_empty() {
            true => Step::Over(Some(kept::incomplete())),
            false => Step::Events,
        }
    }

    /// Puts `events` back, which gave `new`. Says whether `key` is woken when there is more.
    fn bring_back(
        &self,
        events: EventStream,
        polled: Polled,
        key: u64,
        new: &VecDeque<Event>,
        cx: &Context<'_>,
    ) -> bool {
        let mut state = self.lock();
        for event in new {
            state.log.push(event);
        }
        state.source = Source::Here(events);
        let end = state.log.end();
        let alone = state.alone.is_some();
        let waiting = matches!(polled, Polled::Waiting);
        let place = state.place(key);
        let mine = place.is_some();
        if let Some(place) = place {
            if !alone {
                place.at = end;
            }
            if waiting {
                place.wait(cx);
            }
        }
        let verdict = match (polled, state.verdict.take()) {
            (Polled::Over(end), _) => Some(end),
            (_, Some(error)) => Some(Err(error)),
            (Polled::More | Polled::Waiting, None) => None,
        };
        let needed = state.needed();
        state.log.shrink(self.most(), needed);
        if let Some(end) = verdict {
            self.over(state, end);
            return false;
        }
        let others = match mine && new.is_empty() {
            true => Vec::new(),
            false => state.wakers(key),
        };
        let pressed = self.count(&mut state);
        drop(state);
        wake(others);
        if pressed && let Some(keeper) = self.keeper.upgrade() {
            keeper.press();
        }
        mine && waiting
    }

    /// Ends the stream with what `decide` says, if that says anything.
    fn end(&self, decide: impl FnOnce(&State) -> Option<Error>) {
        let mut state = self.lock();
        let Some(error) = decide(&state) else {
            return;
        };
        match &state.source {
            Source::Here(_) => self.over(state, Err(error)),
            Source::Out => state.verdict = Some(error),
            Source::Over(_) => {}
        }
    }

    fn over(&self, mut state: MutexGuard<'_, State>, end: Result<(), Error>) {
        let (source, wakers) = state.end(end);
        self.count(&mut state);
        let bytes = state.counted;
        drop(state);
        drop(source);
        wake(wakers);
        if let Some(keeper) = self.keeper.upgrade() {
            keeper.ended(&self.id, bytes);
        }
    }

    /// Stops the handler.
    pub(super) fn stop(&self) {
        self.end(|_| Some(kept::stopped()));
    }

    /// Stops the handler if nobody follows.
    pub(super) fn end_if_alone(&self) {
        self.end(|state| Some(self.abandoned(state.alone?)));
    }

    /// Stops the handler if nobody has followed since it was left to `key`.
    pub(super) fn end_if_left_to(&self, key: u64) {
        self.end(|state| {
            let left = state.places.iter().any(|place| place.key == key);
            Some(self.abandoned(state.alone.filter(|_| left)?))
        });
    }

    fn abandoned(&self, since: Instant) -> Error {
        let alone = since.elapsed().min(self.options.grace);
        kept::abandoned(to_the_millisecond(alone))
    }

    /// `key` does not follow any more.
    pub(super) fn leave(self: &Arc<Self>, key: u64) {
        let mut state = self.lock();
        let Some(place) = state.place(key) else {
            return;
        };
        place.waker = None;
        if state.places.len() > 1 || matches!(state.source, Source::Over(_)) {
            state.places.retain(|place| place.key != key);
            // Whoever is left may have relied on who left to drive.
            let others = state.wakers(key);
            state.held = false;
            drop(state);
            wake(others);
            return;
        }
        let since = Instant::now();
        state.alone = Some(since);
        drop(state);
        let waits = !self.options.grace.is_zero() && !self.usage.stopping.load(Ordering::SeqCst);
        // The handler stays in the runtime where it was polled last.
        match Handle::try_current() {
            Ok(runtime) if waits => {
                runtime.spawn(Alone::new(self, key, since + self.options.grace));
            }
            _ => self.end_if_alone(),
        }
    }

    /// How much may be held now, in bytes.
    fn most(&self) -> usize {
        let held = self.usage.held.load(Ordering::Relaxed);
        match held > self.options.replay_memory {
            true => self.options.replay_buffer / 16,
            false => self.options.replay_buffer,
        }
    }

    /// Says whether others have to go for this one.
    fn count(&self, state: &mut State) -> bool {
        let held = state.log.held();
        let all = &self.usage.held;
        let total = match held.checked_sub(state.counted) {
            Some(more) => all.fetch_add(more, Ordering::Relaxed) + more,
            None => all.fetch_sub(state.counted - held, Ordering::Relaxed),
        };
        state.counted = held;
        total > self.options.replay_memory && self.usage.ended.load(Ordering::Relaxed) > 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let counted = self.lock().counted;
        self.usage.held.fetch_sub(counted, Ordering::Relaxed);
    }
}

/// A source that panics is lost, and nobody is to wait for it.
struct Unless<'a>(Option<&'a Kept>);

impl Unless<'_> {
    fn it_did_not(mut self) {
        self.0 = None;
    }
}

impl Drop for Unless<'_> {
    fn drop(&mut self) {
        if let Some(kept) = self.0 {
            kept.over(
                kept.lock(),
                Err(Error::internal("polling the stream panicked")),
            );
        }
    }
}
