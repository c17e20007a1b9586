//! Failures: the one place where errors become HTTP answers.

use bytes::Bytes;
use framex_core::context::RequestId;
use framex_core::envelope::timestamp;
use framex_core::error::Error;
use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRAILER, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::body::EdgeBody;
use crate::envelope::Failure;
use crate::events::Format;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Headers that say how long a body is. The server knows; what a plugin says
/// could only contradict it.
pub(crate) const FRAMING: [HeaderName; 3] = [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER];

/// An error as an HTTP answer in the envelope.
pub(crate) fn answer(error: &Error, id: &RequestId) -> Response<EdgeBody> {
    let validation = error.code() == "validation_failed";
    let failure = Failure {
        status: error.status().as_u16(),
        message: error.message(),
        timestamp: timestamp(),
        code: error.code(),
        request_id: id.as_str(),
        detail: error.detail().filter(|_| !validation),
        data: error
            .detail()
            .filter(|_| validation)
            .map(|detail| json!({ "detail": detail })),
    };
    let body = serde_json::to_vec(&failure).unwrap_or_default();
    bare(error, id, JSON, body.into())
}

/// An error before a stream's first event: the real status, and the event that
/// a reader of streams looks for.
pub(crate) fn stream_answer(error: &Error, id: &RequestId, format: Format) -> Response<EdgeBody> {
    let mut body = Vec::new();
    format.push_error(&mut body, None, error, id);
    bare(error, id, format.content_type(), body.into())
}

fn bare(
    error: &Error,
    id: &RequestId,
    content_type: HeaderValue,
    body: Bytes,
) -> Response<EdgeBody> {
    let mut response = Response::new(EdgeBody::full(body));
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    for (name, value) in error.headers() {
        if !FRAMING.contains(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(X_REQUEST_ID, id.header().clone());
    if error.status() == StatusCode::SERVICE_UNAVAILABLE && !headers.contains_key(RETRY_AFTER) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if error.status() == StatusCode::UNAUTHORIZED && !headers.contains_key(WWW_AUTHENTICATE) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The data of an `error` event.
#[derive(Serialize)]
pub(crate) struct EventFailure<'a> {
    pub(crate) status: u16,
    pub(crate) message: &'a str,
    pub(crate) code: &'a str,
    pub(crate) request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<&'a Value>,
}

/// 405 with the methods that the path has.
pub(crate) fn method_not_allowed(allow: &HeaderValue) -> Error {
    Error::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        .with_header(ALLOW, allow.clone())
}

/// 404, with a hint where a slash too many is all that is wrong.
pub(crate) fn not_found(slash: bool) -> Error {
    Error::not_found(if slash {
        "Not Found: the path has a `/` at its end that the route has not"
    } else {
        "Not Found"
    })
}

/// Writes what callers are not told to the log.
pub(crate) fn log(error: &Error, api: &str, id: &RequestId) {
    if let Some(source) = error.source() {
        tracing::error!(api, request_id = %id, status = error.status().as_u16(), error = %Chain(source.as_ref()), "{}", error.message());
    }
}

/// An error and its sources in one line.
struct Chain<'a>(&'a (dyn std::error::Error + Send + Sync));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// Adds what every answer has.
pub(crate) fn finish(headers: &mut HeaderMap, id: &RequestId) {
    headers.insert(X_REQUEST_ID, id.header().clone());
}
