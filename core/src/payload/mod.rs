//! Payloads: what travels on a bus, JSON or MessagePack.
//!
//! Nothing is built into a tree on the way from one to the other. Values nested
//! deeper than [`MAX_DEPTH`] are refused, and what comes out is at most six times
//! as long as what went in.
//!
//! | MessagePack | JSON |
//! |---|---|
//! | bin | a list of numbers from 0 to 255 |
//! | a number that is no number, or infinite | `null` |
//! | a map's key that is an integer | its digits as a text |
//! | another key that is no text, an extension | refused |

pub mod json;
pub(crate) mod message_pack;

use bytes::Bytes;

/// How deep lists and maps may be nested.
pub const MAX_DEPTH: usize = 127;

/// The media type of JSON.
pub const JSON: &str = "application/json";
/// The media type of MessagePack.
pub const MESSAGE_PACK: &str = "application/msgpack";

/// The bytes of a message and how to read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// One JSON value.
    Json(Bytes),
    /// One MessagePack value.
    MessagePack(Bytes),
}

impl Payload {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Json(bytes) | Self::MessagePack(bytes) => bytes,
        }
    }

    /// The bytes, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Json(bytes) | Self::MessagePack(bytes) => bytes,
        }
    }
}

/// Why bytes are not what they are said to be. Never repeats them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not valid {format}: {what}{}", at.map(|at| format!(" at byte {at}")).unwrap_or_default())]
pub struct Malformed {
    /// `JSON` or `MessagePack`.
    pub format: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// How many bytes were read before, where the parser tells.
    pub at: Option<usize>,
}

impl Malformed {
    /// What the parser found wrong with `json`.
    #[must_use]
    pub fn json(json: &[u8], error: &serde_json::Error) -> Self {
        let line_start: usize = json
            .split_inclusive(|b| *b == b'\n')
            .take(error.line().saturating_sub(1))
            .map(<[u8]>::len)
            .sum();
        let what = if error.is_eof() {
            "it ends too early"
        } else if std::str::from_utf8(json).is_err() {
            "it is not UTF-8"
        } else if error.to_string().starts_with("recursion limit") {
            "it is nested too deeply"
        } else {
            "syntax error"
        };
        Self {
            format: "JSON",
            what,
            at: Some((line_start + error.column().saturating_sub(1)).min(json.len())),
        }
    }
}

/// MessagePack as JSON.
///
/// # Errors
///
/// [`Malformed`], also for what JSON cannot say.
pub fn to_json(message_pack: &[u8]) -> Result<Bytes, Malformed> {
    Ok(to_json_text(message_pack)?.into())
}

pub(crate) fn to_json_text(message_pack: &[u8]) -> Result<String, Malformed> {
    let mut out = Vec::with_capacity(message_pack.len() + message_pack.len() / 4);
    message_pack::read(message_pack, MAX_DEPTH, message_pack::ToJson(&mut out))?;
    String::from_utf8(out).map_err(|_| message_pack::malformed("a text that is not UTF-8"))
}

/// JSON as MessagePack, each value in its shortest form.
///
/// # Errors
///
/// [`Malformed`].
pub fn to_message_pack(json: &[u8]) -> Result<Bytes, Malformed> {
    let mut out = Vec::with_capacity(json.len());
    let mut input = serde_json::Deserializer::from_slice(json);
    let written = serde_transcode::transcode(&mut input, &mut rmp_serde::Serializer::new(&mut out));
    // MessagePack counts no further than 32 bits.
    let countable = u32::try_from(json.len()).is_ok();
    if written.is_ok() && input.end().is_ok() && countable {
        return Ok(out.into());
    }
    // The transcoder's error is but a text; the parser's says where it is.
    Err(match serde_json::from_slice::<serde_json::Value>(json) {
        Err(error) => Malformed::json(json, &error),
        Ok(_) => message_pack::malformed("it is too long"),
    })
}

#[cfg(test)]
mod tests;
