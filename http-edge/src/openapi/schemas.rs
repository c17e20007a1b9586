//! Schemas: names that are unique in the document, references that resolve.
//!
//! Every API comes with the components it refers to. Where APIs agree on what a
//! name means, they share the component. Meaning includes what a component
//! refers to: two `Page`s of the same text differ where their `Item`s do.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use framex_core::descriptor::ApiDescriptor;
use serde_json::{Map, Value};

use super::Unique;

const COMPONENTS: &str = "#/components/schemas/";

/// How deep schemas and chains of references are followed; anything goes below.
pub(super) const MAX_DEPTH: usize = 64;

/// The schemas of one API, with their names in the document.
pub(super) struct Scope<'a> {
    components: Components<'a>,
    names: BTreeMap<&'a str, String>,
}

/// Gives every component of `apis` its name in the document, API by API.
pub(super) fn scopes<'a>(apis: &[&'a ApiDescriptor]) -> Vec<Scope<'a>> {
    let components: Vec<Components<'a>> = apis
        .iter()
        .map(|api| Components::new(&api.components))
        .collect();
    let mut texts = HashMap::new();
    let meanings: Vec<BTreeMap<&str, Meaning<'_>>> = components
        .iter()
        .map(|components| components.meanings(&mut texts))
        .collect();
    name(apis, &meanings)
        .into_iter()
        .zip(components)
        .map(|(names, components)| Scope { components, names })
        .collect()
}

impl Scope<'_> {
    /// `schema`, fit for the document: references point to its components, what
    /// is no JSON Schema is left out.
    pub(super) fn schema(&self, schema: &Value) -> Map<String, Value> {
        let mut resolve = |reference: &str, _| {
            let name = self.components.find(reference)?;
            self.names.get(name).cloned()
        };
        as_object(Copier(&mut resolve).root(schema))
    }

    /// The components under their names in the document.
    pub(super) fn components(&self) -> impl Iterator<Item = (&str, Map<String, Value>)> {
        self.names.iter().map(|(name, shown)| {
            let mut resolve = |reference: &str, here: bool| {
                let target = self.components.find(reference)?;
                // A schema that is, by definition, itself would be followed for ever.
                if here && self.components.leads_to(target, name) {
                    return None;
                }
                self.names.get(target).cloned()
            };
            let schema = Copier(&mut resolve).root(&self.components.all[*name]);
            (shown.as_str(), as_object(schema))
        })
    }

    /// Whether `schema` allows values of the JSON type `kind`, behind references or not.
    pub(super) fn allows(&self, schema: &Value, kind: &str) -> bool {
        let mut schema = schema;
        for _ in 0..MAX_DEPTH {
            let target = schema["$ref"]
                .as_str()
                .and_then(|reference| self.components.find(reference));
            match target {
                Some(name) => schema = &self.components.all[name],
                None => break,
            }
        }
        match &schema["type"] {
            Value::String(only) => only == kind,
            Value::Array(several) => several.iter().any(|one| one == kind),
            _ => false,
        }
    }
}

/// `true` and `false` are schemas as well; where an object has to stand, these
/// say the same.
fn as_object(schema: Value) -> Map<String, Value> {
    match schema {
        Value::Object(map) => map,
        Value::Bool(false) => Map::from_iter([("not".to_owned(), Value::Object(Map::new()))]),
        _ => Map::new(),
    }
}

/// What a component's name means: every component that it leads to, itself
/// included, with the number of its text.
type Meaning<'a> = BTreeMap<&'a str, usize>;

/// One API's components and how they refer to each other.
struct Components<'a> {
    all: &'a BTreeMap<String, Value>,
    /// Every reference, by the component that has it.
    references: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// The references among them that apply to the very same value.
    same_value: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Components<'a> {
    fn new(all: &'a BTreeMap<String, Value>) -> Self {
        let mut components = Self {
            all,
            references: BTreeMap::new(),
            same_value: BTreeMap::new(),
        };
        for (name, schema) in all {
            let (mut every, mut same) = (BTreeSet::new(), BTreeSet::new());
            let mut note = |reference: &str, here: bool| {
                let target = components.find(reference)?;
                every.insert(target);
                if here {
                    same.insert(target);
                }
                None
            };
            Copier(&mut note).root(schema);
            components.references.insert(name, every);
            components.same_value.insert(name, same);
        }
        components
    }

    /// The component that `reference` points to.
    fn find(&self, reference: &str) -> Option<&'a str> {
        let name = reference.strip_prefix(COMPONENTS)?;
        let found = self.all.get_key_value(name).or_else(|| {
            let name = name.replace("~1", "/").replace("~0", "~");
            self.all.get_key_value(name.as_str())
        });
        found.map(|(name, _)| name.as_str())
    }

    fn meanings(&self, texts: &mut HashMap<&'a Value, usize>) -> BTreeMap<&'a str, Meaning<'a>> {
        self.all
            .keys()
            .map(|name| {
                let reached = reach(name, &self.references);
                let meaning = reached.into_iter().map(|name| {
                    let next = texts.len();
                    (name, *texts.entry(&self.all[name]).or_insert(next))
                });
                (name.as_str(), meaning.collect())
            })
            .collect()
    }

    /// Whether `start` is, or applies to the same value, as `goal` does.
    fn leads_to(&self, start: &'a str, goal: &str) -> bool {
        reach(start, &self.same_value).contains(goal)
    }
}

/// Everything that `edges` lead to from `start`, which is part of it.
fn reach<'a>(start: &'a str, edges: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut todo = vec![start];
    while let Some(name) = todo.pop() {
        if reached.insert(name) {
            todo.extend(edges.get(name).into_iter().flatten());
        }
    }
    reached
}

/// A name for the document and the APIs whose `name` it stands for.
struct Wish<'a> {
    wanted: String,
    name: &'a str,
    apis: Vec<usize>,
}

/// The names of all components, by API.
fn name<'a>(
    apis: &[&'a ApiDescriptor],
    meanings: &[BTreeMap<&'a str, Meaning<'a>>],
) -> Vec<BTreeMap<&'a str, String>> {
    let mut uses: BTreeMap<&str, BTreeMap<&Meaning<'_>, Vec<usize>>> = BTreeMap::new();
    for (api, components) in meanings.iter().enumerate() {
        for (name, meaning) in components {
            let by_meaning = uses.entry(name).or_default();
            by_meaning.entry(meaning).or_default().push(api);
        }
    }
    let mut wishes: Vec<Wish<'_>> = uses
        .into_iter()
        .flat_map(|(name, by_meaning)| wishes(apis, name, by_meaning.into_values().collect()))
        .collect();
    // Names that are fine as they are go first, so that they stay so.
    wishes.sort_by_key(|wish| printable(&wish.wanted) != wish.wanted);

    let mut names = vec![BTreeMap::new(); apis.len()];
    let mut unique = Unique::default();
    for wish in wishes {
        let shown = unique.take(printable(&wish.wanted));
        for api in wish.apis {
            names[api].insert(wish.name, shown.clone());
        }
    }
    names
}

/// `Item` where everybody means the same; else `<plugin>.Item` for each plugin,
/// and `<API id>.Item` inside a plugin that disagrees with itself. What is passed on for
/// other services, `proxy.<service>.Item`, takes no name away from plugins that agree.
fn wishes<'a>(
    apis: &[&ApiDescriptor],
    name: &'a str,
    mut by_meaning: Vec<Vec<usize>>,
) -> Vec<Wish<'a>> {
    if by_meaning.len() == 1 {
        let wanted = name.to_owned();
        let apis = by_meaning.swap_remove(0);
        return vec![Wish { wanted, name, apis }];
    }
    let mut wishes = Vec::new();
    let of_plugins = |group: &Vec<usize>| group.iter().any(|api| !apis[*api].bridged);
    let (mut plugins, others): (Vec<_>, Vec<_>) = by_meaning.into_iter().partition(of_plugins);
    if plugins.len() == 1 {
        let wanted = name.to_owned();
        let apis = plugins.swap_remove(0);
        wishes.push(Wish { wanted, name, apis });
    }
    let mut by_owner: BTreeMap<&str, Vec<Vec<usize>>> = BTreeMap::new();
    for same in plugins.into_iter().chain(others) {
        for group in same.chunk_by(|a, b| owner(apis[*a]) == owner(apis[*b])) {
            let owner = owner(apis[group[0]]);
            by_owner.entry(owner).or_default().push(group.to_vec());
        }
    }
    for (owner, groups) in by_owner {
        let agrees = groups.len() == 1;
        for group in groups {
            let owner = if agrees {
                owner
            } else {
                apis[group[0]].id.as_str()
            };
            let wanted = format!("{owner}.{name}");
            let apis = group;
            wishes.push(Wish { wanted, name, apis });
        }
    }
    wishes
}

/// Whose API it is: a plugin's, or another service's.
fn owner(api: &ApiDescriptor) -> &str {
    let id = api.id.as_str();
    match id.rsplit_once('.') {
        Some((service, _)) if api.bridged => service,
        _ => api.id.plugin(),
    }
}

/// `name` in the characters that OpenAPI allows, and outside of `FrameX.`,
/// which is for the document's own components.
fn printable(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let plain: String = name
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect();
    if plain.is_empty() || plain.starts_with("FrameX.") {
        format!("_{plain}")
    } else {
        plain
    }
}

/// Copies schemas, keyword by keyword.
///
/// It asks for each reference which component it means, with whether that
/// applies to the value at hand (`$ref`, `allOf` ...) instead of a part of it
/// (`properties`, `items` ...). What stands where a schema has no schemas
/// (`default`, `enum` ...) is data and stays as it is.
struct Copier<'r>(&'r mut dyn FnMut(&str, bool) -> Option<String>);

impl Copier<'_> {
    fn root(&mut self, schema: &Value) -> Value {
        self.schema(schema, MAX_DEPTH, true)
            .unwrap_or(Value::Bool(true))
    }

    fn schema(&mut self, schema: &Value, depth: usize, here: bool) -> Option<Value> {
        match schema {
            Value::Bool(_) => Some(schema.clone()),
            Value::Object(_) if depth == 0 => Some(Value::Bool(true)),
            Value::Object(keywords) => {
                let kept = keywords.iter().filter_map(|(key, value)| {
                    let value = self.keyword(key, value, depth - 1, here)?;
                    Some((key.clone(), value))
                });
                Some(Value::Object(kept.collect()))
            }
            _ => None,
        }
    }

    fn keyword(&mut self, key: &str, value: &Value, depth: usize, here: bool) -> Option<Value> {
        match key {
            "$ref" => self.reference(value.as_str()?, here),
            // They move what references are relative to, or are only there to be
            // pointed to in ways that no longer work in a larger document.
            "$id" | "$schema" | "$vocabulary" | "$anchor" | "$dynamicAnchor" | "$dynamicRef"
            | "$recursiveAnchor" | "$recursiveRef" | "$defs" | "definitions" => None,
            // Objects of OpenAPI that say nothing about JSON.
            "xml" | "externalDocs" => None,
            "not" | "if" | "then" | "else" => self.schema(value, depth, here),
            "additionalProperties"
            | "unevaluatedProperties"
            | "propertyNames"
            | "items"
            | "unevaluatedItems"
            | "contains"
            | "contentSchema" => self.schema(value, depth, false),
            "allOf" | "anyOf" | "oneOf" => self.list(value, depth, here),
            "prefixItems" => self.list(value, depth, false),
            "dependentSchemas" => self.map(value, depth, here),
            "properties" | "patternProperties" => self.map(value, depth, false),
            "discriminator" => self.discriminator(value),
            _ => (well_formed(key, value) && is_plain(value, depth)).then(|| value.clone()),
        }
    }

    fn reference(&mut self, reference: &str, here: bool) -> Option<Value> {
        let name = (self.0)(reference, here)?;
        Some(Value::String(format!("{COMPONENTS}{name}")))
    }

    fn list(&mut self, schemas: &Value, depth: usize, here: bool) -> Option<Value> {
        let kept: Vec<Value> = schemas
            .as_array()?
            .iter()
            .filter_map(|schema| self.schema(schema, depth, here))
            .collect();
        (!kept.is_empty()).then_some(Value::Array(kept))
    }

    fn map(&mut self, schemas: &Value, depth: usize, here: bool) -> Option<Value> {
        let kept = schemas.as_object()?.iter().filter_map(|(name, schema)| {
            let schema = self.schema(schema, depth, here)?;
            Some((name.clone(), schema))
        });
        Some(Value::Object(kept.collect()))
    }

    /// Its mapping holds references, or component names without the path.
    fn discriminator(&mut self, value: &Value) -> Option<Value> {
        let name = value["propertyName"].as_str()?;
        let mut kept = Map::from_iter([("propertyName".to_owned(), name.into())]);
        if let Some(mapping) = value["mapping"].as_object() {
            let mapping = mapping.iter().filter_map(|(tag, target)| {
                let target = target.as_str()?;
                let reference = self
                    .reference(target, false)
                    .or_else(|| self.reference(&format!("{COMPONENTS}{target}"), false))?;
                Some((tag.clone(), reference))
            });
            kept.insert("mapping".to_owned(), Value::Object(mapping.collect()));
        }
        Some(Value::Object(kept))
    }
}

/// Whether `value` is what JSON Schema says the keyword `key` takes.
fn well_formed(key: &str, value: &Value) -> bool {
    match key {
        "type" => value.as_str().is_some_and(is_type) || is_set(value, is_type),
        "required" => value == &Value::Array(Vec::new()) || is_set(value, |_| true),
        "dependentRequired" => value
            .as_object()
            .is_some_and(|map| map.values().all(|names| is_set(names, |_| true))),
        "enum" | "examples" => value.is_array(),
        "title" | "description" | "format" | "pattern" | "contentEncoding" | "contentMediaType"
        | "$comment" => value.is_string(),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => value.is_number(),
        "multipleOf" => value.as_f64().is_some_and(|step| step > 0.0),
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties"
        | "minContains" | "maxContains" => value.is_u64(),
        "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" => value.is_boolean(),
        _ => true,
    }
}

/// Whether data can stand in the document: readers of OpenAPI take a `$ref` for
/// a reference wherever it is, and would follow it.
pub(super) fn is_plain(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) if depth == 0 => false,
        Value::Array(list) => list.iter().all(|item| is_plain(item, depth - 1)),
        Value::Object(map) => map
            .iter()
            .all(|(key, item)| key != "$ref" && is_plain(item, depth - 1)),
        _ => true,
    }
}

fn is_type(name: &str) -> bool {
    matches!(
        name,
        "null" | "boolean" | "object" | "array" | "number" | "string" | "integer"
    )
}

/// Whether `value` is a list of different texts, at least one, all `allowed`.
fn is_set(value: &Value, allowed: impl Fn(&str) -> bool) -> bool {
    let mut seen = BTreeSet::new();
    value.as_array().is_some_and(|list| {
        !list.is_empty()
            && list.iter().all(|item| {
                item.as_str()
                    .is_some_and(|text| allowed(text) && seen.insert(text))
            })
    })
}
