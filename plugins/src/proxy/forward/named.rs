//! From named values to a request, as an operation's document says.

use framex_core::args::{Named, Upload};
use framex_core::body::ByteStream;
use framex_core::error::{Error, Result};
use framex_core::problem::Problem;
use http::header::{CONTENT_TYPE, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::headers;
use super::multipart::Form as Multipart;
use super::outgoing::Outgoing;
use super::target::astray;
use crate::proxy::operation::{Argument, Body, Form, Place, Shape};

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
            Place::Path => fill(&mut path, name, value),
            Place::Query => {
                pairs(&mut query, name, value, argument.explode);
                Ok(())
            }
            Place::Header => header(&mut headers, name, value),
            Place::Cookie => {
                let text = utf8_percent_encode(&joined(value), PLAIN).to_string();
                match headers::add_cookie(&mut headers, &format!("{name}={text}")) {
                    true => Ok(()),
                    false => Err("has a name that no cookie can have"),
                }
            }
        };
        if let Err(reason) = fits {
            problems.push(unusable(argument.place, name, reason));
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
    if let Some(reason) = own.split('/').find_map(astray) {
        let text = format!("the path `{own}` has {reason}");
        return Err(Error::bad_request(text).with_code("ambiguous_path"));
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
            explode: true,
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
fn fill(path: &mut String, name: &str, value: &Value) -> Result<(), &'static str> {
    let text = joined(value);
    if text.is_empty() {
        return Err("is empty, and a part of the path");
    }
    let text = utf8_percent_encode(&text, PLAIN).to_string();
    if let Some(reason) = astray(&text) {
        return Err(reason);
    }
    *path = path.replace(&format!("{{{name}}}"), &text);
    Ok(())
}

fn header(headers: &mut HeaderMap, name: &str, value: &Value) -> Result<(), &'static str> {
    let name: HeaderName = name
        .parse()
        .map_err(|_| "has a name that no header can have")?;
    if headers::stays(&name) {
        return Err("is a header that the bridge sets itself");
    }
    let value = HeaderValue::from_str(&joined(value)).map_err(|_| "cannot be a header")?;
    headers.insert(name, value);
    Ok(())
}

/// The rest of the values, and the files, as the body.
fn body(
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
fn pairs(all: &mut Vec<(String, String)>, name: &str, value: &Value, explode: bool) {
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
fn joined(value: &Value) -> String {
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

fn encoded(pairs: &[(String, String)]) -> String {
    let encode = |text| utf8_percent_encode(text, PLAIN);
    let pairs = pairs.iter();
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

fn missing(place: Place, name: &str) -> Problem {
    let loc = vec![place.loc().into(), name.to_owned().into()];
    Problem::new("missing", loc, format!("`{name}` is required"))
}

fn unusable(place: Place, name: &str, reason: &str) -> Problem {
    let loc = vec![place.loc().into(), name.to_owned().into()];
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn argument(name: &str, place: Place, required: bool, explode: bool) -> Argument {
        Argument {
            name: name.into(),
            place,
            required,
            explode,
        }
    }

    fn shape(form: Option<Form>) -> Shape {
        Shape {
            method: Method::POST,
            prefix: "/up".into(),
            base: "/v1".into(),
            path: "/items/{item_id}/x".into(),
            parameters: vec![
                argument("item_id", Place::Path, true, false),
                argument("q", Place::Query, false, true),
                argument("flat", Place::Query, false, false),
                argument("x-trace", Place::Header, true, false),
                argument("session", Place::Cookie, false, false),
                argument("lang", Place::Cookie, false, false),
            ],
            body: form.map(|form| Body {
                form,
                media_type: "application/vnd.a+json".into(),
                required: true,
            }),
            streams: false,
        }
    }

    fn named(values: Value) -> Named {
        let Value::Object(values) = values else {
            panic!("{values}")
        };
        Named {
            values,
            ..Named::default()
        }
    }

    async fn bytes(body: Outgoing) -> String {
        use http_body::Body as _;
        let mut body = body;
        let mut all = Vec::new();
        while let Some(frame) =
            std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
        {
            all.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn values_go_where_the_document_says() {
        let made = make(
            &shape(Some(Form::Json)),
            named(json!({
                "item_id": "a b/ä".replace('/', "-"), "q": ["1&2", 3], "flat": [true, "x"],
                "x-trace": 5, "session": "s;1", "lang": null, "body": [1, null],
            })),
        )
        .unwrap();
        assert_eq!(
            made.uri.to_string(),
            "/v1/items/a%20b-%C3%A4/x?q=1%262&q=3&flat=true%2Cx"
        );
        assert_eq!(made.headers["x-trace"], "5");
        assert_eq!(made.headers["cookie"], "session=s%3B1");
        assert_eq!(made.headers["content-type"], "application/vnd.a+json");
        assert_eq!(bytes(made.body).await, "[1,null]");
    }

    #[tokio::test]
    async fn a_body_is_what_is_left() {
        for (form, rest, sent) in [
            (Form::Json, json!({"item": {"a": 1}}), "{\"a\":1}"),
            (Form::Json, json!({"body": null}), "null"),
            (
                Form::Urlencoded,
                json!({"a": "x y", "b": [1, 2], "c": null}),
                "a=x%20y&b=1&b=2",
            ),
            (Form::Raw, json!({"body": "as it is"}), "as it is"),
        ] {
            let mut values = json!({"item_id": 1, "x-trace": "t"});
            let all = values.as_object_mut().unwrap();
            all.extend(rest.as_object().unwrap().clone());
            let made = make(&shape(Some(form)), named(values)).unwrap();
            assert_eq!(bytes(made.body).await, sent);
        }
        let mut both = named(json!({"item_id": 1, "x-trace": "t", "note": "n"}));
        let file = Upload::new(ByteStream::full("bytes")).named("f.bin");
        both.files.push(("file".into(), file));
        let made = make(&shape(Some(Form::Multipart)), both).unwrap();
        let kind = made.headers["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("multipart/form-data; boundary="));
        let text = bytes(made.body).await;
        assert!(text.contains("name=\"note\"\r\n\r\nn\r\n"), "{text}");
        assert!(text.contains("filename=\"f.bin\""), "{text}");
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        for (form, values, wrong) in [
            (
                None,
                json!({"more": 1}),
                &["item_id", "x-trace", "more"][..],
            ),
            (
                Some(Form::Json),
                json!({"a": 1, "b": 2}),
                &["item_id", "x-trace", "a", "b", "body"],
            ),
            (
                Some(Form::Raw),
                json!({"item_id": "..", "x-trace": "a\nb"}),
                &["item_id", "x-trace", "body"],
            ),
            (
                None,
                json!({"item_id": "a/b", "x-trace": "t"}),
                &["item_id"],
            ),
            (None, json!({"item_id": "", "x-trace": "t"}), &["item_id"]),
        ] {
            let error = make(&shape(form), named(values)).unwrap_err();
            assert_eq!(error.code(), "validation_failed");
            let detail = error.detail().unwrap().as_array().unwrap();
            let named: Vec<_> = detail
                .iter()
                .map(|problem| {
                    problem["loc"]
                        .as_array()
                        .unwrap()
                        .last()
                        .unwrap()
                        .as_str()
                        .unwrap()
                })
                .collect();
            assert_eq!(named, wrong);
        }
    }

    #[test]
    fn headers_of_the_way_are_not_arguments() {
        let mut shape = shape(None);
        for name in [
            "host",
            "Content-Length",
            "transfer-encoding",
            "x-framex-trail",
            "a b",
        ] {
            shape.parameters[3].name = name.into();
            let error = make(&shape, named(json!({"item_id": 1, name: "1"}))).unwrap_err();
            assert_eq!(error.code(), "validation_failed", "{name}");
        }
    }

    #[tokio::test]
    async fn what_no_document_describes_is_asked_for_as_usual() {
        for (target, values, method, uri, sent) in [
            ("/x", json!({}), "GET", "/b/x", ""),
            ("/x", json!({"a": 1}), "POST", "/b/x", "{\"a\":1}"),
            (
                "GET /x?y=1",
                json!({"a": [1, 2]}),
                "GET",
                "/b/x?y=1&a=1&a=2",
                "",
            ),
            (
                "PUT /ä b",
                json!({"body": 1}),
                "PUT",
                "/b/%C3%A4%20b",
                "{\"body\":1}",
            ),
        ] {
            let made = undescribed(target, "/b", named(values)).unwrap();
            assert_eq!(
                (made.method.as_str(), &*made.uri.to_string()),
                (method, uri)
            );
            assert_eq!(bytes(made.body).await, sent);
        }
        for target in ["", "x", "GET x", "/a/../b", "/a%2fb"] {
            assert_eq!(
                undescribed(target, "", Named::default())
                    .unwrap_err()
                    .status(),
                400
            );
        }
    }
}
