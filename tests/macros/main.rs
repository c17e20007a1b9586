//! What `#[on_register]`, `#[on_request]` and `#[remote]` expand to, seen from outside.

mod descriptors;
mod errors;
mod hygiene;
mod lifecycle;
mod remote;
mod requests;
mod streams;
mod support;
