//! Answers whose bytes are sent while they are made.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::body::ByteStream;
use crate::error::{Error, Result};
use crate::reply::attachment;

/// An answer of bytes that need not lie in memory all at once.
///
/// They are asked for as fast as the client takes them. One that breaks off, or has another
/// size than it said, breaks the client's connection too: nobody takes a part for the whole.
#[derive(Debug)]
pub struct Download {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers; the edge adds length, date and request id.
    pub headers: HeaderMap,
    /// The bytes.
    pub body: ByteStream,
}

impl Download {
    /// 200 with what `stream` gives, as `application/octet-stream`.
    pub fn new<S, B, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes>,
        E: Into<Error>,
    {
        Self::from(ByteStream::new(Pieces(Box::pin(stream))))
    }

    /// As a file to save under `filename`.
    #[must_use]
    pub fn named(mut self, filename: &str) -> Self {
        let value = attachment(filename);
        self.headers.insert(CONTENT_DISPOSITION, value);
        self
    }

    /// Sets the media type.
    ///
    /// # Errors
    ///
    /// A 500 if `content_type` cannot be a header (control characters, for one).
    pub fn with_content_type(mut self, content_type: &str) -> Result<Self> {
        let value = HeaderValue::from_str(content_type).map_err(Error::internal)?;
        self.headers.insert(CONTENT_TYPE, value);
        Ok(self)
    }

    /// Says how many bytes will come, so that the client knows.
    #[must_use]
    pub fn with_size(mut self, size: u64) -> Self {
        self.body = self.body.with_size(size);
        self
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a header beside those of the same name.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }
}

/// With what is known of the size.
impl From<ByteStream> for Download {
    fn from(body: ByteStream) -> Self {
        let mut headers = HeaderMap::new();
        let bytes = HeaderValue::from_static("application/octet-stream");
        headers.insert(CONTENT_TYPE, bytes);
        Self {
            status: StatusCode::OK,
            headers,
            body,
        }
    }
}

/// Somebody's pieces and errors as ours.
struct Pieces<S>(Pin<Box<S>>);

impl<S, B, E> Stream for Pieces<S>
where
    S: Stream<Item = Result<B, E>>,
    B: Into<Bytes>,
    E: Into<Error>,
{
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = self.0.as_mut().poll_next(cx);
        item.map(|item| item.map(|item| item.map(Into::into).map_err(Into::into)))
    }
}
