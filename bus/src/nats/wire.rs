//! Messages: how calls and their answers look on the wire.
//!
//! The one place that names headers; docs/protocol.md describes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::header::HeaderName;
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use framex_core::args::Args;
use framex_core::context::{CallMeta, Principal, RequestId, TraceContext};
use framex_core::descriptor::ApiDescriptor;
use framex_core::error::{CallError, Error};
use framex_core::event::{Data, Event};
use framex_core::id::is_token;
use framex_core::payload::{self, JSON, MESSAGE_PACK, Payload};
use framex_core::reply::Response;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How many chunks of a stream are on their way at most.
pub(crate) const WINDOW: u32 = 64;

const CALL: HeaderName = HeaderName::from_static("Framex-Call");
const PRINCIPAL: HeaderName = HeaderName::from_static("Framex-Principal");
const TRACE: HeaderName = HeaderName::from_static("traceparent");
const HEADERS: HeaderName = HeaderName::from_static("Framex-Headers");
const STATUS: HeaderName = HeaderName::from_static("Framex-Status");
const BEAT: HeaderName = HeaderName::from_static("Framex-Beat");
const CHUNK: HeaderName = HeaderName::from_static("Framex-Chunk");
const EVENT: HeaderName = HeaderName::from_static("Framex-Event");
const END: HeaderName = HeaderName::from_static("Framex-End");
const ERROR: HeaderName = HeaderName::from_static("Nats-Service-Error");
const ERROR_CODE: HeaderName = HeaderName::from_static("Nats-Service-Error-Code");
/// A PING that those who announce themselves need not answer.
const POLL: HeaderName = HeaderName::from_static("Framex-Poll");
const CONTENT_TYPE: HeaderName = HeaderName::from_static("Content-Type");
const ACCEPT: HeaderName = HeaderName::from_static("Accept");

/// Headers of an HTTP request that are about its connection or its body, and
/// those that travel on their own.
const STAY: [&str; 14] = [
    "connection",
    "content-length",
    "content-type",
    "content-encoding",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "traceparent",
    "x-request-id",
];

/// What a call may take where nobody says anything: then nothing needs to be said.
const USUAL_TIMEOUT: Duration = Duration::from_secs(60);

/// A request's headers; none for most: headers are the dearest part of a small
/// message, for everybody on its way. What is told of every call is in its reply
/// subject ([`Told`]).
pub(crate) fn request_headers(
    meta: &CallMeta,
    api: &ApiDescriptor,
    payload: &Payload,
) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let id = meta.request_id.as_str();
    if !is_token(id) {
        let id: String = id.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
        headers.insert(CALL, format!("id=\"{id}\""));
    }
    if let Payload::MessagePack(_) = payload {
        headers.insert(CONTENT_TYPE, MESSAGE_PACK);
        headers.insert(ACCEPT, JSON);
    }
    if let Some(principal) = &meta.principal {
        headers.insert(PRINCIPAL, one_line(principal.name()));
    }
    match (&meta.trace, meta.headers.get("traceparent")) {
        (Some(trace), _) => headers.insert(TRACE, trace.to_string()),
        (None, Some(text)) => {
            if let Some(trace) = text.to_str().ok().and_then(TraceContext::parse) {
                headers.insert(TRACE, trace.to_string());
            }
        }
        (None, None) => {}
    }
    if api.headers
        && let Some(json) = header_object(&meta.headers)
    {
        headers.insert(HEADERS, json);
    }
    (!headers.is_empty()).then_some(headers)
}

/// Whether the time of a call of `api` has to be told.
pub(crate) fn tells_time(asked: Option<Instant>, api: &ApiDescriptor, usual: Duration) -> bool {
    asked.is_some() || (api.timeout.is_none() && !api.streams() && usual != USUAL_TIMEOUT)
}

/// What a FrameX caller tells in the last token of its reply subject.
pub(crate) struct Told<'a> {
    pub(crate) origin: Origin,
    pub(crate) meta: &'a CallMeta,
    /// What is left of the call's time, if that has to be told.
    pub(crate) left: Option<Duration>,
    /// It asks for a stream.
    pub(crate) streams: bool,
}

impl Told<'_> {
    /// Writes the rest of the token, behind the slot.
    pub(crate) fn push(&self, text: &mut String) {
        use std::fmt::Write as _;

        text.push(match self.origin {
            Origin::Bus => '-',
            Origin::Http => '_',
        });
        let id = self.meta.request_id.as_str();
        if is_token(id) {
            text.push_str(id);
        }
        // Writing to a String cannot fail.
        if let Some(left) = self.left {
            // Rounded up: the caller's own clock is the one that counts.
            let _ = write!(text, "~t{}", left.as_micros().div_ceil(1000));
        }
        if self.meta.hops > 0 {
            let _ = write!(text, "~h{}", self.meta.hops);
        }
        if let Some(caller) = &self.meta.caller {
            let _ = write!(text, "~c{caller}");
        }
        if self.streams {
            let _ = write!(text, "~w{WINDOW}");
        }
    }
}

/// Where a call's arguments come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Bus,
    Http,
}

/// The slot in the last token of a reply subject.
pub(crate) fn slot_of(token: &str) -> &str {
    token.split(['-', '_']).next().unwrap_or_default()
}

/// What the reply subject of a FrameX caller tells; nothing if it is anybody else's.
fn told_by(reply: &str) -> Option<(Origin, CallHeader<'_>)> {
    let token = &reply[reply.rfind('.')? + 1..];
    let (slot, rest) = token.split_at_checked(16)?;
    let hex = slot.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let origin = match rest.as_bytes().first()? {
        b'-' => Origin::Bus,
        b'_' => Origin::Http,
        _ => return None,
    };
    if !hex {
        return None;
    }
    let mut fields = rest[1..].split('~');
    let mut call = CallHeader {
        id: fields.next().filter(|id| !id.is_empty()),
        beats: true,
        ..CallHeader::default()
    };
    for field in fields {
        let Some((kind, value)) = field.split_at_checked(1) else {
            continue;
        };
        match kind {
            "t" => call.timeout = value.parse().ok().map(Duration::from_millis),
            "h" => call.hops = value.parse().unwrap_or(u8::MAX),
            "c" => call.caller = Some(value),
            "w" => call.window = value.parse().ok(),
            _ => {}
        }
    }
    Some((origin, call))
}

/// A header's value has no line breaks.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// What a handler may want of an HTTP request's headers, as a JSON object on one
/// line; none if there is nothing.
fn header_object(headers: &http::HeaderMap) -> Option<String> {
    let mut object = all_headers(headers);
    object.retain(|name, _| !STAY.contains(&name.as_str()));
    (!object.is_empty()).then(|| Value::Object(object).to_string())
}

fn read_header_object(text: &str) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    let Ok(Value::Object(object)) = serde_json::from_str(text) else {
        return headers;
    };
    for (name, value) in object {
        let Ok(name) = http::HeaderName::try_from(name) else {
            continue;
        };
        let values = match value {
            Value::Array(values) => values,
            one => vec![one],
        };
        for value in values {
            let value = value.as_str().map(HeaderValue::from_str);
            if let Some(Ok(value)) = value {
                headers.append(name.clone(), value);
            }
        }
    }
    headers
}

/// What `Framex-Call` says, or a reply subject in its place.
#[derive(Debug, Default, PartialEq)]
struct CallHeader<'a> {
    timeout: Option<Duration>,
    id: Option<&'a str>,
    caller: Option<&'a str>,
    hops: u8,
    beats: bool,
    window: Option<u32>,
}

impl<'a> CallHeader<'a> {
    /// Reads a header; what it does not say is as in `header`.
    fn read(mut header: Self, text: &'a str) -> Self {
        for member in text.split(',') {
            let member = member.trim();
            let (key, value) = member.split_once('=').unwrap_or((member, "?1"));
            match key {
                "timeout" => header.timeout = value.parse().ok().map(Duration::from_millis),
                "id" => header.id = quoted(value),
                "caller" => header.caller = quoted(value),
                "hops" => header.hops = value.parse().unwrap_or(u8::MAX),
                "beats" => header.beats |= value == "?1",
                "window" => header.window = value.parse().ok(),
                _ => {}
            }
        }
        header
    }

    fn meta(&self, arrived: Instant) -> CallMeta {
        let accept = |id: &str| RequestId::accept(&HeaderValue::from_str(id).ok()?);
        CallMeta {
            request_id: self.id.and_then(accept).unwrap_or_default(),
            deadline: self
                .timeout
                .and_then(|timeout| arrived.checked_add(timeout)),
            caller: self.caller.map(Arc::from),
            principal: None,
            headers: http::HeaderMap::new(),
            trace: None,
            hops: self.hops,
        }
    }

    fn asked(&self, message_pack: bool) -> Asked {
        Asked {
            beats: self.beats,
            window: self.window,
            message_pack,
        }
    }
}

fn quoted(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

/// A request as it comes in.
pub(crate) struct Incoming {
    pub(crate) args: Args,
    pub(crate) meta: CallMeta,
    pub(crate) asked: Asked,
}

/// How a caller wants to be answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    /// It understands "still working".
    pub(crate) beats: bool,
    /// How many chunks it takes before it grants more; it grants none if none.
    pub(crate) window: Option<u32>,
    /// In MessagePack.
    pub(crate) message_pack: bool,
}

/// What is asked for, or the error to answer with. `arrived` is when it came.
pub(crate) fn read_request(
    payload: Bytes,
    headers: Option<&HeaderMap>,
    reply: &str,
    arrived: Instant,
) -> Result<Incoming, Error> {
    let (origin, told) = told_by(reply).unwrap_or((Origin::Bus, CallHeader::default()));
    let from_http = origin == Origin::Http;
    let Some(headers) = headers else {
        return Ok(Incoming {
            args: arguments(Payload::Json(payload)).made_of_http(from_http),
            meta: told.meta(arrived),
            asked: told.asked(false),
        });
    };
    let text = |name| {
        headers
            .get(name)
            .map(|value: &async_nats::HeaderValue| value.as_str())
    };
    let packed = is_message_pack(text(CONTENT_TYPE), "Content-Type", false)?;
    let asked_packed = is_message_pack(text(ACCEPT), "Accept", packed)?;
    let call = match text(CALL) {
        Some(header) => CallHeader::read(told, header),
        None => told,
    };
    let meta = CallMeta {
        principal: text(PRINCIPAL).map(Principal::new),
        headers: text(HEADERS).map(read_header_object).unwrap_or_default(),
        trace: text(TRACE).and_then(TraceContext::parse).map(Box::new),
        ..call.meta(arrived)
    };
    let payload = match packed {
        true => Payload::MessagePack(payload),
        false => Payload::Json(payload),
    };
    Ok(Incoming {
        args: arguments(payload).made_of_http(from_http),
        meta,
        asked: call.asked(asked_packed),
    })
}

/// An empty payload is an empty map.
fn arguments(payload: Payload) -> Args {
    match payload.bytes().is_empty() {
        true => Args::default(),
        false => Args::from_payload(payload),
    }
}

/// Whether a media type is MessagePack's; `none` where there is none.
fn is_message_pack(media: Option<&str>, header: &str, none: bool) -> Result<bool, Error> {
    let Some(media) = media else {
        return Ok(none);
    };
    let essence = media.split([';', ',']).next().unwrap_or_default().trim();
    match essence {
        JSON | "" | "*/*" | "application/*" => Ok(false),
        MESSAGE_PACK | "application/x-msgpack" | "application/vnd.msgpack" => Ok(true),
        other => Err(Error::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!(
                "{header} is `{}`: write {JSON} or {MESSAGE_PACK}",
                shortened(other)
            ),
        )),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).filter(|c| !c.is_control()).collect()
}

/// A message that answers.
#[derive(Clone)]
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

fn all_headers(headers: &http::HeaderMap) -> Map<String, Value> {
    let mut object = Map::new();
    for name in headers.keys() {
        let mut values: Vec<Value> = headers
            .get_all(name)
            .iter()
            .map(|value| Value::from(String::from_utf8_lossy(value.as_bytes())))
            .collect();
        let value = match values.len() {
            1 => values.remove(0),
            _ => Value::Array(values),
        };
        object.insert(name.as_str().to_owned(), value);
    }
    object
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
    headers.insert(ERROR, one_line(error.message()));
    headers.insert(ERROR_CODE, error.status().as_str());
    Outgoing {
        headers: Some(headers),
        payload: serde_json::to_vec(&body).unwrap_or_default().into(),
    }
}

/// The `number`th event of a stream; the first has the number 1.
pub(crate) fn chunk(number: u64, event: &Event) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert(CHUNK, number.to_string());
    if event.name() != framex_core::event::MESSAGE_CHUNK {
        headers.insert(EVENT, event.name());
    }
    let payload = match event.data() {
        Data::Text(text) => serde_json::to_vec(text.as_ref()).unwrap_or_default().into(),
        Data::Json(json) => json.clone(),
    };
    Outgoing {
        headers: Some(headers),
        payload,
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

/// "Still working", from the instance `id`.
pub(crate) fn beat(id: &str) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert(BEAT, id);
    Outgoing {
        headers: Some(headers),
        payload: Bytes::new(),
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
    Chunk { number: u64, event: Event },
    End { count: u64 },
    Failed { error: Error, started: bool },
}

/// Reads an answer; the error says what is wrong with it.
pub(crate) fn read_answer(message: Message) -> Result<Answer, String> {
    let Some(headers) = &message.headers else {
        return json_value(message.payload);
    };
    let text = |name| headers.get(name).map(async_nats::HeaderValue::as_str);
    if let Some(said) = text(ERROR) {
        return Ok(failed(said, text(ERROR_CODE), &message.payload));
    }
    if text(ERROR_CODE).is_some() {
        return Ok(failed("", text(ERROR_CODE), &message.payload));
    }
    if let Some(number) = text(CHUNK) {
        let number = number
            .parse()
            .map_err(|_| "a chunk's number is no number".to_owned())?;
        let name = text(EVENT).map(str::to_owned);
        let event = read_event(&message.payload)?;
        let event = match name {
            Some(name) => event.named(name),
            None => event,
        };
        return Ok(Answer::Chunk { number, event });
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
        let headers = text(HEADERS).map(read_header_object).unwrap_or_default();
        let mut response = Response::new(status).with_body(message.payload.clone());
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

/// JSON is passed on as it came: whoever wrote it with our code wrote JSON, and
/// of anybody else's it is checked that clients get a valid document.
fn json_value(payload: Bytes) -> Result<Answer, String> {
    if payload.is_empty() {
        return Ok(Answer::Value(Bytes::from_static(b"null")));
    }
    Ok(Answer::Value(payload))
}

fn read_event(payload: &[u8]) -> Result<Event, String> {
    if payload.first() == Some(&b'"') {
        let text: String = serde_json::from_slice(payload)
            .map_err(|error| format!("a chunk is no JSON: {error}"))?;
        return Ok(Event::text(text));
    }
    let raw: &serde_json::value::RawValue =
        serde_json::from_slice(payload).map_err(|error| format!("a chunk is no JSON: {error}"))?;
    Event::json(raw).map_err(|error| error.message().to_owned())
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
    let headers = read_header_object(&Value::Object(body.headers).to_string());
    for (name, value) in &headers {
        error = error.with_header(name.clone(), value.clone());
    }
    Answer::Failed {
        error,
        started: body.started.unwrap_or(true),
    }
}

/// What a caller tells whoever runs its call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Control {
    /// The call's reply subject.
    pub(crate) call: String,
    /// The answer is no longer wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cancel: bool,
    /// So many chunks more may be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credit: Option<u32>,
}

impl Control {
    pub(crate) fn payload(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// Subjects, with the namespace in front where there is one.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn new(namespace: Option<&str>) -> Self {
        let prefix = namespace.map(|name| format!("{name}.")).unwrap_or_default();
        Self { prefix }
    }

    /// The public way in of an API.
    pub(crate) fn api(&self, api: &str) -> String {
        format!("{}{api}", self.prefix)
    }

    /// The API of a subject in this namespace.
    pub(crate) fn api_of<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.prefix)
    }

    /// An API of one instance.
    pub(crate) fn api_at(&self, api: &str, id: &str) -> String {
        format!("{}{api}.{id}", self.prefix)
    }

    /// Where an instance, or all of a plugin's, take cancellations and credit.
    pub(crate) fn control(&self, plugin: &str, id: Option<&str>) -> String {
        match id {
            Some(id) => format!("{}{plugin}._control.{id}", self.prefix),
            None => format!("{}{plugin}._control", self.prefix),
        }
    }

    /// Where an instance describes its APIs.
    pub(crate) fn describe(&self, plugin: &str, id: &str) -> String {
        format!("{}{plugin}._describe.{id}", self.prefix)
    }

    /// Where an instance announces itself.
    pub(crate) fn announce(&self, plugin: &str, id: &str) -> String {
        format!("{}_framex.announce.{plugin}.{id}", self.prefix)
    }

    /// Every announcement.
    pub(crate) fn announcements(&self) -> String {
        format!("{}_framex.announce.>", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_header_says_is_read_and_the_rest_ignored() {
        let read = CallHeader::read(
            CallHeader::default(),
            "timeout=1500, id=\"ab-1\", new=(1 2), caller=\"echo\", hops=2, beats, window=64",
        );
        let expected = CallHeader {
            timeout: Some(Duration::from_millis(1500)),
            id: Some("ab-1"),
            caller: Some("echo"),
            hops: 2,
            beats: true,
            window: Some(64),
        };
        assert_eq!(read, expected);
        assert_eq!(
            CallHeader::read(CallHeader::default(), ",,=,timeout=x,beats=?0"),
            CallHeader::default()
        );
        assert_eq!(
            CallHeader::read(CallHeader::default(), "hops=900").hops,
            u8::MAX
        );
    }

    #[test]
    fn a_call_tells_all_in_its_reply_subject() {
        let id = framex_core::id::ApiId::parse("a.B.c").unwrap();
        let api = ApiDescriptor::new(id, framex_core::descriptor::ApiKind::Func);
        let meta = CallMeta {
            caller: Some("echo".into()),
            hops: 2,
            ..CallMeta::default()
        };
        let payload = Payload::Json(Bytes::new());
        assert_eq!(request_headers(&meta, &api, &payload), None);
        let told = Told {
            origin: Origin::Http,
            meta: &meta,
            left: Some(Duration::from_micros(1_499_001)),
            streams: true,
        };
        let mut reply = String::from("_INBOX.x.00000000deadbeef");
        told.push(&mut reply);
        assert_eq!(
            slot_of(reply.rsplit('.').next().unwrap()),
            "00000000deadbeef"
        );
        let now = Instant::now();
        let read =
            |reply: &str| read_request(Bytes::new(), None, reply, now).unwrap_or_else(|_| panic!());
        let request = read(&reply);
        assert_eq!(request.meta.request_id, meta.request_id);
        assert_eq!(request.meta.caller.as_deref(), Some("echo"));
        assert_eq!(request.meta.hops, 2);
        assert_eq!(
            request.meta.deadline,
            Some(now + Duration::from_millis(1500))
        );
        assert_eq!(request.asked.window, Some(WINDOW));
        assert!(request.asked.beats && request.args.by_http());
        // Anybody's else is any text.
        for foreign in [
            "_INBOX.abc",
            "_INBOX.a-b",
            "x",
            "",
            "a.00000000deadbee\u{e4}-x",
            "a.00000000deadbeef",
        ] {
            assert!(!read(foreign).asked.beats, "{foreign}");
        }
        // What is garbled says nothing.
        let request = read("a.00000000deadbeef-~t~hx~~w-1~\u{e4}");
        assert_eq!((request.meta.deadline, request.asked.window), (None, None));
        assert_eq!(request.meta.hops, u8::MAX);
    }

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
