//! Functions that one system has another run: over HTTP, and over brokers that only one of
//! them knows.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; helpers are test code too"
)]

mod broker;
mod desk;
mod http;
mod settings;
