//! Documents of an upstream.

use bytes::Bytes;
use framex_core::error::Error;
use http::{HeaderValue, StatusCode};

/// What came of asking for a document.
#[derive(Clone, Debug)]
pub(crate) enum Fetched {
    /// It is what it was.
    NotModified,
    /// It is this.
    Document {
        /// Its bytes, as they are without any coding.
        body: Bytes,
        /// Its version, to ask with the next time.
        etag: Option<HeaderValue>,
    },
}

/// Why there is no document. The text names no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The upstream answered, and not with a document.
    #[error("the upstream answered {0}")]
    Status(StatusCode),
    /// The way there, or the document itself. `source()` of the error is for the log.
    #[error("{0}")]
    Failed(Error),
}
