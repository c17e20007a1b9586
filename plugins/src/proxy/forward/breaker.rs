//! The circuit breaker of an upstream.
//!
//! [`FAILURES`] calls in a row that bring no answer open it for a second; then one call goes
//! through, and if that brings none either, it opens for twice as long, up to 15 s. An answer of
//! any status closes it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How many failures in a row open it.
const FAILURES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest time without a call.
pub(crate) const LONGEST_REST: Duration = Duration::from_secs(15);
/// How long one call keeps the others out that is sent to see whether they may go: it may be
/// one that is answered late by nature.
const PROBE: Duration = Duration::from_secs(5);
/// What is told to those who come while another looks.
const SOON: Duration = Duration::from_secs(1);

/// Whether calls go to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Circuit {
    /// They do.
    Closed,
    /// None does for a while: too many in a row brought no answer.
    Open,
    /// One does, to see whether the others may.
    HalfOpen,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
    told: watch::Sender<Circuit>,
    /// The upstream's, for the log.
    name: String,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
        wait: Duration,
    },
    HalfOpen {
        probe: u64,
        until: Instant,
        wait: Duration,
    },
}

/// Leave for one call. Dropped without a word, it never was.
#[derive(Debug)]
pub(super) struct Leave {
    breaker: Arc<Breaker>,
    /// Which probe it is, if it is one.
    probe: Option<u64>,
}

impl Breaker {
    pub(super) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::Closed { failures: 0 }),
            told: watch::Sender::new(Circuit::Closed),
            name: name.to_owned(),
        })
    }

    /// Leave to call, or how long there is none.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Leave, Duration> {
        let mut state = self.state();
        let leave = |probe| Leave {
            breaker: Arc::clone(self),
            probe,
        };
        let (last, wait) = match *state {
            State::Closed { .. } => return Ok(leave(None)),
            State::Open { until, wait } => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
                (0, wait)
            }
            State::HalfOpen { until, .. } if until > Instant::now() => return Err(SOON),
            State::HalfOpen { probe, wait, .. } => (probe, wait),
        };
        let (probe, until) = (last + 1, Instant::now() + PROBE);
        self.enter(&mut state, State::HalfOpen { probe, until, wait });
        Ok(leave(Some(probe)))
    }

    /// Something else than a call was answered: if it is only waiting for one to see, it
    /// has seen.
    pub(super) fn alive(&self) {
        let mut state = self.state();
        if until(&state).is_some_and(|until| until <= Instant::now()) {
            self.enter(&mut state, State::Closed { failures: 0 });
        }
    }

    /// When somebody who sees that it answers would close it; none if it is closed.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        until(&self.state())
    }

    pub(super) fn circuit(&self) -> Circuit {
        *self.told.borrow()
    }

    pub(super) fn changes(&self) -> watch::Receiver<Circuit> {
        self.told.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, state: &mut State, next: State) {
        *state = next;
        let circuit = match next {
            State::Closed { .. } => Circuit::Closed,
            State::Open { .. } => Circuit::Open,
            State::HalfOpen { .. } => Circuit::HalfOpen,
        };
        if self.told.send_replace(circuit) == circuit {
            return;
        }
        let upstream = &self.name;
        match next {
            State::Closed { .. } => tracing::info!(upstream, "the upstream answers again"),
            State::Open { wait, .. } => {
                tracing::warn!(
                    upstream,
                    ?wait,
                    "no calls to an upstream that does not answer"
                );
            }
            State::HalfOpen { .. } => {
                tracing::debug!(upstream, "one call to see whether it answers");
            }
        }
    }

    fn open(&self, state: &mut State, wait: Duration) {
        let until = Instant::now() + wait;
        self.enter(state, State::Open { until, wait });
    }
}

impl Leave {
    /// There was an answer.
    pub(super) fn answered(mut self) {
        let probe = self.probe.take();
        let mut state = self.breaker.state();
        match *state {
            State::Closed { failures: 0 } => {}
            State::Closed { .. } => *state = State::Closed { failures: 0 },
            // Whoever began before it opened is late, and proves as much.
            State::HalfOpen { .. } => self
                .breaker
                .enter(&mut state, State::Closed { failures: 0 }),
            State::Open { .. } if probe.is_some() => {
                self.breaker
                    .enter(&mut state, State::Closed { failures: 0 });
            }
            State::Open { .. } => {}
        }
    }

    /// There was none.
    pub(super) fn failed(mut self) {
        let ours = self.probe.take();
        let mut state = self.breaker.state();
        match *state {
            State::Closed { failures } if failures + 1 < FAILURES => {
                let failures = failures + 1;
                *state = State::Closed { failures };
            }
            State::Closed { .. } => self.breaker.open(&mut state, FIRST_WAIT),
            State::HalfOpen { probe, wait, .. } if ours == Some(probe) => {
                self.breaker.open(&mut state, (wait * 2).min(LONGEST_REST));
            }
            State::HalfOpen { .. } | State::Open { .. } => {}
        }
    }
}

fn until(state: &State) -> Option<Instant> {
    match *state {
        State::Closed { .. } => None,
        State::Open { until, .. } | State::HalfOpen { until, .. } => Some(until),
    }
}

/// The place of a probe that was given up is free at once.
impl Drop for Leave {
    fn drop(&mut self) {
        let Some(ours) = self.probe else {
            return;
        };
        let mut state = self.breaker.state();
        if let State::HalfOpen { probe, wait, .. } = *state
            && probe == ours
        {
            let until = Instant::now();
            self.breaker.enter(&mut state, State::Open { until, wait });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn opened() -> Arc<Breaker> {
        let breaker = Breaker::new("up");
        for _ in 0..FAILURES {
            breaker.admit().unwrap().failed();
        }
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it() {
        let breaker = Breaker::new("up");
        for _ in 0..3 {
            for _ in 1..FAILURES {
                breaker.admit().unwrap().failed();
            }
            breaker.admit().unwrap().answered();
        }
        assert_eq!(breaker.circuit(), Circuit::Closed);
        assert_eq!(opened().admit().unwrap_err(), seconds(1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_looks_and_each_failure_doubles_the_wait() {
        let breaker = opened();
        for wait in [1, 2, 4, 8, 15, 15] {
            assert_eq!(breaker.circuit(), Circuit::Open);
            assert_eq!(breaker.admit().unwrap_err(), seconds(wait));
            advance(seconds(wait)).await;
            let probe = breaker.admit().unwrap();
            assert_eq!(breaker.circuit(), Circuit::HalfOpen);
            assert_eq!(breaker.admit().unwrap_err(), SOON);
            probe.failed();
        }
        advance(seconds(15)).await;
        breaker.admit().unwrap().answered();
        assert_eq!(breaker.circuit(), Circuit::Closed);
        assert!(breaker.admit().is_ok() && breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_or_slow_makes_room() {
        let breaker = opened();
        advance(seconds(1)).await;
        drop(breaker.admit().unwrap());
        let slow = breaker.admit().unwrap();
        assert!(breaker.admit().is_err());
        advance(PROBE).await;
        let next = breaker.admit().unwrap();
        assert!(breaker.admit().is_err());
        // The slow one has no say any more if it fails, nor if it is dropped.
        slow.failed();
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        next.answered();
        assert_eq!(breaker.circuit(), Circuit::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_from_before_do_not_count_twice() {
        let breaker = Breaker::new("up");
        let calls: Vec<_> = (0..20).map(|_| breaker.admit().unwrap()).collect();
        let mut changes = breaker.changes();
        for call in calls {
            call.failed();
        }
        assert_eq!(breaker.admit().unwrap_err(), seconds(1));
        assert_eq!(*changes.borrow_and_update(), Circuit::Open);
        // An answer of something else closes it only once it waits for one.
        breaker.alive();
        assert_eq!(breaker.circuit(), Circuit::Open);
        advance(seconds(1)).await;
        breaker.alive();
        assert!(changes.has_changed().unwrap());
        assert_eq!(breaker.circuit(), Circuit::Closed);
    }
}
