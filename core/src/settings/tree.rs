//! What one source says, or all of them together: tables, and at each value
//! the place it came from.

use std::collections::BTreeMap;

use serde_json::Value;

use super::source::Place;

pub(crate) type Table = BTreeMap<String, Node>;

pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) body: Body,
}

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

    fn to_json(&self) -> Value {
        match &self.body {
            Body::Table(table) => to_json(table),
            Body::Value(value) => value.clone(),
            Body::Text(text) => Value::from(text.as_str()),
        }
    }
}

pub(crate) fn table_from_json(place: &Place, map: serde_json::Map<String, Value>) -> Table {
    map.into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key, Node::from_json(place, value)))
        .collect()
}

pub(crate) fn to_json(table: &Table) -> Value {
    table
        .iter()
        .map(|(key, node)| (key.clone(), node.to_json()))
        .collect()
}

/// Puts `over` on `base`: tables field by field, anything else as a whole.
pub(crate) fn merge(base: &mut Table, over: Table) {
    for (key, node) in over {
        match (base.get_mut(&key), node) {
            (
                Some(Node {
                    place,
                    body: Body::Table(below),
                }),
                Node {
                    place: above,
                    body: Body::Table(table),
                },
            ) => {
                *place = above;
                merge(below, table);
            }
            (_, node) => {
                base.insert(key, node);
            }
        }
    }
}

/// Appends the list `over` to the one at `key`, without duplicates.
pub(crate) fn append(base: &mut Table, key: &str, over: Node) {
    let below = base.entry(key.into()).or_insert_with(|| Node {
        place: over.place.clone(),
        body: Body::Value(Value::Array(Vec::new())),
    });
    let (Body::Value(Value::Array(items)), Body::Value(Value::Array(more))) =
        (&mut below.body, over.body)
    else {
        return; // Not reached: both were checked to be lists.
    };
    let known = items.len();
    for item in more {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    if known == 0 {
        below.place = over.place;
    } else if items.len() > known {
        let sources = below.place.source.clone().and(over.place.source);
        below.place = sources.into();
    }
}

/// Calls `visit` with the path and place of every node, outside in.
pub(crate) fn walk(
    table: &Table,
    path: &mut Vec<String>,
    visit: &mut impl FnMut(&[String], &Place),
) {
    for (key, node) in table {
        path.push(key.clone());
        visit(path, &node.place);
        if let Body::Table(inner) = &node.body {
            walk(inner, path, visit);
        }
        path.pop();
    }
}
