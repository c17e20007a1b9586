//! How values become texts, in the styles of OpenAPI.

use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use super::PLAIN;
use crate::proxy::operation::Style;

/// Why a value has no text in a style.
pub(super) type Unfit = &'static str;

const NESTED: Unfit = "has a list or an object within another, which no text here can be";

/// A value as pairs of a query or a form.
pub(super) fn pairs(
    all: &mut Vec<(String, String)>,
    name: &str,
    value: &Value,
    style: Style,
) -> Result<(), Unfit> {
    let mut push = |name: &str, text: String| all.push((name.to_owned(), text));
    match (style, value) {
        (Style::Pairs, Value::Array(items)) => {
            for item in items {
                push(name, text(item)?);
            }
        }
        (Style::Pairs, Value::Object(_)) => {
            for (member, value) in members(value) {
                if value.is_object() {
                    return Err(NESTED);
                }
                push(member, joined(value, Style::Commas)?);
            }
        }
        (Style::Deep, Value::Object(_)) => {
            for (member, value) in members(value) {
                push(&format!("{name}[{member}]"), text(value)?);
            }
        }
        (style, value) => push(name, joined(value, style)?),
    }
    Ok(())
}

/// A value as one text.
pub(super) fn joined(value: &Value, style: Style) -> Result<String, Unfit> {
    let between = match (style, value) {
        (Style::Json, value) => return Ok(value.to_string()),
        (Style::Other, _) => return Err("is written in a style that the bridge cannot write"),
        (_, Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            return text(value);
        }
        (Style::Deep, _) => return Err("is no object, as its style wants it"),
        (Style::Spaces, _) => " ",
        (Style::Pipes, _) => "|",
        (Style::Pairs | Style::Commas, _) => ",",
    };
    let mut texts = Vec::new();
    for item in value.as_array().into_iter().flatten() {
        texts.push(text(item)?);
    }
    for (name, member) in members(value) {
        match style {
            Style::Pairs => texts.push(format!("{name}={}", text(member)?)),
            _ => texts.extend([name.clone(), text(member)?]),
        }
    }
    Ok(texts.join(between))
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let members = value.as_object().into_iter().flatten();
    members.filter(|(_, value)| !value.is_null())
}

fn text(value: &Value) -> Result<String, Unfit> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Array(_) | Value::Object(_) => Err(NESTED),
        value => Ok(value.to_string()),
    }
}

pub(super) fn encoded(pairs: &[(String, String)]) -> String {
    let encode = |text| utf8_percent_encode(text, PLAIN);
    let pairs = pairs.iter();
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_style_has_its_text() {
        let (list, object) = (json!([1, "b c"]), json!({"a": 1, "b": "x", "c": null}));
        for (style, value, query) in [
            (Style::Pairs, &list, "n=1&n=b%20c"),
            (Style::Commas, &list, "n=1%2Cb%20c"),
            (Style::Spaces, &list, "n=1%20b%20c"),
            (Style::Pipes, &list, "n=1%7Cb%20c"),
            (Style::Json, &list, "n=%5B1%2C%22b%20c%22%5D"),
            (Style::Pairs, &object, "a=1&b=x"),
            (Style::Commas, &object, "n=a%2C1%2Cb%2Cx"),
            (Style::Pipes, &object, "n=a%7C1%7Cb%7Cx"),
            (Style::Deep, &object, "n%5Ba%5D=1&n%5Bb%5D=x"),
            (Style::Deep, &json!(true), "n=true"),
            (Style::Pairs, &json!({"a": [1, 2]}), "a=1%2C2"),
        ] {
            let mut all = Vec::new();
            pairs(&mut all, "n", value, style).unwrap();
            assert_eq!(encoded(&all), query, "{style:?}");
        }
        assert_eq!(joined(&object, Style::Pairs).unwrap(), "a=1,b=x");
    }

    #[test]
    fn what_has_no_text_is_refused() {
        let nested = json!({"a": {"b": 1}});
        for (style, value) in [
            (Style::Pairs, &json!([[1]])),
            (Style::Pairs, &nested),
            (Style::Commas, &json!([{}])),
            (Style::Deep, &nested),
            (Style::Deep, &json!({"a": [1]})),
            (Style::Deep, &json!([1])),
            (Style::Other, &json!(1)),
        ] {
            let made = pairs(&mut Vec::new(), "n", value, style);
            assert!(made.is_err(), "{style:?} {value}");
        }
    }
}
