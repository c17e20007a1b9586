//! The calls that did not finish at once.
//!
//! Whoever called may cancel them, grants chunks, or wants to hear that they
//! still run; all by their reply subject. A call that finishes in its first poll
//! is never in this table.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_nats::Subject;
use futures_util::task::AtomicWaker;
use smallvec::SmallVec;

use crate::nats::wire::Asked;

/// A call that runs longer is said to, again and again.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Cancellations that came before their calls; the oldest are forgotten.
const MOST_EARLY: usize = 1024;

/// See the module.
#[derive(Default)]
pub(super) struct Jobs(Mutex<Table>);

#[derive(Default)]
struct Table {
    last: u64,
    by_number: HashMap<u64, Entry>,
    /// Plain clients may use one reply subject for many calls.
    by_reply: HashMap<String, SmallVec<[u64; 1]>>,
    early: HashSet<String>,
    early_order: VecDeque<String>,
}

struct Entry {
    job: Arc<Job>,
    /// None for a caller who does not ask.
    next_beat: Option<Instant>,
}

/// One call, as those see it who are not running it.
pub(super) struct Job {
    reply: Subject,
    cancelled: AtomicBool,
    /// Chunks that may be sent, since the beginning.
    granted: AtomicU64,
    waker: AtomicWaker,
}

impl Job {
    /// How many chunks may be sent, since the beginning.
    pub(super) fn granted(&self) -> u64 {
        self.granted.load(Ordering::Acquire)
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a call into the table, for as long as what it gives lives. Nothing
    /// for a call that is cancelled already.
    pub(super) fn enter(
        self: &Arc<Self>,
        reply: &Subject,
        asked: Asked,
        began: Instant,
    ) -> Option<Entered> {
        let mut table = self.lock();
        if !table.early.is_empty() && table.early.remove(reply.as_str()) {
            table.early_order.retain(|early| early != reply.as_str());
            return None;
        }
        table.last += 1;
        let number = table.last;
        let job = Arc::new(Job {
            reply: reply.clone(),
            cancelled: AtomicBool::new(false),
            granted: AtomicU64::new(asked.window.map_or(u64::MAX, u64::from)),
            waker: AtomicWaker::new(),
        });
        let entry = Entry {
            job: Arc::clone(&job),
            next_beat: asked.beats.then(|| began + BEAT_EVERY),
        };
        table.by_number.insert(number, entry);
        let same = table.by_reply.entry(reply.to_string()).or_default();
        same.push(number);
        Some(Entered {
            jobs: Arc::clone(self),
            number,
            job,
        })
    }

    fn remove(&self, number: u64) {
        let mut table = self.lock();
        let Some(entry) = table.by_number.remove(&number) else {
            return;
        };
        if let Some(same) = table.by_reply.get_mut(entry.job.reply.as_str()) {
            same.retain(|n| *n != number);
            if same.is_empty() {
                table.by_reply.remove(entry.job.reply.as_str());
            }
        }
    }

    /// Ends the calls that answer to `reply`: those that run, or the next one.
    pub(super) fn cancel(&self, reply: &str) {
        let mut table = self.lock();
        let jobs = table.of(reply);
        if jobs.is_empty() {
            table.cancelled_early(reply);
        }
        drop(table);
        for job in jobs {
            job.cancel();
        }
    }

    /// Ends the call with this number.
    pub(super) fn cancel_number(&self, number: u64) {
        let job = {
            let table = self.lock();
            table.by_number.get(&number).map(|e| Arc::clone(&e.job))
        };
        if let Some(job) = job {
            job.cancel();
        }
    }

    /// Lets the call that answers to `reply` send so many chunks more.
    pub(super) fn grant(&self, reply: &str, chunks: u32) {
        let jobs = self.lock().of(reply);
        for job in jobs {
            // A call without a window has no limit to raise.
            let raise = |granted: u64| Some(granted.saturating_add(u64::from(chunks)));
            let _ = job
                .granted
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, raise);
            job.waker.wake();
        }
    }

    /// Numbers and reply subjects of those whose callers want to hear now that
    /// they run.
    pub(super) fn due(&self, now: Instant) -> Vec<(u64, Subject)> {
        let mut due = Vec::new();
        for (number, entry) in &mut self.lock().by_number {
            if let Some(next) = &mut entry.next_beat
                && *next <= now
            {
                *next = now + BEAT_EVERY;
                due.push((*number, entry.job.reply.clone()));
            }
        }
        due
    }
}

impl Table {
    fn of(&self, reply: &str) -> SmallVec<[Arc<Job>; 1]> {
        let numbers = self.by_reply.get(reply).map_or(&[][..], |n| n.as_slice());
        numbers
            .iter()
            .filter_map(|number| Some(Arc::clone(&self.by_number.get(number)?.job)))
            .collect()
    }

    /// A cancellation takes another way than its call and may be there first.
    fn cancelled_early(&mut self, reply: &str) {
        if !self.early.insert(reply.to_owned()) {
            return;
        }
        self.early_order.push_back(reply.to_owned());
        if self.early_order.len() > MOST_EARLY
            && let Some(oldest) = self.early_order.pop_front()
        {
            self.early.remove(&oldest);
        }
    }
}

/// A call's place in the table.
pub(super) struct Entered {
    jobs: Arc<Jobs>,
    number: u64,
    job: Arc<Job>,
}

impl Entered {
    pub(super) fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// `work`, until it is done or cancelled; then it is dropped at once.
    pub(super) fn run<F: Future>(self, work: F) -> Run<F> {
        Run {
            work: Some(Box::pin(work)),
            entered: self,
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.jobs.remove(self.number);
    }
}

/// See [`Entered::run`]. Gives nothing if it was cancelled.
pub(super) struct Run<F> {
    work: Option<Pin<Box<F>>>,
    entered: Entered,
}

impl<F: Future> Future for Run<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let job = &self.entered.job;
        // First the waker, then the looks: here, and at what is granted.
        job.waker.register(cx.waker());
        if job.cancelled.load(Ordering::Acquire) {
            self.work = None;
            return Poll::Ready(None);
        }
        match &mut self.work {
            Some(work) => work.as_mut().poll(cx).map(Some),
            None => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;

    use super::*;

    fn asked(beats: bool, window: Option<u32>) -> Asked {
        Asked {
            beats,
            window,
            ..Asked::default()
        }
    }

    fn reply(text: &'static str) -> Subject {
        Subject::from_static(text)
    }

    #[tokio::test]
    async fn a_cancelled_call_is_dropped_whenever_the_word_comes() {
        let jobs = Arc::new(Jobs::default());
        let began = Instant::now();
        let enter = || jobs.enter(&reply("a"), asked(false, None), began);
        let running = [enter(), enter()].map(|e| e.unwrap().run(pending::<()>()));
        jobs.cancel("a");
        for run in running {
            assert_eq!(run.await, None);
        }
        // Before its call.
        jobs.cancel("a");
        assert!(enter().is_none());
        let next = enter().unwrap();
        assert_eq!(next.run(ready(1)).await, Some(1));
        assert!(jobs.lock().by_reply.is_empty());
    }

    #[test]
    fn early_cancellations_are_bounded() {
        let jobs = Jobs::default();
        for n in 0..MOST_EARLY + 10 {
            jobs.cancel(&n.to_string());
        }
        let table = jobs.lock();
        assert_eq!(table.early.len(), MOST_EARLY);
        assert!(!table.early.contains("9") && table.early.contains("10"));
    }

    #[test]
    fn credit_adds_up_and_wakes() {
        let jobs = Arc::new(Jobs::default());
        let began = Instant::now();
        let entered = jobs.enter(&reply("a"), asked(false, Some(2)), began);
        let entered = entered.unwrap();
        let job = Arc::clone(entered.job());
        let mut run = entered.run(std::future::poll_fn(|_| {
            if job.granted() > 2 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        assert_eq!((&mut run).now_or_never(), None);
        jobs.grant("a", 3);
        assert_eq!(job.granted(), 5);
        assert_eq!((&mut run).now_or_never(), Some(Some(())));
    }

    #[test]
    fn only_who_asked_hears_that_it_runs() {
        let jobs = Arc::new(Jobs::default());
        let began = Instant::now();
        let _silent = jobs.enter(&reply("a"), asked(false, None), began);
        let told = jobs.enter(&reply("b"), asked(true, None), began).unwrap();
        assert!(jobs.due(began + BEAT_EVERY / 2).is_empty());
        let due = jobs.due(began + BEAT_EVERY);
        assert_eq!(due, [(told.number, reply("b"))]);
        assert!(jobs.due(began + BEAT_EVERY).is_empty());
        assert_eq!(jobs.due(began + BEAT_EVERY * 2).len(), 1);
    }
}
