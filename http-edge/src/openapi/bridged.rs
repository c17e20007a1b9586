//! Operations of other services, shown in their own words as far as these are OpenAPI.

use std::collections::HashSet;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::failures::Failure;
use super::paths::PathParameter;
use super::schemas::{MAX_DEPTH, is_plain};
use super::{API_KEY, REST, Writer, envelope, is_link, json as part, present};

const PLACES: [&str; 4] = ["path", "query", "header", "cookie"];

impl Writer<'_> {
    /// The operation that `shown` is, as the edge serves it, and how that can fail besides.
    pub(super) fn passed_on(
        &self,
        shown: &Map<String, Value>,
        id: String,
        tags: &[String],
    ) -> (Value, Vec<Failure>) {
        let api = self.api;
        let mut operation = keep(shown, &[("deprecated", Value::is_boolean)]);
        for (key, text) in [("summary", &api.summary), ("description", &api.description)] {
            if let Some(text) = present(text.clone()) {
                operation.insert(key.to_owned(), text.into());
            }
        }
        operation.insert("operationId".to_owned(), id.into());
        operation.insert("tags".to_owned(), json!(tags));
        operation.insert("x-framex-api".to_owned(), json!(api.id));
        operation.insert("x-framex-stream".to_owned(), api.streams().into());
        if let Some(via) = shown
            .get("x-framex-via")
            .filter(|via| is_plain(via, MAX_DEPTH))
        {
            operation.insert("x-framex-via".to_owned(), via.clone());
        }
        if let Some(docs) = shown.get("externalDocs").and_then(Value::as_object)
            && docs.get("url").and_then(Value::as_str).is_some_and(is_link)
        {
            let docs = keep(
                docs,
                &[("url", Value::is_string), ("description", Value::is_string)],
            );
            operation.insert("externalDocs".to_owned(), docs.into());
        }
        let parameters = self.shown_parameters(shown.get("parameters"));
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), parameters.into());
        }
        let body = shown
            .get("requestBody")
            .and_then(|body| self.shown_body(body));
        let takes_body = body.is_some();
        if let Some(body) = body {
            operation.insert("requestBody".to_owned(), body.into());
        }
        let mut responses = self.shown_responses(shown.get("responses"));
        let failures = self.own_failures(&responses, takes_body);
        for failure in &failures {
            let reference = failure.reference(api.streams());
            responses.insert(failure.status().to_owned(), part(reference));
        }
        operation.insert("responses".to_owned(), responses.into());
        if self.protected {
            operation.insert("security".to_owned(), json!([{ API_KEY: [] }]));
        }
        (operation.into(), failures)
    }

    /// What the edge and the bridge answer with statuses that the service says nothing of.
    fn own_failures(&self, said: &Map<String, Value>, takes_body: bool) -> Vec<Failure> {
        let possible = [
            (Failure::Unauthorized, self.protected),
            (Failure::PayloadTooLarge, takes_body),
            (Failure::BadGateway, true),
            (Failure::Unavailable, true),
            (Failure::Timeout, true),
        ];
        let failures = possible
            .into_iter()
            .filter(|(failure, possible)| *possible && !said.contains_key(failure.status()));
        failures.map(|(failure, _)| failure).collect()
    }

    fn shown_parameters(&self, shown: Option<&Value>) -> Vec<Value> {
        let mut written = Vec::new();
        for path in self.path_parameters {
            written.push(self.shown_path_parameter(shown, path));
        }
        let mut seen = HashSet::new();
        for parameter in objects(shown) {
            let place = text(parameter, "in").filter(|place| PLACES[1..].contains(place));
            let name = text(parameter, "name").filter(|name| !name.is_empty());
            let (Some(place), Some(name)) = (place, name) else {
                continue;
            };
            // Names of headers are the same in any case.
            let folded = match place {
                "header" => name.to_ascii_lowercase(),
                _ => name.to_owned(),
            };
            if seen.insert((place, folded)) {
                written.push(self.shown_parameter(parameter, name, place).into());
            }
        }
        written
    }

    fn shown_path_parameter(&self, shown: Option<&Value>, path: &PathParameter) -> Value {
        let undeclared = json!({ "schema": { "type": "string" } });
        let declared = objects(shown).find(|parameter| {
            text(parameter, "in") == Some("path") && text(parameter, "name") == Some(&path.own)
        });
        let mut parameter = match declared.or(undeclared.as_object()) {
            Some(parameter) => self.shown_parameter(parameter, &path.shown, "path"),
            None => Map::new(),
        };
        parameter.insert("required".to_owned(), true.into());
        if path.rest {
            parameter.insert(REST.to_owned(), true.into());
        }
        parameter.into()
    }

    fn shown_parameter(
        &self,
        parameter: &Map<String, Value>,
        name: &str,
        place: &str,
    ) -> Map<String, Value> {
        let mut written = keep(
            parameter,
            &[
                ("description", Value::is_string),
                ("required", Value::is_boolean),
                ("deprecated", Value::is_boolean),
                ("explode", Value::is_boolean),
            ],
        );
        if place == "query" {
            let flags: [Member<'_>; 2] = [
                ("allowEmptyValue", Value::is_boolean),
                ("allowReserved", Value::is_boolean),
            ];
            written.extend(keep(parameter, &flags));
        }
        let styles: &[&str] = match place {
            "path" => &["matrix", "label", "simple"],
            "query" => &["form", "spaceDelimited", "pipeDelimited", "deepObject"],
            "header" => &["simple"],
            _ => &["form"],
        };
        if let Some(style) = text(parameter, "style").filter(|style| styles.contains(style)) {
            written.insert("style".to_owned(), style.into());
        }
        written.insert("name".to_owned(), name.into());
        written.insert("in".to_owned(), place.into());
        self.shown_value(parameter, &mut written);
        written
    }

    /// What a parameter and a header have in common: a schema, or content of one media type.
    fn shown_value(&self, from: &Map<String, Value>, to: &mut Map<String, Value>) {
        let content = self.shown_content(from.get("content"), false);
        if content.len() == 1 {
            to.insert("content".to_owned(), content.into());
            // They are about the schema.
            to.remove("style");
            to.remove("explode");
            return;
        }
        let schema = from.get("schema").unwrap_or(&Value::Null);
        to.insert("schema".to_owned(), self.scope.schema(schema).into());
        add_examples(from, to);
    }

    fn shown_body(&self, body: &Value) -> Option<Map<String, Value>> {
        let body = body.as_object()?;
        let content = self.shown_content(body.get("content"), false);
        let mut written = keep(
            body,
            &[
                ("description", Value::is_string),
                ("required", Value::is_boolean),
            ],
        );
        if content.is_empty() {
            return None;
        }
        written.insert("content".to_owned(), content.into());
        Some(written)
    }

    fn shown_responses(&self, responses: Option<&Value>) -> Map<String, Value> {
        let mut written = Map::new();
        for (status, response) in members(responses) {
            let (true, Some(response)) = (is_status(status), response.as_object()) else {
                continue;
            };
            let description = text(response, "description").unwrap_or_default();
            let mut object = Map::from_iter([("description".to_owned(), description.into())]);
            let headers = self.shown_headers(response.get("headers"));
            if !headers.is_empty() {
                object.insert("headers".to_owned(), headers.into());
            }
            let enveloped = !self.api.raw && status.starts_with('2');
            let content = self.shown_content(response.get("content"), enveloped);
            if !content.is_empty() {
                object.insert("content".to_owned(), content.into());
            }
            written.insert(status.clone(), object.into());
        }
        if written.is_empty() {
            let unknown = json!({ "description": "What the service answers." });
            written.insert("default".to_owned(), unknown);
        }
        written
    }

    fn shown_headers(&self, headers: Option<&Value>) -> Map<String, Value> {
        let mut written = Map::new();
        for (name, header) in members(headers) {
            let (false, Some(header)) = (name.is_empty(), header.as_object()) else {
                continue;
            };
            let mut object = keep(
                header,
                &[
                    ("description", Value::is_string),
                    ("required", Value::is_boolean),
                    ("deprecated", Value::is_boolean),
                    ("explode", Value::is_boolean),
                ],
            );
            self.shown_value(header, &mut object);
            written.insert(name.clone(), object.into());
        }
        written
    }

    fn shown_content(&self, content: Option<&Value>, enveloped: bool) -> Map<String, Value> {
        let mut written = Map::new();
        for (media_type, media) in members(content) {
            let (true, Some(media)) = (media_type.contains('/'), media.as_object()) else {
                continue;
            };
            let mut object = Map::new();
            let schema = media.get("schema").map(|schema| self.scope.schema(schema));
            if enveloped && is_json(media_type) {
                let data = schema.unwrap_or_default();
                object.insert("schema".to_owned(), envelope(data.into()));
            } else {
                if let Some(schema) = schema {
                    object.insert("schema".to_owned(), schema.into());
                }
                add_examples(media, &mut object);
            }
            let encoding = self.shown_encoding(media.get("encoding"));
            if !encoding.is_empty() {
                object.insert("encoding".to_owned(), encoding.into());
            }
            written.insert(media_type.clone(), object.into());
        }
        written
    }

    fn shown_encoding(&self, encoding: Option<&Value>) -> Map<String, Value> {
        let mut written = Map::new();
        for (field, encoding) in members(encoding) {
            let Some(encoding) = encoding.as_object() else {
                continue;
            };
            let mut object = keep(
                encoding,
                &[
                    ("contentType", Value::is_string),
                    ("explode", Value::is_boolean),
                    ("allowReserved", Value::is_boolean),
                ],
            );
            let headers = self.shown_headers(encoding.get("headers"));
            if !headers.is_empty() {
                object.insert("headers".to_owned(), headers.into());
            }
            written.insert(field.clone(), object.into());
        }
        written
    }
}

fn add_examples(from: &Map<String, Value>, to: &mut Map<String, Value>) {
    let plain = |value: &&Value| is_plain(value, MAX_DEPTH);
    if let Some(example) = from.get("example").filter(plain) {
        to.insert("example".to_owned(), example.clone());
        return;
    }
    let examples = members(from.get("examples")).filter_map(|(name, example)| {
        let example = example.as_object()?;
        let mut kept = keep(
            example,
            &[
                ("summary", Value::is_string),
                ("description", Value::is_string),
            ],
        );
        let value = example.get("value").filter(plain)?;
        kept.insert("value".to_owned(), value.clone());
        Some((name.clone(), Value::Object(kept)))
    });
    let examples: Map<String, Value> = examples.collect();
    if !examples.is_empty() {
        to.insert("examples".to_owned(), examples.into());
    }
}

/// A member's name, and what it has to be.
type Member<'a> = (&'a str, fn(&Value) -> bool);

/// The `members` of `from` that are what they have to be.
fn keep(from: &Map<String, Value>, members: &[Member<'_>]) -> Map<String, Value> {
    let kept = members.iter().filter_map(|(key, fits)| {
        let value = from.get(*key).filter(|value| fits(value))?;
        Some(((*key).to_owned(), value.clone()))
    });
    kept.collect()
}

fn text<'a>(from: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    from.get(key).and_then(Value::as_str)
}

fn members(object: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.and_then(Value::as_object).into_iter().flatten()
}

fn objects(list: Option<&Value>) -> impl Iterator<Item = &Map<String, Value>> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_object)
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// `200`, `2XX` or `default`.
fn is_status(status: &str) -> bool {
    let range = matches!(status, "1XX" | "2XX" | "3XX" | "4XX" | "5XX");
    let exact = status
        .parse()
        .is_ok_and(|n: u16| n < 600 && StatusCode::from_u16(n).is_ok());
    range || status == "default" || exact && status.len() == 3
}
