//! Workers, edges and brokers, each a process, that are killed, frozen and
//! restarted while others call. Every request that is sent is counted, and so is
//! every answer.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests are tests"
)]

mod broker;
mod connecting;
mod deaths;
#[path = "../files/depot.rs"]
#[allow(dead_code, reason = "the plugin runs in a process of its own")]
mod depot;
mod depth;
mod discovery;
mod files;
mod follower;
mod lies;
mod load;
mod messages;
#[path = "../process/mod.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod process;
mod rolling;
mod site;
mod spreading;
mod stopwatch;
mod streams;
mod tales;
