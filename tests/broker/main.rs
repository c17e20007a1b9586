//! The broker by itself: what the other tests rely on when they start, freeze and
//! kill one, and what `nats.conf` lets whom do.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod configuration;
mod permissions;
mod servers;

use std::path::{Path, PathBuf};

use framex_test_support::nats::{NatsServer, Wire};

/// The configuration that is under test.
fn nats_conf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("nats.conf")
}

/// A broker with it.
async fn configured() -> NatsServer {
    NatsServer::builder().config_file(nats_conf()).start().await
}

/// Logs in as `user` with the password of a developer's machine.
async fn login(server: &NatsServer, user: &str) -> Wire {
    let wire = Wire::login(server, user, &format!("{user}-dev")).await;
    wire.unwrap_or_else(|error| panic!("`{user}` is refused: {error}"))
}
