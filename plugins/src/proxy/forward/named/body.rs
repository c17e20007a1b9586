//! The body that named values become, and how values become texts.

use framex_core::args::Upload;
use framex_core::body::ByteStream;
use framex_core::error::{Error, Result};
use framex_core::problem::Problem;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value};

use super::multipart::Form as Multipart;
use super::{BODY, PLAIN};
use crate::proxy::forward::outgoing::Outgoing;
use crate::proxy::operation::{Body, Form};

/// The rest of the values, and the files, as the body.
pub(super) fn body(
    body: Option<&Body>,
    mut values: Map<String, Value>,
    mut files: Vec<(String, Upload)>,
    headers: &mut HeaderMap,
    problems: &mut Vec<Problem>,
) -> Result<Outgoing> {
    let mut left_over = |values: Map<String, Value>, files: Vec<(String, Upload)>| {
        let names = values.keys().chain(files.iter().map(|(name, _)| name));
        problems.extend(names.map(|name| {
            let text = format!("`{name}` is no argument of this API");
            Problem::new(
                "extra_forbidden",
                vec!["body".into(), name.clone().into()],
                text,
            )
        }));
    };
    let Some(Body {
        form,
        media_type,
        required,
    }) = body
    else {
        left_over(values, files);
        return Ok(Outgoing::empty());
    };
    let mut content_type = media_type.clone();
    let made = match form {
        Form::Json => {
            let only = match values.len() {
                1 => values.keys().next().cloned(),
                _ => None,
            };
            let value = values.remove(BODY).or_else(|| values.remove(&only?));
            left_over(values, files);
            value.map(|value| ByteStream::full(value.to_string()))
        }
        Form::Urlencoded => {
            left_over(Map::new(), files);
            let mut all = Vec::new();
            for (name, value) in values.iter().filter(|(_, value)| !value.is_null()) {
                pairs(&mut all, name, value, true);
            }
            (!all.is_empty()).then(|| ByteStream::full(encoded(&all)))
        }
        Form::Multipart => {
            let mut all = Vec::new();
            for (name, value) in values.iter().filter(|(_, value)| !value.is_null()) {
                pairs(&mut all, name, value, true);
            }
            let any = !all.is_empty() || !files.is_empty();
            let mut form = Multipart::new();
            for (name, value) in &all {
                form.text(name, value);
            }
            for (name, file) in files {
                form.file(&name, file);
            }
            content_type = form.content_type();
            any.then(|| form.into_body())
        }
        Form::Raw => {
            let at = files.iter().position(|(name, _)| name == BODY);
            let file = at.or((files.len() == 1).then_some(0));
            let file = file.map(|at| files.remove(at).1);
            let text = match (&file, values.get(BODY)) {
                (None, Some(Value::String(_))) => values.remove(BODY),
                _ => None,
            };
            left_over(values, files);
            if let Some(file) = &file
                && !file.content_type.is_empty()
            {
                content_type.clone_from(&file.content_type);
            }
            let text = text.map(|text| ByteStream::full(joined(&text)));
            file.map(Upload::into_stream).or(text)
        }
    };
    let Some(made) = made else {
        if *required {
            let text = "a body is required";
            problems.push(Problem::new("missing", vec!["body".into()], text));
        }
        return Ok(Outgoing::empty());
    };
    let content_type = HeaderValue::from_str(&content_type);
    headers.insert(CONTENT_TYPE, content_type.map_err(Error::internal)?);
    Ok(made.into())
}

/// A value as pairs of a query or a form. The members of an object are pairs of their own.
pub(super) fn pairs(all: &mut Vec<(String, String)>, name: &str, value: &Value, explode: bool) {
    match value {
        Value::Array(items) if explode => {
            all.extend(items.iter().map(|item| (name.to_owned(), text(item))));
        }
        Value::Object(members) if explode => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            all.extend(members.map(|(name, value)| (name.clone(), joined(value))));
        }
        value => all.push((name.to_owned(), joined(value))),
    }
}

/// A value as one text: the items of a list with commas between them.
pub(super) fn joined(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(text).collect();
            items.join(",")
        }
        value => text(value),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

pub(super) fn encoded(pairs: &[(String, String)]) -> String {
    let encode = |text| utf8_percent_encode(text, PLAIN);
    let pairs = pairs.iter();
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}
