//! What only the finished descriptor shows: mistakes that a macro cannot see.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schema::{CONFLICT, Components};
use crate::descriptor::{ApiDescriptor, ApiKind, Location, ReplyShape};
use crate::route;

/// How deep references are followed.
const MAX_DEPTH: usize = 32;

/// Checks `api` before anything is served.
///
/// # Errors
///
/// The first mistake, with what would be right.
pub fn check(api: &ApiDescriptor) -> Result<(), String> {
    for found in &api.routes {
        let names = route::parameters(&found.path).map_err(|reason| {
            format!("the route `{found}` of `{}` is not valid: {reason}", api.id)
        })?;
        let given: BTreeSet<&str> = api
            .parameters
            .iter()
            .filter(|p| p.location == Location::Path)
            .map(|p| p.name.as_str())
            .collect();
        let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        if given != wanted {
            return Err(format!(
                "the route `{found}` of `{}` and its path arguments do not agree",
                api.id
            ));
        }
    }
    if let Some(name) = api
        .components
        .iter()
        .find_map(|(name, schema)| schema.get(CONFLICT).map(|_| name))
    {
        return Err(format!(
            "`{}` uses two types called `{name}`: rename one of them in the documents with `#[schema(as = ..)]`",
            api.id
        ));
    }
    if let Some(name) = dangling(api) {
        return Err(format!(
            "`{}` refers to a schema `{name}` that nothing describes: its type's `ToSchema::schemas` leaves it out",
            api.id
        ));
    }
    // How a URL holds what a bridged API takes is its upstream's business.
    if api.kind == ApiKind::Func || api.bridged {
        return Ok(());
    }
    for parameter in &api.parameters {
        let (place, lists) = match parameter.location {
            Location::Query => ("the query", true),
            Location::Form => ("a form field", true),
            Location::Path => ("the path", false),
            Location::Body | Location::Raw | Location::Upload | Location::File => continue,
        };
        let found = kind(&parameter.schema, &api.components, MAX_DEPTH);
        let fix = match found {
            Kind::Text => continue,
            Kind::List if lists => continue,
            Kind::List => "a list, which the path cannot hold: take it from the query".to_owned(),
            Kind::Object if place == "a form field" => {
                "an object, which a form field cannot hold: take its fields one by one".to_owned()
            }
            Kind::Object => format!(
                "an object, which {place} cannot hold: mark it `#[body]`, or take its fields one by one"
            ),
        };
        return Err(format!(
            "argument `{}` of `{}` is {fix}",
            parameter.name, api.id
        ));
    }
    Ok(())
}

/// The name of a component that is referred to and not there.
fn dangling(api: &ApiDescriptor) -> Option<&str> {
    fn find<'a>(schema: &'a Value, components: &Components) -> Option<&'a str> {
        match schema {
            Value::Object(map) => {
                let own = map.get("$ref").and_then(Value::as_str).map(name_of);
                own.filter(|name| !components.contains_key(*name))
                    .or_else(|| map.values().find_map(|inner| find(inner, components)))
            }
            Value::Array(items) => items.iter().find_map(|inner| find(inner, components)),
            _ => None,
        }
    }

    let reply = match &api.reply {
        ReplyShape::Value { schema } | ReplyShape::Stream { schema } => Some(schema),
        ReplyShape::Response => None,
    };
    let parameters = api.parameters.iter().map(|parameter| &parameter.schema);
    parameters
        .chain(reply)
        .chain(api.components.values())
        .find_map(|schema| find(schema, &api.components))
}

/// The name at the end of `#/components/schemas/Name`.
fn name_of(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or_default()
}

/// What a value of a schema can be written as in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// One text.
    Text,
    /// Several texts.
    List,
    /// None of them.
    Object,
}

fn kind(schema: &Value, components: &Components, depth: usize) -> Kind {
    let Some(depth) = depth.checked_sub(1) else {
        return Kind::Object;
    };
    if let Some(reference) = schema["$ref"].as_str() {
        return components
            .get(name_of(reference))
            .map_or(Kind::Object, |schema| kind(schema, components, depth));
    }
    let branches = ["oneOf", "anyOf", "allOf"]
        .iter()
        .filter_map(|key| schema[*key].as_array())
        .flatten();
    let of_branches = branches.map(|branch| kind(branch, components, depth)).max();
    let names: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let own = if names.contains(&"object") || schema.get("properties").is_some() {
        Kind::Object
    } else if schema.get("prefixItems").is_some() {
        // Each item is read by a schema of its own, which texts cannot show.
        Kind::Object
    } else if names.contains(&"array") {
        match kind(&schema["items"], components, depth) {
            Kind::Text => Kind::List,
            Kind::List | Kind::Object => Kind::Object,
        }
    } else {
        Kind::Text
    };
    of_branches.map_or(own, |branches| own.max(branches))
}
