//! Events as bytes: server-sent events, or lines of JSON.

use framex_core::context::RequestId;
use framex_core::error::Error;
use framex_core::event::{Data, ERROR, Event};
use framex_core::kept::{Position, StreamId};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

use crate::problem::EventFailure;

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

    pub(super) fn push(
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

    pub(super) fn push_event(self, out: &mut Vec<u8>, id: Option<Id<'_>>, event: &Event) {
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

    pub(super) fn push_heartbeat(self, out: &mut Vec<u8>) {
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
    pub(super) fn new(stream: &StreamId, format: Format) -> Self {
        let begin = match format {
            Format::Sse => "id: ",
            Format::Ndjson => "{\"id\": \"",
        };
        Self(format!("{begin}{stream}.").into_bytes().into())
    }

    pub(super) fn of(&self, position: Position) -> Id<'_> {
        Id {
            prefix: &self.0,
            position: Some(position),
        }
    }

    pub(super) fn end(&self) -> Id<'_> {
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
