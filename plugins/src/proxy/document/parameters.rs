//! Parameters: which an operation has, where they go and what callers name.

use framex_core::descriptor::{Location, Parameter};
use serde_json::{Map, Value, json};

use super::body::{essence, is_json};
use super::refs::{Object, Source, texts};
use super::template::Template;
use crate::proxy::operation::{Argument, Place, Style};

/// Marks the parameter that stands for the rest of a path, in documents of FrameX systems.
const REST: &str = "x-framex-rest";

/// The parameters of a path and of its operation, which override those.
pub(super) fn merged<'a>(
    source: Source<'a>,
    path: Option<&'a Value>,
    own: Option<&'a Value>,
) -> Result<Vec<Object<'a>>, String> {
    let mut all: Vec<Object<'a>> = Vec::new();
    let lists = [path, own].into_iter().flatten();
    for parameter in lists.filter_map(Value::as_array).flatten() {
        let parameter = source.object(parameter, texts)?;
        let same = |other: &Object<'_>| {
            ["name", "in"]
                .iter()
                .all(|key| other.get(*key) == parameter.get(*key))
        };
        match all.iter().position(same) {
            Some(at) => all[at] = parameter,
            None => all.push(parameter),
        }
    }
    Ok(all)
}

/// Whether the last parameter of the path `template` stands for the rest of it.
pub(super) fn takes_rest(parameters: &[Object<'_>], template: &Template) -> bool {
    template.names.last().is_some_and(|(name, _)| {
        parameters.iter().any(|parameter| {
            parameter.get("in") == Some(&json!("path"))
                && parameter.get("name") == Some(&json!(name))
                && parameter.get(REST) == Some(&Value::Bool(true))
        })
    })
}

/// The parameters of the path, every one and renamed as the template is, then the others.
pub(super) fn ordered(
    parameters: Vec<Map<String, Value>>,
    template: &Template,
) -> Result<Vec<Map<String, Value>>, String> {
    let (mut declared, others): (Vec<_>, Vec<_>) = parameters
        .into_iter()
        .partition(|parameter| parameter.get("in") == Some(&json!("path")));
    let mut ordered = Vec::new();
    for (name, shown) in &template.names {
        let at = declared
            .iter()
            .position(|parameter| parameter.get("name") == Some(&json!(name)));
        let mut parameter = match at {
            Some(at) => declared.swap_remove(at),
            None => Map::from_iter([("schema".to_owned(), json!({ "type": "string" }))]),
        };
        for (key, value) in [
            ("name", json!(shown)),
            ("in", json!("path")),
            ("required", json!(true)),
        ] {
            parameter.insert(key.to_owned(), value);
        }
        ordered.push(parameter);
    }
    for parameter in others {
        let name = parameter
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match parameter.get("in").and_then(Value::as_str) {
            _ if name.is_empty() => return Err("one of its parameters has no name".into()),
            // Said elsewhere, and ignored here by OpenAPI.
            Some("header")
                if ["accept", "content-type", "authorization"]
                    .contains(&&*name.to_ascii_lowercase()) => {}
            Some("query" | "header" | "cookie") => ordered.push(parameter),
            _ => return Err(format!("its parameter `{name}` is nowhere in a request")),
        }
    }
    Ok(ordered)
}

/// Where each parameter goes, and those that callers name, of all but headers and cookies.
pub(super) fn arguments(parameters: &[Map<String, Value>]) -> (Vec<Argument>, Vec<Parameter>) {
    let (mut arguments, mut named) = (Vec::new(), Vec::new());
    for parameter in parameters {
        let text = |key: &str| {
            parameter
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let flag = |key: &str| parameter.get(key).and_then(Value::as_bool);
        let (place, location) = match text("in") {
            "path" => (Place::Path, Some(Location::Path)),
            "header" => (Place::Header, None),
            "cookie" => (Place::Cookie, None),
            _ => (Place::Query, Some(Location::Query)),
        };
        let argument = Argument {
            name: text("name").to_owned(),
            place,
            required: flag("required").unwrap_or_default(),
            style: style(
                place,
                text("style"),
                flag("explode"),
                parameter.get("content"),
            ),
        };
        if let Some(location) = location {
            named.push(Parameter {
                name: argument.name.clone(),
                location,
                required: argument.required,
                schema: parameter
                    .get("schema")
                    .cloned()
                    .unwrap_or_else(|| json!({})),
                description: text("description").to_owned(),
                ..Parameter::default()
            });
        }
        arguments.push(argument);
    }
    (arguments, named)
}

fn style(place: Place, said: &str, explode: Option<bool>, content: Option<&Value>) -> Style {
    if let Some(content) = content.and_then(Value::as_object) {
        return match content.keys().all(|kind| is_json(&essence(kind))) {
            true => Style::Json,
            false => Style::Pairs,
        };
    }
    let in_pairs = matches!(place, Place::Query | Place::Cookie);
    match (said, place) {
        ("" | "form", Place::Query | Place::Cookie)
        | ("" | "simple", Place::Path | Place::Header) => match explode.unwrap_or(in_pairs) {
            true => Style::Pairs,
            false => Style::Commas,
        },
        ("spaceDelimited" | "pipeDelimited", Place::Query) if explode == Some(true) => Style::Pairs,
        ("spaceDelimited", Place::Query) => Style::Spaces,
        ("pipeDelimited", Place::Query) => Style::Pipes,
        ("deepObject", Place::Query) => Style::Deep,
        _ => Style::Other,
    }
}
