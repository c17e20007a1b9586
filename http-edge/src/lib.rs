//! Placeholder.

pub mod docs;
pub mod openapi;
