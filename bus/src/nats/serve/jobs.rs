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

use super::followers::Kept;
use crate::nats::wire::{Asked, Followed, Keep};

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
    /// Streams that are kept.
    by_stream: HashMap<String, u64>,
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
    /// Its stream outlives who asked for it.
    kept: Option<Kept>,
    waker: AtomicWaker,
}

/// Somebody who has to hear that a call runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beat {
    /// The call, and which of a kept stream's followers.
    pub(super) to: (u64, Option<u32>),
    pub(super) reply: Subject,
    /// Of a kept stream: the number of the last message that was sent, and the plugin.
    pub(super) kept: Option<(u64, Arc<str>)>,
}

impl Job {
    /// How many chunks may be sent, since the beginning.
    pub(super) fn granted(&self) -> u64 {
        self.granted.load(Ordering::Acquire)
    }

    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
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

    /// Puts a call into the table, for as long as what it gives lives; one whose stream is
    /// kept, with its plugin. Nothing
    /// for a call that is cancelled already.
    pub(super) fn enter(
        self: &Arc<Self>,
        reply: &Subject,
        asked: Asked,
        keep: Option<(&Keep, &str)>,
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
            kept: keep.map(|(keep, plugin)| {
                Kept::new(keep.id.clone(), plugin, reply.clone(), asked.window)
            }),
            waker: AtomicWaker::new(),
        });
        if let Some((keep, _)) = keep {
            table.by_stream.insert(keep.id.to_string(), number);
        }
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
        table.unbind(entry.job.reply.as_str(), number);
        if let Some(kept) = &entry.job.kept {
            let stream = kept.stream.as_str();
            if table.by_stream.get(stream) == Some(&number) {
                table.by_stream.remove(stream);
            }
            for (_, reply) in kept.beats().0 {
                table.unbind(reply.as_str(), number);
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

    /// Nobody waits where a beat went: the call ends, or has a follower less.
    pub(super) fn nobody(&self, number: u64, follower: Option<u32>) {
        let job = {
            let table = self.lock();
            table.by_number.get(&number).map(|e| Arc::clone(&e.job))
        };
        let Some(job) = job else {
            return;
        };
        match (&job.kept, follower) {
            (Some(kept), Some(follower)) => {
                kept.leave(|number, _| number == follower);
                job.waker.wake();
            }
            _ => job.cancel(),
        }
    }

    /// One more follows the stream, in place of `instead`.
    pub(super) fn follow(
        &self,
        stream: &str,
        reply: &str,
        window: Option<u32>,
        instead: Option<&str>,
    ) -> Followed {
        let mut table = self.lock();
        let number = table.by_stream.get(stream).copied();
        let job = number.and_then(|n| Some(Arc::clone(&table.by_number.get(&n)?.job)));
        let Some(((number, job), kept)) = number
            .zip(job.as_ref())
            .and_then(|found| Some((found, found.1.kept.as_ref()?)))
        else {
            return Followed {
                unknown: true,
                ..Followed::default()
            };
        };
        // The call's own reply subject leads to it for as long as it runs.
        if let Some(old) = instead.filter(|old| *old != job.reply.as_str()) {
            table.unbind(old, number);
        }
        let same = table.by_reply.entry(reply.to_owned()).or_default();
        if !same.contains(&number) {
            same.push(number);
        }
        let followed = kept.follow(reply.into(), window, instead);
        job.waker.wake();
        followed
    }

    /// Whoever listens at `reply` follows no more.
    pub(super) fn leave(&self, reply: &str) {
        let mut table = self.lock();
        for job in table.of(reply) {
            if let Some(kept) = &job.kept {
                kept.leave(|_, follower| follower.as_str() == reply);
                job.waker.wake();
                if job.reply.as_str() != reply
                    && let Some(number) = table.by_stream.get(kept.stream.as_str()).copied()
                {
                    table.unbind(reply, number);
                }
            }
        }
    }

    /// Ends the stream. Gives whether it is here.
    pub(super) fn stop(&self, stream: &str) -> bool {
        let table = self.lock();
        let number = table.by_stream.get(stream);
        let job = number.and_then(|n| Some(Arc::clone(&table.by_number.get(n)?.job)));
        drop(table);
        let Some(job) = job else {
            return false;
        };
        if let Some(kept) = &job.kept {
            kept.stop();
        }
        job.waker.wake();
        true
    }

    /// Lets the call that answers to `reply` send so many chunks more.
    pub(super) fn grant(&self, reply: &str, chunks: u32) {
        let jobs = self.lock().of(reply);
        for job in jobs {
            if let Some(kept) = &job.kept {
                kept.grant(reply, chunks);
                job.waker.wake();
                continue;
            }
            // A call without a window has no limit to raise.
            let raise = |granted: u64| Some(granted.saturating_add(u64::from(chunks)));
            let _ = job
                .granted
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, raise);
            job.waker.wake();
        }
    }

    /// Who wants to hear now that a call runs.
    pub(super) fn due(&self, now: Instant) -> Vec<Beat> {
        let mut due = Vec::new();
        for (number, entry) in &mut self.lock().by_number {
            if let Some(next) = &mut entry.next_beat
                && *next <= now
            {
                *next = now + BEAT_EVERY;
                let Some(kept) = &entry.job.kept else {
                    due.push(Beat {
                        to: (*number, None),
                        reply: entry.job.reply.clone(),
                        kept: None,
                    });
                    continue;
                };
                let (followers, last) = kept.beats();
                due.extend(followers.into_iter().map(|(follower, reply)| Beat {
                    to: (*number, Some(follower)),
                    reply,
                    kept: Some((last, Arc::clone(&kept.plugin))),
                }));
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

    /// The call with this number does not answer to `reply` any more.
    fn unbind(&mut self, reply: &str, number: u64) {
        if let Some(same) = self.by_reply.get_mut(reply) {
            same.retain(|n| *n != number);
            if same.is_empty() {
                self.by_reply.remove(reply);
            }
        }
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
        let enter = || jobs.enter(&reply("a"), asked(false, None), None, began);
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
        let entered = jobs.enter(&reply("a"), asked(false, Some(2)), None, began);
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
        let _silent = jobs.enter(&reply("a"), asked(false, None), None, began);
        let told = jobs
            .enter(&reply("b"), asked(true, None), None, began)
            .unwrap();
        assert!(jobs.due(began + BEAT_EVERY / 2).is_empty());
        let due = jobs.due(began + BEAT_EVERY);
        let expected = Beat {
            to: (told.number, None),
            reply: reply("b"),
            kept: None,
        };
        assert_eq!(due, [expected]);
        assert!(jobs.due(began + BEAT_EVERY).is_empty());
        assert_eq!(jobs.due(began + BEAT_EVERY * 2).len(), 1);
    }
}
