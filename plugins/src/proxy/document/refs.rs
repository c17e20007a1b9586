//! References: what a document's `#/...` mean.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::budget::Budget;

/// The longest way of references to an object.
const MOST_HOPS: usize = 32;

/// A document to look things up in.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) root: &'a Value,
    pub(super) budget: &'a Budget,
}

/// An object of the document.
pub(super) type Object<'a> = Cow<'a, Map<String, Value>>;

impl<'a> Source<'a> {
    /// The object that `value` is, or means by way of references.
    ///
    /// `own` says which members beside a reference count, in place of what it leads to.
    pub(super) fn object(
        self,
        value: &'a Value,
        own: impl Fn(&str) -> bool,
    ) -> Result<Object<'a>, String> {
        let mut value = value;
        let mut over = Map::new();
        let mut seen = Vec::new();
        loop {
            let Some(map) = value.as_object() else {
                return Err("something in it is no object where one has to be".into());
            };
            let Some(reference) = map.get("$ref").and_then(Value::as_str) else {
                if !seen.is_empty() {
                    self.budget.take(map)?;
                }
                return Ok(if over.is_empty() {
                    Cow::Borrowed(map)
                } else {
                    let mut map = map.clone();
                    map.extend(over);
                    Cow::Owned(map)
                });
            };
            if seen.contains(&reference) {
                return Err(format!("`{reference}` refers to itself"));
            }
            if seen.len() == MOST_HOPS || self.budget.is_over() {
                return Err("there are too many references".into());
            }
            seen.push(reference);
            for (key, value) in map.iter().filter(|(key, _)| *key != "$ref" && own(key)) {
                over.entry(key.clone()).or_insert_with(|| value.clone());
            }
            value = self.at(&tokens(reference)?, reference)?;
        }
    }

    /// What stands at `tokens`, which `reference` says.
    pub(super) fn at(self, tokens: &[String], reference: &str) -> Result<&'a Value, String> {
        let mut value = self.root;
        for token in tokens {
            let inner = match value {
                Value::Object(map) => map.get(token),
                Value::Array(list) => token.parse().ok().and_then(|index: usize| list.get(index)),
                _ => None,
            };
            value = inner.ok_or_else(|| format!("`{reference}` leads nowhere"))?;
        }
        Ok(value)
    }
}

/// What beside a reference counts: its texts.
pub(super) fn texts(key: &str) -> bool {
    matches!(key, "summary" | "description")
}

/// The tokens of a reference into the document itself.
pub(super) fn tokens(reference: &str) -> Result<Vec<String>, String> {
    let Some(pointer) = reference.strip_prefix('#') else {
        return Err(format!("`{reference}` is outside of the document"));
    };
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let Some(pointer) = pointer.strip_prefix('/') else {
        return Err(format!("`{reference}` is no path into the document"));
    };
    let token = |token: &str| {
        let decoded = percent_decode_str(token).decode_utf8_lossy();
        decoded.replace("~1", "/").replace("~0", "~")
    };
    Ok(pointer.split('/').map(token).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn references_are_followed_and_unescaped() {
        let document = json!({
            "paths": {"/a/{b}": {"get": {"x": 1}}},
            "a~b": [{"y": 2}],
            "one": {"$ref": "#/two", "description": "one's", "x": 3},
            "two": {"$ref": "#/a~0b/0", "description": "two's", "summary": "two"},
            "é": {"z": 1},
        });
        let budget = Budget::new(PATIENCE);
        let source = Source {
            root: &document,
            budget: &budget,
        };
        let object = |reference: &str| {
            let value = json!({ "$ref": reference });
            let value: &'static Value = Box::leak(Box::new(value));
            let root: &'static Value = Box::leak(Box::new(document.clone()));
            let budget: &'static Budget = Box::leak(Box::new(Budget::new(PATIENCE)));
            let source = Source { root, budget };
            source.object(value, texts).map(|o| json!(*o))
        };
        assert_eq!(object("#/paths/~1a~1{b}/get").unwrap(), json!({"x": 1}));
        assert_eq!(object("#/paths/~1a~1%7Bb%7D/get").unwrap(), json!({"x": 1}));
        assert_eq!(object("#/%C3%A9").unwrap(), json!({"z": 1}));
        assert_eq!(
            *source.object(&document["one"], texts).unwrap(),
            *json!({"y": 2, "description": "one's", "summary": "two"})
                .as_object()
                .unwrap()
        );
        for (reference, why) in [
            ("#/nothing", "leads nowhere"),
            ("#/a~0b/1", "leads nowhere"),
            ("#/a~0b/0/y/z", "leads nowhere"),
            ("#anchor", "no path"),
            ("other.yaml#/x", "outside"),
            ("https://example.com/x", "outside"),
            ("#/a~0b", "no object"),
        ] {
            let error = object(reference).unwrap_err();
            assert!(error.contains(why), "{reference}: {error}");
        }
    }

    #[test]
    fn circles_end() {
        let document = json!({"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}});
        let budget = Budget::new(PATIENCE);
        let source = Source {
            root: &document,
            budget: &budget,
        };
        let error = source.object(&document["a"], texts).unwrap_err();
        assert!(error.contains("refers to itself"), "{error}");
    }

    #[test]
    fn long_ways_end() {
        let mut document = json!({"x32": {}});
        for number in 0..32 {
            document[format!("x{number}")] = json!({"$ref": format!("#/x{}", number + 1)});
        }
        document["far"] = json!({"$ref": "#/x0"});
        let object = |name: &str, time| {
            let budget = Budget::new(time);
            let source = Source {
                root: &document,
                budget: &budget,
            };
            source.object(&document[name], texts).map(drop)
        };
        assert_eq!(object("x0", PATIENCE), Ok(()));
        assert!(object("far", PATIENCE).unwrap_err().contains("too many"));
        assert!(
            object("x0", Duration::ZERO)
                .unwrap_err()
                .contains("too many")
        );
    }

    #[test]
    fn what_is_referred_to_has_a_bound() {
        let document = json!({
            "large": {"x": [{"y": "z".repeat(3 << 20)}]},
            "one": {"$ref": "#/large", "description": "x"},
        });
        let budget = Budget::new(PATIENCE);
        let source = Source {
            root: &document,
            budget: &budget,
        };
        let object = || source.object(&document["one"], texts).map(drop);
        for most in [10, 2] {
            for _ in 0..most {
                assert_eq!(object(), Ok(()));
            }
            assert!(object().unwrap_err().contains("too large"));
            budget.renew();
        }
        assert!(source.object(&document["large"], texts).is_ok());
    }
}
