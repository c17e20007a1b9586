//! A handler's events, as chunks.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use framex_core::event::EventStream;

use super::answer::{Service, Task};
use super::batch::Batch;
use super::jobs::Job;
use super::log;
use crate::nats::wire;

/// Sent and not granted again, in bytes. One chunk is always allowed.
const MOST_BYTES: usize = 256 * 1024;
/// How long a caller who is not heard otherwise may grant nothing.
const LEASE: Duration = Duration::from_secs(60);

/// Sends `events` until they end, as far as the caller grants.
pub(super) async fn pump(service: &Service, mut events: EventStream, task: &Task, job: &Job) {
    let mut flow = Flow::new(task.asked.window);
    let mut batch = Batch::default();
    let mut count: u64 = 0;
    let last = loop {
        if !flow.room(job, task.asked.beats).await {
            let reply = task.reply.as_str();
            tracing::info!(api = %service.id(), reply, "nobody takes the stream any more");
            return;
        }
        let (most, bytes) = match task.asked.batches {
            true => flow.left(job.granted()),
            false => (1, 0),
        };
        let max_payload = service.client.max_payload();
        batch.fill(&mut events, most, bytes, max_payload).await;
        if !batch.events.is_empty() {
            let chunks = wire::chunks(count + 1, &batch.events);
            if let Some(too_large) = service.too_large(&chunks) {
                break Err(too_large.into_error());
            }
            count += batch.events.len() as u64;
            for event in &batch.events {
                flow.sent(wire::size_of(event));
            }
            service.send(&task.reply, chunks).await;
        }
        if let Some(end) = batch.end.take() {
            break end;
        }
    };
    // The call is over, its last message is not sent: a stop waits for it.
    let _answering = service.answering();
    drop(events);
    let last = match last {
        Ok(()) => wire::end(count),
        Err(error) => {
            log::error_of(&error, service.id(), &task.id);
            service.api.record.stats.count_error(&error);
            wire::error(&error, true)
        }
    };
    service.send(&task.reply, last).await;
}

/// What was sent and not granted again.
pub(super) struct Flow {
    window: Option<u64>,
    sent: u64,
    /// Sizes of the chunks that are out, oldest first.
    out: VecDeque<usize>,
    bytes: usize,
}

impl Flow {
    pub(super) fn new(window: Option<u32>) -> Self {
        Self {
            window: window.map(u64::from),
            sent: 0,
            out: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += 1;
        if self.window.is_some() {
            self.out.push_back(bytes);
            self.bytes += bytes;
        }
    }

    /// Notes what has been granted; gives whether one more may be sent.
    fn may_send_within(&mut self, granted: u64) -> bool {
        if let Some(window) = self.window {
            self.taken(granted.saturating_sub(window));
        }
        self.may_send(granted)
    }

    /// Notes that so many have been taken, since the beginning.
    pub(super) fn taken(&mut self, taken: u64) {
        let taken = taken.min(self.sent);
        while self.sent - taken < self.out.len() as u64 {
            let Some(bytes) = self.out.pop_front() else {
                break;
            };
            self.bytes -= bytes;
        }
    }

    /// Whether one more may be sent, of so many since the beginning.
    pub(super) fn may_send(&self, granted: u64) -> bool {
        if self.window.is_none() {
            return true;
        }
        self.sent < granted && (self.out.is_empty() || self.bytes < MOST_BYTES)
    }

    /// How many more may be sent, and how many bytes; one is always allowed.
    pub(super) fn left(&self, granted: u64) -> (u64, usize) {
        match self.window {
            Some(_) => (
                granted.saturating_sub(self.sent),
                MOST_BYTES.saturating_sub(self.bytes),
            ),
            None => (u64::MAX, usize::MAX),
        }
    }

    /// Waits until one more may be sent. Not, if nothing was granted for so long
    /// that nobody can be there; `heard` says that this would be known otherwise.
    async fn room(&mut self, job: &Job, heard: bool) -> bool {
        if self.may_send_within(job.granted()) {
            return true;
        }
        // Whoever grants wakes the task that runs the job.
        let room = poll_fn(|_| match self.may_send_within(job.granted()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        if heard {
            room.await;
            return true;
        }
        tokio::time::timeout(LEASE, room).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_sent_as_granted() {
        let mut flow = Flow::new(Some(2));
        for _ in 0..2 {
            assert!(flow.may_send_within(2));
            flow.sent(10);
        }
        assert!(!flow.may_send_within(2));
        assert!(flow.may_send_within(3));
        assert_eq!(flow.bytes, 10);
        flow.sent(10);
        assert!(!flow.may_send_within(3));
        // More than was ever sent.
        assert!(flow.may_send_within(u64::MAX));
        assert_eq!(flow.bytes, 0);
    }

    #[test]
    fn large_chunks_use_up_the_window_sooner() {
        let mut flow = Flow::new(Some(64));
        assert!(flow.may_send_within(64));
        flow.sent(MOST_BYTES * 2);
        assert!(!flow.may_send_within(64));
        assert!(flow.may_send_within(65));
    }

    #[test]
    fn without_a_window_nothing_is_counted() {
        let mut flow = Flow::new(None);
        for _ in 0..1000 {
            assert!(flow.may_send_within(u64::MAX));
            flow.sent(1 << 20);
        }
        assert!(flow.out.is_empty());
    }
}
