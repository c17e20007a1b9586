//! Finds every problem of a value that its type refused.
//!
//! Types are read by serde, which stops at the first mistake. Only then, off
//! the path of good requests, the value is held against the type's JSON Schema
//! to name all of them. Covers the keywords that schemas of Rust types use.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::text::read_bool;
use crate::payload::Malformed;
use crate::problem::{Loc, Problem};

pub(super) type Components = BTreeMap<String, Value>;

/// How deep references and nested values are followed.
const MAX_DEPTH: usize = 64;
/// Problems of one value that are told; a list of a million wrong items has more.
pub(super) const MOST_PROBLEMS: usize = 100;
/// Values that are looked at: alternatives within alternatives multiply.
const MOST_STEPS: u32 = 1_000_000;

/// `json_invalid` at the offset, in bytes, that the parser stopped at.
pub(super) fn malformed(body: &[u8], error: &serde_json::Error) -> Problem {
    let malformed = Malformed::json(body, error);
    let place = malformed.at.map(Loc::from);
    Problem::new(
        "json_invalid",
        [Loc::from("body")].into_iter().chain(place).collect(),
        format!("the body is {malformed}"),
    )
}

/// The same where the parser that gave `error` has looked only for the end.
pub(super) fn not_json(body: &[u8], error: &serde_json::Error) -> Problem {
    match serde_json::from_slice::<Value>(body) {
        Err(error) => malformed(body, &error),
        Ok(_) => malformed(body, error),
    }
}

/// Whether a schema describes a list.
pub(super) fn is_list(schema: &Value) -> bool {
    types(schema).any(|name| name == "array")
}

/// The schema of a list's items.
pub(super) fn items(schema: &Value) -> &Value {
    &schema["items"]
}

/// The JSON value that `text` stands for, as `schema` sees it; a text if it
/// cannot be read so.
pub(super) fn read_text(schema: &Value, components: &Components, text: &str) -> Value {
    let schema = resolve(schema, components);
    for name in types(schema) {
        let read = match name {
            "integer" => text
                .parse::<i64>()
                .map(Number::from)
                .or_else(|_| text.parse::<u64>().map(Number::from))
                .ok()
                .map(Value::Number),
            "number" => text
                .parse::<f64>()
                .ok()
                .and_then(Number::from_f64)
                .map(Value::Number),
            "boolean" => read_bool(text).map(Value::Bool),
            _ => None,
        };
        if let Some(value) = read {
            return value;
        }
    }
    for branch in branches(schema) {
        let value = read_text(branch, components, text);
        if !value.is_string() {
            return value;
        }
    }
    Value::String(text.to_owned())
}

/// Whether a schema's values are more than one text can be.
pub(super) enum Structured {
    /// Objects or lists.
    Yes,
    /// Anything, or one of several.
    Maybe,
    /// Texts, numbers, booleans.
    No,
}

/// What `schema` allows, as far as its outermost keywords say so.
pub(super) fn structured(schema: &Value, components: &Components) -> Structured {
    let mut schema = resolve(schema, components);
    for _ in 0..MAX_DEPTH {
        let mut some = branches(schema).filter(|branch| branch["type"] != "null");
        match (some.next(), some.next()) {
            (None, _) => break,
            (Some(only), None) => schema = resolve(only, components),
            (Some(_), Some(_)) => return Structured::Maybe,
        }
    }
    let nested = |name: &str| matches!(name, "object" | "array");
    let types: Vec<_> = types(schema).filter(|name| *name != "null").collect();
    match types.first() {
        Some(_) if types.iter().copied().all(nested) => Structured::Yes,
        Some(_) if types.iter().copied().any(nested) => Structured::Maybe,
        Some(_) => Structured::No,
        None if schema.get("enum").or(schema.get("const")).is_some() => Structured::No,
        None if schema["allOf"].is_array() || schema["properties"].is_object() => Structured::Yes,
        None => Structured::Maybe,
    }
}

/// Every problem that `value` at `loc` has with `schema`.
pub(super) fn problems(
    schema: &Value,
    components: &Components,
    value: &Value,
    loc: &[Loc],
) -> Vec<Problem> {
    let steps = Cell::new(MOST_STEPS);
    let mut check = Check {
        components,
        steps: &steps,
        loc: loc.to_vec(),
        found: Vec::new(),
    };
    check.value(schema, value, MAX_DEPTH);
    check.found
}

/// Says that there is more, where a report is full.
pub(crate) fn shorten(found: &mut Vec<Problem>) {
    if found.len() >= MOST_PROBLEMS {
        found.truncate(MOST_PROBLEMS);
        let part = found.last().and_then(|last| last.loc.first()).cloned();
        found.push(Problem::new(
            "too_many_problems",
            part.into_iter().collect(),
            format!("only the first {MOST_PROBLEMS} problems are listed"),
        ));
    }
}

struct Check<'a> {
    components: &'a Components,
    steps: &'a Cell<u32>,
    loc: Vec<Loc>,
    found: Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, kind: &'static str, msg: String) {
        self.found.push(Problem::new(kind, self.loc.clone(), msg));
    }

    fn within(&mut self, step: impl Into<Loc>, check: impl FnOnce(&mut Self)) {
        self.loc.push(step.into());
        check(self);
        self.loc.pop();
    }

    fn value(&mut self, schema: &Value, value: &Value, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        let Some(steps) = self.steps.get().checked_sub(1) else {
            return;
        };
        self.steps.set(steps);
        if self.found.len() >= MOST_PROBLEMS {
            return;
        }
        let schema = resolve(schema, self.components);
        if let Some(allowed) = schema["enum"].as_array() {
            if !allowed.contains(value) {
                let names: Vec<_> = allowed.iter().map(quoted).collect();
                self.report("enum", format!("expected one of {}", names.join(", ")));
            }
            return;
        }
        if let Some(only) = schema.get("const") {
            if only != value {
                self.report("enum", format!("expected {}", quoted(only)));
            }
            return;
        }
        let allowed: Vec<&str> = types(schema).collect();
        if !allowed.is_empty() && !allowed.iter().any(|name| is_type(name, value)) {
            let wanted = allowed
                .iter()
                .find(|name| **name != "null")
                .unwrap_or(&"null");
            self.report(
                type_problem(wanted),
                format!("expected {}, got {}", describe(&allowed), kind_of(value)),
            );
            return;
        }
        match value {
            Value::Number(number) => self.number(schema, number),
            Value::String(text) => self.string(schema, text),
            Value::Array(list) => self.array(schema, list, depth),
            Value::Object(map) => self.object(schema, map, depth),
            Value::Null | Value::Bool(_) => {}
        }
        if let Some(all) = schema["allOf"].as_array() {
            for part in all {
                self.value(part, value, depth);
            }
        }
        self.any_of(schema, value, depth);
    }

    fn any_of(&mut self, schema: &Value, value: &Value, depth: usize) {
        let branches: Vec<&Value> = branches(schema).collect();
        if branches.is_empty() {
            return;
        }
        let mut reports: Vec<Vec<Problem>> = Vec::new();
        for branch in &branches {
            let mut check = Check {
                components: self.components,
                steps: self.steps,
                loc: self.loc.clone(),
                found: Vec::new(),
            };
            check.value(branch, value, depth);
            if check.found.is_empty() {
                return;
            }
            if !types(resolve(branch, self.components)).all(|name| name == "null")
                || types(resolve(branch, self.components)).next().is_none()
            {
                reports.push(check.found);
            }
        }
        if reports.len() == 1 {
            self.found.append(&mut reports[0]);
        } else {
            let count = branches.len();
            self.report(
                "union",
                format!(
                    "expected one of {count} shapes (see the documentation), got {} that fits none",
                    kind_of(value)
                ),
            );
        }
    }

    fn number(&mut self, schema: &Value, number: &Number) {
        let Some(value) = number.as_f64() else { return };
        if let Some((min, max)) = integer_range(schema)
            && !number.as_i128().is_some_and(|n| (min..=max).contains(&n))
        {
            self.report(
                "int_out_of_range",
                format!("expected an integer from {min} to {max}"),
            );
            return;
        }
        let bounds = [
            (
                "minimum",
                "greater_than_equal",
                "at least",
                value < limit(schema, "minimum", f64::MIN),
            ),
            (
                "maximum",
                "less_than_equal",
                "at most",
                value > limit(schema, "maximum", f64::MAX),
            ),
            (
                "exclusiveMinimum",
                "greater_than",
                "more than",
                value <= limit(schema, "exclusiveMinimum", f64::NEG_INFINITY),
            ),
            (
                "exclusiveMaximum",
                "less_than",
                "less than",
                value >= limit(schema, "exclusiveMaximum", f64::INFINITY),
            ),
        ];
        for (key, kind, words, broken) in bounds {
            if broken && schema.get(key).is_some() {
                self.report(
                    kind,
                    format!("expected a number that is {words} {}", schema[key]),
                );
                return;
            }
        }
    }

    fn string(&mut self, schema: &Value, text: &str) {
        let length = text.chars().count() as u64;
        if let Some(min) = schema["minLength"].as_u64().filter(|min| length < *min) {
            self.report(
                "string_too_short",
                format!("expected at least {min} characters, got {length}"),
            );
        }
        if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
            self.report(
                "string_too_long",
                format!("expected at most {max} characters, got {length}"),
            );
        }
        match schema["format"].as_str() {
            Some("uuid") if uuid::Uuid::parse_str(text).is_err() => {
                self.report(
                    "uuid_parsing",
                    "expected a UUID, e.g. `67e55044-10b1-426f-9247-bb680e5fe0c8`".into(),
                );
            }
            Some("date-time") if chrono::DateTime::parse_from_rfc3339(text).is_err() => {
                self.report(
                    "datetime_parsing",
                    "expected a date and time with offset (RFC 3339), e.g. `2026-01-01T12:00:00Z`"
                        .into(),
                );
            }
            Some("date") if text.parse::<chrono::NaiveDate>().is_err() => {
                self.report("date_parsing", "expected a date, e.g. `2026-01-01`".into());
            }
            _ => {}
        }
    }

    fn array(&mut self, schema: &Value, list: &[Value], depth: usize) {
        let length = list.len() as u64;
        if let Some(min) = schema["minItems"].as_u64().filter(|min| length < *min) {
            self.report(
                "too_short",
                format!("expected at least {min} items, got {length}"),
            );
        }
        if let Some(max) = schema["maxItems"].as_u64().filter(|max| length > *max) {
            self.report(
                "too_long",
                format!("expected at most {max} items, got {length}"),
            );
        }
        let first = schema["prefixItems"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        for (index, item) in list.iter().enumerate() {
            let item_schema = first.get(index).or_else(|| schema.get("items"));
            if let Some(item_schema) = item_schema {
                self.within(index, |check| check.value(item_schema, item, depth));
            }
        }
    }

    fn object(&mut self, schema: &Value, map: &Map<String, Value>, depth: usize) {
        for name in schema["required"].as_array().into_iter().flatten() {
            let Some(name) = name.as_str() else { continue };
            if !map.contains_key(name) {
                self.within(name.to_owned(), |check| {
                    check.report("missing", format!("`{name}` is required"));
                });
            }
        }
        let properties = schema["properties"].as_object();
        for (name, value) in map {
            if let Some(property) = properties.and_then(|p| p.get(name)) {
                self.within(name.clone(), |check| check.value(property, value, depth));
            } else if schema["additionalProperties"] == Value::Bool(false) {
                let known: Vec<_> = properties
                    .into_iter()
                    .flat_map(Map::keys)
                    .map(|name| format!("`{name}`"))
                    .collect();
                self.within(name.clone(), |check| {
                    check.report(
                        "extra_forbidden",
                        format!("unknown field; known are {}", known.join(", ")),
                    );
                });
            } else if schema["additionalProperties"].is_object() {
                self.within(name.clone(), |check| {
                    check.value(&schema["additionalProperties"], value, depth);
                });
            }
        }
    }
}

fn limit(schema: &Value, key: &str, otherwise: f64) -> f64 {
    schema[key].as_f64().unwrap_or(otherwise)
}

/// What the integer type behind a schema can hold; not what its author allows.
fn integer_range(schema: &Value) -> Option<(i128, i128)> {
    const TYPES: [(i128, i128); 6] = [
        (i8::MIN as i128, i8::MAX as i128),
        (0, u8::MAX as i128),
        (i16::MIN as i128, i16::MAX as i128),
        (0, u16::MAX as i128),
        (i32::MIN as i128, i32::MAX as i128),
        (0, u32::MAX as i128),
    ];
    if !types(schema).any(|name| name == "integer") {
        return None;
    }
    let bound = |key: &str| schema[key].as_number().and_then(Number::as_i128);
    let (min, max) = (bound("minimum"), bound("maximum"));
    if let Some(range) = TYPES
        .into_iter()
        .find(|range| (min, max) == (Some(range.0), Some(range.1)))
    {
        return Some(range);
    }
    // Unsigned types have the format of the signed ones, and a minimum.
    let unsigned = min.is_some_and(|min| min >= 0);
    match schema["format"].as_str() {
        Some("int32") if unsigned => Some((0, u32::MAX.into())),
        Some("int32") => Some((i32::MIN.into(), i32::MAX.into())),
        Some("int64") if unsigned => Some((0, u64::MAX.into())),
        Some("int64") => Some((i64::MIN.into(), i64::MAX.into())),
        _ => None,
    }
}

/// Follows `$ref` into `components`.
pub(super) fn resolve<'a>(schema: &'a Value, components: &'a Components) -> &'a Value {
    let mut schema = schema;
    for _ in 0..MAX_DEPTH {
        let Some(name) = schema["$ref"]
            .as_str()
            .and_then(|r| r.strip_prefix("#/components/schemas/"))
        else {
            break;
        };
        match components.get(name) {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

fn branches(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"]
        .into_iter()
        .filter_map(|key| schema[key].as_array())
        .flatten()
}

fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let (one, many) = match &schema["type"] {
        Value::String(name) => (Some(name.as_str()), None),
        Value::Array(names) => (None, Some(names)),
        _ => (None, None),
    };
    one.into_iter()
        .chain(many.into_iter().flatten().filter_map(Value::as_str))
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value
            .as_number()
            .is_some_and(|n| n.as_i128().is_some() || beyond_integers(n)),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

/// An integer of so many digits that it was read as a float.
fn beyond_integers(number: &Number) -> bool {
    const MOST: f64 = u64::MAX as f64;
    number
        .as_f64()
        .is_some_and(|value| value.abs() >= MOST && value.fract() == 0.0)
}

fn type_problem(name: &str) -> &'static str {
    match name {
        "boolean" => "bool_type",
        "integer" => "int_type",
        "number" => "float_type",
        "string" => "string_type",
        "array" => "list_type",
        "null" => "null_type",
        _ => "dict_type",
    }
}

fn describe(names: &[&str]) -> String {
    let words: Vec<_> = names
        .iter()
        .map(|name| match *name {
            "integer" => "an integer",
            "array" => "a list",
            "object" => "an object",
            "null" => "null",
            "boolean" => "a boolean",
            "number" => "a number",
            _ => "a string",
        })
        .collect();
    words.join(" or ")
}

/// What came, without its value.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(n) if n.is_f64() => "a number with a fraction or exponent",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn quoted(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Owned(format!("`{text}`")),
        other => Cow::Owned(format!("`{other}`")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(schema: Value, value: Value) -> Vec<String> {
        let components = BTreeMap::from([(
            "Item".to_owned(),
            json!({"type": "object", "required": ["id", "name"], "properties": {
                "id": {"type": "integer", "format": "int32"},
                "name": {"type": ["string", "null"]},
                "tags": {"type": "array", "items": {"type": "string"}},
            }}),
        )]);
        problems(&schema, &components, &value, &["body".into()])
            .into_iter()
            .map(|p| format!("{} {}", p.kind, serde_json::to_string(&p.loc).unwrap()))
            .collect()
    }

    #[test]
    fn every_problem_is_named() {
        let item = json!({"$ref": "#/components/schemas/Item"});
        assert_eq!(
            found(item.clone(), json!({"id": "x", "tags": ["a", 1, null]})),
            [
                r#"missing ["body","name"]"#,
                r#"int_type ["body","id"]"#,
                r#"string_type ["body","tags",1]"#,
                r#"string_type ["body","tags",2]"#,
            ]
        );
        assert_eq!(found(item.clone(), json!([1])), [r#"dict_type ["body"]"#]);
        assert!(found(item, json!({"id": 1, "name": null, "more": 1})).is_empty());
    }

    #[test]
    fn ranges_enums_and_unions() {
        assert_eq!(
            found(json!({"type": "integer", "minimum": 0}), json!(-1)),
            [r#"greater_than_equal ["body"]"#]
        );
        assert_eq!(
            found(
                json!({"type": "integer", "format": "int32"}),
                json!(1_u64 << 40)
            ),
            [r#"int_out_of_range ["body"]"#]
        );
        assert_eq!(
            found(json!({"type": "integer"}), json!(1.5)),
            [r#"int_type ["body"]"#]
        );
        let byte = json!({"type": "integer", "format": "int32", "minimum": 0, "maximum": 255});
        assert_eq!(found(byte, json!(256)), [r#"int_out_of_range ["body"]"#]);
        let unsigned = json!({"type": "integer", "format": "int64", "minimum": 0});
        assert!(found(unsigned.clone(), json!(u64::MAX)).is_empty());
        assert_eq!(
            found(unsigned, json!(1e30)),
            [r#"int_out_of_range ["body"]"#]
        );
        assert_eq!(
            found(json!({"enum": ["a", "b"]}), json!("c")),
            [r#"enum ["body"]"#]
        );
        let nullable = json!({"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Item"}]});
        assert_eq!(
            found(nullable.clone(), json!({"name": "x"})),
            [r#"missing ["body","id"]"#]
        );
        assert!(found(nullable, Value::Null).is_empty());
        let union = json!({"oneOf": [{"type": "string"}, {"type": "array"}]});
        assert_eq!(found(union, json!(1)), [r#"union ["body"]"#]);
    }

    #[test]
    fn reports_are_bounded() {
        let list = json!({"type": "array", "items": {"type": "string"}});
        let value = Value::Array(vec![json!(1); 1_000_000]);
        let found = problems(&list, &BTreeMap::new(), &value, &["body".into()]);
        assert_eq!(found.len(), MOST_PROBLEMS);

        // Each level could be one of two shapes: 2 to the power of 60 ways.
        let shape = |tag: &str| {
            json!({"type": "object", "required": ["tag"], "properties": {
                "tag": {"const": tag}, "inner": {"$ref": "#/components/schemas/Tree"},
            }})
        };
        let tree = json!({"oneOf": [shape("a"), shape("b")]});
        let components = BTreeMap::from([("Tree".to_owned(), tree.clone())]);
        let mut value = json!({"tag": "c"});
        for _ in 0..60 {
            value = json!({"tag": "a", "inner": value});
        }
        let begun = std::time::Instant::now();
        problems(&tree, &components, &value, &[]);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }

    #[test]
    fn formats() {
        for (format, kind) in [
            ("uuid", "uuid_parsing"),
            ("date-time", "datetime_parsing"),
            ("date", "date_parsing"),
        ] {
            let schema = json!({"type": "string", "format": format});
            assert_eq!(
                found(schema, json!("nope")),
                [format!(r#"{kind} ["body"]"#)]
            );
        }
    }

    #[test]
    fn texts_become_what_the_schema_asks_for() {
        let none = BTreeMap::new();
        let read = |schema, text| read_text(&schema, &none, text);
        assert_eq!(read(json!({"type": "integer"}), "12"), json!(12));
        assert_eq!(read(json!({"type": "string"}), "12"), json!("12"));
        assert_eq!(read(json!({"type": ["integer", "null"]}), "x"), json!("x"));
        assert_eq!(
            read(
                json!({"oneOf": [{"type": "null"}, {"type": "boolean"}]}),
                "on"
            ),
            json!(true)
        );
    }

    #[test]
    fn a_recursive_schema_ends() {
        let components =
            BTreeMap::from([("A".to_owned(), json!({"$ref": "#/components/schemas/A"}))]);
        let schema = json!({"$ref": "#/components/schemas/A"});
        assert!(problems(&schema, &components, &json!(1), &[]).is_empty());
    }

    #[test]
    fn malformed_json_has_its_place() {
        let body = b"{\n \"a\": }";
        let error = serde_json::from_slice::<Value>(body).unwrap_err();
        assert_eq!(
            malformed(body, &error).loc,
            [Loc::from("body"), Loc::Index(8)]
        );
    }
}
