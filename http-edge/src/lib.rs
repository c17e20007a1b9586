//! The HTTP edge: REST and streaming calls become calls on a bus.
//!
//! - [`Edge`] answers one request: it finds the route, checks the key, hands the
//!   request's parts to the bus as named arguments and wraps the reply;
//! - [`server`] brings requests to it: sockets, threads, limits, a bounded stop;
//! - [`dashboard`] answers the operator on a thread of its own.
//!
//! An `Edge` is also a `tower::Service`, to be mounted inside another server.
//!
//! # Not here
//!
//! Transports between processes: the edge knows a [`framex_bus::Bus`], whichever
//! it is.

mod answer;
mod auth;
mod body;
pub mod dashboard;
pub mod docs;
mod download;
mod edge;
mod envelope;
mod events;
mod intake;
mod kept;
#[doc(hidden)]
pub mod measured;
mod metrics;
pub mod openapi;
mod passing;
mod problem;
mod routes;
pub mod server;
mod service;
mod status;
mod uploading;

pub use auth::{AuthError, Rules};
pub use body::{BodyError, EdgeBody};
pub use edge::{Edge, EdgeError, Options};
pub use status::{Condition, Readiness, Status};
