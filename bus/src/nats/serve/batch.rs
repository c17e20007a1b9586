//! Events that are ready at the same time go together.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use framex_core::error::Error;
use framex_core::event::{Event, EventStream};
use futures_core::Stream;

use crate::nats::wire;

/// Events of one message, in bytes; a larger one goes alone.
const MOST_BYTES: usize = 64 * 1024;
/// No message has more events.
const MOST_EVENTS: u64 = 1024;
/// A handler that takes longer for the next events does not hold up the first ones.
const PATIENCE: Duration = Duration::from_millis(1);

/// The next events of a stream.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) events: Vec<Event>,
    /// The stream's end, once it is there; the events come before it.
    pub(super) end: Option<Result<(), Error>>,
    bytes: usize,
    /// Taken, and not fit to go with those before it.
    carried: Option<Event>,
}

impl Batch {
    /// Waits for an event or the end, and takes what lies behind it: events of one
    /// name, at most so many, at most so many bytes (a single one may have more).
    ///
    /// # Cancel safety
    ///
    /// What was taken stays.
    pub(super) async fn fill(
        &mut self,
        source: &mut EventStream,
        most: u64,
        bytes: usize,
        max_payload: usize,
    ) {
        // JSON writes a byte as up to six.
        let bytes = bytes.min(MOST_BYTES).min(max_payload / 8);
        let most = usize::try_from(most.min(MOST_EVENTS)).unwrap_or(1);
        self.events.clear();
        self.bytes = 0;
        if let Some(event) = self.carried.take() {
            self.push(event);
        }
        let mut began: Option<Instant> = None;
        poll_fn(|cx| {
            while self.end.is_none() && self.carried.is_none() {
                let taken = self.events.len();
                if taken >= most || (taken > 0 && self.bytes >= bytes) {
                    break;
                }
                // Looked at now and then: the clock costs as much as an event.
                if taken.is_power_of_two()
                    && began.get_or_insert_with(Instant::now).elapsed() > PATIENCE
                {
                    break;
                }
                match Pin::new(&mut *source).poll_next(cx) {
                    Poll::Ready(Some(Ok(event))) if self.takes(&event, bytes) => self.push(event),
                    Poll::Ready(Some(Ok(event))) => self.carried = Some(event),
                    Poll::Ready(Some(Err(error))) => self.end = Some(Err(error)),
                    Poll::Ready(None) => self.end = Some(Ok(())),
                    Poll::Pending if taken == 0 => return Poll::Pending,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    fn takes(&self, event: &Event, bytes: usize) -> bool {
        self.events
            .first()
            .is_none_or(|first| first.name() == event.name() && self.bytes + weight(event) <= bytes)
    }

    fn push(&mut self, event: Event) {
        self.bytes += weight(&event);
        self.events.push(event);
    }
}

/// What an event takes of a message.
fn weight(event: &Event) -> usize {
    wire::size_of(event) + "\"\"\n".len()
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    fn texts(batch: &Batch) -> Vec<&str> {
        batch.events.iter().filter_map(Event::as_text).collect()
    }

    #[tokio::test]
    async fn what_is_ready_goes_together_and_nothing_is_waited_for() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Event>(8);
        let mut receiver = Some(receiver);
        let mut events = EventStream::new(
            stream::poll_fn(move |cx| {
                receiver
                    .as_mut()
                    .map_or(Poll::Ready(None), |r| r.poll_recv(cx))
            })
            .map(Ok),
        );
        let mut batch = Batch::default();
        for text in ["a", "b"] {
            sender.send(Event::text(text)).await.unwrap();
        }
        sender.send(Event::debug("c")).await.unwrap();
        batch.fill(&mut events, 9, 1000, 1 << 20).await;
        assert_eq!(texts(&batch), ["a", "b"]);
        batch.fill(&mut events, 9, 1000, 1 << 20).await;
        assert_eq!(texts(&batch), ["c"]);
        sender.send(Event::text("d")).await.unwrap();
        drop(sender);
        batch.fill(&mut events, 9, 1000, 1 << 20).await;
        assert_eq!(texts(&batch), ["d"]);
        assert!(matches!(batch.end, Some(Ok(()))));
        batch.fill(&mut events, 9, 1000, 1 << 20).await;
        assert!(batch.events.is_empty());
    }

    #[tokio::test]
    async fn batches_have_bounds() {
        let large = "x".repeat(100);
        let all = ["a", &large, "b", "c", "d"].map(|text| Ok(Event::text(text.to_owned())));
        let mut events = EventStream::new(stream::iter(all));
        let mut batch = Batch::default();
        let mut sizes = Vec::new();
        while batch.end.is_none() {
            batch.fill(&mut events, 2, 50, 1 << 20).await;
            sizes.push(batch.events.len());
        }
        assert_eq!(sizes, [1, 1, 2, 1]);
    }
}
