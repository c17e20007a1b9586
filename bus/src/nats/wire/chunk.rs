//! The chunks of a stream: one event a message, or as many as were ready, a line
//! for each.

use async_nats::HeaderMap;
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use framex_core::event::{Data, Event, MESSAGE_CHUNK};

use super::answer::Outgoing;
use super::{CHUNK, EVENT};

/// The `number`th event of a stream; the first has the number 1.
pub(crate) fn chunk(number: u64, event: &Event) -> Outgoing {
    let payload = match event.data() {
        Data::Text(text) => serde_json::to_vec(&**text).unwrap_or_default().into(),
        Data::Json(json) => json.clone(),
    };
    Outgoing {
        headers: Some(headers(number.to_string(), event)),
        payload,
    }
}

/// Events that go together, all with one name; the first is the `number`th.
pub(crate) fn chunks(number: u64, events: &[Event]) -> Outgoing {
    match events {
        [one] => chunk(number, one),
        [first, ..] => Outgoing {
            headers: Some(headers(
                format!("{number}-{}", number + events.len() as u64 - 1),
                first,
            )),
            payload: lines(events),
        },
        [] => Outgoing::bare(Bytes::new()),
    }
}

fn headers(numbers: String, event: &Event) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CHUNK, numbers);
    if event.name() != MESSAGE_CHUNK {
        headers.insert(EVENT, event.name());
    }
    headers
}

/// JSON on a line for each.
pub(crate) fn lines(events: &[Event]) -> Bytes {
    let size: usize = events.iter().map(|event| size_of(event) + 3).sum();
    let mut out = BytesMut::with_capacity(size);
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            out.put_u8(b'\n');
        }
        match event.data() {
            Data::Text(text) => put_text(&mut out, text),
            // Between the parts of a JSON value, line breaks mean nothing.
            Data::Json(json) if memchr::memchr2(b'\n', b'\r', json).is_some() => {
                out.extend(json.iter().filter(|b| !matches!(b, b'\n' | b'\r')));
            }
            Data::Json(json) => out.extend_from_slice(json),
        }
    }
    out.freeze()
}

/// About how large an event is, in bytes.
pub(crate) fn size_of(event: &Event) -> usize {
    match event.data() {
        Data::Text(text) => text.len(),
        Data::Json(json) => json.len(),
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    // Most chunks are plain words, for which the quotes are all there is to add.
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.put_u8(b'"');
        out.extend_from_slice(text.as_bytes());
        out.put_u8(b'"');
        return;
    }
    // A text written to memory: cannot fail.
    let _ = serde_json::to_writer(out.writer(), text);
}

/// Events as they came in one message; they are read as they are taken.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// The number of the next one.
    pub(crate) number: u64,
    name: Option<String>,
    left: u64,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    /// One, which may have line breaks in it.
    One(Bytes),
    Lines(ByteString),
}

impl Chunks {
    /// Reads what the header says: `5`, or `5-68` for as many lines.
    pub(super) fn read(numbers: &str, name: Option<&str>, payload: Bytes) -> Result<Self, String> {
        let no_number = || "a chunk's number is no number".to_owned();
        let (first, last) = match numbers.split_once('-') {
            Some((first, last)) => (first, Some(last)),
            None => (numbers, None),
        };
        let number: u64 = first.parse().map_err(|_| no_number())?;
        let Some(last) = last else {
            return Ok(Self {
                number,
                name: name.map(str::to_owned),
                left: 1,
                rest: Rest::One(payload),
            });
        };
        let last: u64 = last.parse().map_err(|_| no_number())?;
        let said = last.checked_sub(number).map_or(0, |n| n.saturating_add(1));
        let chunks = Self::of_lines(number, name, payload)?;
        match chunks.left == said {
            true => Ok(chunks),
            false => Err(format!("{said} chunks that are {}", chunks.left)),
        }
    }

    /// One on each line of `payload`; at least one.
    pub(crate) fn of_lines(
        number: u64,
        name: Option<&str>,
        payload: Bytes,
    ) -> Result<Self, String> {
        let text =
            ByteString::try_from(payload).map_err(|_| "a chunk that is no UTF-8".to_owned())?;
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes()).count();
        Ok(Self {
            number,
            name: name.map(str::to_owned),
            left: breaks as u64 + 1,
            rest: Rest::Lines(text),
        })
    }

    /// The next one; `None` after the last.
    pub(crate) fn next(&mut self) -> Option<Result<Event, String>> {
        self.left = self.left.checked_sub(1)?;
        self.number += 1;
        let event = match &mut self.rest {
            Rest::One(payload) => read_one(payload),
            Rest::Lines(rest) => {
                let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
                let line = rest.slice_ref(&rest[..end]);
                *rest = rest.slice_ref(rest.get(end + 1..).unwrap_or_default());
                read_line(line)
            }
        };
        Some(match (&self.name, event) {
            (Some(name), Ok(event)) => Ok(event.named(name.clone())),
            (_, event) => event,
        })
    }
}

fn no_json(error: &serde_json::Error) -> String {
    format!("a chunk is no JSON: {error}")
}

/// An event of anybody's: it is passed on into other documents, so it has to be JSON.
fn read_one(payload: &[u8]) -> Result<Event, String> {
    if payload.first() == Some(&b'"') {
        let text: String = serde_json::from_slice(payload).map_err(|error| no_json(&error))?;
        return Ok(Event::text(text));
    }
    let raw: &serde_json::value::RawValue =
        serde_json::from_slice(payload).map_err(|error| no_json(&error))?;
    Event::json(raw).map_err(|error| error.message().to_owned())
}

/// An event of our own kind: a part of its message, without a copy.
fn read_line(line: ByteString) -> Result<Event, String> {
    let bytes = line.as_bytes();
    let data = match bytes.first() {
        None => return Err("a chunk is no JSON: it is empty".to_owned()),
        Some(b'"') => {
            let inner = line
                .get(1..line.len() - 1)
                .filter(|_| line.len() > 1 && line.ends_with('"'));
            let plain = |inner: &&str| memchr::memchr2(b'"', b'\\', inner.as_bytes()).is_none();
            match inner.filter(plain) {
                Some(inner) => Data::Text(line.slice_ref(inner)),
                None => {
                    let text: String =
                        serde_json::from_slice(bytes).map_err(|error| no_json(&error))?;
                    Data::Text(text.into())
                }
            }
        }
        Some(_) => Data::Json(line.into_bytes()),
    };
    Ok(Event::message(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut chunks: Chunks) -> Vec<Event> {
        std::iter::from_fn(|| chunks.next())
            .map(Result::unwrap)
            .collect()
    }

    fn json(text: &'static str) -> Event {
        Event::message(Data::Json(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn events_come_out_as_they_went_in() {
        for events in [
            vec![json("[1,\n 2]")],
            vec![Event::text("one")],
            vec![
                Event::text("plain"),
                Event::text(""),
                Event::text("a\nb\r\"c\"\\d\u{1}\u{e4}\u{2028}"),
                json("{\"x\": [1, 2]}"),
                json("null"),
                Event::text("\\"),
                Event::text("last"),
            ],
        ] {
            let out = chunks(7, &events);
            let headers = out.headers.unwrap();
            let numbers = headers.get(CHUNK).unwrap().as_str();
            let read = Chunks::read(numbers, None, out.payload).unwrap();
            assert_eq!((read.number, read.left), (7, events.len() as u64));
            assert_eq!(all(read), events);
        }
    }

    #[test]
    fn what_has_line_breaks_is_one_line_among_others() {
        let out = chunks(1, &[json("[1,\r\n 2]"), json("3")]);
        assert_eq!(out.payload, "[1, 2]\n3");
    }

    #[test]
    fn a_name_is_that_of_all() {
        let events = [Event::debug("a"), Event::debug("b")];
        let out = chunks(1, &events);
        let headers = out.headers.unwrap();
        let name = headers.get(EVENT).unwrap().as_str();
        assert_eq!(
            all(Chunks::read("1-2", Some(name), out.payload).unwrap()),
            events
        );
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for numbers in [
            "",
            "x",
            "1-",
            "-1",
            "2-1",
            "1-3",
            "1-1",
            "1-18446744073709551615",
        ] {
            assert!(
                Chunks::read(numbers, None, Bytes::from_static(b"1\n2")).is_err(),
                "{numbers}"
            );
        }
        assert!(Chunks::read("1-2", None, Bytes::from_static(b"\xff\n2")).is_err());
        let bad = |numbers, payload: &'static str| {
            let mut chunks = Chunks::read(numbers, None, Bytes::from_static(payload.as_bytes()))
                .unwrap_or_else(|error| panic!("{error}"));
            chunks.next().unwrap().is_err()
        };
        assert!(bad("1", "nothing"));
        assert!(bad("1-2", "\n1"));
        assert!(bad("1-2", "\"\n1"));
        assert!(bad("1-2", "\"a\"b\"\n1"));
    }
}
