//! `[plugins.<name>]` against the type of the plugin. Serde reads it from JSON,
//! for figment knows no maps with numbers for keys, and of an enum's table with
//! two variants it takes the first.

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use super::error::{Problem, SettingsError};
use super::keys::dotted;
use super::nearest::nearest;
use super::origins::Origins;
use super::shape::kind;
use super::source::{Place, Source};
use super::{Loaded, Settings, mask};

/// Refuses tables in `plugins` for plugins that are not in `known`.
///
/// # Errors
///
/// All such tables, each with the nearest name.
pub fn check_plugin_tables(loaded: &Loaded, known: &[&str]) -> Result<(), SettingsError> {
    let names = loaded.settings.plugins.keys();
    let unknown = names.filter(|name| !known.contains(&name.as_str()));
    let problem = |name: &String| Problem::UnknownPlugin {
        place: loaded.origins.exact(&["plugins".into(), name.clone()]),
        name: name.clone(),
        nearest: nearest(name, known.iter().copied()).map(str::to_owned),
    };
    SettingsError::from_all(unknown.map(problem).collect())
}

/// The table of the plugin `name` as a `T`.
pub(crate) fn config<T: DeserializeOwned>(
    settings: &Settings,
    origins: Option<&Origins>,
    name: &str,
) -> Result<T, SettingsError> {
    let empty = || Value::Object(Map::new());
    let mut table = settings.plugins.get(name).cloned().unwrap_or_else(empty);
    let mut problems = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(table.clone()) {
            Ok(config) => {
                problems.extend(ignored::<T>(&table, name, origins));
                SettingsError::from_all(problems)?;
                return Ok(config);
            }
            Err(error) => error,
        };
        let mut refusal = Refusal {
            name,
            origins,
            table: &table,
            path: error.path().iter().filter_map(step).collect(),
        };
        problems.push(refusal.problem(&error.inner().to_string()));
        // Serde stops at the first mistake. Without an unknown field it will
        // find the next one.
        let path = refusal.path;
        let again = matches!(problems.last(), Some(Problem::UnknownKey { .. }));
        if !again || !remove(&mut table, &path) {
            return Err(SettingsError { problems });
        }
    }
}

/// Keys that `T` reads over without a word, because its author did not write
/// `deny_unknown_fields`.
fn ignored<T: DeserializeOwned>(
    table: &Value,
    name: &str,
    origins: Option<&Origins>,
) -> Vec<Problem> {
    let mut paths: Vec<Vec<Step>> = Vec::new();
    // It was read once already, so only the keys that were left over matter.
    let _ = serde_ignored::deserialize::<_, _, T>(table, |path| paths.push(steps(&path)));
    let fields = fields_of::<T>();
    paths
        .into_iter()
        .map(|path| {
            let candidates = match &path[..] {
                [Step::Key(key)] => nearest(key, fields.iter().copied()),
                _ => None,
            };
            let near = candidates.map(|field| Step::Key(field.to_owned()));
            let mut refusal = Refusal {
                name,
                origins,
                table,
                path,
            };
            let place = refusal.place();
            let key = refusal.key();
            let nearest = near.map(|field| {
                refusal.path = vec![field];
                refusal.key()
            });
            Problem::UnknownKey {
                place,
                key,
                nearest,
            }
        })
        .collect()
}

fn steps(path: &serde_ignored::Path<'_>) -> Vec<Step> {
    use serde_ignored::Path;

    let (parent, step) = match path {
        Path::Root => return Vec::new(),
        Path::Seq { parent, index } => (parent, Some(Step::Index(*index))),
        Path::Map { parent, key } => (parent, Some(Step::Key(key.clone()))),
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => (parent, None),
    };
    let mut steps = steps(parent);
    steps.extend(step);
    steps
}

/// The names of `T`'s fields, if it is a struct.
fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Ask<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Ask<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("only its fields are asked for"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
            bytes byte_buf option unit unit_struct newtype_struct seq tuple
            tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    // An error is what it always ends with.
    let _ = T::deserialize(Ask(&mut fields));
    fields
}

#[derive(Clone, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn at<'a>(table: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(table, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}

fn remove(table: &mut Value, path: &[Step]) -> bool {
    let Some((Step::Key(last), parent)) = path.split_last() else {
        return false;
    };
    let parent = parent.iter().try_fold(table, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    });
    parent
        .and_then(Value::as_object_mut)
        .is_some_and(|parent| parent.remove(last).is_some())
}

/// Serde's refusal of a plugin's table, on its way to a [`Problem`].
struct Refusal<'a> {
    name: &'a str,
    origins: Option<&'a Origins>,
    table: &'a Value,
    path: Vec<Step>,
}

impl Refusal<'_> {
    /// Serde gives text only; its forms are fixed in `serde::de::Error`. What
    /// it quotes of the values is dropped.
    fn problem(&mut self, message: &str) -> Problem {
        if let Some((field, known)) = named(message, "unknown field ") {
            self.extend(field);
            return Problem::UnknownKey {
                place: self.place(),
                key: self.key(),
                nearest: nearest(field, known.iter().copied()).map(|name| {
                    self.path.pop();
                    self.path.push(Step::Key(name.into()));
                    let key = self.key();
                    self.path.pop();
                    self.path.push(Step::Key(field.into()));
                    key
                }),
            };
        }
        if let Some((field, _)) = named(message, "missing field ") {
            let place = self.place();
            self.extend(field);
            let key = self.key();
            return Problem::Missing { place, key };
        }
        if let Some((variant, known)) = named(message, "unknown variant ") {
            let allowed = format!("one of {}", known.join(", "));
            let close = nearest(variant, known.iter().copied());
            return self.wrong(allowed, close.map(|name| format!("did you mean `{name}`?")));
        }
        let forms = ["invalid type: ", "invalid value: ", "invalid length "];
        match message.rsplit_once(", expected ") {
            Some((got, allowed)) if forms.iter().any(|form| got.starts_with(form)) => {
                self.wrong(allowed.into(), self.quoting_hint(allowed))
            }
            _ => Problem::Refused {
                place: self.place(),
                key: self.key(),
                reason: self.without_values(message),
            },
        }
    }

    fn wrong(&self, allowed: String, hint: Option<String>) -> Problem {
        Problem::WrongValue {
            place: self.place(),
            key: self.key(),
            got: at(self.table, &self.path)
                .map_or("something else", kind)
                .into(),
            allowed,
            hint,
        }
    }

    /// A variable's text was taken for JSON, and should have been a text.
    fn quoting_hint(&self, allowed: &str) -> Option<String> {
        let variable = match self.place().source {
            Source::DotEnv { variable, .. } | Source::Environment { variable } => variable,
            _ => return None,
        };
        let unquoted = !at(self.table, &self.path)?.is_string();
        (unquoted && allowed.contains("string"))
            .then(|| format!("for a text that looks like JSON add quotes: {variable}='\"...\"'"))
    }

    /// Serde's path may or may not end with the field it does not know.
    fn extend(&mut self, field: &str) {
        let step = Step::Key(field.into());
        if self.path.last() != Some(&step) || at(self.table, &self.path).is_none() {
            self.path.push(step);
        }
    }

    fn keys(&self) -> Vec<String> {
        let keys = self.path.iter().map_while(|step| match step {
            Step::Key(key) => Some(key.clone()),
            Step::Index(_) => None,
        });
        ["plugins".into(), self.name.into()]
            .into_iter()
            .chain(keys)
            .collect()
    }

    fn place(&self) -> Place {
        self.origins.map_or_else(
            || Source::Default.into(),
            |origins| origins.around(&self.keys()),
        )
    }

    fn key(&self) -> String {
        let mut key = dotted(&["plugins".into(), self.name.into()]);
        for step in &self.path {
            match step {
                Step::Key(name) => key = format!("{key}.{}", dotted(std::slice::from_ref(name))),
                Step::Index(index) => key = format!("{key}[{index}]"),
            }
        }
        key
    }

    /// A plugin's own words may quote what it was given.
    fn without_values(&self, message: &str) -> String {
        let mut values = Vec::new();
        texts(self.table, &mut values);
        // Longest first, for one may be part of another.
        values.sort_by_key(|text| std::cmp::Reverse(text.len()));
        values.iter().filter(|text| text.chars().count() > 2).fold(
            message.to_owned(),
            |message, text| {
                let escaped = format!("{text:?}");
                message
                    .replace(escaped.trim_matches('"'), mask::MASK)
                    .replace(text, mask::MASK)
            },
        )
    }
}

/// The name that a message with this beginning is about, and those it lists
/// as expected. The name is the user's, and may hold anything.
fn named<'a>(message: &'a str, beginning: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let rest = message.strip_prefix(beginning)?;
    let (name, expected) = rest.rsplit_once(", expected ").unwrap_or_else(|| {
        let none = rest.rsplit_once(", there are no ");
        (none.map_or(rest, |(name, _)| name), "")
    });
    let name = name.strip_prefix('`')?.strip_suffix('`')?;
    Some((name, expected.split('`').skip(1).step_by(2).collect()))
}

/// All values in `value`, as they would be quoted.
fn texts(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => all.push(number.to_string()),
        Value::String(text) => all.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, all)),
        Value::Object(table) => table.values().for_each(|value| texts(value, all)),
    }
}
