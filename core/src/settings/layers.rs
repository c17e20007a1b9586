//! One source on the other: figment merges them and reads the whole.

use std::collections::BTreeMap;
use std::mem;

use figment::providers::Serialized;
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::Value as Json;

use super::Settings;
use super::error::{Problem, SettingsError};
use super::keys::{ADDING, dotted};
use super::source::{Place, Source};
use super::tree::{Body, Node, Table};

/// Where each key that some source gave is written, tables included.
pub(crate) type Places = BTreeMap<Vec<String>, Place>;

/// What one source says, checked. Figment tags each value with the layer it
/// is from, and the layer knows the line.
struct Layer {
    /// Counted from 0, weakest first; in the metadata, to get from a tag here.
    number: usize,
    source: Source,
    table: Table,
}

impl Layer {
    fn place(&self, path: &[String]) -> Option<&Place> {
        let (first, rest) = path.split_first()?;
        let node = rest.iter().try_fold(self.table.get(first)?, |node, key| {
            let Body::Table(table) = &node.body else {
                return None;
            };
            table.get(key)
        });
        node.map(|node| &node.place)
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::from(self.source.to_string(), self.number.to_string())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Serialized::defaults(&self.table).data()
    }
}

/// All sources.
#[derive(Default)]
pub(crate) struct Layers {
    figment: Figment,
    layers: Vec<Layer>,
}

impl Layers {
    /// Puts `table` on top: tables field by field, anything else as a whole.
    pub(crate) fn merge(&mut self, table: Table) {
        self.put(table, |figment, layer| figment.merge(layer));
    }

    /// As [`merge`](Self::merge), but lists of plugins are added to those
    /// below, without duplicates.
    pub(crate) fn add(&mut self, mut table: Table) {
        for key in ADDING {
            let Some(mut node) = table.remove(key) else {
                continue;
            };
            self.retain_new(key, &mut node);
            let list = Table::from([(key.to_owned(), node)]);
            self.put(list, |figment, layer| figment.admerge(layer));
        }
        self.merge(table);
    }

    fn retain_new(&self, key: &str, list: &mut Node) {
        let below: Option<Vec<Json>> = self.figment.extract_inner(key).ok();
        let mut known = below.unwrap_or_default();
        if let Body::Value(Json::Array(items)) = &mut list.body {
            items.retain(|item| {
                let new = !known.contains(item);
                known.push(item.clone());
                new
            });
        }
    }

    fn put(&mut self, table: Table, on: fn(Figment, &Layer) -> Figment) {
        let Some(first) = table.values().next() else {
            return;
        };
        let layer = Layer {
            number: self.layers.len(),
            source: first.place.source.clone(),
            table,
        };
        self.figment = on(mem::take(&mut self.figment), &layer);
        self.layers.push(layer);
    }

    /// The settings, and where they are written.
    ///
    /// # Errors
    ///
    /// `check` knows every key's type, so an error is a slip of ours: the table
    /// of keys and the structs disagree.
    pub(crate) fn extract(&self) -> Result<(Settings, Places), SettingsError> {
        let slip = |error: figment::Error| SettingsError {
            problems: vec![Problem::Refused {
                place: Source::Default.into(),
                key: dotted(&error.path),
                reason: "its type is not the one in the reference".into(),
            }],
        };
        let settings = self.figment.extract().map_err(slip)?;
        let mut places = Places::new();
        // Not figment's own search: it takes the dots in a route for a path.
        for tree in self.figment.data().map_err(slip)?.values() {
            self.locate(tree, &mut Vec::new(), &mut places);
        }
        Ok((settings, places))
    }

    fn locate(&self, tree: &Dict, path: &mut Vec<String>, places: &mut Places) {
        for (key, value) in tree {
            path.push(key.clone());
            if let Some(place) = self.place(value, path) {
                places.insert(path.clone(), place);
            }
            if let Some(inner) = value.as_dict() {
                self.locate(inner, path, places);
            }
            path.pop();
        }
    }

    /// Where `value` is written; of a list, where its items are.
    fn place(&self, value: &Value, path: &[String]) -> Option<Place> {
        let mut tags: Vec<_> = match value.as_array() {
            Some(items) if !items.is_empty() => items.iter().map(Value::tag).collect(),
            _ => vec![value.tag()],
        };
        tags.dedup();
        tags.into_iter()
            .filter_map(|tag| self.layer(tag)?.place(path).cloned())
            .reduce(|first, next| first.source.and(next.source).into())
    }

    fn layer(&self, tag: Tag) -> Option<&Layer> {
        let number = self.figment.get_metadata(tag)?.source.as_ref()?.custom()?;
        self.layers.get(number.parse::<usize>().ok()?)
    }
}
