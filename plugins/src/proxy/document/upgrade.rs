//! Schemas of OpenAPI 3.0 in the words of 3.1, which are JSON Schema's.

use serde_json::{Map, Value, json};

/// What describes a schema and says nothing of its values.
const ANNOTATIONS: [&str; 8] = [
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "xml",
];

/// `schema`, whose inner schemas are upgraded already.
pub(super) fn upgrade(mut schema: Map<String, Value>) -> Map<String, Value> {
    if let Some(example) = schema.remove("example") {
        schema
            .entry("examples")
            .or_insert_with(|| Value::Array(vec![example]));
    }
    if schema.contains_key("$ref") {
        // What else stands beside a reference means nothing there.
        schema.retain(|key, _| key == "$ref" || ANNOTATIONS.contains(&key.as_str()));
        return schema;
    }
    bound(&mut schema, "exclusiveMinimum", "minimum");
    bound(&mut schema, "exclusiveMaximum", "maximum");
    content(&mut schema);
    match schema.remove("nullable") {
        Some(Value::Bool(true)) => nullable(schema),
        _ => schema,
    }
}

/// `exclusiveMinimum: true` is about `minimum`.
fn bound(schema: &mut Map<String, Value>, exclusive: &str, inclusive: &str) {
    let Some(Value::Bool(yes)) = schema.get(exclusive) else {
        return;
    };
    let yes = *yes;
    schema.remove(exclusive);
    if yes && let Some(bound) = schema.remove(inclusive) {
        schema.insert(exclusive.to_owned(), bound);
    }
}

/// Files and bytes are formats there.
fn content(schema: &mut Map<String, Value>) {
    let (keyword, value) = match schema.get("format").and_then(Value::as_str) {
        Some("binary") => ("contentMediaType", "application/octet-stream"),
        Some("byte" | "base64") => ("contentEncoding", "base64"),
        _ => return,
    };
    schema.entry(keyword).or_insert_with(|| Value::from(value));
}

fn nullable(mut schema: Map<String, Value>) -> Map<String, Value> {
    match schema.get_mut("type") {
        Some(Value::Array(types)) => {
            if !types.contains(&json!("null")) {
                types.push(json!("null"));
            }
        }
        Some(one) => *one = json!([one.take(), "null"]),
        None => return with_null(schema),
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    schema
}

/// A schema without a type of its own, such as `allOf`, or null.
fn with_null(schema: Map<String, Value>) -> Map<String, Value> {
    let (mut outer, inner): (Map<_, _>, Map<_, _>) = schema
        .into_iter()
        .partition(|(key, _)| ANNOTATIONS.contains(&key.as_str()) || key.starts_with("x-"));
    // Anything may be null already.
    if !inner.is_empty() {
        outer.insert("anyOf".to_owned(), json!([inner, { "type": "null" }]));
    }
    outer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_successor() {
        for (old, new) in [
            (
                json!({"type": "string", "nullable": true, "example": "a"}),
                json!({"type": ["string", "null"], "examples": ["a"]}),
            ),
            (
                json!({"type": "string", "nullable": false}),
                json!({"type": "string"}),
            ),
            (
                json!({"type": "string", "enum": ["a"], "nullable": true}),
                json!({"type": ["string", "null"], "enum": ["a", null]}),
            ),
            (
                json!({"nullable": true, "description": "x"}),
                json!({"description": "x"}),
            ),
            (
                json!({"allOf": [{"$ref": "#/a"}], "nullable": true, "title": "T", "default": null}),
                json!({"anyOf": [{"allOf": [{"$ref": "#/a"}]}, {"type": "null"}], "title": "T", "default": null}),
            ),
            (
                json!({"minimum": 1, "exclusiveMinimum": true, "maximum": 5, "exclusiveMaximum": false}),
                json!({"exclusiveMinimum": 1, "maximum": 5}),
            ),
            (json!({"exclusiveMinimum": true}), json!({})),
            (
                json!({"exclusiveMinimum": 3}),
                json!({"exclusiveMinimum": 3}),
            ),
            (
                json!({"$ref": "#/a", "description": "kept", "nullable": true, "type": "string"}),
                json!({"$ref": "#/a", "description": "kept"}),
            ),
            (
                json!({"type": "string", "format": "binary"}),
                json!({"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}),
            ),
            (
                json!({"type": "string", "format": "byte"}),
                json!({"type": "string", "format": "byte", "contentEncoding": "base64"}),
            ),
            (
                json!({"type": "object", "additionalProperties": false, "x-mine": 1}),
                json!({"type": "object", "additionalProperties": false, "x-mine": 1}),
            ),
        ] {
            let Value::Object(map) = old.clone() else {
                unreachable!()
            };
            assert_eq!(Value::Object(upgrade(map)), new, "{old}");
        }
    }
}
