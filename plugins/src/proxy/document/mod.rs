//! From an OpenAPI document to operations.

use std::fmt;

use super::operation::Operation;
use super::upstream::Upstream;

/// What a document says.
pub(crate) struct Imported {
    pub(crate) title: String,
    pub(crate) is_framex: bool,
    pub(crate) operations: Vec<Operation>,
    pub(crate) skipped: Vec<Skipped>,
}

/// An operation that cannot be served.
pub(crate) struct Skipped {
    pub(crate) what: String,
    pub(crate) reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.what, self.reason)
    }
}

/// Why a document is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DocumentError(String);

pub(crate) fn import(_: &[u8], _: &Upstream, _: &str) -> Result<Imported, DocumentError> {
    Err(DocumentError("not yet".into()))
}
