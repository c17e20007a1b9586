//! The depot in a process of its own, whose memory can be measured.

#![allow(clippy::unwrap_used, dead_code, reason = "a part of the tests")]

mod depot;

framex::main!(depot::Depot);
