//! Answers for plugins: values, streams of events, errors.

use bytes::Bytes;
use framex_core::body::ByteStream;
use framex_core::error::{Error, Result};
use framex_core::event::EventStream;
use framex_core::reply::{Download, RawJson, Reply};
use http::header::{LOCATION, RETRY_AFTER};
use http::response::Parts;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use super::answer::{Body, is_events, is_json};
use super::exchange::Pieces;
use super::framex::Envelope;
use super::sse;

/// The largest JSON that becomes one value, in bytes.
const MOST: usize = 64 << 20;
/// Of an error's body, in bytes.
const MOST_OF_ERROR: usize = 256 << 10;

/// The answer, for a plugin.
pub(super) async fn read(
    mut head: Parts,
    pieces: Pieces,
    upstream: &str,
    framex: bool,
) -> Result<Reply> {
    let size = pieces.size();
    let body = ByteStream::new(Body::new(pieces, upstream));
    super::headers::clean(&mut head.headers);
    if head.status.is_client_error() || head.status.is_server_error() {
        let text = body.collect(MOST_OF_ERROR).await.unwrap_or_default();
        return Err(failed(head.status, &head.headers, &text, upstream));
    }
    if head.status == StatusCode::NO_CONTENT {
        // Its end frees the connection.
        body.collect(0).await?;
        return Ok(Reply::Value(Bytes::from_static(b"null")));
    }
    if !head.status.is_success() {
        return Err(redirected(&head, upstream));
    }
    if is_events(&head.headers) {
        let events = sse::Events::new(body, upstream, framex);
        return Ok(Reply::Stream(EventStream::new(events)));
    }
    if !is_json(&head.headers) {
        let body = match size {
            Some(size) => body.with_size(size),
            None => body,
        };
        return Ok(Reply::Download(Download {
            status: head.status,
            headers: head.headers,
            body,
        }));
    }
    let text = body.collect(MOST).await.map_err(|error| {
        match error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            true => unreadable(upstream, "larger than what becomes one value"),
            false => error,
        }
    })?;
    if text.trim_ascii().is_empty() {
        return Ok(Reply::Value(Bytes::from_static(b"null")));
    }
    let json = RawJson::new(text).map_err(|error| {
        unreadable(upstream, "no JSON, though it says that it is").with_source(error)
    })?;
    let json = json.into_bytes();
    if framex && let Some(envelope) = Envelope::read(&json) {
        if let Some(status) = envelope.error() {
            return Err(failed(status, &head.headers, &json, upstream));
        }
        return Ok(Reply::Value(envelope.data(&json)));
    }
    Ok(Reply::Value(json))
}

fn unreadable(upstream: &str, what: &str) -> Error {
    let text = format!("the answer of the upstream `{upstream}` is {what}");
    Error::new(StatusCode::BAD_GATEWAY, text).with_code("upstream_broken")
}

/// What leads elsewhere, and is no result: where to is told without a host.
fn redirected(head: &Parts, upstream: &str) -> Error {
    let status = head.status;
    let location = head.headers.get(LOCATION);
    let path = location
        .and_then(|location| location.to_str().ok()?.parse::<Uri>().ok())
        .map(|location| format!(" to `{}`", location.path()));
    let text = format!(
        "the upstream `{upstream}` answered {status}{}, which is no result",
        path.unwrap_or_default()
    );
    Error::new(StatusCode::BAD_GATEWAY, text).with_code("unexpected_reply")
}

/// The upstream's own error, in its own words where it has any.
fn failed(status: StatusCode, headers: &HeaderMap, body: &[u8], upstream: &str) -> Error {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let member = |name: &str| said.as_ref().and_then(|said| said.get(name)).cloned();
    let words = ["message", "detail", "title"].into_iter();
    let words = words
        .filter_map(member)
        .find_map(|value| value.as_str().map(str::to_owned));
    let text = match words {
        Some(words) => format!("the upstream `{upstream}` answered {status}: {words}"),
        None => format!("the upstream `{upstream}` answered {status}"),
    };
    let mut detail = json!({ "upstream": upstream });
    // FrameX has it in `data` for requests that are not valid, FastAPI beside the rest.
    let more = member("detail").or_else(|| member("data")?.get("detail").cloned());
    if let Some(more) = more.filter(|more| !more.is_string()) {
        detail["detail"] = more;
    }
    let mut error = Error::new(status, text)
        .with_code("upstream_error")
        .with_detail(detail);
    if let Some(wait) = headers.get(RETRY_AFTER) {
        error = error.with_header(RETRY_AFTER, wait.clone());
    }
    error
}
