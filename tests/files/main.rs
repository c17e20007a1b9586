//! Files up and down, from one byte to a gigabyte, over real HTTP.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests are tests"
)]

mod depot;
mod downloads;
mod http2;
mod interrupted;
mod limits;
mod memory;
mod plugins;
#[path = "../process/mod.rs"]
mod process;
mod sender;
mod uploads;
