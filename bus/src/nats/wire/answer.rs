//! Answers: results, errors, streams and signs of life.

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use framex_core::body::ByteStream;
use framex_core::error::{CallError, Error};
use framex_core::id::is_token;
use framex_core::payload::{self, MESSAGE_PACK};
use framex_core::reply::{Download, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chunk::Chunks;
use super::frame::{Announced, announce, announced};
use super::headers::{all_headers, header_map, read_header_object};
use super::names::is_subject;
use super::request::{Asked, is_message_pack, one_line, shortened};
use super::{BEAT, CHUNK, CONTENT_TYPE, END, ERROR, ERROR_CODE, EVENT, HEADERS, POLL, STATUS};

/// A message that answers.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
}

/// The bare result.
pub(crate) fn value(json: Bytes, asked: Asked) -> Outgoing {
    if !asked.message_pack {
        return Outgoing {
            headers: None,
            payload: json,
        };
    }
    match payload::to_message_pack(&json) {
        Ok(payload) => Outgoing {
            headers: Some(HeaderMap::from_iter([(CONTENT_TYPE, MESSAGE_PACK.into())])),
            payload,
        },
        Err(unwritable) => error(&Error::internal(unwritable), true),
    }
}

/// An answer of the handler's own.
pub(crate) fn response(response: Response) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert(STATUS, response.status.as_str());
    let own = all_headers(&response.headers);
    if !own.is_empty() {
        headers.insert(HEADERS, Value::Object(own).to_string());
    }
    Outgoing {
        headers: Some(headers),
        payload: response.body,
    }
}

/// A download all of which lies here, for one who knows of downloads.
pub(crate) fn download(download: Download, asked: Asked) -> Outgoing {
    let body = download.body.as_full().cloned().unwrap_or_default();
    let size = Some(body.len() as u64);
    let mut out = response(Response {
        status: download.status,
        headers: download.headers,
        body,
    });
    if asked.frames
        && let Some(headers) = &mut out.headers
    {
        announce(headers, Announced { size, stream: true });
    }
    out
}

/// The body of an error.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ErrorBody {
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    headers: Map<String, Value>,
    /// Whether a handler may have run.
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<bool>,
}

impl Outgoing {
    /// A payload that needs no words about it.
    pub(crate) fn bare(payload: impl Into<Bytes>) -> Self {
        Self {
            headers: None,
            payload: payload.into(),
        }
    }
}

/// Whether a handler may have run in a call that failed so.
pub(crate) fn may_have_run(failed: &CallError) -> bool {
    !matches!(
        failed,
        CallError::Overloaded { .. } | CallError::Stopping { .. } | CallError::NoResponders { .. }
    )
}

/// What headers take of a message's size, in bytes.
pub(crate) fn size_of_headers(headers: &HeaderMap) -> usize {
    let fields = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values
            .iter()
            .map(move |value| name.len() + value.as_str().len() + ": \r\n".len())
    });
    "NATS/1.0\r\n\r\n".len() + fields.sum::<usize>()
}

/// An error, as one message.
pub(crate) fn error(error: &Error, started: bool) -> Outgoing {
    let body = ErrorBody {
        code: error.code().to_owned(),
        message: error.message().to_owned(),
        detail: error.detail().cloned(),
        headers: all_headers(error.headers()),
        started: (!started).then_some(false),
    };
    let mut headers = HeaderMap::new();
    headers.insert(ERROR, one_line(beginning(error.message())));
    headers.insert(ERROR_CODE, error.status().as_str());
    Outgoing {
        headers: Some(headers),
        payload: serde_json::to_vec(&body).unwrap_or_default().into(),
    }
}

/// As much of a sentence as a header should hold.
fn beginning(text: &str) -> &str {
    const MOST: usize = 1024;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// The end of a stream of `count` chunks.
pub(crate) fn end(count: u64) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert(END, count.to_string());
    Outgoing {
        headers: Some(headers),
        payload: Bytes::new(),
    }
}

/// "Still working", from the instance `id`; of a kept stream, with the number of
/// the last message that was sent, and where followers say that they leave.
pub(crate) fn beat(id: &str, kept: Option<(u64, String)>) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert(BEAT, id);
    Outgoing {
        headers: Some(headers),
        payload: kept.map_or_else(Bytes::new, |(last, control)| {
            format!("{last} {control}").into()
        }),
    }
}

/// A question to those who do not announce themselves.
pub(crate) fn poll() -> Outgoing {
    Outgoing {
        headers: Some(HeaderMap::from_iter([(POLL, "1".into())])),
        payload: Bytes::new(),
    }
}

/// Whether a question is only for those who do not announce themselves.
pub(crate) fn is_poll(message: &Message) -> bool {
    let headers = message.headers.as_ref();
    headers.is_some_and(|headers| headers.get(POLL).is_some())
}

/// Where those say that they leave who get this beat of a kept stream.
pub(crate) fn beat_of_kept(message: &Message) -> Option<Subject> {
    let text = std::str::from_utf8(&message.payload).ok();
    let (_, control) = text.filter(|_| is_beat(message))?.split_once(' ')?;
    let (_, instance) = control.rsplit_once("._control.")?;
    (is_subject(control) && is_token(instance)).then(|| control.into())
}

/// The number of the last message of a kept stream that was sent, as a beat tells it.
pub(crate) fn last_by_beat(message: &Message) -> Option<u64> {
    let text = std::str::from_utf8(&message.payload).ok()?;
    text.split(' ').next()?.parse().ok()
}

/// Whether a message only says that the work goes on.
pub(crate) fn is_beat(message: &Message) -> bool {
    message
        .headers
        .as_ref()
        .is_some_and(|headers| headers.get(BEAT).is_some())
}

/// What an answer says.
#[derive(Debug)]
pub(crate) enum Answer {
    Value(Bytes),
    Response(Response),
    Download(Download),
    Chunks(Chunks),
    End {
        count: u64,
    },
    Failed {
        error: Error,
        started: bool,
    },
    /// Its payload comes in frames; more of them are asked for at `back`.
    Body {
        head: Message,
        announced: Announced,
        back: Subject,
    },
}

/// Reads an answer; the error says what is wrong with it.
pub(crate) fn read_answer(message: Message) -> Result<Answer, String> {
    let Some(headers) = &message.headers else {
        return json_value(message.payload);
    };
    if message.payload.is_empty()
        && let Some(announced) = announced(headers)
        && let Some(back) = message.reply.clone()
    {
        return Ok(Answer::Body {
            head: message,
            announced,
            back,
        });
    }
    if let Some(failed) = read_failure(&message) {
        return Ok(failed);
    }
    let text = |name| headers.get(name).map(async_nats::HeaderValue::as_str);
    if let Some(numbers) = text(CHUNK) {
        return Chunks::read(numbers, text(EVENT), message.payload.clone()).map(Answer::Chunks);
    }
    if let Some(count) = text(END) {
        let count = count
            .parse()
            .map_err(|_| "the count of chunks is no number".to_owned())?;
        return Ok(Answer::End { count });
    }
    if let Some(status) = text(STATUS) {
        let status = status
            .parse::<StatusCode>()
            .map_err(|_| format!("`{}` is no status", shortened(status)))?;
        let message_headers = headers;
        let headers = text(HEADERS).map(read_header_object).unwrap_or_default();
        let mut response = Response::new(status).with_body(message.payload.clone());
        let stream = announced(message_headers).is_some_and(|announced| announced.stream);
        if stream {
            return Ok(Answer::Download(Download {
                status,
                headers,
                body: ByteStream::full(message.payload),
            }));
        }
        response.headers = headers;
        return Ok(Answer::Response(response));
    }
    match is_message_pack(text(CONTENT_TYPE), "Content-Type", false) {
        Ok(false) => json_value(message.payload),
        Ok(true) => payload::to_json(&message.payload)
            .map(Answer::Value)
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.message().to_owned()),
    }
}

/// The error that a message is, if it is one.
pub(super) fn read_failure(message: &Message) -> Option<Answer> {
    let headers = message.headers.as_ref()?;
    let text = |name| headers.get(name).map(async_nats::HeaderValue::as_str);
    let (said, code) = (text(ERROR), text(ERROR_CODE));
    if said.is_none() && code.is_none() {
        return None;
    }
    Some(failed(said.unwrap_or_default(), code, &message.payload))
}

/// JSON is passed on as it came: whoever wrote it with our code wrote JSON, and
/// of anybody else's it is checked that clients get a valid document.
fn json_value(payload: Bytes) -> Result<Answer, String> {
    if payload.is_empty() {
        return Ok(Answer::Value(Bytes::from_static(b"null")));
    }
    Ok(Answer::Value(payload))
}

fn failed(said: &str, code: Option<&str>, payload: &[u8]) -> Answer {
    let status = code
        .and_then(|code| code.trim().parse::<StatusCode>().ok())
        .filter(|status| status.as_u16() >= 400)
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body: ErrorBody = serde_json::from_slice(payload).unwrap_or_default();
    let message = match (body.message.is_empty(), said.is_empty()) {
        (false, _) => body.message,
        (true, false) => said.to_owned(),
        (true, true) => status.canonical_reason().unwrap_or("it failed").to_owned(),
    };
    let mut error = Error::new(status, message);
    if !body.code.is_empty() {
        error = error.with_code(body.code);
    }
    if let Some(detail) = body.detail {
        error = error.with_detail(detail);
    }
    let headers = header_map(body.headers);
    for (name, value) in &headers {
        error = error.with_header(name.clone(), value.clone());
    }
    Answer::Failed {
        error,
        started: body.started.unwrap_or(true),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn errors_come_out_as_they_went_in() {
        let sent = Error::conflict("taken\nä")
            .with_code("name_taken")
            .with_detail(serde_json::json!({"name": "x"}))
            .with_header(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
        let out = error(&sent, false);
        let headers = out.headers.unwrap();
        let code = headers.get(ERROR_CODE).map(|v| v.as_str().to_owned());
        let said = headers.get(ERROR).unwrap().as_str();
        assert!(!said.contains('\n'));
        let Answer::Failed { error, started } = failed(said, code.as_deref(), &out.payload) else {
            panic!("no error");
        };
        assert_eq!(format!("{error:?}"), format!("{sent:?}"));
        assert_eq!(error.headers(), sent.headers());
        assert!(!started);
    }

    #[test]
    fn foreign_errors_have_a_status_at_least() {
        for (said, code, expected) in [
            ("no", Some("404"), "404 not_found: no"),
            ("no", None, "500 internal: no"),
            ("", Some("200"), "500 internal: Internal Server Error"),
        ] {
            let Answer::Failed { error, started } = failed(said, code, b"\xff") else {
                panic!("no error");
            };
            assert_eq!(format!("{error:?}"), expected);
            assert!(started);
        }
    }
}
