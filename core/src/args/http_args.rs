//! Arguments that still lie in an HTTP request.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{StatusCode, Uri};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::check;
use crate::descriptor::{ApiDescriptor, Location};
use crate::error::Error;

/// The parts of a request that hold arguments.
#[derive(Debug)]
pub struct HttpArgs {
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
    /// The fields of a multipart body, in order.
    Form(Vec<(String, FormField)>),
}

/// One field of a multipart body.
#[derive(Debug, Clone)]
pub enum FormField {
    /// A text.
    Text(String),
    /// A file.
    File(Upload),
}

/// An uploaded file, in memory, no larger than the edge's `max_body_size`.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// The client's name for it, untrusted; empty if it gave none.
    pub filename: String,
    /// The client's media type for it, untrusted; empty if it gave none.
    pub content_type: String,
    /// The contents.
    pub bytes: Bytes,
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
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let value = high.zip(low).map(|(high, low)| high << 4 | low);
                let value = value.and_then(|value| u8::try_from(value).ok());
                value.ok_or(Undecodable::Percent)?
            }
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| Undecodable::Utf8)
}

pub(super) fn to_json(request: &HttpArgs, api: &ApiDescriptor) -> Result<Bytes, Error> {
    let unreadable = |_| Error::bad_request("the URL is not valid percent-encoded UTF-8");
    let mut map: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for parameter in &api.parameters {
        let list = check::is_list(&parameter.schema);
        let texts: Vec<Cow<'_, str>> = match parameter.location {
            Location::Query => request
                .query()
                .filter(|(name, _)| decode(name, true).is_ok_and(|n| n == parameter.name.as_str()))
                .map(|(_, value)| decode(value, true).map_err(unreadable))
                .collect::<Result<_, _>>()?,
            Location::Path => request
                .path_value(&parameter.name)
                .map(|value| decode(value, false).map_err(unreadable))
                .transpose()?
                .into_iter()
                .collect(),
            Location::Form => match &request.body {
                HttpBody::Form(fields) => fields
                    .iter()
                    .filter(|(name, _)| *name == parameter.name)
                    .filter_map(|(_, field)| match field {
                        FormField::Text(text) => Some(Cow::Borrowed(text.as_str())),
                        FormField::File(_) => None,
                    })
                    .collect(),
                _ => Vec::new(),
            },
            Location::Body => {
                if let HttpBody::Json(body) = &request.body {
                    // Checked here, spliced as it is.
                    let raw: &RawValue = serde_json::from_slice(body)
                        .map_err(|error| Error::validation(vec![check::malformed(body, &error)]))?;
                    map.insert(&parameter.name, raw.to_owned());
                }
                continue;
            }
            Location::Raw | Location::File => {
                return Err(Error::new(
                    StatusCode::NOT_IMPLEMENTED,
                    format!(
                        "`{}` takes bytes, which only its own process can be given",
                        api.id
                    ),
                ));
            }
        };
        let value = if list && !texts.is_empty() {
            let items = check::items(&parameter.schema);
            let values: Vec<_> = texts
                .iter()
                .map(|text| check::read_text(items, &api.components, text))
                .collect();
            serde_json::value::to_raw_value(&values)
        } else if let Some(text) = texts.last() {
            serde_json::value::to_raw_value(&check::read_text(
                &parameter.schema,
                &api.components,
                text,
            ))
        } else {
            continue;
        };
        map.insert(&parameter.name, value.map_err(Error::internal)?);
    }
    Ok(serde_json::to_vec(&map).map_err(Error::internal)?.into())
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
}
