//! Leaving without losing a request.
//!
//! The client's own ways to unsubscribe forget a subscription before the broker
//! has, and drop what comes in between. Here the broker is told first: an `UNSUB`
//! with a count of more digits than nats-server reads (nine, in 2.9 as in 2.15)
//! ends the subscription there at once, while the client, which does read it, goes
//! on. After one round trip everything that was on its way has arrived.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;

use crate::nats::link::Link;

/// "Now" to a broker, "not in this life" to the client.
const NOW: u64 = 9_999_999_999;
/// The round trip that proves the end.
const FENCE_LIMIT: Duration = Duration::from_secs(1);
/// How often it is tried: a broker may be slow.
const FENCES: u32 = 3;

/// Asks the broker for no more. What it sent before still comes.
pub(super) async fn end(subscriber: &mut Subscriber) {
    // An error means that the connection is gone for good, and nothing comes.
    let _ = subscriber.unsubscribe_after(NOW).await;
}

/// After this, what was sent to subscriptions that were ended lies in them.
pub(super) async fn everything_arrived(link: Arc<Link>) {
    for _ in 0..FENCES {
        // Without a connection nothing is on its way.
        if link.fence(FENCE_LIMIT).await.is_ok() || !link.is_up() {
            return;
        }
    }
}
