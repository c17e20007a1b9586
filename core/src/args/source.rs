//! Where each argument of a call lies, before it is read.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::binary::{Attempt, Binary, Files};
use super::check;
use super::http_args::{HttpArgs, Told, decode};
use super::upload::Upload;
use crate::body::Bodies;
use crate::descriptor::{ApiDescriptor, Location};
use crate::payload::message_pack::{self, ToJson};
use crate::payload::{self, Payload, to_json_text};
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
        bodies: Option<&'a Arc<dyn Bodies>>,
    },
}

/// Every value of each parameter in a query.
pub(super) type Query<'a> = SmallVec<[SmallVec<[&'a str; 1]>; 4]>;

/// Each parameter's value in a map.
pub(super) type Values<'a> = SmallVec<[Option<Sent<'a>>; 8]>;

/// One value of a map.
pub(super) enum Sent<'a> {
    /// As it lies in the payload, or made of MessagePack.
    Json(Cow<'a, str>),
    /// MessagePack's for a body that is not looked into.
    Raw(Attempt<Binary<'a>>),
    /// MessagePack's for files.
    Files(Attempt<Files<'a>>),
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
    let read = match payload {
        Payload::Json(json) if json.trim_ascii().is_empty() => Ok(none_of(api)),
        Payload::Json(json) => json_values(api, json),
        Payload::MessagePack(bytes) if bytes.is_empty() => Ok(none_of(api)),
        Payload::MessagePack(bytes) => packed_values(api, bytes),
    };
    read.unwrap_or_else(|problem| {
        problems.push(problem);
        none_of(api)
    })
}

fn none_of<'a>(api: &ApiDescriptor) -> Values<'a> {
    std::iter::repeat_with(|| None)
        .take(api.parameters.len())
        .collect()
}

fn json_values<'a>(api: &ApiDescriptor, json: &'a [u8]) -> Result<Values<'a>, Problem> {
    let Ok(text) = simdutf8::basic::from_utf8(json) else {
        let error = serde::de::Error::custom("not UTF-8");
        return Err(check::not_json(json, &error));
    };
    let mut input = serde_json::Deserializer::from_str(text);
    let read = input
        .deserialize_map(Members { api, packed: false })
        .and_then(|values| input.end().map(|()| values));
    read.map_err(|error| {
        if error.is_data() {
            no_map(text)
        } else {
            check::malformed(json, &error)
        }
    })
}

fn packed_values<'a>(api: &ApiDescriptor, bytes: &'a [u8]) -> Result<Values<'a>, Problem> {
    // Within the map, each is nested as deep as a JSON value of its own may be.
    let depth = payload::MAX_DEPTH + 1;
    let members = Members { api, packed: true };
    message_pack::read(bytes, depth, members).map_err(|error| match to_json_text(bytes) {
        Ok(json) if !json.starts_with('{') => no_map(&json),
        _ => Problem::new(
            "msgpack_invalid",
            vec!["body".into()],
            format!("the arguments are {error}"),
        ),
    })
}

/// `json` is something else.
fn no_map(json: &str) -> Problem {
    let value = serde_json::from_str::<Value>(json);
    let kind = value.map_or("no JSON", |value| check::kind_of(&value));
    Problem::new(
        "dict_type",
        vec!["body".into()],
        format!("expected an object of named arguments, got {kind}"),
    )
}

struct Members<'n> {
    api: &'n ApiDescriptor,
    /// In MessagePack.
    packed: bool,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Values<'de>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Values<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of named arguments")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = none_of(self.api);
        while let Some(index) = map.next_key_seed(Name(self.api))? {
            match index {
                Some(index) if self.packed => {
                    let location = self.api.parameters[index].location;
                    values[index] = Some(map.next_value_seed(Packed(location))?);
                }
                Some(index) => {
                    let value: &'de RawValue = map.next_value()?;
                    values[index] = Some(Sent::Json(Cow::Borrowed(value.get())));
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(values)
    }
}

/// A MessagePack value for a parameter of that place.
struct Packed(Location);

impl<'de> DeserializeSeed<'de> for Packed {
    type Value = Sent<'de>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            Location::Raw => Attempt::deserialize(input).map(Sent::Raw),
            Location::File | Location::Upload => Attempt::deserialize(input).map(Sent::Files),
            _ => {
                let mut json = Vec::new();
                ToJson(&mut json).deserialize(input)?;
                let json = String::from_utf8(json).map_err(serde::de::Error::custom)?;
                Ok(Sent::Json(Cow::Owned(json)))
            }
        }
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

/// The text of which an edge, that saw it in a request, has made `json`.
pub(super) fn text<'a>(json: &Cow<'a, str>) -> Option<Cow<'a, str>> {
    match json {
        Cow::Borrowed(json) => text_of(json),
        Cow::Owned(json) => text_of(json).map(owned),
    }
}

/// The texts of which an edge has made a list.
pub(super) fn texts<'a>(json: &Cow<'a, str>) -> Option<Vec<Cow<'a, str>>> {
    match json {
        Cow::Borrowed(json) => texts_of(json),
        Cow::Owned(json) => Some(texts_of(json)?.into_iter().map(owned).collect()),
    }
}

fn owned<'a>(text: Cow<'_, str>) -> Cow<'a, str> {
    Cow::Owned(text.into_owned())
}

fn text_of(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes() {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
            Some(Cow::Borrowed(&json[1..json.len() - 1]))
        }
        [b'"', ..] => serde_json::from_str(json).ok().map(Cow::Owned),
        [b'-' | b'0'..=b'9' | b't' | b'f', ..] => Some(Cow::Borrowed(json)),
        _ => None,
    }
}

fn texts_of(json: &str) -> Option<Vec<Cow<'_, str>>> {
    let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    items.into_iter().map(|item| text_of(item.get())).collect()
}

impl Sent<'_> {
    /// Its bytes, where it is some, as a part of `payload`.
    pub(super) fn bytes(self, payload: &Bytes) -> Option<Bytes> {
        match self {
            Self::Raw(Attempt::Read(binary)) => Some(binary.within(payload)),
            Self::Json(json) => {
                let binary: Binary<'_> = serde_json::from_str(&json).ok()?;
                Some(binary.within(payload))
            }
            Self::Raw(Attempt::Otherwise(_)) | Self::Files(_) => None,
        }
    }

    /// Its files, where it is one, several or none, as parts of `payload`.
    pub(super) fn files(
        self,
        payload: &Bytes,
        bodies: Option<&Arc<dyn Bodies>>,
    ) -> Option<Vec<Upload>> {
        match self {
            Self::Files(Attempt::Read(files)) => files.within(payload, bodies),
            Self::Json(json) => {
                let files: Files<'_> = serde_json::from_str(&json).ok()?;
                files.within(payload, bodies)
            }
            Self::Files(Attempt::Otherwise(_)) | Self::Raw(_) => None,
        }
    }
}
