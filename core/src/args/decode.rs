//! Reads the arguments of one call into typed values.

use std::any::Any;
use std::borrow::Cow;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Deserializer as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::check;
use super::http_args::{FormField, HttpArgs, HttpBody, Undecodable, Upload, decode};
use super::text::{Text, TextError, Texts};
use super::{Args, Repr};
use crate::descriptor::{ApiDescriptor, Location, Parameter};
use crate::error::Error;
use crate::problem::{Loc, Problem};
use crate::reply::RawJson;

/// Reads arguments by their place in the API's list of parameters.
///
/// Each method gives `None` after noting what is wrong; read all of them, then
/// ask [`Decoder::finish`].
pub struct Decoder<'a> {
    api: &'a ApiDescriptor,
    source: Source<'a>,
    problems: Vec<Problem>,
}

/// What was given for each parameter, undecoded, in the order of the parameters.
enum Source<'a> {
    Http {
        request: &'a HttpArgs,
        query: SmallVec<[SmallVec<[&'a str; 1]>; 4]>,
    },
    Map(SmallVec<[Option<&'a RawValue>; 8]>),
}

/// What was found for one parameter.
enum Given<'a> {
    Nothing,
    One(Cow<'a, str>),
    Many(Vec<Cow<'a, str>>),
    Json(&'a [u8]),
    /// Unreadable, and noted.
    Bad,
}

impl<'a> Decoder<'a> {
    /// Starts reading `args` for `api`.
    #[must_use]
    pub fn new(api: &'a ApiDescriptor, args: &'a Args) -> Self {
        let mut problems = Vec::new();
        let source = match &args.0 {
            Repr::Http(request) => Source::Http {
                request,
                query: query_values(api, request, &mut problems),
            },
            Repr::Map(object) => Source::Map(map_values(api, object, &mut problems)),
        };
        Self {
            api,
            source,
            problems,
        }
    }

    /// An argument that must be there.
    pub fn required<T: DeserializeOwned + 'static>(&mut self, index: usize) -> Option<T> {
        match self.given(index) {
            Given::Nothing => self.missing(index),
            given => self.read(index, given),
        }
    }

    /// An argument that may be left out or null.
    pub fn optional<T: DeserializeOwned + 'static>(&mut self, index: usize) -> Option<Option<T>> {
        match self.given(index) {
            Given::Nothing => Some(None),
            Given::Json(json) if json.trim_ascii() == b"null" => Some(None),
            given => self.read(index, given).map(Some),
        }
    }

    /// An argument with a default.
    pub fn or_else<T: DeserializeOwned + 'static>(
        &mut self,
        index: usize,
        default: impl FnOnce() -> T,
    ) -> Option<T> {
        match self.given(index) {
            Given::Nothing => Some(default()),
            given => self.read(index, given),
        }
    }

    /// The whole body as bytes; empty if there is none.
    pub fn raw(&mut self, index: usize) -> Option<Bytes> {
        match &self.source {
            Source::Http { request, .. } => Some(match &request.body {
                HttpBody::Raw(bytes) | HttpBody::Json(bytes) => bytes.clone(),
                HttpBody::Empty | HttpBody::Form(_) => Bytes::new(),
            }),
            Source::Map(values) => match values.get(index).copied().flatten() {
                None => self.missing(index),
                Some(raw) => match serde_json::from_str::<Vec<u8>>(raw.get()) {
                    Ok(bytes) => Some(bytes.into()),
                    Err(_) => self.note(index, "bytes_type", "expected a list of bytes"),
                },
            },
        }
    }

    /// A file that must be there.
    pub fn file(&mut self, index: usize) -> Option<Upload> {
        match self.files(index)?.pop() {
            Some(file) => Some(file),
            None => self.missing(index),
        }
    }

    /// A file that may be left out.
    pub fn optional_file(&mut self, index: usize) -> Option<Option<Upload>> {
        self.files(index).map(|mut files| files.pop())
    }

    /// Every file of that name, in order.
    pub fn files(&mut self, index: usize) -> Option<Vec<Upload>> {
        let parameter = self.parameter(index);
        let Source::Http { request, .. } = &self.source else {
            return self.note(
                index,
                "file_type",
                "expected a file, which only an HTTP request carries",
            );
        };
        let HttpBody::Form(fields) = &request.body else {
            return Some(Vec::new());
        };
        let mut files = Vec::new();
        for (name, field) in fields {
            if *name == parameter.name {
                match field {
                    FormField::File(file) => files.push(file.clone()),
                    FormField::Text(_) => {
                        return self.note(
                            index,
                            "file_type",
                            "expected a file (a part with a filename), got a text field",
                        );
                    }
                }
            }
        }
        Some(files)
    }

    /// The report, if anything was wrong.
    #[must_use]
    pub fn finish(self) -> Option<Error> {
        (!self.problems.is_empty()).then(|| self.into_error())
    }

    /// The error of an argument that was `None`.
    #[must_use]
    pub fn into_error(mut self) -> Error {
        check::shorten(&mut self.problems);
        Error::validation(self.problems)
    }

    fn parameter(&self, index: usize) -> &'a Parameter {
        &self.api.parameters[index]
    }

    fn loc(&self, index: usize) -> Vec<Loc> {
        let parameter = self.parameter(index);
        let location = parameter.location;
        if matches!(location, Location::Body | Location::Raw)
            && matches!(self.source, Source::Http { .. })
        {
            return vec![location.loc().into()];
        }
        vec![location.loc().into(), parameter.name.clone().into()]
    }

    fn note<T>(&mut self, index: usize, kind: &'static str, msg: impl Into<String>) -> Option<T> {
        let problem = Problem::new(kind, self.loc(index), msg);
        self.problems.push(problem);
        None
    }

    fn missing<T>(&mut self, index: usize) -> Option<T> {
        let parameter = self.parameter(index);
        let msg = match parameter.location {
            Location::Body | Location::Raw => "a body is required".to_owned(),
            Location::File => format!("a file `{}` is required", parameter.name),
            _ => format!("`{}` is required", parameter.name),
        };
        self.note(index, "missing", msg)
    }

    fn given(&mut self, index: usize) -> Given<'a> {
        let parameter = self.parameter(index);
        let request = match &self.source {
            Source::Map(values) => {
                return values
                    .get(index)
                    .copied()
                    .flatten()
                    .map_or(Given::Nothing, |raw| Given::Json(raw.get().as_bytes()));
            }
            Source::Http { request, .. } => *request,
        };
        let texts: SmallVec<[&'a str; 1]> = match parameter.location {
            Location::Body => {
                return match &request.body {
                    HttpBody::Json(body) if !body.is_empty() => Given::Json(body),
                    _ => Given::Nothing,
                };
            }
            Location::Raw | Location::File => return Given::Nothing,
            Location::Form => {
                let HttpBody::Form(fields) = &request.body else {
                    return Given::Nothing;
                };
                let mut texts: Vec<Cow<'a, str>> = Vec::new();
                for (name, field) in fields {
                    if *name == parameter.name {
                        match field {
                            FormField::Text(text) => texts.push(Cow::Borrowed(text)),
                            FormField::File(_) => {
                                self.note::<()>(
                                    index,
                                    "string_type",
                                    "expected a text field, got a file",
                                );
                                return Given::Bad;
                            }
                        }
                    }
                }
                return many_or_last(parameter, texts);
            }
            Location::Path => request.path_value(&parameter.name).into_iter().collect(),
            Location::Query => {
                let Source::Http { query, .. } = &self.source else {
                    return Given::Nothing;
                };
                query[index].clone()
            }
        };
        let plus = parameter.location == Location::Query;
        if let [text] = texts[..] {
            // A list takes a single text as well.
            return match decode(text, plus) {
                Ok(text) => Given::One(text),
                Err(error) => self.undecodable(index, error),
            };
        }
        let mut decoded = Vec::with_capacity(texts.len());
        for text in texts {
            match decode(text, plus) {
                Ok(text) => decoded.push(text),
                Err(error) => return self.undecodable(index, error),
            }
        }
        many_or_last(parameter, decoded)
    }

    fn undecodable(&mut self, index: usize, error: Undecodable) -> Given<'a> {
        let (kind, msg) = undecodable(error);
        self.note::<()>(index, kind, msg);
        Given::Bad
    }

    fn read<T: DeserializeOwned + 'static>(&mut self, index: usize, given: Given<'a>) -> Option<T> {
        match given {
            Given::Nothing | Given::Bad => None,
            Given::One(text) => {
                let read = T::deserialize(Text(text));
                read.map_err(|error| self.refuse_text(index, &error)).ok()
            }
            Given::Many(texts) => {
                let read = T::deserialize(Texts(texts));
                read.map_err(|error| self.refuse_text(index, &error)).ok()
            }
            Given::Json(json) => self.read_json(index, json),
        }
    }

    fn read_json<T: DeserializeOwned + 'static>(
        &mut self,
        index: usize,
        json: &'a [u8],
    ) -> Option<T> {
        if let Some(raw) = self.read_raw::<T>(index) {
            return raw;
        }
        match serde_json::from_slice(json) {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse_json::<T>(index, json, &error);
                None
            }
        }
    }

    /// JSON that is only passed on is checked where it lies, without a copy.
    fn read_raw<T: 'static>(&mut self, index: usize) -> Option<Option<T>> {
        let mut slot: Option<T> = None;
        let target = (&mut slot as &mut dyn Any).downcast_mut::<Option<RawJson>>()?;
        let Source::Http { request, .. } = &self.source else {
            return None;
        };
        let HttpBody::Json(body) = &request.body else {
            return None;
        };
        match RawJson::new(body.clone()) {
            Ok(raw) => *target = Some(raw),
            Err(error) => self.problems.push(check::malformed(body, &error)),
        }
        debug_assert_eq!(self.parameter(index).location, Location::Body);
        Some(slot)
    }

    fn refuse_text(&mut self, index: usize, error: &TextError) {
        let texts = match self.given(index) {
            Given::One(text) => vec![text],
            Given::Many(texts) => texts,
            Given::Nothing | Given::Json(_) | Given::Bad => Vec::new(),
        };
        let parameter = self.parameter(index);
        let components = &self.api.components;
        let list = check::is_list(&parameter.schema);
        let mut found = Vec::new();
        if error.kind == "value_error" || list {
            // The type could not say more; its schema may, item by item.
            for (position, text) in texts.iter().enumerate() {
                let mut loc = self.loc(index);
                let schema = if list {
                    loc.push(position.into());
                    check::items(&parameter.schema)
                } else {
                    &parameter.schema
                };
                let value = check::read_text(schema, components, text);
                found.extend(check::problems(schema, components, &value, &loc));
                if found.len() >= check::MOST_PROBLEMS {
                    break;
                }
            }
        }
        if found.is_empty() {
            let msg = format!("expected {}, got {}", error.expected, error.got());
            self.note::<()>(index, error.kind, msg);
        }
        self.problems.append(&mut found);
    }

    fn refuse_json<T: DeserializeOwned>(
        &mut self,
        index: usize,
        json: &[u8],
        error: &serde_json::Error,
    ) {
        let parameter = self.parameter(index);
        let loc = self.loc(index);
        // A syntax error behind the first wrong type matters more. What reads as
        // one may be none: an enum is told `1` to be no value it expected.
        let value: Value = match serde_json::from_slice(json) {
            Ok(value) => value,
            Err(error) => {
                self.problems.push(check::malformed(json, &error));
                return;
            }
        };
        let mut found = check::problems(&parameter.schema, &self.api.components, &value, &loc);
        if found.is_empty() {
            found.push(by_type::<T>(json, loc, error));
        }
        self.problems.append(&mut found);
    }
}

/// The problem as the type itself tells it, where its schema allows the value.
fn by_type<T: DeserializeOwned>(
    json: &[u8],
    mut loc: Vec<Loc>,
    error: &serde_json::Error,
) -> Problem {
    use serde_path_to_error::Segment;

    let mut input = serde_json::Deserializer::from_slice(json);
    if let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut input) {
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => loc.push((*index).into()),
                Segment::Map { key } => loc.push(key.clone().into()),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
    }
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let (kind, msg) = match text.split_once(", expected ") {
        Some((what, expected)) if what.starts_with("invalid type") => {
            ("type_error", format!("expected {expected}"))
        }
        Some((what, expected)) if what.starts_with("unknown field") => (
            "extra_forbidden",
            format!("unknown field; expected {expected}"),
        ),
        Some((_, expected)) => ("value_error", format!("expected {expected}")),
        None if text.starts_with("missing field") => (
            "missing",
            text.replace("missing field", "the field is required:"),
        ),
        None if text.starts_with("duplicate field") => ("duplicate", text.to_owned()),
        // The words of the type's author, who knows what may be shown.
        None => ("value_error", text.to_owned()),
    };
    Problem::new(kind, loc, msg)
}

fn many_or_last<'a>(parameter: &Parameter, mut texts: Vec<Cow<'a, str>>) -> Given<'a> {
    if texts.is_empty() {
        Given::Nothing
    } else if check::is_list(&parameter.schema) {
        Given::Many(texts)
    } else {
        texts.pop().map_or(Given::Nothing, Given::One)
    }
}

fn undecodable(error: Undecodable) -> (&'static str, &'static str) {
    match error {
        Undecodable::Percent => (
            "percent_encoding",
            "expected `%` to be followed by two hexadecimal digits; write `%25` for a percent sign",
        ),
        Undecodable::Utf8 => ("string_unicode", "expected percent-encoded UTF-8"),
    }
}

fn query_values<'a>(
    api: &ApiDescriptor,
    request: &'a HttpArgs,
    problems: &mut Vec<Problem>,
) -> SmallVec<[SmallVec<[&'a str; 1]>; 4]> {
    let mut values: SmallVec<[SmallVec<[&'a str; 1]>; 4]> = std::iter::repeat_with(SmallVec::new)
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
                    let (kind, msg) = undecodable(error);
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

fn map_values<'a>(
    api: &ApiDescriptor,
    object: &'a [u8],
    problems: &mut Vec<Problem>,
) -> SmallVec<[Option<&'a RawValue>; 8]> {
    struct Named<'n>(&'n ApiDescriptor);

    impl<'de> Visitor<'de> for Named<'_> {
        type Value = SmallVec<[Option<&'de RawValue>; 8]>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of named arguments")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut values: Self::Value = SmallVec::from_elem(None, self.0.parameters.len());
            while let Some((name, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                if let Some(index) = self.0.parameters.iter().position(|p| p.name == name) {
                    values[index] = Some(value);
                }
            }
            Ok(values)
        }
    }

    let mut input = serde_json::Deserializer::from_slice(object);
    let read = input
        .deserialize_map(Named(api))
        .and_then(|values| input.end().map(|()| values));
    match read {
        Ok(values) => values,
        Err(error) if error.is_data() => {
            let kind =
                serde_json::from_slice::<Value>(object).map_or("no JSON", |v| check::kind_of(&v));
            problems.push(Problem::new(
                "dict_type",
                vec!["body".into()],
                format!("expected an object of named arguments, got {kind}"),
            ));
            SmallVec::from_elem(None, api.parameters.len())
        }
        Err(error) => {
            problems.push(check::malformed(object, &error));
            SmallVec::from_elem(None, api.parameters.len())
        }
    }
}
