//! The objects of an operation, self-contained: all that they refer to but schemas is in them.
//!
//! What OpenAPI does not know is left out, and so is what names other operations or places:
//! `servers`, `callbacks`, `links`, `security` and extensions.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::refs::{Source, texts};
use super::schemas::{Schemas, is_data};

/// Writes the objects of one operation.
pub(super) struct Objects<'o, 'a> {
    pub(super) source: Source<'a>,
    pub(super) schemas: &'o mut Schemas<'a>,
    /// The components that they need.
    pub(super) refers: BTreeSet<String>,
    /// Whether examples are kept.
    pub(super) examples: bool,
}

type Written = Result<Map<String, Value>, String>;

impl Objects<'_, '_> {
    pub(super) fn parameter(&mut self, parameter: &Map<String, Value>) -> Written {
        let mut written = keep(
            parameter,
            &[
                "name",
                "in",
                "description",
                "required",
                "deprecated",
                "allowEmptyValue",
                "style",
                "explode",
                "allowReserved",
            ],
        );
        self.value(parameter, &mut written)?;
        Ok(written)
    }

    pub(super) fn request_body(&mut self, body: &Value) -> Written {
        let body = self.source.object(body, texts)?;
        let mut written = keep(&body, &["description", "required"]);
        let content = self.content(body.get("content"))?;
        written.insert("content".to_owned(), content.into());
        Ok(written)
    }

    /// All answers, by status.
    pub(super) fn responses(&mut self, responses: Option<&Value>) -> Written {
        let mut written = Map::new();
        for (status, response) in members(responses).filter(|(status, _)| is_status(status)) {
            let response = self.source.object(response, texts)?;
            let mut object = keep(&response, &["description"]);
            object.entry("description").or_insert_with(|| json!(""));
            let headers = self.headers(response.get("headers"))?;
            if !headers.is_empty() {
                object.insert("headers".to_owned(), headers.into());
            }
            let content = self.content(response.get("content"))?;
            if !content.is_empty() {
                object.insert("content".to_owned(), content.into());
            }
            written.insert(status.to_ascii_uppercase(), object.into());
        }
        if let Some(default) = written.remove("DEFAULT") {
            written.insert("default".to_owned(), default);
        }
        if written.is_empty() {
            let unknown = json!({ "description": "What the service answers." });
            written.insert("default".to_owned(), unknown);
        }
        Ok(written)
    }

    fn headers(&mut self, headers: Option<&Value>) -> Written {
        let mut written = Map::new();
        for (name, header) in members(headers) {
            let header = self.source.object(header, texts)?;
            let mut object = keep(
                &header,
                &["description", "required", "deprecated", "style", "explode"],
            );
            self.value(&header, &mut object)?;
            written.insert(name.clone(), object.into());
        }
        Ok(written)
    }

    fn content(&mut self, content: Option<&Value>) -> Written {
        let mut written = Map::new();
        for (name, media) in members(content) {
            let Some(media) = media.as_object() else {
                continue;
            };
            let mut object = Map::new();
            if let Some(schema) = media.get("schema") {
                let schema = self.schemas.convert(schema, &mut self.refers)?;
                object.insert("schema".to_owned(), schema);
            }
            self.add_examples(media, &mut object);
            let encoding = self.encoding(media.get("encoding"))?;
            if !encoding.is_empty() {
                object.insert("encoding".to_owned(), encoding.into());
            }
            written.insert(name.clone(), object.into());
        }
        Ok(written)
    }

    fn encoding(&mut self, encoding: Option<&Value>) -> Written {
        let mut written = Map::new();
        for (field, encoding) in members(encoding) {
            let Some(encoding) = encoding.as_object() else {
                continue;
            };
            let mut object = keep(
                encoding,
                &["contentType", "style", "explode", "allowReserved"],
            );
            let headers = self.headers(encoding.get("headers"))?;
            if !headers.is_empty() {
                object.insert("headers".to_owned(), headers.into());
            }
            written.insert(field.clone(), object.into());
        }
        Ok(written)
    }

    /// What a parameter and a header have in common: a schema, or content of one media type.
    fn value(
        &mut self,
        from: &Map<String, Value>,
        to: &mut Map<String, Value>,
    ) -> Result<(), String> {
        let content = self.content(from.get("content"))?;
        if content.is_empty() {
            let any = json!({});
            let schema = from.get("schema").unwrap_or(&any);
            let schema = self.schemas.convert(schema, &mut self.refers)?;
            to.insert("schema".to_owned(), schema);
            self.add_examples(from, to);
        } else {
            to.insert("content".to_owned(), content.into());
        }
        Ok(())
    }

    fn add_examples(&self, from: &Map<String, Value>, to: &mut Map<String, Value>) {
        if !self.examples {
            return;
        }
        if let Some(example) = from.get("example").filter(|example| is_data(example)) {
            to.insert("example".to_owned(), example.clone());
            return;
        }
        let mut examples = Map::new();
        for (name, example) in members(from.get("examples")) {
            let Ok(example) = self.source.object(example, texts) else {
                continue;
            };
            let example = keep(&example, &["summary", "description", "value"]);
            if example.values().all(is_data) {
                examples.insert(name.clone(), example.into());
            }
        }
        if !examples.is_empty() {
            to.insert("examples".to_owned(), examples.into());
        }
    }
}

fn keep(from: &Map<String, Value>, keys: &[&str]) -> Map<String, Value> {
    let kept = from
        .iter()
        .filter(|(key, value)| keys.contains(&key.as_str()) && !value.is_null());
    kept.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn members(object: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.and_then(Value::as_object).into_iter().flatten()
}

/// `200`, `2XX` or `default`.
fn is_status(status: &str) -> bool {
    match status.as_bytes() {
        [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => true,
        [b'1'..=b'5', b'X' | b'x', b'X' | b'x'] => true,
        status => status == b"default",
    }
}
