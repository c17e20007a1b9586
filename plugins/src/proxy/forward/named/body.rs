//! The body that named values become, and how values become texts.

use framex_core::args::Upload;
use framex_core::body::ByteStream;
use framex_core::error::{Error, Result};
use framex_core::problem::Problem;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};

use super::multipart::Form as Multipart;
use super::texts::{encoded, pairs};
use super::{BODY, unusable};
use crate::proxy::forward::outgoing::Outgoing;
use crate::proxy::operation::{Body, Form, Style};

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
                if let Err(reason) = pairs(&mut all, name, value, Style::Pairs) {
                    problems.push(unusable("body", name, reason));
                }
            }
            (!all.is_empty()).then(|| ByteStream::full(encoded(&all)))
        }
        Form::Multipart => {
            let mut form = Multipart::new();
            let mut any = !files.is_empty();
            for (name, value) in values.iter().filter(|(_, value)| !value.is_null()) {
                any = true;
                match value {
                    Value::Array(items) => items.iter().for_each(|item| form.value(name, item)),
                    value => form.value(name, value),
                }
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
            let text = text.and_then(|text| Some(ByteStream::full(text.as_str()?.to_owned())));
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
