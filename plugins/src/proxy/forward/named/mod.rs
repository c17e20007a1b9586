//! From named values to a request, as an operation's document says.

mod body;
mod multipart;
#[cfg(test)]
mod tests;
mod texts;

use framex_core::args::Named;
use framex_core::error::{Error, Result};
use framex_core::problem::Problem;
use http::header::HeaderName;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::headers;
use super::outgoing::Outgoing;
use super::target::{self, other_reading};
use crate::proxy::operation::{Argument, Body, Form, Place, Shape, Style};
use body::body;
use texts::{Unfit, encoded, joined, pairs};

/// What needs no encoding in paths, queries, forms and cookies.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// What no path can have as it is.
const NOT_IN_PATHS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'`');
/// The value, or the file, that is the whole body.
const BODY: &str = "body";

/// A request, but for what every request has.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// Its own parameters, and the type of the body.
    pub(super) headers: HeaderMap,
    pub(super) body: Outgoing,
}

/// The request that `named` asks for.
///
/// # Errors
///
/// 422 that names everything that is missing, unknown, or cannot be where it belongs.
pub(super) fn make(shape: &Shape, named: Named) -> Result<Made> {
    let mut problems = Vec::new();
    let Named {
        mut values, files, ..
    } = named;
    let mut path = shape.path.clone();
    let mut query = Vec::new();
    let mut headers = HeaderMap::new();
    for argument in &shape.parameters {
        let name = &*argument.name;
        // What is null is left out.
        let Some(value) = values.get(name).filter(|value| !value.is_null()) else {
            if argument.required || argument.place == Place::Path {
                problems.push(missing(argument.place, name));
            }
            continue;
        };
        let fits = match argument.place {
            Place::Path => fill(&mut path, name, value, argument.style),
            Place::Query => pairs(&mut query, name, value, argument.style),
            Place::Header => header(&mut headers, name, value, argument.style),
            Place::Cookie => cookie(&mut headers, name, value, argument.style),
        };
        if let Err(reason) = fits {
            problems.push(unusable(argument.place.loc(), name, reason));
        }
    }
    for argument in &shape.parameters {
        values.remove(&argument.name);
    }
    let body = body(
        shape.body.as_ref(),
        values,
        files,
        &mut headers,
        &mut problems,
    )?;
    if !problems.is_empty() {
        return Err(Error::validation(problems));
    }
    Ok(Made {
        method: shape.method.clone(),
        uri: uri(&shape.base, &path, &query)?,
        headers,
        body,
    })
}

/// A call of what no document describes, below `base`. See
/// [`Forwarder::call`](super::Forwarder::call).
///
/// # Errors
///
/// 400 for what is no path.
pub(super) fn undescribed(target: &str, base: &str, mut named: Named) -> Result<Made> {
    let (method, path) = match target.split_once(' ') {
        Some((method, path)) => (method.parse().ok(), path.trim()),
        None if named.values.is_empty() && named.files.is_empty() => (Some(Method::GET), target),
        None => (Some(Method::POST), target),
    };
    let Some(method) = method.filter(|_| path.starts_with('/')) else {
        let text = format!("`{target}` is no path; write `/x` or `GET /x`");
        return Err(Error::bad_request(text));
    };
    let own = path.split('?').next().unwrap_or_default();
    if other_reading(own)?.is_some() {
        return Err(target::ambiguous("an encoded slash"));
    }
    let mut parameters = Vec::new();
    let form = if !named.files.is_empty() {
        Form::Multipart
    } else {
        Form::Json
    };
    if matches!(
        method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS | Method::TRACE
    ) {
        parameters.extend(named.values.keys().map(|name| Argument {
            name: name.clone(),
            place: Place::Query,
            required: false,
            style: Style::Pairs,
        }));
    } else if form == Form::Json && !named.values.is_empty() {
        let object = Value::Object(std::mem::take(&mut named.values));
        named.values.insert(BODY.to_owned(), object);
    }
    let media_type = match form {
        Form::Json => "application/json",
        _ => "multipart/form-data",
    };
    make(
        &Shape {
            method,
            prefix: String::new(),
            base: base.to_owned(),
            path: utf8_percent_encode(path, NOT_IN_PATHS).to_string(),
            parameters,
            body: Some(Body {
                form,
                media_type: media_type.to_owned(),
                required: false,
            }),
            streams: false,
        },
        named,
    )
}

fn uri(base: &str, path: &str, query: &[(String, String)]) -> Result<Uri> {
    let mut whole = format!("{base}{path}");
    if !query.is_empty() {
        whole.push(if whole.contains('?') { '&' } else { '?' });
        whole.push_str(&encoded(query));
    }
    let whole = PathAndQuery::from_maybe_shared(whole.into_bytes());
    match whole {
        Ok(whole) => Ok(whole.into()),
        Err(_) => Err(Error::bad_request("the path cannot be sent")),
    }
}

/// Puts `value` where the path has `{name}`.
fn fill(path: &mut String, name: &str, value: &Value, style: Style) -> Result<(), Unfit> {
    let text = joined(value, style)?;
    if text.is_empty() {
        return Err("is empty, and a part of the path");
    }
    let text = utf8_percent_encode(&text, PLAIN).to_string();
    if other_reading(&text).is_err() {
        return Err("could lead to another path");
    }
    *path = path.replace(&format!("{{{name}}}"), &text);
    Ok(())
}

fn cookie(headers: &mut HeaderMap, name: &str, value: &Value, style: Style) -> Result<(), Unfit> {
    if value.is_object() && style == Style::Pairs {
        return Err("would be cookies of other names");
    }
    let text = joined(value, style)?;
    let text = utf8_percent_encode(&text, PLAIN);
    match headers::add_cookie(headers, &format!("{name}={text}")) {
        true => Ok(()),
        false => Err("has a name that no cookie can have"),
    }
}

fn header(headers: &mut HeaderMap, name: &str, value: &Value, style: Style) -> Result<(), Unfit> {
    let name: HeaderName = name
        .parse()
        .map_err(|_| "has a name that no header can have")?;
    if headers::stays(&name) {
        return Err("is a header that the bridge sets itself");
    }
    let value = HeaderValue::from_str(&joined(value, style)?).map_err(|_| "cannot be a header")?;
    headers.insert(name, value);
    Ok(())
}

fn missing(place: Place, name: &str) -> Problem {
    let loc = vec![place.loc().into(), name.to_owned().into()];
    Problem::new("missing", loc, format!("`{name}` is required"))
}

fn unusable(place: &'static str, name: &str, reason: &str) -> Problem {
    let loc = vec![place.into(), name.to_owned().into()];
    Problem::new("value_error", loc, format!("`{name}` {reason}"))
}

impl Place {
    /// The first element of `loc` in a report.
    fn loc(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }
}
