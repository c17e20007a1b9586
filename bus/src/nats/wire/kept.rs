//! Kept streams: their ids, and what their messages say.

use std::time::{Duration, SystemTime};

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use framex_core::error::Error;
use framex_core::event::{Event, MESSAGE_CHUNK};
use framex_core::kept::StreamId;
use serde::{Deserialize, Serialize};

use super::answer::{self, Answer, Outgoing, read_answer};
use super::chunk::{Chunks, lines};
use super::{END, ERROR, ERROR_CODE, EVENT, STREAM};

/// Of the connection that started a stream: the first part of its id.
pub(crate) const TOKEN: usize = 12;
/// Nobody can guess this many characters.
const SECRET: usize = 28;

/// A new id for a stream of the connection with this token.
pub(crate) fn new_stream(token: &str) -> Option<StreamId> {
    StreamId::parse(&format!("{token}{}", random(SECRET)))
}

/// Whether it is an id of this kind; a process has others of its own.
pub(crate) fn is_stream(id: &StreamId) -> bool {
    let text = id.as_str();
    text.len() == TOKEN + SECRET && !text.contains('-')
}

/// The token of the connection that started it, and the rest.
pub(crate) fn split(id: &StreamId) -> (&str, &str) {
    id.as_str().split_at_checked(TOKEN).unwrap_or_default()
}

/// So many characters of `[a-z0-9]` that nobody can guess.
pub(crate) fn random(count: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(count);
    while text.len() < count {
        let mut number = uuid::Uuid::new_v4().as_u128();
        // Fewer than the number has: each is as likely as any other.
        for _ in 0..12.min(count - text.len()) {
            text.push(char::from(
                DIGITS[usize::try_from(number % 36).unwrap_or(0)],
            ));
            number /= 36;
        }
    }
    text
}

/// How a caller wants its stream to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) id: StreamId,
    /// How long it goes on with nobody following it.
    pub(crate) grace: Duration,
    /// How long messages are kept.
    pub(crate) age: Duration,
}

impl Keep {
    /// Adds the header that asks for it.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        let (grace, age) = (self.grace.as_millis(), self.age.as_millis());
        headers.insert(STREAM, format!("{};grace={grace};age={age}", self.id));
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let mut members = text.split(';');
        let id = StreamId::parse(members.next()?.trim()).filter(is_stream)?;
        let mut keep = Self {
            id,
            grace: Duration::from_secs(10),
            age: Duration::from_secs(600),
        };
        for member in members {
            let (key, value) = member.trim().split_once('=').unwrap_or((member, ""));
            let value = value.parse().ok().map(Duration::from_millis);
            match (key, value) {
                ("grace", Some(value)) => keep.grace = value,
                ("age", Some(value)) => keep.age = value,
                _ => {}
            }
        }
        Some(keep)
    }
}

/// The first message of a kept stream, number 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) api: String,
    pub(crate) instance: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<String>,
    /// In milliseconds since 1970.
    #[serde(default)]
    pub(crate) started: u64,
}

impl Head {
    pub(crate) fn new(api: &str, instance: &str, principal: Option<&str>) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let started = since.map_or(0, |since| since.as_millis());
        Self {
            api: api.to_owned(),
            instance: instance.to_owned(),
            principal: principal.map(str::to_owned),
            started: u64::try_from(started).unwrap_or(0),
        }
    }

    pub(crate) fn payload(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

/// What a new follower is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Followed {
    /// It does not run here, or not any more: all that there is is stored.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unknown: bool,
    /// The messages up to this one are stored ...
    pub(crate) stored: u64,
    /// ... and up to this one have been sent. What is between them is sent again ...
    pub(crate) last: u64,
    /// ... unless the store takes no more: then that is lost.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) broken: bool,
}

impl Followed {
    pub(crate) fn payload(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// Events of one name, as one message of a kept stream.
pub(crate) fn kept_events(events: &[Event]) -> Outgoing {
    let name = events.first().map_or(MESSAGE_CHUNK, Event::name);
    Outgoing {
        headers: (name != MESSAGE_CHUNK)
            .then(|| HeaderMap::from_iter([(EVENT, name.to_owned().into())])),
        payload: lines(events),
    }
}

/// The last message of a kept stream, which is its `number`th.
pub(crate) fn kept_end(number: u64, end: Result<(), &Error>) -> Outgoing {
    let mut out = match end {
        Ok(()) => Outgoing::bare(Bytes::new()),
        Err(error) => answer::error(error, true),
    };
    let headers = out.headers.get_or_insert_default();
    headers.insert(END, number.to_string());
    out
}

/// What a message of a kept stream says, its head excepted.
#[derive(Debug)]
pub(crate) enum KeptMessage {
    Events(Chunks),
    End { number: u64 },
    Failed(Error),
}

/// Reads a message of a kept stream; the error says what is wrong with it.
pub(crate) fn read_kept(message: Message) -> Result<KeptMessage, String> {
    let headers = message.headers.as_ref();
    let has = |name| headers.is_some_and(|headers| headers.get(name).is_some());
    if has(END) || has(ERROR) || has(ERROR_CODE) {
        return match read_answer(message)? {
            Answer::End { count } => Ok(KeptMessage::End { number: count }),
            Answer::Failed { error, .. } => Ok(KeptMessage::Failed(error)),
            _ => Err("a stream's end that is none".to_owned()),
        };
    }
    let name = headers.and_then(|headers| headers.get(EVENT));
    let name = name.map(|name| name.as_str().to_owned());
    Chunks::of_lines(1, name.as_deref(), message.payload).map(KeptMessage::Events)
}

/// Whether it is the last message of a kept stream.
pub(crate) fn is_end(message: &Message) -> bool {
    let headers = message.headers.as_ref();
    headers.is_some_and(|headers| headers.get(END).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_connection_in_front_and_cannot_be_guessed() {
        let token = random(TOKEN);
        let (one, other) = (new_stream(&token).unwrap(), new_stream(&token).unwrap());
        assert_ne!(one, other);
        assert_eq!(split(&one).0, token);
        assert!(is_stream(&one) && !is_stream(&StreamId::generate()));
    }

    #[test]
    fn how_to_keep_a_stream_is_read_as_it_is_asked() {
        let keep = Keep {
            id: new_stream(&random(TOKEN)).unwrap(),
            grace: Duration::from_millis(1500),
            age: Duration::from_secs(60),
        };
        let mut headers = HeaderMap::new();
        keep.ask(&mut headers);
        let text = headers.get(STREAM).unwrap().as_str();
        assert_eq!(Keep::read(text), Some(keep.clone()));
        let id = &keep.id;
        let usual = Keep::read(&format!("{id}; new=1;grace=x")).unwrap();
        assert_eq!(usual.grace, Duration::from_secs(10));
        for bad in ["", "short", "../../../../../../../../../../../../../.."] {
            assert_eq!(Keep::read(bad), None, "{bad}");
        }
    }
}
