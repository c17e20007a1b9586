use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Settings;
use super::keys::{self, KEYS};
use super::layers::Places;
use super::mask;
use super::shape::Shape;
use super::source::{Place, Source};

/// Every effective value and where it came from.
#[derive(Clone, Debug)]
pub struct Origins {
    leaves: BTreeMap<String, Origin>,
    places: Places,
}

/// An effective value and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Origin {
    /// The value; secrets in it are `********`. Null where there is none.
    pub value: Value,
    /// Where it came from.
    #[serde(serialize_with = "as_text")]
    pub source: Source,
}

fn as_text<S: Serializer>(source: &Source, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(source)
}

/// One line of `framex config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// In full, with dots: `server.port`.
    pub key: String,
    /// The value; secrets in it are `********`, nothing is `not set`.
    pub value: String,
    /// Where it came from.
    pub source: String,
}

impl Origins {
    pub(crate) fn new(settings: &Settings, mut places: Places) -> Self {
        // Values are shown under names without secrets, and are written under others.
        let hidden: Vec<_> = places
            .iter()
            .filter(|(path, _)| path.iter().any(|name| mask::key(name) != *name))
            .map(|(path, place)| {
                let path = path.iter().map(|name| mask::key(name).into_owned());
                (path.collect(), place.clone())
            })
            .collect();
        places.extend(hidden);
        let mut origins = Self {
            leaves: BTreeMap::new(),
            places,
        };
        let shown = keys::shown(settings);
        for key in KEYS {
            let mut path: Vec<_> = key.name.split('.').map(str::to_owned).collect();
            let value = keys::value_at(&shown, key.name);
            match (key.shape, value) {
                (Shape::Plugins | Shape::Rules, Value::Object(tables)) => {
                    for (name, value) in tables {
                        path.push(name);
                        origins.leaf(&mut path, value);
                        path.pop();
                    }
                }
                (_, value) => origins.leaf(&mut path, value),
            }
        }
        origins
    }

    fn leaf(&mut self, path: &mut Vec<String>, value: Value) {
        match value {
            Value::Object(table) if !table.is_empty() => {
                for (key, value) in table {
                    path.push(key);
                    self.leaf(path, value);
                    path.pop();
                }
            }
            value => {
                let source = self.exact(path).source;
                let origin = Origin { value, source };
                self.leaves.insert(keys::dotted(path), origin);
            }
        }
    }

    /// The value at `key` (`server.port`, `plugins.echo.size`) and its source.
    pub fn get(&self, key: &str) -> Option<&Origin> {
        self.leaves.get(key)
    }

    /// All values, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.leaves
            .iter()
            .map(|(key, origin)| (key.as_str(), origin))
    }

    /// Where the value at `path` is written, if it is.
    pub(crate) fn exact(&self, path: &[String]) -> Place {
        let place = self.places.get(path).cloned();
        place.unwrap_or_else(|| Source::Default.into())
    }

    /// Where the value at `path`, below `plugins.<name>`, or else the nearest
    /// table around it is written.
    pub(crate) fn around(&self, path: &[String]) -> Place {
        (2..=path.len())
            .rev()
            .find_map(|length| self.places.get(&path[..length]))
            .cloned()
            .unwrap_or_else(|| Source::Default.into())
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.iter()
            .map(|(key, origin)| Row {
                key: key.into(),
                value: match &origin.value {
                    Value::Null => "not set".into(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                },
                source: origin.source.to_string(),
            })
            .collect()
    }
}
