//! Files: what is in them, or why not.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;
use toml::de::{DeArray, DeTable, DeValue};

use super::dotenv;
use super::error::Problem;
use super::shape::kind;
use super::source::{Place, Source};
use super::tree::{Body, Node, Table};
use super::variables;

/// The text of the file `name` in `dir`; `None` if there is none, or if it
/// cannot be read, which is a problem. Without a `dir` there is only what must exist.
pub(crate) fn text(
    dir: &Path,
    name: &str,
    must_exist: bool,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    if dir.as_os_str().is_empty() && !must_exist {
        return None;
    }
    let file = name.to_owned();
    let bytes = match std::fs::read(dir.join(name)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => return None,
        Err(error) => {
            let reason = error.to_string();
            problems.push(Problem::Unreadable { file, reason });
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(match text.strip_prefix('\u{feff}') {
            Some(text) => text.into(),
            None => text,
        }),
        Err(error) => {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            problems.push(Problem::NotUtf8 { file, line });
            None
        }
    }
}

/// The variables of the `.env` file `name`, one layer each, weakest first.
pub(crate) fn dotenv(name: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Table> {
    let (lines, wrong) = dotenv::parse(text);
    problems.extend(wrong.into_iter().map(|wrong| Problem::Syntax {
        file: name.into(),
        line: wrong.line,
        column: 1,
        reason: wrong.reason.into(),
    }));
    variables::layers(lines.into_iter().map(|line| {
        let source = Source::DotEnv {
            name: name.into(),
            variable: line.name.clone(),
        };
        let place = Place {
            source,
            line: Some(line.line),
        };
        (line.name, line.text, place)
    }))
}

/// What the TOML file `name` says in each of `sections`, in their order. The
/// empty section is the whole file.
pub(crate) fn toml(
    name: &str,
    text: &str,
    sections: &[&'static str],
    problems: &mut Vec<Problem>,
) -> Vec<Table> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut reported = 0;
        for error in &errors {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            // The rest of a line with a mistake is hardly another one.
            if line != reported {
                problems.push(Problem::Syntax {
                    file: name.into(),
                    line,
                    column,
                    reason: error.message().trim_end().replace('\n', ", "),
                });
            }
            reported = line;
        }
        return Vec::new();
    }
    let mut tables = Vec::new();
    for section in sections {
        let file = File {
            name,
            text,
            section: Some(*section).filter(|section| !section.is_empty()),
        };
        tables.extend(file.section(document.get_ref(), problems));
    }
    tables
}

/// Line and column of a byte, both counted from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = 1 + before.matches('\n').count();
    (line, 1 + before[start..].chars().count())
}

struct File<'a> {
    name: &'a str,
    text: &'a str,
    section: Option<&'static str>,
}

impl File<'_> {
    fn section(&self, document: &DeTable<'_>, problems: &mut Vec<Problem>) -> Option<Table> {
        let Some(section) = self.section else {
            return Some(self.table(document));
        };
        let mut table = document;
        for segment in section.split('.') {
            let (key, value) = table.get_key_value(segment)?;
            let Some(inner) = value.get_ref().as_table() else {
                problems.push(Problem::WrongValue {
                    place: self.place(key.span().start),
                    key: section.into(),
                    got: kind(&json(value.get_ref())).into(),
                    allowed: "a table".into(),
                    hint: None,
                });
                return None;
            };
            table = inner;
        }
        Some(self.table(table))
    }

    fn place(&self, offset: usize) -> Place {
        Place {
            source: Source::File {
                name: self.name.into(),
                section: self.section,
            },
            line: Some(position(self.text, offset).0),
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        table
            .iter()
            .map(|(key, value)| {
                let place = self.place(key.span().start);
                let body = match value.get_ref() {
                    DeValue::Table(inner) => Body::Table(self.table(inner)),
                    other => Body::Value(json(other)),
                };
                (key.get_ref().to_string(), Node { place, body })
            })
            .collect()
    }
}

/// A TOML value as JSON. What JSON has no word for becomes a text.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(boolean) => Value::from(*boolean),
        DeValue::Integer(integer) => {
            let (digits, radix) = (integer.as_str(), integer.radix());
            let signed = i64::from_str_radix(digits, radix).map(Value::from);
            signed
                .or_else(|_| u64::from_str_radix(digits, radix).map(Value::from))
                .unwrap_or_else(|_| Value::from(integer.to_string()))
        }
        DeValue::Float(float) => float
            .as_str()
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map_or_else(|| Value::from(float.to_string()), Value::Number),
        DeValue::Datetime(datetime) => Value::from(datetime.to_string()),
        DeValue::Array(items) => list(items),
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())))
            .collect(),
    }
}

fn list(items: &DeArray<'_>) -> Value {
    items.iter().map(|item| json(item.get_ref())).collect()
}
