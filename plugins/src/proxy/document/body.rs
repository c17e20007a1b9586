//! Bodies: which form named values take, and what they are called.

use framex_core::descriptor::{Location, Parameter};
use serde_json::{Map, Value, json};

use super::schemas::{Schemas, properties};
use crate::proxy::operation::{Body, Form};

/// What a body is called among named values, unless it has fields.
const BODY: &str = "body";
const BYTES: &str = "application/octet-stream";

/// The body that `request_body`, a converted object, describes, and the values that it is
/// made of.
pub(super) fn read(
    request_body: &Map<String, Value>,
    schemas: &mut Schemas<'_>,
) -> (Body, Vec<Parameter>) {
    let content = request_body.get("content").and_then(Value::as_object);
    let mut offered: Vec<(Form, &str, &Value)> = content
        .into_iter()
        .flatten()
        .map(|(media_type, media)| (form(media_type, media), media_type.as_str(), media))
        .collect();
    offered.sort_by_key(|(form, ..)| match form {
        Form::Json => 0,
        Form::Multipart => 1,
        Form::Urlencoded => 2,
        Form::Raw => 3,
    });
    let nothing = json!({});
    let (form, media_type, media) =
        offered
            .first()
            .copied()
            .unwrap_or((Form::Raw, BYTES, &nothing));
    let required = request_body.get("required") == Some(&Value::Bool(true));
    let schema = media.get("schema").unwrap_or(&nothing);
    let about = request_body.get("description").and_then(Value::as_str);
    let whole = |location| Parameter {
        name: BODY.to_owned(),
        location,
        required,
        schema: schema.clone(),
        description: about.unwrap_or_default().to_owned(),
        ..Parameter::default()
    };
    let parameters = match form {
        Form::Json => vec![whole(Location::Body)],
        Form::Raw => vec![whole(Location::Upload)],
        Form::Urlencoded | Form::Multipart => fields(schema, schemas),
    };
    let body = Body {
        form,
        media_type: concrete(form, media_type),
        required,
    };
    (body, parameters)
}

fn form(media_type: &str, media: &Value) -> Form {
    match &*essence(media_type) {
        "multipart/form-data" => Form::Multipart,
        "application/x-www-form-urlencoded" => Form::Urlencoded,
        // What takes anything, and says how it is structured, takes JSON.
        "*/*" if media["schema"]["format"] != "binary" && media["schema"].is_object() => Form::Json,
        essence if is_json(essence) => Form::Json,
        _ => Form::Raw,
    }
}

/// `media_type` as a request says it: not a range.
fn concrete(form: Form, media_type: &str) -> String {
    match form {
        _ if !media_type.contains('*') => media_type.to_owned(),
        Form::Json => "application/json".to_owned(),
        _ => BYTES.to_owned(),
    }
}

/// A media type without parameters.
pub(super) fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

pub(super) fn is_json(essence: &str) -> bool {
    matches!(essence, "application/json" | "text/json") || essence.ends_with("+json")
}

fn fields(schema: &Value, schemas: &mut Schemas<'_>) -> Vec<Parameter> {
    let (properties, required) = properties(schemas, schema);
    let field = |(name, schema): (String, Value)| {
        let file = json!({ "type": "string", "format": "binary" });
        let (location, schema) = match files(&schema) {
            Files::None => (Location::Form, schema),
            Files::One => (Location::File, file),
            Files::Several => (Location::File, json!({ "type": "array", "items": file })),
        };
        Parameter {
            required: required.contains(&name),
            name,
            location,
            schema,
            ..Parameter::default()
        }
    };
    properties.into_iter().map(field).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Files {
    None,
    One,
    Several,
}

/// Whether a field's schema is that of files.
fn files(schema: &Value) -> Files {
    let bytes = schema["format"] == "binary"
        || schema["contentMediaType"].is_string() && schema["contentEncoding"].is_null();
    if bytes {
        return Files::One;
    }
    if schema["items"].is_object() && files(&schema["items"]) != Files::None {
        return Files::Several;
    }
    let branches = ["anyOf", "oneOf", "allOf"]
        .into_iter()
        .filter_map(|key| schema[key].as_array())
        .flatten();
    branches.map(files).max().unwrap_or(Files::None)
}
