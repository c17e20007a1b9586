//! Reads the arguments of one call into typed values.

use std::any::Any;
use std::borrow::Cow;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use smallvec::SmallVec;

use super::check;
use super::http_args::{FILE_FOR_TEXT, TEXT_FOR_FILE, Told, decode};
use super::source::{self, Sent, Source};
use super::text::{Text, TextError, Texts};
use super::upload::{Slot, Upload};
use super::{Args, Beside, Repr};
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
    /// Files beside it.
    added: &'a [(String, Slot)],
    /// Whether the arguments were an HTTP request's at first.
    by_http: bool,
    problems: Vec<Problem>,
}

/// What was found for one parameter.
enum Given<'a> {
    Nothing,
    One(Cow<'a, str>),
    Many(Vec<Cow<'a, str>>),
    Json(Cow<'a, str>),
    /// The body of a request, not yet checked.
    Body(&'a Bytes),
    /// Unreadable, and noted.
    Bad,
}

impl<'a> Decoder<'a> {
    /// Starts reading `args` for `api`.
    #[must_use]
    pub fn new(api: &'a ApiDescriptor, args: &'a Args) -> Self {
        let mut problems = Vec::new();
        let source = match &args.repr {
            Repr::Http(request) => Source::Http {
                request,
                query: source::query_values(api, request, &mut problems),
            },
            Repr::Payload(payload, bodies) => Source::Sent {
                payload: payload.bytes(),
                bodies: bodies.as_ref().map(|Beside(bodies)| bodies),
                values: source::sent_values(api, payload, &mut problems),
            },
        };
        Self {
            api,
            source,
            added: &args.files,
            by_http: args.by_http,
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
            Given::Json(json) if json == "null" => Some(None),
            Given::Body(json) if json.trim_ascii() == b"null" => Some(None),
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
        match &mut self.source {
            Source::Http { request, .. } => Some(request.body.bytes()),
            Source::Sent {
                payload, values, ..
            } => match values.get_mut(index).and_then(Option::take) {
                None => self.missing(index),
                Some(sent) => match sent.bytes(payload) {
                    Some(bytes) => Some(bytes),
                    None => self.note(index, "bytes_type", "expected bytes, or a list of them"),
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
        let most = self.api.max_body_size;
        let added = self
            .added
            .iter()
            .filter(|(name, _)| *name == parameter.name);
        let mut added: Vec<Upload> = added.filter_map(|(_, slot)| slot.take()).collect();
        let mut files: Vec<Upload> = match &mut self.source {
            Source::Http { .. } if parameter.location == Location::Upload && !added.is_empty() => {
                Vec::new()
            }
            Source::Http { request, .. } if parameter.location == Location::Upload => {
                let whole = request.body.upload().and_then(Slot::take);
                vec![whole.unwrap_or_else(|| Upload::new(request.body.bytes()))]
            }
            Source::Http { request, .. } => match request.body.files(&parameter.name) {
                Ok(files) => files.into_iter().filter_map(Slot::take).collect(),
                Err(_) => return self.tell(index, TEXT_FOR_FILE),
            },
            Source::Sent {
                payload,
                values,
                bodies,
            } => match values.get_mut(index).and_then(Option::take) {
                None => Vec::new(),
                Some(sent) => match sent.files(payload, *bodies) {
                    Some(files) => files,
                    None if self.by_http => return self.tell(index, TEXT_FOR_FILE),
                    None => {
                        return self.note(
                            index,
                            "file_type",
                            "expected a file: a map with `bytes`, `filename` and `content_type`",
                        );
                    }
                },
            },
        };
        files.append(&mut added);
        let files = files.into_iter();
        Some(files.map(|file| file.bounded(most)).collect())
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
        if location.is_whole_body() && self.by_http {
            return vec![location.loc().into()];
        }
        vec![location.loc().into(), parameter.name.clone().into()]
    }

    fn note<T>(&mut self, index: usize, kind: &'static str, msg: impl Into<String>) -> Option<T> {
        let problem = Problem::new(kind, self.loc(index), msg);
        self.problems.push(problem);
        None
    }

    fn tell<T>(&mut self, index: usize, told: impl Into<Told>) -> Option<T> {
        let (kind, msg) = told.into();
        self.note(index, kind, msg)
    }

    fn missing<T>(&mut self, index: usize) -> Option<T> {
        let parameter = self.parameter(index);
        let msg = match parameter.location {
            Location::Body | Location::Raw | Location::Upload => "a body is required".to_owned(),
            Location::File => format!("a file `{}` is required", parameter.name),
            _ => format!("`{}` is required", parameter.name),
        };
        self.note(index, "missing", msg)
    }

    fn given(&mut self, index: usize) -> Given<'a> {
        let parameter = self.parameter(index);
        let request = match &self.source {
            Source::Sent { values, .. } => {
                return match values.get(index).and_then(Option::as_ref) {
                    Some(Sent::Json(json)) => {
                        let json = json.clone();
                        self.sent(index, json)
                    }
                    Some(Sent::Raw(_) | Sent::Files(_)) | None => Given::Nothing,
                };
            }
            Source::Http { request, .. } => *request,
        };
        let texts: SmallVec<[&'a str; 1]> = match parameter.location {
            Location::Body => return request.body.json().map_or(Given::Nothing, Given::Body),
            Location::Raw | Location::Upload | Location::File => return Given::Nothing,
            Location::Form => {
                return match request.body.texts(&parameter.name) {
                    Ok(texts) => many_or_last(parameter, texts),
                    Err(_) => self.bad(index, FILE_FOR_TEXT),
                };
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
                Err(error) => self.bad(index, error),
            };
        }
        let mut decoded = Vec::with_capacity(texts.len());
        for text in texts {
            match decode(text, plus) {
                Ok(text) => decoded.push(text),
                Err(error) => return self.bad(index, error),
            }
        }
        many_or_last(parameter, decoded)
    }

    fn sent(&mut self, index: usize, json: Cow<'a, str>) -> Given<'a> {
        let parameter = self.parameter(index);
        let location = parameter.location;
        if self.by_http && matches!(location, Location::Query | Location::Path | Location::Form) {
            if let Some(text) = source::text(&json) {
                return Given::One(text);
            }
            match source::texts(&json) {
                Some(mut texts) if texts.len() == 1 => {
                    return texts.pop().map_or(Given::Nothing, Given::One);
                }
                Some(texts) if texts.len() > 1 => return many_or_last(parameter, texts),
                // Of what an edge found in a form, only a file is a map.
                _ if location == Location::Form && json.starts_with('{') => {
                    return self.bad(index, FILE_FOR_TEXT);
                }
                _ => {}
            }
        }
        Given::Json(json)
    }

    fn bad(&mut self, index: usize, told: impl Into<Told>) -> Given<'a> {
        self.tell::<()>(index, told);
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
            Given::Json(json) => self.read_sent(index, json),
            Given::Body(body) => self.read_body(index, body),
        }
    }

    fn read_sent<T: DeserializeOwned + 'static>(
        &mut self,
        index: usize,
        json: Cow<'a, str>,
    ) -> Option<T> {
        // What is only passed on was checked with all the rest.
        let raw = raw_json::<T>(|| match (&json, &self.source) {
            (Cow::Borrowed(json), Source::Sent { payload, .. }) => {
                Some(RawJson::checked(payload.slice_ref(json.as_bytes())))
            }
            _ => Some(RawJson::checked(Bytes::copy_from_slice(json.as_bytes()))),
        });
        if let Some(raw) = raw {
            return raw;
        }
        match serde_json::from_str(&json) {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse_json::<T>(index, json.as_bytes(), &error);
                None
            }
        }
    }

    fn read_body<T: DeserializeOwned + 'static>(
        &mut self,
        index: usize,
        body: &Bytes,
    ) -> Option<T> {
        // What is only passed on is checked where it lies, without a copy.
        let raw = raw_json::<T>(|| match RawJson::new(body.clone()) {
            Ok(raw) => Some(raw),
            Err(error) => {
                self.problems.push(check::not_json(body, &error));
                None
            }
        });
        if let Some(raw) = raw {
            return raw;
        }
        match serde_json::from_slice(body) {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse_json::<T>(index, body, &error);
                None
            }
        }
    }

    fn refuse_text(&mut self, index: usize, error: &TextError) {
        let texts = match self.given(index) {
            Given::One(text) => vec![text],
            Given::Many(texts) => texts,
            Given::Nothing | Given::Json(_) | Given::Body(_) | Given::Bad => Vec::new(),
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

/// What `find` finds, if `T` is JSON that is only passed on.
fn raw_json<T: 'static>(find: impl FnOnce() -> Option<RawJson>) -> Option<Option<T>> {
    let mut slot: Option<T> = None;
    let target = (&mut slot as &mut dyn Any).downcast_mut::<Option<RawJson>>()?;
    *target = find();
    Some(slot)
}

/// The problem as the type itself tells it, where its schema allows the value.
pub(crate) fn by_type<T: DeserializeOwned>(
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
