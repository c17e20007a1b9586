//! Streams that are kept for a while, so that they can be taken up again.
//!
//! A kept stream has an id of its own, and each of its events a [`Position`].
//! Together they are an [`EventId`], which an edge sends with each event and a
//! client that reconnects gives back.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use crate::error::Error;

/// The name of one kept stream among all: who knows it may ask for the stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 64;

    /// An id of 16 to [`StreamId::MAX_LEN`] characters of `[a-z0-9-]`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (16..=Self::MAX_LEN).contains(&text.len());
        let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        (fits && text.bytes().all(plain)).then(|| Self(text.into()))
    }

    /// A new id that nobody can guess.
    #[must_use]
    pub fn generate() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string().into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where in its stream an event stands: the message that brought it, from 1, and
/// its place in that, from 0. Written `17`, or `17.3` if its place is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(u64);

impl Position {
    /// Places in one message.
    pub const PLACES: u64 = 1 << 16;

    /// The position of place `place` in message `message`; `None` beyond what can be
    /// counted.
    #[must_use]
    pub fn new(message: u64, place: u64) -> Option<Self> {
        let fits = (1..1 << 47).contains(&message) && place < Self::PLACES;
        fits.then_some(Self(message << 16 | place))
    }

    /// The message, from 1.
    #[must_use]
    pub fn message(self) -> u64 {
        self.0 >> 16
    }

    /// The place in the message, from 0.
    #[must_use]
    pub fn place(self) -> u64 {
        self.0 & (Self::PLACES - 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            0 => write!(f, "{}", self.message()),
            place => write!(f, "{}.{place}", self.message()),
        }
    }
}

/// What a client has seen last, as `id:` and `Last-Event-ID` have it:
/// `<stream>.<position>`, or `<stream>.end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// The stream.
    pub stream: StreamId,
    /// The event; `None` for the last one, after which nothing comes.
    pub position: Option<Position>,
}

/// The place of the last event.
const END: &str = "end";

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "{}.{position}", self.stream),
            None => write!(f, "{}.{END}", self.stream),
        }
    }
}

/// A text that is no [`EventId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an event's id, like `<stream>.17`")]
pub struct NoEventId;

impl FromStr for EventId {
    type Err = NoEventId;

    fn from_str(text: &str) -> Result<Self, NoEventId> {
        let (stream, place) = text.split_once('.').ok_or(NoEventId)?;
        let stream = StreamId::parse(stream).ok_or(NoEventId)?;
        if place == END {
            return Ok(Self {
                stream,
                position: None,
            });
        }
        let (message, place) = place.split_once('.').unwrap_or((place, "0"));
        let number = |text: &str| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let position = number(message).zip(number(place));
        let position = position.and_then(|(message, place)| Position::new(message, place));
        Ok(Self {
            stream,
            position: Some(position.ok_or(NoEventId)?),
        })
    }
}

/// 410: nobody knows the stream, or not any more.
#[must_use]
pub fn gone() -> Error {
    Error::new(
        StatusCode::GONE,
        "the stream is not known, or no longer kept: start a new one",
    )
    .with_code("stream_gone")
}

/// 410: a part of the stream that was asked for is not kept any more.
#[must_use]
pub fn incomplete() -> Error {
    Error::new(
        StatusCode::GONE,
        "a part of the stream is no longer kept: start a new one",
    )
    .with_code("stream_incomplete")
}

const INTERRUPTED: &str = "stream_interrupted";

/// 503: the stream may go on, and cannot be followed now. As an event it is no end:
/// whoever asks again with the last id gets the rest.
#[must_use]
pub fn interrupted() -> Error {
    Error::unavailable("the stream cannot be followed now: ask again with the last id")
        .with_code(INTERRUPTED)
        .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
}

/// Whether `error` says [`interrupted`].
#[must_use]
pub fn is_interrupted(error: &Error) -> bool {
    error.code() == INTERRUPTED
}

/// 403: somebody else's stream.
#[must_use]
pub fn not_yours() -> Error {
    Error::forbidden("only who started a stream may follow or stop it").with_code("not_your_stream")
}

/// The last event of a stream that was stopped on request.
#[must_use]
pub fn stopped() -> Error {
    Error::new(StatusCode::GONE, "the stream was stopped").with_code("stream_stopped")
}

/// The last event of a stream that nobody followed for `grace`.
#[must_use]
pub fn abandoned(grace: Duration) -> Error {
    let text = format!("nobody followed the stream for {grace:?}: it was cancelled");
    Error::new(StatusCode::GONE, text).with_code("stream_abandoned")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_went() {
        let stream = StreamId::generate();
        for position in [
            Position::new(1, 0),
            Position::new(17, 3),
            Position::new(1 << 40, 65_535),
            None,
        ] {
            let id = EventId {
                stream: stream.clone(),
                position,
            };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert!(Position::new(2, 0) > Position::new(1, 7));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let stream = StreamId::generate();
        for bad in [
            "", "0", "+1", "1.", "1.+2", "1.65536", "x", "1.2.3", "end.1",
        ] {
            let text = format!("{stream}.{bad}");
            assert_eq!(text.parse::<EventId>(), Err(NoEventId), "{text}");
        }
        for bad in [
            "",
            "17",
            ".1",
            "short.1",
            "with space in it now.1",
            "UPPERCASE-IS-NOT-IT.1",
        ] {
            assert_eq!(bad.parse::<EventId>(), Err(NoEventId), "{bad}");
        }
    }
}
