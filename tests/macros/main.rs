//! What `#[on_register]`, `#[on_request]`, `#[remote]` and `#[on_proxy]` expand to, seen from outside.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; helpers are test code too"
)]

mod descriptors;
mod errors;
mod hygiene;
mod lifecycle;
mod proxy;
mod remote;
mod requests;
mod streams;
mod support;
