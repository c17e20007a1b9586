//! Where each argument of a call lies, before it is read.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::check;
use super::http_args::{HttpArgs, Told, Upload, decode};
use crate::descriptor::{ApiDescriptor, Location};
use crate::payload::reader::{Head, Reader};
use crate::payload::{Malformed, Payload, to_json_text};
use crate::problem::Problem;

/// What was given for each parameter, undecoded, in the order of the parameters.
pub(super) enum Source<'a> {
    Http {
        request: &'a HttpArgs,
        query: Query<'a>,
    },
    Sent {
        payload: &'a Bytes,
        values: Values<'a>,
    },
}

/// Every value of each parameter in a query.
pub(super) type Query<'a> = SmallVec<[SmallVec<[&'a str; 1]>; 4]>;

/// Each parameter's value in a map.
pub(super) type Values<'a> = SmallVec<[Option<Sent<'a>>; 8]>;

/// One value of a map.
#[derive(Clone, Copy)]
pub(super) enum Sent<'a> {
    Json(&'a RawValue),
    Packed(&'a [u8]),
}

/// The values of `request`'s query that `api` has parameters for.
pub(super) fn query_values<'a>(
    api: &ApiDescriptor,
    request: &'a HttpArgs,
    problems: &mut Vec<Problem>,
) -> Query<'a> {
    let mut values: Query<'a> = std::iter::repeat_with(SmallVec::new)
        .take(api.parameters.len())
        .collect();
    let index_of = |name: &str| {
        api.parameters
            .iter()
            .position(|p| p.location == Location::Query && p.name == name)
    };
    for (name, value) in request.query() {
        // Most names are spelled plainly.
        let mut index = index_of(name);
        if index.is_none() {
            match decode(name, true) {
                Ok(name) => index = index_of(&name),
                Err(error) => {
                    let (kind, msg) = Told::from(error);
                    problems.push(Problem::new(kind, vec!["query".into()], msg));
                }
            }
        }
        if let Some(index) = index {
            values[index].push(value);
        }
    }
    values
}

/// The members of `payload` that `api` has parameters for. No bytes are no arguments.
pub(super) fn sent_values<'a>(
    api: &ApiDescriptor,
    payload: &'a Payload,
    problems: &mut Vec<Problem>,
) -> Values<'a> {
    let none = || SmallVec::from_elem(None, api.parameters.len());
    let read = match payload {
        Payload::Json(json) if json.trim_ascii().is_empty() => Ok(none()),
        Payload::Json(json) => json_values(api, json),
        Payload::MessagePack(bytes) if bytes.is_empty() => Ok(none()),
        Payload::MessagePack(bytes) => packed_values(api, bytes),
    };
    read.unwrap_or_else(|problem| {
        problems.push(problem);
        none()
    })
}

fn json_values<'a>(api: &ApiDescriptor, json: &'a [u8]) -> Result<Values<'a>, Problem> {
    let Ok(text) = simdutf8::basic::from_utf8(json) else {
        let error = serde::de::Error::custom("not UTF-8");
        return Err(check::not_json(json, &error));
    };
    let mut input = serde_json::Deserializer::from_str(text);
    let read = input
        .deserialize_map(Members(api))
        .and_then(|values| input.end().map(|()| values));
    read.map_err(|error| {
        if error.is_data() {
            let kind = serde_json::from_str(text).map_or("no JSON", |value| check::kind_of(&value));
            no_map(kind)
        } else {
            check::malformed(json, &error)
        }
    })
}

fn no_map(kind: &str) -> Problem {
    Problem::new(
        "dict_type",
        vec!["body".into()],
        format!("expected an object of named arguments, got {kind}"),
    )
}

struct Members<'n>(&'n ApiDescriptor);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Values<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of named arguments")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values: Self::Value = SmallVec::from_elem(None, self.0.parameters.len());
        while let Some(index) = map.next_key_seed(Name(self.0))? {
            let value: &'de RawValue = map.next_value()?;
            if let Some(index) = index {
                values[index] = Some(Sent::Json(value));
            }
        }
        Ok(values)
    }
}

/// A name, as the place of its parameter.
struct Name<'n>(&'n ApiDescriptor);

impl Name<'_> {
    fn place(&self, name: &str) -> Option<usize> {
        self.0.parameters.iter().position(|p| p.name == name)
    }
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.place(name))
    }
}

fn packed_values<'a>(api: &ApiDescriptor, bytes: &'a [u8]) -> Result<Values<'a>, Problem> {
    let read = || {
        let mut reader = Reader::new(bytes);
        let count = match reader.head()? {
            Head::Map(count) => count,
            other => return Ok(Err(no_map(other.kind()))),
        };
        let mut values: Values<'a> = SmallVec::from_elem(None, api.parameters.len());
        for _ in 0..count {
            let Head::Text(length) = reader.head()? else {
                return Err(reader.malformed("a name that is no text"));
            };
            let place = Name(api).place(reader.text(length)?);
            let value = reader.value()?;
            if let Some(place) = place {
                values[place] = Some(Sent::Packed(value));
            }
        }
        reader.end().map(|()| Ok(values))
    };
    read().map_err(|error: Malformed| {
        let loc = vec!["body".into(), error.at.into()];
        Problem::new("msgpack_invalid", loc, format!("the arguments are {error}"))
    })?
}

/// Something else than what was asked for.
pub(super) struct Otherwise;

impl From<Malformed> for Otherwise {
    fn from(_: Malformed) -> Self {
        Self
    }
}

impl<'a> Sent<'a> {
    /// The text of which an edge, that saw it in a request, has made it.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Json(raw) => {
                let json = raw.get();
                match json.as_bytes() {
                    [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
                        Some(Cow::Borrowed(&json[1..json.len() - 1]))
                    }
                    [b'"', ..] => serde_json::from_str(json).ok().map(Cow::Owned),
                    [b'-' | b'0'..=b'9' | b't' | b'f', ..] => Some(Cow::Borrowed(json)),
                    _ => None,
                }
            }
            Self::Packed(value) => {
                let mut reader = Reader::new(value);
                match reader.head().ok()? {
                    Head::Text(length) => reader.text(length).ok().map(Cow::Borrowed),
                    Head::Bool(_)
                    | Head::Unsigned(_)
                    | Head::Signed(_)
                    | Head::Single(_)
                    | Head::Double(_) => to_json_text(value).ok().map(Cow::Owned),
                    _ => None,
                }
            }
        }
    }

    /// The texts of which an edge has made a list.
    pub(super) fn texts(self) -> Option<Vec<Cow<'a, str>>> {
        match self {
            Self::Json(raw) => {
                let items: Vec<&'a RawValue> = serde_json::from_str(raw.get()).ok()?;
                items
                    .into_iter()
                    .map(|item| Self::Json(item).text())
                    .collect()
            }
            Self::Packed(value) => {
                let mut reader = Reader::new(value);
                let Head::List(count) = reader.head().ok()? else {
                    return None;
                };
                (0..count)
                    .map(|_| Self::Packed(reader.value().ok()?).text())
                    .collect()
            }
        }
    }

    /// Its bytes, where it is some, as a part of `payload`.
    pub(super) fn bytes(self, payload: &Bytes) -> Result<Bytes, Otherwise> {
        let list = |json: &[u8]| serde_json::from_slice::<Vec<u8>>(json).map_err(|_| Otherwise);
        match self {
            Self::Json(raw) => Ok(list(raw.get().as_bytes())?.into()),
            Self::Packed(value) => {
                let mut reader = Reader::new(value);
                if let Head::Binary(length) = reader.head()? {
                    return Ok(payload.slice_ref(reader.take(length)?));
                }
                Ok(list(to_json_text(value)?.as_bytes())?.into())
            }
        }
    }

    /// Whether it is a map: of what an edge found in a form only a file is one.
    pub(super) fn is_file(self) -> bool {
        match self {
            Self::Json(_) => false,
            Self::Packed(value) => matches!(Reader::new(value).head(), Ok(Head::Map(_))),
        }
    }

    /// Its files, where it is one, several or none.
    pub(super) fn files(self, payload: &Bytes) -> Result<Vec<Upload>, Otherwise> {
        match self {
            Self::Json(raw) => json_files(raw.get()),
            Self::Packed(value) => {
                let mut reader = Reader::new(value);
                match reader.head()? {
                    Head::Null => Ok(Vec::new()),
                    Head::List(count) => (0..count).map(|_| file(&mut reader, payload)).collect(),
                    _ => Ok(vec![file(&mut Reader::new(value), payload)?]),
                }
            }
        }
    }
}

fn json_files(json: &str) -> Result<Vec<Upload>, Otherwise> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        filename: Option<String>,
        #[serde(default)]
        content_type: Option<String>,
        bytes: Vec<u8>,
    }

    let files: Option<Vec<File>> = if json.starts_with('[') {
        serde_json::from_str(json).map_err(|_| Otherwise)?
    } else {
        let file: Option<File> = serde_json::from_str(json).map_err(|_| Otherwise)?;
        file.map(|file| vec![file])
    };
    let files = files.into_iter().flatten().map(|file| Upload {
        filename: file.filename.unwrap_or_default(),
        content_type: file.content_type.unwrap_or_default(),
        bytes: file.bytes.into(),
    });
    Ok(files.collect())
}

/// A map with the `bytes` of a file, or only those.
fn file(reader: &mut Reader<'_>, payload: &Bytes) -> Result<Upload, Otherwise> {
    let mut file = Upload::default();
    let count = match reader.head()? {
        Head::Binary(length) => {
            file.bytes = payload.slice_ref(reader.take(length)?);
            return Ok(file);
        }
        Head::Map(count) => count,
        _ => return Err(Otherwise),
    };
    let mut has_bytes = false;
    for _ in 0..count {
        let Head::Text(length) = reader.head()? else {
            return Err(Otherwise);
        };
        let name = reader.text(length)?;
        let mut value = Reader::new(reader.value()?);
        match (name, value.head()?) {
            ("filename", Head::Text(length)) => file.filename = value.text(length)?.to_owned(),
            ("content_type", Head::Text(length)) => {
                file.content_type = value.text(length)?.to_owned();
            }
            ("filename" | "content_type", Head::Null) => {}
            ("bytes", Head::Binary(length)) => {
                file.bytes = payload.slice_ref(value.take(length)?);
                has_bytes = true;
            }
            ("filename" | "content_type" | "bytes", _) => return Err(Otherwise),
            _ => {}
        }
    }
    if has_bytes { Ok(file) } else { Err(Otherwise) }
}
