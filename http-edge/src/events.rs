//! Streams on HTTP: server-sent events, or lines of JSON.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use framex_core::context::RequestId;
use framex_core::error::Error;
use framex_core::event::{Data, ERROR, Event, EventStream, FINISH};
use framex_core::kept::{Position, StreamId};
use futures_core::Stream;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};
use tokio::time::Sleep;

use crate::problem::{self, EventFailure};

/// Events that are ready together leave in one piece of about this many bytes.
const PIECE: usize = 32 * 1024;
/// After so many full pieces without a pause the thread's other connections have
/// their turn.
const PIECES_IN_A_TURN: u8 = 4;

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `text/event-stream`.
    Sse,
    /// `application/x-ndjson`: `{"event": name, "data": ..}` a line.
    Ndjson,
}

impl Format {
    /// What the client asks for; server-sent events unless it names lines.
    pub(crate) fn asked(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT).iter().any(|value| {
            value.to_str().is_ok_and(|text| {
                text.split(',').any(|part| {
                    let kind = part.split(';').next().unwrap_or_default().trim();
                    kind.eq_ignore_ascii_case("application/x-ndjson")
                        || kind.eq_ignore_ascii_case("application/ndjson")
                })
            })
        });
        if lines { Self::Ndjson } else { Self::Sse }
    }

    /// As [`Format::asked`]; `None` if the client wants JSON and no stream, so
    /// that an error before the first event comes in the envelope.
    pub(crate) fn of_errors(headers: &HeaderMap) -> Option<Self> {
        let names = |kind: &str| {
            headers
                .get_all(ACCEPT)
                .iter()
                .any(|value| value.to_str().is_ok_and(|text| text.contains(kind)))
        };
        let json = names("application/json") && !names("text/event-stream") && !names("ndjson");
        (!json).then(|| Self::asked(headers))
    }

    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Sse => "text/event-stream; charset=utf-8",
            Self::Ndjson => "application/x-ndjson; charset=utf-8",
        })
    }

    fn push(
        self,
        out: &mut Vec<u8>,
        id: Option<Id<'_>>,
        name: &str,
        data: impl FnOnce(&mut Vec<u8>),
    ) {
        match self {
            Self::Sse => {
                if let Some(id) = id {
                    id.push(out);
                    out.push(b'\n');
                }
                out.extend_from_slice(b"event: ");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\ndata: ");
                data(out);
                out.extend_from_slice(b"\n\n");
            }
            Self::Ndjson => {
                match id {
                    Some(id) => {
                        id.push(out);
                        out.extend_from_slice(b"\", \"event\": ");
                    }
                    None => out.extend_from_slice(b"{\"event\": "),
                }
                push_json(out, name);
                out.extend_from_slice(b", \"data\": ");
                data(out);
                out.extend_from_slice(b"}\n");
            }
        }
    }

    fn push_event(self, out: &mut Vec<u8>, id: Option<Id<'_>>, event: &Event) {
        self.push(out, id, event.name(), |out| match event.data() {
            Data::Text(text) => {
                out.extend_from_slice(b"{\"content\": ");
                push_json(out, text);
                out.push(b'}');
            }
            // One line is what both formats need; JSON written with line breaks is rare.
            Data::Json(json) if json.contains(&b'\n') || json.contains(&b'\r') => {
                out.extend(json.iter().filter(|b| !matches!(b, b'\n' | b'\r')));
            }
            Data::Json(json) => out.extend_from_slice(json),
        });
    }

    pub(crate) fn push_error(
        self,
        out: &mut Vec<u8>,
        at: Option<Id<'_>>,
        error: &Error,
        id: &RequestId,
    ) {
        let failure = EventFailure {
            status: error.status().as_u16(),
            message: error.message(),
            code: error.code(),
            request_id: id.as_str(),
            detail: error.detail(),
        };
        let mut json = Vec::new();
        let mut writer = serde_json::Serializer::with_formatter(&mut json, Spaced);
        // Plain texts and numbers: writing them to memory cannot fail.
        let _ = serde::Serialize::serialize(&failure, &mut writer);
        self.push(out, at, ERROR, |out| out.extend_from_slice(&json));
    }

    fn push_heartbeat(self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self {
            Self::Sse => b": keep-alive\n\n".as_slice(),
            Self::Ndjson => b"\n",
        });
    }
}

/// `{"status": 500, "message": "x"}`: the spaces that clients of FrameX know.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

fn push_json(out: &mut Vec<u8>, text: &str) {
    // Most chunks are plain words, for which the quotes are all there is to add.
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    // A text written to memory: cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// The ids of a kept stream's events.
pub(crate) struct Ids(Box<[u8]>);

/// One of them; the last without a position.
#[derive(Clone, Copy)]
pub(crate) struct Id<'a> {
    prefix: &'a [u8],
    position: Option<Position>,
}

impl Ids {
    /// Those of `stream`, as `format` begins with them.
    fn new(stream: &StreamId, format: Format) -> Self {
        let begin = match format {
            Format::Sse => "id: ",
            Format::Ndjson => "{\"id\": \"",
        };
        Self(format!("{begin}{stream}.").into_bytes().into())
    }

    fn of(&self, position: Position) -> Id<'_> {
        Id {
            prefix: &self.0,
            position: Some(position),
        }
    }

    fn end(&self) -> Id<'_> {
        Id {
            prefix: &self.0,
            position: None,
        }
    }
}

impl Id<'_> {
    fn push(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix);
        let Some(position) = self.position else {
            return out.extend_from_slice(b"end");
        };
        push_number(out, position.message());
        if position.place() != 0 {
            out.push(b'.');
            push_number(out, position.place());
        }
    }
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len() - 1;
    while number >= 10 {
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        first -= 1;
    }
    digits[first] = b'0' + (number % 10) as u8;
    out.extend_from_slice(&digits[first..]);
}

/// The body of a streaming answer. Dropping it leaves the stream.
pub(crate) struct EventBody {
    events: Option<EventStream>,
    first: Option<Event>,
    writer: Writer,
    heartbeat: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    id: RequestId,
    api: framex_core::id::ApiId,
    piece: usize,
    full_pieces: u8,
}

/// Writes events and the end behind them.
struct Writer {
    format: Format,
    /// None unless the stream is kept.
    ids: Option<Ids>,
    /// The handler has ended the stream in its own words.
    finished: bool,
    /// Those words, of a kept stream: if nothing comes behind them they have the last id.
    held: Option<Event>,
}

impl Writer {
    fn event(&mut self, out: &mut Vec<u8>, event: Event) {
        self.not_the_last(out);
        self.finished = event.name() == FINISH;
        if self.finished && self.ids.is_some() {
            self.held = Some(event);
        } else {
            self.push(out, &event);
        }
    }

    fn push(&self, out: &mut Vec<u8>, event: &Event) {
        let id = self.ids.as_ref().zip(event.position());
        let id = id.map(|(ids, position)| ids.of(position));
        self.format.push_event(out, id, event);
    }

    fn not_the_last(&mut self, out: &mut Vec<u8>) {
        if let Some(held) = self.held.take() {
            self.push(out, &held);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let id = self.ids.as_ref().map(Ids::end);
        match self.held.take() {
            Some(event) => self.format.push_event(out, id, &event),
            None if self.finished => {}
            None => {
                let data = |out: &mut Vec<u8>| out.extend_from_slice(b"{}");
                self.format.push(out, id, FINISH, data);
            }
        }
    }

    fn error(&mut self, out: &mut Vec<u8>, error: &Error, request: &RequestId) {
        self.not_the_last(out);
        let id = self.ids.as_ref().map(Ids::end);
        self.format.push_error(out, id, error, request);
    }
}

impl EventBody {
    /// `first` goes out before `events`.
    pub(crate) fn new(
        first: Option<Event>,
        events: EventStream,
        format: Format,
        heartbeat: Duration,
        id: RequestId,
        api: framex_core::id::ApiId,
    ) -> Self {
        let ids = events.kept().map(|stream| Ids::new(stream, format));
        Self {
            events: Some(events),
            first,
            writer: Writer {
                format,
                ids,
                finished: false,
                held: None,
            },
            heartbeat,
            timer: None,
            id,
            api,
            piece: 256,
            full_pieces: 0,
        }
    }

    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(events) = &mut self.events else {
            return Poll::Ready(None);
        };
        if self.full_pieces == PIECES_IN_A_TURN {
            // Others on this thread first: a stream that is always ready and a
            // client that takes it all would keep everybody waiting.
            self.full_pieces = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut out = Vec::with_capacity(self.piece);
        if let Some(event) = self.first.take() {
            self.writer.event(&mut out, event);
        }
        let mut waiting = false;
        while out.len() < PIECE {
            match Pin::new(&mut *events).poll_next(cx) {
                Poll::Ready(Some(Ok(event))) => self.writer.event(&mut out, event),
                Poll::Ready(Some(Err(error))) => {
                    problem::log(&error, self.api.as_str(), &self.id);
                    self.writer.error(&mut out, &error, &self.id);
                    self.events = None;
                    break;
                }
                Poll::Ready(None) => {
                    self.writer.end(&mut out);
                    self.events = None;
                    break;
                }
                Poll::Pending => {
                    waiting = true;
                    break;
                }
            }
        }
        if !out.is_empty() {
            self.timer = None;
            self.full_pieces = if waiting { 0 } else { self.full_pieces + 1 };
            self.piece = out.len().next_power_of_two().min(2 * PIECE);
            return Poll::Ready(Some(out.into()));
        }
        if !waiting {
            return Poll::Ready(None);
        }
        let heartbeat = self.heartbeat;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(heartbeat)));
        std::task::ready!(timer.as_mut().poll(cx));
        self.timer = None;
        let mut beat = Vec::new();
        self.writer.format.push_heartbeat(&mut beat);
        Poll::Ready(Some(BytesMut::from(&beat[..]).freeze()))
    }
}

impl fmt::Debug for EventBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventBody({})", self.api)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sse(event: &Event) -> String {
        let mut out = Vec::new();
        Format::Sse.push_event(&mut out, None, event);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn events_have_framex_bytes() {
        assert_eq!(
            sse(&Event::text("T")),
            "event: message_chunk\ndata: {\"content\": \"T\"}\n\n"
        );
        assert_eq!(
            sse(&Event::text("")),
            "event: message_chunk\ndata: {\"content\": \"\"}\n\n"
        );
        assert_eq!(
            sse(&Event::text("a\nb\"")),
            "event: message_chunk\ndata: {\"content\": \"a\\nb\\\"\"}\n\n"
        );
        assert_eq!(
            sse(&Event::json(&[1]).unwrap().named("x")),
            "event: x\ndata: [1]\n\n"
        );
    }

    #[test]
    fn an_error_has_its_status_and_text() {
        let id = RequestId::accept(&HeaderValue::from_static("r")).unwrap();
        let mut out = Vec::new();
        Format::Sse.push_error(&mut out, None, &Error::conflict("mid boom"), &id);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "event: error\ndata: {\"status\": 409, \"message\": \"mid boom\", \"code\": \"conflict\", \"request_id\": \"r\"}\n\n"
        );
    }

    #[test]
    fn lines_on_request() {
        let mut headers = HeaderMap::new();
        assert_eq!(Format::asked(&headers), Format::Sse);
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("text/html, application/x-ndjson;q=0.9"),
        );
        assert_eq!(Format::asked(&headers), Format::Ndjson);
        let mut out = Vec::new();
        Format::Ndjson.push_event(&mut out, None, &Event::text("T"));
        assert_eq!(
            out,
            b"{\"event\": \"message_chunk\", \"data\": {\"content\": \"T\"}}\n"
        );
    }

    #[test]
    fn events_of_kept_streams_have_ids() {
        let stream = StreamId::parse("0123456789abcdef").unwrap();
        let written = |format, events: &[Event]| {
            let mut writer = Writer {
                format,
                ids: Some(Ids::new(&stream, format)),
                finished: false,
                held: None,
            };
            let mut out = Vec::new();
            for event in events {
                writer.event(&mut out, event.clone());
            }
            writer.end(&mut out);
            String::from_utf8(out).unwrap()
        };
        let at = |event: Event, message, place| event.at(Position::new(message, place).unwrap());
        let events = [
            at(Event::text("a"), 1, 0),
            at(Event::text("b").named(FINISH), 2, 0),
            at(Event::text("c"), 1_234_567_890, 17),
        ];
        assert_eq!(
            written(Format::Sse, &events),
            "id: 0123456789abcdef.1\nevent: message_chunk\ndata: {\"content\": \"a\"}\n\n\
             id: 0123456789abcdef.2\nevent: finish\ndata: {\"content\": \"b\"}\n\n\
             id: 0123456789abcdef.1234567890.17\nevent: message_chunk\ndata: {\"content\": \"c\"}\n\n\
             id: 0123456789abcdef.end\nevent: finish\ndata: {}\n\n"
        );
        // A handler's own `finish` at the end is the end.
        assert_eq!(
            written(Format::Ndjson, &events[..2]),
            "{\"id\": \"0123456789abcdef.1\", \"event\": \"message_chunk\", \"data\": {\"content\": \"a\"}}\n\
             {\"id\": \"0123456789abcdef.end\", \"event\": \"finish\", \"data\": {\"content\": \"b\"}}\n"
        );
    }
}
