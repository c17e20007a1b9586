//! Streams on HTTP: server-sent events, or lines of JSON.

mod format;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use framex_core::context::RequestId;
use framex_core::error::Error;
use framex_core::event::{Event, EventStream, FINISH};
use framex_core::id::ApiId;
use framex_core::kept::is_interrupted;
use futures_core::Stream;
use tokio::time::Sleep;

pub(crate) use format::Format;
use format::Ids;

use crate::problem;

/// Events that are ready together leave in one piece of about this many bytes.
const PIECE: usize = 32 * 1024;
/// After so many full pieces without a pause the thread's other connections have
/// their turn.
const PIECES_IN_A_TURN: u8 = 4;

/// The body of a streaming answer. Dropping it leaves the stream.
pub(crate) struct EventBody {
    events: Option<EventStream>,
    first: Option<Event>,
    writer: Writer,
    heartbeat: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    id: RequestId,
    api: ApiId,
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
        // One that may be taken up again has not ended.
        let ids = self.ids.as_ref().filter(|_| !is_interrupted(error));
        let id = ids.map(Ids::end);
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
        api: ApiId,
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
        Poll::Ready(Some(Bytes::from(beat)))
    }
}

impl fmt::Debug for EventBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventBody({})", self.api)
    }
}

#[cfg(test)]
mod tests {
    use framex_core::kept::{Position, StreamId};
    use http::header::ACCEPT;
    use http::{HeaderMap, HeaderValue};

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
    fn an_error_that_is_no_end_has_no_id() {
        let request = RequestId::accept(&HeaderValue::from_static("r")).unwrap();
        let stream = StreamId::generate();
        for (error, ends) in [
            (framex_core::kept::interrupted(), false),
            (framex_core::kept::stopped(), true),
        ] {
            let mut writer = Writer {
                format: Format::Sse,
                ids: Some(Ids::new(&stream, Format::Sse)),
                finished: false,
                held: None,
            };
            let mut out = Vec::new();
            writer.error(&mut out, &error, &request);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(
                text.starts_with(&format!("id: {stream}.end\n")),
                ends,
                "{text}"
            );
            assert_eq!(text.contains("id: "), ends, "{text}");
        }
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
