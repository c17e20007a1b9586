//! The command line, as a process: every test runs the real binary in a
//! directory and an environment of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod broker;
mod call;
mod config;
mod inspect;
mod nats;
mod own;
mod run;
mod support;
