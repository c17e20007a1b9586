//! Replies: what a handler gives back, ready to be sent.

use std::cell::Cell;

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

pub use crate::download::Download;
use crate::error::Error;
use crate::event::EventStream;

/// A larger result goes out in the memory it was written to.
const KEEP_SCRATCH: usize = 16 * 1024;
/// Never more than this is reserved on a guess, in bytes.
const MOST_RESERVED: usize = 1024 * 1024;

/// The outcome of one call.
#[derive(Debug)]
pub enum Reply {
    /// The bare result, as JSON.
    Value(Bytes),
    /// Status, headers and bytes of the handler's own.
    Response(Response),
    /// The same, whose bytes come in pieces.
    Download(Download),
    /// Many events.
    Stream(EventStream),
}

impl Reply {
    /// Encodes a result.
    ///
    /// # Errors
    ///
    /// A 500 if `value` cannot be JSON (e.g. a map whose keys are no texts).
    pub fn value<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        thread_local! {
            /// Where results are written before their length is known.
            static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
            /// The last large result: the next may well be of its size.
            static LARGE: Cell<usize> = const { Cell::new(0) };
        }
        let mut out = SCRATCH.take();
        out.clear();
        out.reserve(LARGE.get());
        serde_json::to_writer(&mut out, value).map_err(Error::internal)?;
        let large = out.len() > KEEP_SCRATCH;
        LARGE.set(if large {
            out.len().min(MOST_RESERVED)
        } else {
            0
        });
        if large {
            return Ok(Self::Value(out.into()));
        }
        let result = Bytes::copy_from_slice(&out);
        if out.capacity() <= KEEP_SCRATCH {
            SCRATCH.set(out);
        }
        Ok(Self::Value(result))
    }
}

/// An answer whose status, headers and bytes the handler chose.
///
/// It goes out as it is, without the envelope.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers; the edge adds length, date and request id.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// An empty answer.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// 200 with `body` of the type `content_type`.
    #[must_use]
    pub fn bytes(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK)
            .with_header(CONTENT_TYPE, HeaderValue::from_static(content_type))
            .with_body(body)
    }

    /// 200 with plain text.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Self {
        Self::bytes("text/plain; charset=utf-8", body.into())
    }

    /// 200 with HTML.
    #[must_use]
    pub fn html(body: impl Into<String>) -> Self {
        Self::bytes("text/html; charset=utf-8", body.into())
    }

    /// `status` with `value` as JSON.
    ///
    /// # Errors
    ///
    /// A 500 if `value` cannot be JSON.
    pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Result<Self, Error> {
        let body = serde_json::to_vec(value).map_err(Error::internal)?;
        let mut response = Self::bytes("application/json", body);
        response.status = status;
        Ok(response)
    }

    /// 200 with `body` as a file to save under `name`.
    #[must_use]
    pub fn download(name: &str, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Self::bytes(content_type, body);
        response
            .headers
            .insert(CONTENT_DISPOSITION, attachment(name));
        response
    }

    /// A redirect, 307: the client repeats its request at `location`.
    ///
    /// # Errors
    ///
    /// A 500 if `location` cannot be a header (control characters, for one).
    pub fn redirect(location: &str) -> Result<Self, Error> {
        let location = HeaderValue::from_str(location).map_err(Error::internal)?;
        Ok(Self::new(StatusCode::TEMPORARY_REDIRECT).with_header(LOCATION, location))
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Sets the media type, where it is known only at run time.
    ///
    /// # Errors
    ///
    /// A 500 if `content_type` cannot be a header (control characters, for one).
    pub fn with_content_type(mut self, content_type: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(content_type).map_err(Error::internal)?;
        self.headers.insert(CONTENT_TYPE, value);
        Ok(self)
    }

    /// Adds a header beside those of the same name.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// `Content-Disposition` for `name`: an ASCII fallback and the real name (RFC 6266).
pub(crate) fn attachment(name: &str) -> HeaderValue {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

    const KEEP: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '/') || c == ' ' {
                c
            } else {
                '_'
            }
        })
        .collect();
    let mut text = format!("attachment; filename=\"{plain}\"");
    if plain != name {
        text.push_str("; filename*=UTF-8''");
        text.extend(utf8_percent_encode(name, KEEP));
    }
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

/// JSON that is passed on as it came: checked, never built into a tree.
///
/// As a `#[body]` argument it is the request's body, byte for byte; as a result
/// it is spliced into the envelope.
#[derive(Clone, Debug)]
pub struct RawJson(Bytes);

impl RawJson {
    /// Checks that `bytes` are one JSON value.
    ///
    /// # Errors
    ///
    /// The parser's, with line and column.
    pub fn new(bytes: Bytes) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)?;
        // `IgnoredAny` skips the insides of strings; JSON is UTF-8 throughout.
        if simdutf8::basic::from_utf8(&bytes).is_err() {
            return Err(serde::de::Error::custom("invalid UTF-8"));
        }
        Ok(Self(bytes))
    }

    /// Part of a JSON text that was checked as a whole.
    pub(crate) fn checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The JSON text, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Reads it into a type.
    ///
    /// # Errors
    ///
    /// The parser's, with line and column.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }
}

impl Serialize for RawJson {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(&self.0).map_err(serde::ser::Error::custom)?;
        serde_json::from_str::<&RawValue>(text)
            .map_err(serde::ser::Error::custom)?
            .serialize(out)
    }
}

impl<'de> serde::Deserialize<'de> for RawJson {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(input)?;
        Ok(Self(Bytes::from(String::from(Box::<str>::from(raw)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_keeps_its_name() {
        let response = Response::download("ä \"b\".txt", "text/plain", "x");
        assert_eq!(
            response.headers[CONTENT_DISPOSITION],
            "attachment; filename=\"_ _b_.txt\"; filename*=UTF-8''%C3%A4%20%22b%22.txt"
        );
    }

    #[test]
    fn there_is_one_media_type() {
        let response = Response::text("{}").with_content_type("application/yaml");
        let response = response.unwrap();
        assert_eq!(response.headers.get_all(CONTENT_TYPE).iter().count(), 1);
        assert_eq!(response.headers[CONTENT_TYPE], "application/yaml");
        assert!(Response::text("").with_content_type("a\nb").is_err());
    }

    #[test]
    fn raw_json_is_checked() {
        assert!(RawJson::new(Bytes::from_static(b"{\"a\":[1]}")).is_ok());
        for bad in [&b"{"[..], b"", b"1 2", b"\"\xff\"", b"NaN"] {
            assert!(RawJson::new(Bytes::from_static(bad)).is_err(), "{bad:?}");
        }
    }
}
