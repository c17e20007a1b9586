//! One source against the table of keys: every mistake in it, not only the
//! first.

use serde_json::Value;

use super::error::Problem;
use super::keys::{self, Found};
use super::shape::{Mismatch, Shape, Text, kind};
use super::source::{Place, Source};
use super::tree::{Body, Node, Table};

const A_TABLE: &str = "a table";

/// Gives every value of `table` the type of its key. What is wrong goes to
/// `problems` and out of the table.
pub(crate) fn check(table: Table, problems: &mut Vec<Problem>) -> Table {
    let known = problems.len();
    let checker = &mut Checker {
        problems,
        path: Vec::new(),
    };
    let checked = checker.each(table, Checker::node);
    problems[known..].sort_by_key(|problem| problem.place().and_then(|place| place.line));
    checked
}

struct Checker<'p> {
    problems: &'p mut Vec<Problem>,
    /// Of the node at hand.
    path: Vec<String>,
}

impl Checker<'_> {
    fn each(&mut self, table: Table, check: fn(&mut Self, Node) -> Option<Node>) -> Table {
        let mut checked = Table::new();
        for (name, node) in table {
            self.path.push(name);
            let node = check(self, node);
            if let (Some(name), Some(node)) = (self.path.pop(), node) {
                checked.insert(name, node);
            }
        }
        checked
    }

    /// Anything at the path.
    fn node(&mut self, node: Node) -> Option<Node> {
        match keys::find(&self.path) {
            Found::Table => self.table(node, Self::node),
            Found::Key(key) => match key.shape {
                Shape::Plugins => self.table(node, Self::plugin),
                Shape::Rules => self.table(node, Self::rule),
                _ => self.value(key.shape, node),
            },
            Found::Reserved => {
                let key = keys::dotted(&self.path);
                let place = node.place;
                self.problems.push(Problem::NotYet { place, key });
                None
            }
            Found::Ignored(reason) => {
                let key = keys::dotted(&self.path);
                let place = node.place;
                self.problems.push(Problem::Ignored { place, key, reason });
                None
            }
            Found::Unknown => {
                self.problems.push(Problem::UnknownKey {
                    key: keys::dotted(&self.path),
                    nearest: keys::nearest_key(&self.path),
                    place: node.place,
                });
                None
            }
        }
    }

    /// A table, or a variable with a table in JSON, and `check` for all in it.
    fn table(&mut self, node: Node, check: fn(&mut Self, Node) -> Option<Node>) -> Option<Node> {
        let table = self.open(node, A_TABLE)?;
        let body = Body::Table(self.each(table.1, check));
        let place = table.0;
        Some(Node { place, body })
    }

    fn open(&mut self, node: Node, allowed: &str) -> Option<(Place, Table)> {
        let place = node.place;
        let got = match node.body {
            Body::Table(table) => return Some((place, table)),
            Body::Text(text) => match serde_json::from_str(&text) {
                Ok(Value::Object(map)) => {
                    let table = super::tree::table_from_json(&place, map);
                    return Some((place, table));
                }
                Ok(other) => kind(&other),
                Err(_) => "a string",
            },
            Body::Value(value) => kind(&value),
        };
        let hint = variable(&place).map(|name| {
            let example = keys::example_below(&self.path);
            example.map_or_else(
                || format!("write {name}__<key>=<value>"),
                |key| format!("like {name}__{}", key.to_uppercase()),
            )
        });
        self.problems.push(Problem::WrongValue {
            key: keys::dotted(&self.path),
            got: got.into(),
            allowed: allowed.into(),
            place,
            hint,
        });
        None
    }

    fn value(&mut self, shape: Shape, node: Node) -> Option<Node> {
        let place = node.place;
        let read = match node.body {
            Body::Table(_) => shape.read(Value::Object(serde_json::Map::new())),
            Body::Value(value) => shape.read(value),
            Body::Text(text) => shape.read_text(&text),
        };
        match read {
            Ok(value) => {
                let body = Body::Value(value);
                Some(Node { place, body })
            }
            Err(mismatches) => {
                for mismatch in mismatches {
                    self.mismatch(mismatch, &place);
                }
                None
            }
        }
    }

    fn mismatch(&mut self, mismatch: Mismatch, place: &Place) {
        let hint = mismatch.no_list.then(|| list_hint(place));
        self.problems.push(Problem::WrongValue {
            place: place.clone(),
            key: keys::dotted(&self.path) + &mismatch.at,
            got: mismatch.got,
            allowed: mismatch.allowed,
            hint,
        });
    }

    /// A route and its keys.
    fn rule(&mut self, node: Node) -> Option<Node> {
        let route = self.path.last().map_or("", String::as_str);
        let exact = route.strip_suffix("/*").unwrap_or(route);
        if route.starts_with('/') && !exact.contains('*') {
            return self.value(Shape::List(Text::Secret), node);
        }
        self.problems.push(Problem::WrongValue {
            place: node.place,
            key: keys::dotted(&self.path),
            got: "not a route".into(),
            allowed: "a route (`/api/v1/x`) or a prefix (`/api/v1/*`)".into(),
            hint: None,
        });
        None
    }

    /// A plugin's table: free inside.
    fn plugin(&mut self, node: Node) -> Option<Node> {
        let name = self.path.last().map_or("", String::as_str);
        if name.is_empty() {
            self.problems.push(Problem::WrongValue {
                place: node.place,
                key: keys::dotted(&self.path),
                got: "without a name".into(),
                allowed: "a plugin's name".into(),
                hint: None,
            });
            return None;
        }
        self.table(node, |_, inner| Some(settle(inner)))
    }
}

/// Gives the texts of variables their type: JSON where they are JSON.
fn settle(node: Node) -> Node {
    let Node { place, body } = node;
    match body {
        Body::Table(table) => {
            let settled = table.into_iter().map(|(key, node)| (key, settle(node)));
            let body = Body::Table(settled.collect());
            Node { place, body }
        }
        Body::Value(_) => Node { place, body },
        Body::Text(text) => match serde_json::from_str::<Value>(&text) {
            // A number with more digits than a float can hold is a text.
            Ok(Value::Number(number)) if number.to_string() != text.trim() => {
                let body = Body::Value(text.into());
                Node { place, body }
            }
            Ok(value) => Node::from_json(&place, value),
            Err(_) => {
                let body = Body::Value(text.into());
                Node { place, body }
            }
        },
    }
}

fn variable(place: &Place) -> Option<&str> {
    match &place.source {
        Source::DotEnv { variable, .. } | Source::Environment { variable } => Some(variable),
        _ => None,
    }
}

/// How this source writes a list.
fn list_hint(place: &Place) -> String {
    match &place.source {
        Source::CommandLine {
            option: Some(option),
        } => format!("repeat the option: {option} a {option} b"),
        Source::CommandLine { option: None } => "repeat the option".into(),
        source => match variable(place) {
            Some(variable) if matches!(source, Source::DotEnv { .. }) => {
                format!("write a list as JSON: {variable}=[\"a\",\"b\"]")
            }
            Some(variable) => format!("write a list as JSON: {variable}='[\"a\",\"b\"]'"),
            None => "write one string for each: [\"a\", \"b\"]".into(),
        },
    }
}

/// Keys that do not go together.
pub(crate) fn relations(
    server: &super::Server,
    place: impl Fn(&'static str) -> Place,
) -> Vec<Problem> {
    let same_port = server.port != 0 && server.port == server.dashboard_port;
    if !same_port || !same_address(&server.host, &server.dashboard_host) {
        return Vec::new();
    }
    vec![Problem::Conflict {
        first: "server.port".into(),
        first_place: place("server.port"),
        second: "server.dashboard_port".into(),
        second_place: place("server.dashboard_port"),
        reason: format!("are both {} on the same host", server.port),
    }]
}

/// Whether one listener at each host would get in the other's way.
fn same_address(one: &str, other: &str) -> bool {
    let everywhere = |host: &str| matches!(host, "0.0.0.0" | "::");
    let local =
        |host: &str| host.eq_ignore_ascii_case("localhost") || matches!(host, "127.0.0.1" | "::1");
    let named = |host: &str| host.eq_ignore_ascii_case("localhost");
    everywhere(one)
        || everywhere(other)
        || one.eq_ignore_ascii_case(other)
        || (named(one) && local(other))
        || (local(one) && named(other))
}
