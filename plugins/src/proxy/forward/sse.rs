//! Server-sent events of an upstream, as events.

use std::collections::VecDeque;
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use framex_core::body::ByteStream;
use framex_core::error::{Error, Result};
use framex_core::event::{DEBUG, Data, ERROR, Event, FINISH, MESSAGE_CHUNK};
use futures_core::Stream;
use http::StatusCode;
use serde_json::Value;

/// The longest line, and the longest data of one event, in bytes.
const MOST: usize = 4 << 20;

/// What a stream of bytes says, event by event.
///
/// Data that is a JSON object or list is that, any other data is a text. FrameX's own texts
/// (`{"content": ..}`) are texts too. An event `error` ends it as one.
pub(super) struct Events {
    body: ByteStream,
    lines: Lines,
    upstream: Box<str>,
    /// Whether `finish` is its end, and no event.
    framex: bool,
    ready: VecDeque<Result<Event>>,
    over: bool,
}

impl Events {
    pub(super) fn new(body: ByteStream, upstream: &str, framex: bool) -> Self {
        Self {
            body,
            lines: Lines::default(),
            upstream: upstream.into(),
            framex,
            ready: VecDeque::new(),
            over: false,
        }
    }

    fn take(&mut self, piece: &[u8]) {
        let lines = self.lines.read(piece);
        for raw in lines {
            let event = match &*raw.name {
                _ if raw.too_long => Err(self.broken("an event of its stream is too long")),
                FINISH if self.framex => {
                    self.over = true;
                    return;
                }
                ERROR => Err(self.failed(&raw.data)),
                _ => Ok(event(raw)),
            };
            let failed = event.is_err();
            self.ready.push_back(event);
            if failed {
                self.over = true;
                return;
            }
        }
    }

    fn broken(&self, how: &str) -> Error {
        let text = format!("the upstream `{}`: {how}", self.upstream);
        Error::new(StatusCode::BAD_GATEWAY, text).with_code("upstream_broken")
    }

    /// An event that says that something went wrong.
    fn failed(&self, data: &str) -> Error {
        let said: Value = serde_json::from_str(data).unwrap_or_default();
        let status = said["status"]
            .as_u64()
            .filter(|status| (400..600).contains(status))
            .and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok())
            .unwrap_or(StatusCode::BAD_GATEWAY);
        let text = match said["message"].as_str() {
            Some(words) => format!("the upstream `{}`: {words}", self.upstream),
            None => format!("the stream of the upstream `{}` failed", self.upstream),
        };
        Error::new(status, text).with_code("upstream_error")
    }
}

impl Stream for Events {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            if self.over {
                // Nothing more is read: its connection is closed.
                self.body = ByteStream::default();
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.body).poll_next(cx)) {
                Some(Ok(piece)) => self.take(&piece),
                Some(Err(error)) => {
                    self.over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                // What has no empty line after it is none, as readers of such streams have it.
                None => self.over = true,
            }
        }
    }
}

fn event(raw: Raw) -> Event {
    let Raw { name, data, .. } = raw;
    let own = matches!(&*name, MESSAGE_CHUNK | DEBUG);
    let data = match serde_json::from_str::<Value>(&data) {
        Ok(Value::Object(object)) => match object.get("content") {
            Some(Value::String(text)) if own && object.len() == 1 => {
                Data::Text(text.as_str().into())
            }
            // On one line it is where it goes next.
            _ if data.contains('\n') => Data::Json(Value::Object(object).to_string().into()),
            _ => Data::Json(data.into()),
        },
        Ok(list @ Value::Array(_)) if data.contains('\n') => Data::Json(list.to_string().into()),
        Ok(Value::Array(_)) => Data::Json(data.into()),
        _ => Data::Text(data.into()),
    };
    let event = Event::message(data);
    match &*name {
        "" | "message" | MESSAGE_CHUNK => event,
        _ => event.named(name),
    }
}

/// One event as it lies in the stream.
#[derive(Debug, Default, PartialEq)]
struct Raw {
    name: String,
    data: String,
    too_long: bool,
}

impl Raw {
    fn too_long() -> Self {
        Self {
            too_long: true,
            ..Self::default()
        }
    }
}

/// Cuts bytes into lines, and lines into events.
#[derive(Default)]
struct Lines {
    /// The beginning of a line whose end has not come.
    partial: BytesMut,
    /// Whether the last byte was a `\r`, whose `\n` may follow.
    returned: bool,
    begun: bool,
    raw: Raw,
    /// Whether a line of data has come; its text may be empty.
    has_data: bool,
}

impl Lines {
    /// The events that end in `piece`; the last may be one that is too long.
    fn read(&mut self, piece: &[u8]) -> Vec<Raw> {
        let mut events = Vec::new();
        let mut rest = piece;
        while !rest.is_empty() {
            if take(&mut self.returned) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
            let line = &rest[..end.unwrap_or(rest.len())];
            if self.partial.len() + line.len() + self.raw.data.len() > MOST {
                events.push(Raw::too_long());
                return events;
            }
            self.partial.extend_from_slice(line);
            let Some(end) = end else { break };
            self.returned = rest[end] == b'\r';
            rest = &rest[end + 1..];
            let line = self.partial.split().freeze();
            events.extend(self.line(&line));
        }
        events
    }

    fn line(&mut self, line: &Bytes) -> Option<Raw> {
        let first = !std::mem::replace(&mut self.begun, true);
        let line = match first {
            true => line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line),
            false => line,
        };
        if line.is_empty() {
            let raw = take(&mut self.raw);
            return take(&mut self.has_data).then_some(raw);
        }
        let text = String::from_utf8_lossy(line);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.raw.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.raw.data.push('\n');
                }
                self.raw.data.push_str(value);
            }
            // Comments, ids, and how soon to come back.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};

    use super::*;

    async fn read(text: &str, cut: usize, framex: bool) -> Vec<String> {
        let pieces: Vec<Result<Bytes>> = text
            .as_bytes()
            .chunks(cut)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let events = Events::new(ByteStream::new(stream::iter(pieces)), "up", framex);
        let shown = events.map(|event| match event {
            Ok(event) => {
                let name = event.name().replace(MESSAGE_CHUNK, "-");
                match event.data() {
                    Data::Text(text) => format!("{name} '{text}'"),
                    Data::Json(json) => {
                        format!("{name} {}", std::str::from_utf8(json).unwrap())
                    }
                }
            }
            Err(error) => format!("{error:?}"),
        });
        shown.collect().await
    }

    #[tokio::test]
    async fn however_it_is_cut_and_its_lines_end() {
        let text = "\u{feff}: hello\nid: 1\nretry: 5\ndata: ä\n\nevent: x\ndata:{\"a\": 1}\n\n\
            data: one\ndata:  two\ndata\n\nevent: nothing\n\n\
            event: message_chunk\ndata: {\"content\": \"t\"}\n\ndata: {\"content\": \"t\"}\n\n\
            data: 42\n\ndata: [DONE]\n\ndata: half";
        let all = [
            "- 'ä'",
            "x {\"a\": 1}",
            "- 'one\n two\n'",
            "- 't'",
            "- {\"content\": \"t\"}",
            "- '42'",
            "- '[DONE]'",
        ];
        for end in ["\n", "\r", "\r\n"] {
            let text = text.replace('\n', end);
            for cut in [1, 2, 3, 7, 1000] {
                assert_eq!(read(&text, cut, false).await, all, "{cut} {end:?}");
            }
        }
    }

    #[tokio::test]
    async fn an_error_is_the_last_event() {
        let text =
            "data: a\n\nevent: error\ndata: {\"status\": 409, \"message\": \"m\"}\n\ndata: b\n\n";
        assert_eq!(
            read(text, 5, false).await,
            ["- 'a'", "409 upstream_error: the upstream `up`: m"]
        );
        let text = "event: error\ndata: boom\n\n";
        let told = read(text, 5, false).await;
        assert!(told[0].starts_with("502 upstream_error"), "{told:?}");
    }

    #[tokio::test]
    async fn only_a_framex_finishes() {
        let text = "data: a\n\nevent: finish\ndata: {}\n\n";
        assert_eq!(read(text, 9, true).await, ["- 'a'"]);
        assert_eq!(read(text, 9, false).await, ["- 'a'", "finish {}"]);
    }

    #[tokio::test]
    async fn what_has_no_end_is_no_event() {
        let endless = format!("data: {}", "x".repeat(MOST + 1));
        let told = read(&endless, 1 << 16, false).await;
        assert!(told[0].starts_with("502 upstream_broken"), "{told:?}");
        let many = "data: 0123456789\n".repeat(MOST / 8);
        assert!(read(&many, 1 << 16, false).await[0].starts_with("502"));
    }
}
