//! Schemas: converted once each, with names that OpenAPI allows.
//!
//! A reference to anything but `#/components/schemas/Name` makes a component of what it
//! leads to, so that every reference that is left is of that form.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use serde_json::{Map, Value, json};

use super::refs::{Source, tokens};
use super::upgrade::upgrade;

const COMPONENTS: &str = "#/components/schemas/";

/// The longest name that is made here.
const LONGEST_NAME: usize = 100;

/// The schemas of a document, as far as they were asked for.
pub(super) struct Schemas<'a> {
    source: Source<'a>,
    /// Whether the document is OpenAPI 3.0.
    old: bool,
    /// The name of what stands at a place of the document.
    names: HashMap<Vec<String>, String>,
    /// What has a name.
    named: HashMap<String, &'a Value>,
    ready: HashMap<String, Result<Component, String>>,
    /// How many there are of a name, which get numbers.
    numbers: HashMap<String, usize>,
}

/// A schema by itself.
struct Component {
    schema: Value,
    /// Bytes of JSON.
    size: usize,
    refers: BTreeSet<String>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(source: Source<'a>, old: bool) -> Self {
        let place = |name: &str| vec!["components".into(), "schemas".into(), name.to_owned()];
        let declared = source.root["components"]["schemas"].as_object();
        let fine = declared
            .into_iter()
            .flatten()
            .filter(|(name, _)| printable(name) == **name);
        let names = fine.clone().map(|(name, _)| (place(name), name.clone()));
        Self {
            names: names.collect(),
            named: fine.map(|(name, schema)| (name.clone(), schema)).collect(),
            source,
            old,
            ready: HashMap::new(),
            numbers: HashMap::new(),
        }
    }

    /// `schema` in the words of OpenAPI 3.1; `refers` is told which components it needs.
    pub(super) fn convert(
        &mut self,
        schema: &Value,
        refers: &mut BTreeSet<String>,
    ) -> Result<Value, String> {
        let mut walk = Walk {
            schemas: self,
            refers,
            problem: None,
        };
        let schema = walk.schema(schema);
        match walk.problem {
            Some(problem) => Err(problem),
            None => Ok(schema),
        }
    }

    /// Everything that can be reached from `refers`, the nearest first up to about `room`
    /// bytes of JSON. What finds no room allows anything.
    pub(super) fn components(
        &mut self,
        refers: &BTreeSet<String>,
        mut room: usize,
    ) -> Result<BTreeMap<String, Value>, String> {
        let mut found = BTreeMap::new();
        let mut next: VecDeque<String> = refers.iter().cloned().collect();
        while let Some(name) = next.pop_front() {
            if self.source.budget.is_over() {
                return Err("it takes too long to read".into());
            }
            if found.contains_key(&name) {
                continue;
            }
            let component = self.component(&name)?;
            let schema = match room.checked_sub(component.size) {
                Some(left) => {
                    room = left;
                    next.extend(component.refers.iter().cloned());
                    component.schema.clone()
                }
                None => json!({ "description": "Left out here: its description is too large." }),
            };
            found.insert(name, schema);
        }
        Ok(found)
    }

    /// The component called `name`, converted.
    pub(super) fn get(&mut self, name: &str) -> Option<&Value> {
        let component = self.component(name).ok()?;
        Some(&component.schema)
    }

    fn component(&mut self, name: &str) -> Result<&Component, String> {
        if !self.ready.contains_key(name) {
            let schema = self.named.get(name).copied().unwrap_or(&Value::Null);
            let mut refers = BTreeSet::new();
            let converted = self.convert(schema, &mut refers).map(|schema| Component {
                size: name.len() + schema.to_string().len(),
                schema,
                refers,
            });
            self.ready.insert(name.to_owned(), converted);
        }
        match self.ready.get(name) {
            Some(Ok(component)) => Ok(component),
            Some(Err(problem)) => Err(problem.clone()),
            None => Err(format!("`{name}` is not described")),
        }
    }

    /// The name of what `reference` leads to.
    fn name(&mut self, reference: &str) -> Result<String, String> {
        let place = tokens(reference)?;
        if let Some(name) = self.names.get(&place) {
            return Ok(name.clone());
        }
        let schema = self.source.at(&place, reference)?;
        if !(schema.is_object() || schema.is_boolean()) {
            return Err(format!("`{reference}` is no schema"));
        }
        let own = match &place[..] {
            [components, schemas, own @ ..]
                if components == "components" && schemas == "schemas" =>
            {
                own
            }
            place => place,
        };
        let wanted = printable(&own.join("_"));
        let mut name = wanted.clone();
        let number = self.numbers.entry(wanted.clone()).or_insert(1);
        while self.named.contains_key(&name) {
            *number += 1;
            name = format!("{wanted}_{number}");
        }
        self.named.insert(name.clone(), schema);
        self.names.insert(place, name.clone());
        Ok(name)
    }
}

/// `name` in the characters that OpenAPI allows.
fn printable(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let plain = name.chars().map(|c| if allowed(c) { c } else { '_' });
    let plain: String = plain.take(LONGEST_NAME).collect();
    if plain.is_empty() {
        "_".to_owned()
    } else {
        plain
    }
}

/// Converts one schema, keyword by keyword: what has no schemas in it is data.
struct Walk<'w, 'a> {
    schemas: &'w mut Schemas<'a>,
    refers: &'w mut BTreeSet<String>,
    problem: Option<String>,
}

impl Walk<'_, '_> {
    fn schema(&mut self, schema: &Value) -> Value {
        let Value::Object(keywords) = schema else {
            return Value::Bool(schema != &Value::Bool(false));
        };
        let mut kept = Map::new();
        for (key, value) in keywords {
            if let Some(value) = self.keyword(key, value) {
                kept.insert(key.clone(), value);
            }
        }
        Value::Object(if self.schemas.old {
            upgrade(kept)
        } else {
            kept
        })
    }

    fn keyword(&mut self, key: &str, value: &Value) -> Option<Value> {
        match key {
            "$ref" => self.reference(value.as_str()?),
            // They name places; every place that is referred to becomes a component.
            "$id" | "$schema" | "$vocabulary" | "$anchor" | "$dynamicAnchor" | "$dynamicRef"
            | "$recursiveAnchor" | "$recursiveRef" | "$defs" | "definitions" => None,
            "not"
            | "if"
            | "then"
            | "else"
            | "additionalProperties"
            | "unevaluatedProperties"
            | "propertyNames"
            | "items"
            | "additionalItems"
            | "unevaluatedItems"
            | "contains"
            | "contentSchema"
                if value.is_object() || value.is_boolean() =>
            {
                Some(self.schema(value))
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" | "items" => {
                let list = value.as_array()?.iter().map(|schema| self.schema(schema));
                Some(list.collect())
            }
            "properties" | "patternProperties" | "dependentSchemas" => {
                let map = value.as_object()?.iter();
                let map = map.map(|(name, schema)| (name.clone(), self.schema(schema)));
                Some(Value::Object(map.collect()))
            }
            "discriminator" => self.discriminator(value),
            // It may be where only the upstream is.
            "externalDocs" => None,
            _ => is_data(value).then(|| value.clone()),
        }
    }

    fn reference(&mut self, reference: &str) -> Option<Value> {
        match self.schemas.name(reference) {
            Ok(name) => {
                let reference = format!("{COMPONENTS}{name}");
                self.refers.insert(name);
                Some(reference.into())
            }
            Err(problem) => {
                self.problem.get_or_insert(problem);
                None
            }
        }
    }

    /// Its mapping holds references, or names of components.
    fn discriminator(&mut self, value: &Value) -> Option<Value> {
        let mut kept = value.as_object()?.clone();
        let mapping = kept.remove("mapping");
        if let Some(Value::Object(mapping)) = mapping {
            let mut shown = Map::new();
            for (tag, target) in mapping {
                let Value::String(target) = target else {
                    continue;
                };
                let found = self.schemas.name(&format!("{COMPONENTS}{target}"));
                if let Ok(name) = found.or_else(|_| self.schemas.name(&target)) {
                    shown.insert(tag, format!("{COMPONENTS}{name}").into());
                    self.refers.insert(name);
                }
            }
            kept.insert("mapping".to_owned(), Value::Object(shown));
        }
        Some(Value::Object(kept))
    }
}

/// Whether data can stand in a document: a `$ref` in it would be taken for a reference.
pub(super) fn is_data(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().all(is_data),
        Value::Object(map) => map
            .iter()
            .all(|(key, value)| key != "$ref" && is_data(value)),
        _ => true,
    }
}

/// The properties of an object's schema, also of those that it is made of, and which of
/// them have to be there.
pub(super) fn properties(
    schemas: &mut Schemas<'_>,
    schema: &Value,
) -> (BTreeMap<String, Value>, HashSet<String>) {
    let (mut found, mut required) = (BTreeMap::new(), HashSet::new());
    let mut seen = HashSet::new();
    let mut next = vec![schema.clone()];
    while let Some(schema) = next.pop() {
        let name = schema["$ref"]
            .as_str()
            .and_then(|r| r.strip_prefix(COMPONENTS));
        if let Some(name) = name {
            if seen.insert(name.to_owned()) {
                next.extend(schemas.get(name).cloned());
            }
            continue;
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            found
                .entry(name.clone())
                .or_insert_with(|| property.clone());
        }
        let names = schema["required"].as_array().into_iter().flatten();
        required.extend(names.filter_map(Value::as_str).map(str::to_owned));
        next.extend(schema["allOf"].as_array().into_iter().flatten().cloned());
    }
    (found, required)
}

/// Adds the components that a converted schema refers to.
pub(super) fn references(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            let reference = map.get("$ref").and_then(Value::as_str);
            let name = reference.and_then(|reference| reference.strip_prefix(COMPONENTS));
            found.extend(name.map(str::to_owned));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
