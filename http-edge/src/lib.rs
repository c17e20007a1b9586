//! Placeholder.

pub mod docs;
