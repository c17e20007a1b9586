//! Placeholder.
pub mod docs;
