//! What `#[on_register]`, `#[on_request]` and `#[remote]` expand to, seen from outside.

mod requests;
mod support;
