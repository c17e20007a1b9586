//! Who serves what, everywhere: telling others, and hearing of them.
//!
//! - [`own`] answers and announces for the plugins of this process, [`answer`]
//!   knows the answers;
//! - [`others`] listens and asks, [`registry`] keeps what is known of each
//!   instance, [`learn`] finds out what one serves, [`check`] whether to believe
//!   it, [`merge`] makes one catalog of it all;
//! - [`broker`] says how the connection stands;
//! - [`adr32`] has the messages.
//!
//! All of it runs in the thread of the control connection, so that it goes on
//! while handlers block.

mod adr32;
mod answer;
mod broker;
mod check;
mod interest;
mod learn;
mod merge;
mod others;
mod own;
mod registry;

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use semver::Version;
use sha2::{Digest as _, Sha256};

use super::Shared;
use super::link::{Link, publish};
use super::wire::Outgoing;

pub(super) use merge::instances;
pub(super) use own::depart;

/// How long the broker has to do what it was sent.
const FENCE_LIMIT: Duration = Duration::from_secs(2);
/// How long one message may wait to be taken by a connection.
const SEND_LIMIT: Duration = Duration::from_secs(1);

/// Discovers and is discovered, for as long as it is polled.
pub(super) async fn run(shared: &Arc<Shared>, link: &Arc<Link>) {
    tokio::join!(
        broker::follow(shared, link),
        own::run(shared, link),
        others::run(shared, link),
    );
}

/// Sends a message, if the broker is there: what is said here is old when it is back.
async fn say(link: &Link, subject: Subject, reply: Option<Subject>, out: Outgoing) {
    let Some(client) = link.client().filter(|_| link.is_up()) else {
        return;
    };
    let sent = publish(client, subject, reply, out.headers, out.payload);
    // Whoever waits for it asks again.
    let _ = tokio::time::timeout(SEND_LIMIT, sent).await;
}

/// How often the connection on which this process serves has been made.
fn connects(data: Option<&Arc<Link>>) -> u64 {
    data.map_or(0, |link| link.phase().borrow().connects)
}

/// Tells two texts apart: the first half of their SHA-256, in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let hash = Sha256::digest(bytes);
    hash.iter()
        .take(16)
        .fold(String::with_capacity(32), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// A version as a semantic one; 0.0.0 if it is none.
fn version(text: &str) -> Version {
    let none = Version::new(0, 0, 0);
    if text.len() > check::LONGEST_NAME {
        return none;
    }
    Version::parse(text.trim()).unwrap_or(none)
}
