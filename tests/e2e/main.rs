//! Whole servers over real HTTP: what clients see, whatever they send.
//!
//! Each test starts a server of its own on free ports. Nothing is waited for by
//! sleeping where it can be observed: handlers are watched through [`zoo::Seen`].

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod arguments;
mod auth;
mod bodies;
mod connections;
mod embedded;
mod envelope;
mod garbage;
mod http2;
mod kept;
mod leaving;
mod mounted;
mod nested;
mod others;
mod routing;
mod services;
mod starting;
mod stopping;
mod streams;
mod threads;
mod turns;
mod uploads;
mod zoo;
