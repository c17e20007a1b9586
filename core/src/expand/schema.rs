//! JSON Schemas of types.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::reply::RawJson;

/// Named schemas, for `#/components/schemas/`.
pub type Components = BTreeMap<String, Value>;

/// Marks a component whose name two different types want; see [`super::check`].
pub(super) const CONFLICT: &str = "x-framex-conflict";

/// A type that we describe ourselves, since it does not do so or not exactly.
pub trait Leaf {
    /// Its schema, without references.
    fn schema() -> Value;
}

macro_rules! leaves {
    ($($type:ty => $schema:tt),* $(,)?) => {$(
        impl Leaf for $type {
            fn schema() -> Value {
                json!($schema)
            }
        }
    )*};
}

leaves! {
    bool => { "type": "boolean" },
    String => { "type": "string" },
    &str => { "type": "string" },
    char => { "type": "string", "minLength": 1, "maxLength": 1 },
    f32 => { "type": "number", "format": "float" },
    f64 => { "type": "number", "format": "double" },
    i8 => { "type": "integer", "format": "int32", "minimum": (i8::MIN), "maximum": (i8::MAX) },
    u8 => { "type": "integer", "format": "int32", "minimum": 0, "maximum": (u8::MAX) },
    i16 => { "type": "integer", "format": "int32", "minimum": (i16::MIN), "maximum": (i16::MAX) },
    u16 => { "type": "integer", "format": "int32", "minimum": 0, "maximum": (u16::MAX) },
    i32 => { "type": "integer", "format": "int32", "minimum": (i32::MIN), "maximum": (i32::MAX) },
    // Not `int32`, which is signed.
    u32 => { "type": "integer", "format": "int64", "minimum": 0, "maximum": (u32::MAX) },
    i64 => { "type": "integer", "format": "int64" },
    u64 => { "type": "integer", "format": "int64", "minimum": 0 },
    isize => { "type": "integer", "format": "int64" },
    usize => { "type": "integer", "format": "int64", "minimum": 0 },
    i128 => { "type": "integer" },
    u128 => { "type": "integer", "minimum": 0 },
    () => { "type": "null" },
    uuid::Uuid => { "type": "string", "format": "uuid" },
    chrono::NaiveDate => { "type": "string", "format": "date" },
    chrono::NaiveTime => { "type": "string", "format": "partial-time" },
    chrono::NaiveDateTime => { "type": "string", "format": "local-date-time" },
}

impl<Tz: chrono::TimeZone> Leaf for chrono::DateTime<Tz> {
    fn schema() -> Value {
        json!({ "type": "string", "format": "date-time" })
    }
}

impl Leaf for RawJson {
    fn schema() -> Value {
        anything()
    }
}

impl Leaf for Value {
    fn schema() -> Value {
        anything()
    }
}

impl Leaf for serde_json::Map<String, Value> {
    fn schema() -> Value {
        json!({ "type": "object" })
    }
}

// The macros see through these themselves; here for aliases and for parts of
// other types.
impl<T: Leaf> Leaf for Option<T> {
    fn schema() -> Value {
        nullable(T::schema())
    }
}

impl<T: Leaf> Leaf for Vec<T> {
    fn schema() -> Value {
        list(T::schema())
    }
}

impl<T: Leaf> Leaf for Box<T> {
    fn schema() -> Value {
        T::schema()
    }
}

impl<K, T: Leaf, S> Leaf for HashMap<K, T, S> {
    fn schema() -> Value {
        map(T::schema())
    }
}

impl<K, T: Leaf> Leaf for BTreeMap<K, T> {
    fn schema() -> Value {
        map(T::schema())
    }
}

/// Anything at all.
#[must_use]
pub fn anything() -> Value {
    json!({})
}

/// The data of an event of text.
#[must_use]
pub(super) fn content() -> Value {
    json!({
        "type": "object",
        "properties": { "content": { "type": "string" } },
        "required": ["content"],
    })
}

/// The body of a request as bytes, or a file.
#[must_use]
pub(super) fn binary() -> Value {
    json!({ "type": "string", "format": "binary" })
}

/// A list of `items`.
#[must_use]
pub fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// A list of different `items`.
#[must_use]
pub fn set(items: Value) -> Value {
    json!({ "type": "array", "items": items, "uniqueItems": true })
}

/// A list of `length` `items`.
#[must_use]
pub fn array(items: Value, length: usize) -> Value {
    json!({ "type": "array", "items": items, "minItems": length, "maxItems": length })
}

/// A list with a schema for each item.
#[must_use]
pub fn tuple<const N: usize>(items: [Value; N]) -> Value {
    json!({ "type": "array", "prefixItems": items.to_vec(), "items": false, "minItems": N, "maxItems": N })
}

/// A map from texts to `values`.
#[must_use]
pub fn map(values: Value) -> Value {
    json!({ "type": "object", "additionalProperties": values })
}

/// `schema` or null.
#[must_use]
pub fn nullable(mut schema: Value) -> Value {
    if schema.as_object().is_some_and(serde_json::Map::is_empty) {
        return schema;
    }
    match schema.get_mut("type") {
        Some(Value::String(name)) if schema_is_plain(name) => {
            let name = std::mem::take(name);
            schema["type"] = json!([name, "null"]);
            schema
        }
        Some(Value::Array(names)) => {
            if !names.iter().any(|name| name == "null") {
                names.push(json!("null"));
            }
            schema
        }
        _ => json!({ "oneOf": [schema, { "type": "null" }] }),
    }
}

fn schema_is_plain(name: &str) -> bool {
    matches!(
        name,
        "string" | "integer" | "number" | "boolean" | "array" | "object"
    )
}

/// The schema of a type that describes itself: a reference to a component if
/// it is a named object, enum or union, else the schema itself.
pub(super) fn of<T: ToSchema>(components: &mut Components) -> Value {
    let mut nested = Vec::new();
    T::schemas(&mut nested);
    for (name, schema) in nested {
        add(components, name, to_json(&schema));
    }
    let schema = to_json(&T::schema());
    if is_std::<T>() || !is_named(&schema) {
        return schema;
    }
    let name = T::name().into_owned();
    let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
    add(components, name, schema);
    reference
}

fn to_json(schema: &utoipa::openapi::RefOr<utoipa::openapi::Schema>) -> Value {
    serde_json::to_value(schema).unwrap_or_else(|_| anything())
}

fn add(components: &mut Components, name: String, schema: Value) {
    match components.get_mut(&name) {
        None => {
            components.insert(name, schema);
        }
        Some(known) if *known == schema => {}
        Some(known) => {
            if let Some(known) = known.as_object_mut() {
                known.insert(CONFLICT.to_owned(), json!(true));
            }
        }
    }
}

/// A container of the standard library: it shares its name with all its kind.
fn is_std<T>() -> bool {
    let name = std::any::type_name::<T>();
    ["alloc::", "core::", "std::", "(", "[", "&"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Whether a schema is worth a name: an object, an enum or a union.
fn is_named(schema: &Value) -> bool {
    let has = |key: &str| schema.get(key).is_some();
    let open_map = has("additionalProperties") && !has("properties");
    let object = schema["type"] == "object" && !open_map;
    object || has("enum") || has("oneOf") || has("anyOf") || has("allOf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_added_once() {
        let text = json!({ "type": ["string", "null"] });
        assert_eq!(nullable(json!({ "type": "string" })), text);
        assert_eq!(nullable(text.clone()), text);
        assert_eq!(nullable(json!({})), json!({}));
        assert_eq!(
            nullable(json!({ "$ref": "#/x" })),
            json!({ "oneOf": [{ "$ref": "#/x" }, { "type": "null" }] })
        );
    }
}
