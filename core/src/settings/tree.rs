//! What one source says: tables, and at each value the place it came from.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::source::Place;

pub(crate) type Table = BTreeMap<String, Node>;

#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Node {
    #[serde(skip)]
    pub(crate) place: Place,
    pub(crate) body: Body,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Body {
    Table(Table),
    /// A value that has a type already. Never an object.
    Value(Value),
    /// The text of a variable: what it means depends on its key.
    Text(String),
}

impl Node {
    /// `value` with `place` at every node. A null says nothing and is dropped
    /// from tables.
    pub(crate) fn from_json(place: &Place, value: Value) -> Self {
        let body = match value {
            Value::Object(map) => Body::Table(table_from_json(place, map)),
            value => Body::Value(value),
        };
        let place = place.clone();
        Self { place, body }
    }

    /// A table for every segment of `path`, and `self` inside.
    pub(crate) fn nested(self, path: &[String]) -> Self {
        path.iter().rev().fold(self, |inner, segment| Self {
            place: inner.place.clone(),
            body: Body::Table(Table::from([(segment.clone(), inner)])),
        })
    }

    pub(crate) fn into_table(self) -> Option<Table> {
        match self.body {
            Body::Table(table) => Some(table),
            Body::Value(_) | Body::Text(_) => None,
        }
    }
}

pub(crate) fn table_from_json(place: &Place, map: serde_json::Map<String, Value>) -> Table {
    map.into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key, Node::from_json(place, value)))
        .collect()
}
