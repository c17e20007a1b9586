//! Leaving without losing a request.
//!
//! The client's own ways to unsubscribe forget a subscription before the broker
//! has, and drop what comes in between. Here the broker is told first: an `UNSUB`
//! with a count longer than it reads ends the subscription there at once, while
//! the client goes on. After one round trip everything that was on its way has
//! arrived.
//!
//! A broker that does not take the count that way goes on sending. Then the slow
//! way is taken: so many messages more, exact on both sides, and the rest when
//! nothing comes any more.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;

use crate::nats::link::Link;

/// More digits than a broker reads in a count, so that it means "now".
const NOW: u64 = 9_999_999_999;
/// On its way at one moment, at most.
const MARGIN: u64 = 512;
/// The round trip that proves the end.
const FENCE_LIMIT: Duration = Duration::from_secs(1);
/// What comes in this time after the round trip was sent after the end.
const QUIET: Duration = Duration::from_millis(20);
/// The slow way ends when nothing has come for so long.
const IDLE: Duration = Duration::from_millis(50);
/// Even with messages coming all the time.
const MOST_IDLE: u32 = 40;

/// A subscription, and how many messages were taken from it.
pub(super) struct Intake {
    pub(super) subscriber: Subscriber,
    pub(super) taken: u64,
}

impl Intake {
    pub(super) fn new(subscriber: Subscriber) -> Self {
        Self {
            subscriber,
            taken: 0,
        }
    }

    /// Asks the broker for no more.
    pub(super) async fn end(&mut self) {
        // An error means that the connection is gone for good, and nothing comes.
        let _ = self.subscriber.unsubscribe_after(NOW).await;
    }

    /// Asks the broker for so many more as may be on their way.
    pub(super) async fn end_slowly(&mut self) {
        let most = self.taken + MARGIN;
        let _ = self.subscriber.unsubscribe_after(most).await;
    }
}

/// After this, what was sent to an ended [`Intake`] lies in it.
pub(super) async fn everything_arrived(link: Arc<Link>) {
    // Without a connection nothing is on its way.
    let _ = link.fence(FENCE_LIMIT).await;
}

/// Long enough for what should not come to come.
pub(super) async fn a_moment() {
    tokio::time::sleep(QUIET).await;
}

/// After this, nothing has come for a while, or it never ends. `taken` tells how
/// many messages were taken.
pub(super) async fn idle(taken: impl Fn() -> u64) {
    for _ in 0..MOST_IDLE {
        let before = taken();
        tokio::time::sleep(IDLE).await;
        if taken() == before {
            return;
        }
    }
}
