//! Arguments that still lie in an HTTP request.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Uri};
use smallvec::SmallVec;

use super::upload::Slot;
use crate::payload::json;

/// The parts of a request that hold arguments.
#[derive(Debug)]
pub struct HttpArgs {
    /// The method.
    pub method: Method,
    /// Path and query, undecoded.
    pub uri: Uri,
    /// Where the path's parameters are.
    pub path: PathValues,
    /// The body.
    pub body: HttpBody,
}

/// The values of a template's parameters, as places in the undecoded path.
#[derive(Debug, Clone, Default)]
pub struct PathValues {
    /// The template's parameter names, in order.
    pub names: Arc<[String]>,
    /// Start and end of each value, in bytes.
    pub spans: SmallVec<[(u32, u32); 4]>,
}

/// A body, as far as the edge has read it.
#[derive(Debug, Default)]
pub enum HttpBody {
    /// None, or none wanted.
    #[default]
    Empty,
    /// JSON, not yet checked.
    Json(Bytes),
    /// Bytes of any kind.
    Raw(Bytes),
    /// Bytes of any kind, as they come.
    Upload(Slot),
    /// The fields of a multipart body, in order.
    Form(Vec<(String, FormField)>),
}

impl HttpBody {
    /// Its files.
    pub(super) fn slots(&self) -> Vec<&Slot> {
        match self {
            Self::Upload(slot) => vec![slot],
            Self::Form(fields) => {
                let files = fields.iter().filter_map(|(_, field)| match field {
                    FormField::File(slot) => Some(slot),
                    FormField::Text(_) => None,
                });
                files.collect()
            }
            Self::Empty | Self::Json(_) | Self::Raw(_) => Vec::new(),
        }
    }
}

/// One field of a multipart body.
#[derive(Debug)]
pub enum FormField {
    /// A text.
    Text(String),
    /// A file.
    File(Slot),
}

impl HttpArgs {
    /// The undecoded value of a path parameter.
    pub(super) fn path_value(&self, name: &str) -> Option<&str> {
        let index = self.path.names.iter().position(|n| n == name)?;
        let (start, end) = *self.path.spans.get(index)?;
        self.uri.path().get(start as usize..end as usize)
    }

    /// The undecoded pairs of the query string.
    pub(super) fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = self.uri.query().unwrap_or_default();
        std::iter::from_fn(move || {
            let pair = loop {
                if rest.is_empty() {
                    return None;
                }
                let (pair, others) = cut(rest, b'&');
                rest = others;
                if !pair.is_empty() {
                    break pair;
                }
            };
            Some(cut(pair, b'='))
        })
    }
}

impl HttpBody {
    /// All of it, where it is one piece.
    pub(super) fn bytes(&self) -> Bytes {
        match self {
            Self::Raw(bytes) | Self::Json(bytes) => bytes.clone(),
            Self::Empty | Self::Upload(_) | Self::Form(_) => Bytes::new(),
        }
    }

    /// The file that it is, where it is one.
    pub(super) fn upload(&self) -> Option<&Slot> {
        match self {
            Self::Upload(slot) => Some(slot),
            _ => None,
        }
    }

    /// The JSON, if there is any.
    pub(super) fn json(&self) -> Option<&Bytes> {
        match self {
            Self::Json(body) if !body.is_empty() => Some(body),
            _ => None,
        }
    }

    fn fields(&self, name: &str) -> impl Iterator<Item = &FormField> {
        let fields = match self {
            Self::Form(fields) => &fields[..],
            _ => &[],
        };
        fields
            .iter()
            .filter(move |(field, _)| field == name)
            .map(|(_, field)| field)
    }

    /// The texts of the form's fields called `name`.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<Cow<'_, str>>, FileForText<'_>> {
        let texts = self.fields(name).map(|field| match field {
            FormField::Text(text) => Ok(Cow::Borrowed(text.as_str())),
            FormField::File(file) => Err(FileForText(file)),
        });
        texts.collect()
    }

    /// The files of the form's fields called `name`.
    pub(super) fn files(&self, name: &str) -> Result<Vec<&Slot>, TextForFile<'_>> {
        let files = self.fields(name).map(|field| match field {
            FormField::File(file) => Ok(file),
            FormField::Text(text) => Err(TextForFile(text)),
        });
        files.collect()
    }
}

/// A field of a form that is the wrong one of two kinds.
pub(super) struct FileForText<'a>(pub(super) &'a Slot);
/// See [`FileForText`].
pub(super) struct TextForFile<'a>(pub(super) &'a str);

pub(super) const FILE_FOR_TEXT: Told = ("string_type", "expected a text field, got a file");
pub(super) const TEXT_FOR_FILE: Told = (
    "file_type",
    "expected a file (a part with a filename), got a text field",
);

/// What a problem says of itself: its type and message.
pub(super) type Told = (&'static str, &'static str);

impl From<Undecodable> for Told {
    fn from(error: Undecodable) -> Self {
        match error {
            Undecodable::Percent => (
                "percent_encoding",
                "expected `%` to be followed by two hexadecimal digits; write `%25` for a percent sign",
            ),
            Undecodable::Utf8 => ("string_unicode", "expected percent-encoded UTF-8"),
        }
    }
}

/// What is before and behind the first `mark`, an ASCII character; a search by
/// `char` takes longer than such short texts deserve.
fn cut(text: &str, mark: u8) -> (&str, &str) {
    match text.bytes().position(|byte| byte == mark) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    }
}

/// Why a text of a URL cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecodable {
    Percent,
    Utf8,
}

/// Decodes `%xx`, and `+` as a space where `plus` says so.
pub(super) fn decode(text: &str, plus: bool) -> Result<Cow<'_, str>, Undecodable> {
    if !text.bytes().any(|b| b == b'%' || (plus && b == b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(byte) = next(&mut rest, plus)? {
        decoded.push(byte);
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| Undecodable::Utf8)
}

/// Decodes as [`decode`], straight into a JSON text.
pub(super) fn decode_to_json(out: &mut Vec<u8>, text: &str, plus: bool) -> Result<(), Undecodable> {
    const STOPS: [bool; 256] = json::special(b"%+");
    let start = out.len();
    let mut rest = text.as_bytes();
    let mut decoded = false;
    out.push(b'"');
    while json::copy_until(out, &mut rest, &STOPS) {
        let encoded = rest[0] == b'%';
        let Some(byte) = next(&mut rest, plus)? else {
            break;
        };
        decoded |= encoded && !byte.is_ascii();
        json::escaped(out, byte);
    }
    // Escaped or not, the same bytes are foreign to UTF-8.
    if decoded && std::str::from_utf8(&out[start..]).is_err() {
        return Err(Undecodable::Utf8);
    }
    out.push(b'"');
    Ok(())
}

/// The next byte, decoded.
fn next(rest: &mut &[u8], plus: bool) -> Result<Option<u8>, Undecodable> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    match **rest {
        [] => Ok(None),
        [b'%', high, low, ref after @ ..] => {
            *rest = after;
            let value = digit(high).zip(digit(low));
            let value = value.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
            value.map(Some).ok_or(Undecodable::Percent)
        }
        [b'%', ..] => Err(Undecodable::Percent),
        [byte, ref after @ ..] => {
            *rest = after;
            Ok(Some(if plus && byte == b'+' { b' ' } else { byte }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoding_is_strict() {
        assert_eq!(decode("a+b%20c", true).unwrap(), "a b c");
        assert_eq!(decode("a+b", false).unwrap(), "a+b");
        assert_eq!(decode("%C3%A4", true).unwrap(), "ä");
        assert_eq!(decode("%00", true).unwrap(), "\0");
        for bad in ["%", "%z", "%zz", "a%2"] {
            assert_eq!(decode(bad, true), Err(Undecodable::Percent), "{bad}");
        }
        assert_eq!(decode("%ff", true), Err(Undecodable::Utf8));
    }

    #[test]
    fn texts_become_json_as_they_are_decoded() {
        for text in [
            "",
            "plain",
            "a+b%20c%2B%25",
            "%22%5C%0a%0D%09%00%1f%7f",
            "\"",
            "%C3%A4%E2%82%AC%F0%9F%98%80",
            "ä%20ö",
            "%",
            "%4",
            "%zz",
            "%4g",
            "a%ff",
            "%C3x%A4",
            "%C3%22%A4",
            "%ED%A0%80",
        ] {
            for plus in [true, false] {
                let mut out = Vec::new();
                let written = decode_to_json(&mut out, text, plus)
                    .map(|()| serde_json::from_slice::<String>(&out).unwrap());
                let decoded = decode(text, plus).map(Cow::into_owned);
                assert_eq!(written, decoded, "{text}");
            }
        }
    }
}
