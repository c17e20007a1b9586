//! The bridge in front of services that are not ours: FastAPI applications under uvicorn, the
//! earlier framework from PyPI, and documents as others write them.
//!
//! One process of each application is shared by all tests; what a test stops or changes is its own.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests are tests"
)]

mod bodies;
mod broker;
mod caller;
mod calling;
mod changing;
mod documents;
mod enveloped;
mod failing;
mod falling;
mod forwarding;
mod importing;
mod kit;
mod limits;
#[path = "../process/mod.rs"]
mod process;
mod programs;
mod safety;
mod site;
mod streams;
mod wires;
