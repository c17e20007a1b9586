//! Requests: what a caller tells with its arguments, and how it is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use bytes::Bytes;
use framex_core::args::Args;
use framex_core::body::Bodies;
use framex_core::context::{CallMeta, Principal, RequestId, TraceContext};
use framex_core::descriptor::ApiDescriptor;
use framex_core::error::Error;
use framex_core::id::is_token;
use framex_core::payload::{JSON, MESSAGE_PACK, Payload};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::frame::announced;
use super::headers::{all_headers, read_header_object};
use super::kept::Keep;
use super::{ACCEPT, CALL, CONTENT_TYPE, HEADERS, PRINCIPAL, STREAM, TRACE, TRAIL, WINDOW};

/// Headers of an HTTP request that are about its connection, and those that travel
/// on their own.
const STAY: [&str; 12] = [
    "connection",
    "content-length",
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
/// Those that are about its body. They go with one that is passed on as it came.
const OF_THE_BODY: [&str; 2] = ["content-type", "content-encoding"];

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
        && let Some(json) = header_object(&meta.headers, api.bridged)
    {
        headers.insert(HEADERS, json);
    }
    if let Some(trail) = &meta.trail {
        headers.insert(TRAIL, one_line(trail));
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
            let _ = write!(text, "~w{WINDOW}~b");
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
        frames: true,
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
            "b" => call.batches = true,
            _ => {}
        }
    }
    Some((origin, call))
}

/// A header's value has no line breaks.
pub(super) fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// What a handler may want of an HTTP request's headers, as a JSON object on one
/// line; none if there is nothing.
fn header_object(headers: &http::HeaderMap, bridged: bool) -> Option<String> {
    let mut object = all_headers(headers);
    let stays = |name: &str| STAY.contains(&name) || !bridged && OF_THE_BODY.contains(&name);
    object.retain(|name, _| !stays(name));
    (!object.is_empty()).then(|| Value::Object(object).to_string())
}

/// What `Framex-Call` says, or a reply subject in its place.
#[derive(Debug, Default, PartialEq)]
struct CallHeader<'a> {
    timeout: Option<Duration>,
    id: Option<&'a str>,
    caller: Option<&'a str>,
    hops: u8,
    beats: bool,
    frames: bool,
    window: Option<u32>,
    batches: bool,
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
                "frames" => header.frames |= value == "?1",
                "window" => header.window = value.parse().ok(),
                "batches" => header.batches |= value == "?1",
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
            keep: false,
            trail: None,
        }
    }

    fn asked(&self, message_pack: bool) -> Asked {
        Asked {
            beats: self.beats,
            frames: self.frames,
            window: self.window,
            batches: self.batches,
            message_pack,
        }
    }
}

fn quoted(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

/// A request as it comes in.
pub(crate) struct Incoming {
    pub(crate) args: Given,
    pub(crate) meta: CallMeta,
    pub(crate) asked: Asked,
    /// How its stream is to be kept.
    pub(crate) keep: Option<Keep>,
}

/// A request's arguments.
pub(crate) enum Given {
    Here {
        payload: Bytes,
        form: Form,
    },
    /// So many bytes, which come in frames.
    ToCome {
        size: u64,
        form: Form,
    },
}

impl Given {
    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Here { form, .. } | Self::ToCome { form, .. } => *form,
        }
    }
}

/// What the bytes of arguments are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    packed: bool,
    by_http: bool,
}

impl Form {
    /// Whether files may stand beside them.
    pub(crate) fn may_name_bodies(self) -> bool {
        self.packed
    }

    pub(crate) fn read(self, payload: Bytes, bodies: Option<Arc<dyn Bodies>>) -> Args {
        let args = match (payload.is_empty(), self.packed, bodies) {
            // An empty payload is an empty map.
            (true, ..) => Args::default(),
            (false, false, _) => Args::from_payload(Payload::Json(payload)),
            (false, true, None) => Args::from_payload(Payload::MessagePack(payload)),
            (false, true, Some(bodies)) => {
                Args::from_message(Payload::MessagePack(payload), bodies)
            }
        };
        args.made_of_http(self.by_http)
    }
}

/// How a caller wants to be answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    /// It understands "still working".
    pub(crate) beats: bool,
    /// It takes what is too large for a message in frames.
    pub(crate) frames: bool,
    /// How many chunks it takes before it grants more; it grants none if none.
    pub(crate) window: Option<u32>,
    /// It understands several chunks in one message.
    pub(crate) batches: bool,
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
    let by_http = origin == Origin::Http;
    let Some(headers) = headers else {
        let form = Form {
            packed: false,
            by_http,
        };
        return Ok(Incoming {
            args: Given::Here { payload, form },
            meta: told.meta(arrived),
            asked: told.asked(false),
            keep: None,
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
        trail: text(TRAIL).map(Arc::from),
        ..call.meta(arrived)
    };
    let form = Form { packed, by_http };
    let announced = announced(headers).filter(|_| payload.is_empty());
    let args = match announced.and_then(|announced| announced.size) {
        Some(size) => Given::ToCome { size, form },
        None => Given::Here { payload, form },
    };
    Ok(Incoming {
        args,
        meta,
        asked: call.asked(asked_packed),
        keep: text(STREAM).and_then(Keep::read),
    })
}

/// Whether a media type is MessagePack's; `none` where there is none.
pub(super) fn is_message_pack(
    media: Option<&str>,
    header: &str,
    none: bool,
) -> Result<bool, Error> {
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

pub(super) fn shortened(text: &str) -> String {
    text.chars().take(80).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_header_says_is_read_and_the_rest_ignored() {
        let read = CallHeader::read(
            CallHeader::default(),
            "timeout=1500, id=\"ab-1\", new=(1 2), caller=\"echo\", hops=2, beats, frames, window=64, batches",
        );
        let expected = CallHeader {
            timeout: Some(Duration::from_millis(1500)),
            id: Some("ab-1"),
            caller: Some("echo"),
            hops: 2,
            beats: true,
            frames: true,
            window: Some(64),
            batches: true,
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
    fn a_trail_and_the_headers_of_a_body_go_where_they_are_wanted() {
        let id = framex_core::id::ApiId::parse("a.B.c").unwrap();
        let mut api = ApiDescriptor::new(id, framex_core::descriptor::ApiKind::Http);
        let mut meta = CallMeta {
            trail: Some("one, two".into()),
            ..CallMeta::default()
        };
        for (name, value) in [("content-type", "text/x"), ("te", "trailers"), ("x-a", "1")] {
            meta.headers.insert(name, HeaderValue::from_static(value));
        }
        for (headers, bridged, expected) in [
            (false, false, &[][..]),
            (true, false, &["x-a"]),
            (true, true, &["content-type", "x-a"]),
        ] {
            (api.headers, api.bridged) = (headers, bridged);
            let sent = request_headers(&meta, &api, &Payload::Json(Bytes::new()));
            let now = Instant::now();
            // Whoever asks, and in whatever way.
            for reply in ["_INBOX.x.00000000deadbeef-id", "_INBOX.foreign"] {
                let read = read_request(Bytes::new(), sent.as_ref(), reply, now);
                let read = read.unwrap_or_else(|_| panic!()).meta;
                assert_eq!(read.trail.as_deref(), Some("one, two"));
                let names: Vec<_> = read.headers.keys().map(http::HeaderName::as_str).collect();
                assert_eq!(names, expected);
            }
        }
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
        assert!(request.asked.beats && request.asked.frames && request.asked.batches);
        assert!(matches!(request.args, Given::Here { form, .. } if form.by_http));
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
}
