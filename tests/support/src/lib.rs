//! What the end-to-end tests share.
//!
//! - [`Server`]: an app on ports of its own, gone when the test ends;
//! - [`raw`]: an HTTP/1.1 client that sends any bytes, whole or in pieces;
//! - [`h2`]: an HTTP/2 client without TLS;
//! - [`port`]: ports that are known before anybody listens;
//! - [`nats`]: real brokers, one or a cluster;
//! - [`process`]: child processes that can be frozen and killed, and never stay;
//! - [`log`]: what the process wrote to its log;
//! - [`python`]: tools written in Python, installed once;
//! - [`upstream`]: services that others might have written, for the bridge.
//!
//! Everything that waits gives up after [`PATIENCE`] with a panic that says
//! what was waited for.

pub mod h2;
pub mod log;
pub mod nats;
pub mod port;
pub mod process;
pub mod python;
pub mod raw;
mod server;
pub mod upstream;

use std::future::Future;
use std::time::{Duration, Instant};

pub use raw::{Answer, Connection};
pub use server::{Server, ServerBuilder};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Awaits `future` for at most [`PATIENCE`].
///
/// # Panics
///
/// With `what` when patience is over.
pub async fn patiently<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Waits until `condition` holds; gives the time that took.
///
/// # Panics
///
/// With `what` when patience is over.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < PATIENCE,
            "waited {PATIENCE:?} until {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begun.elapsed()
}
