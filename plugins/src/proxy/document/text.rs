//! From bytes to one value: JSON or YAML, whichever it is, within bounds.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

use super::{DocumentError, short};

/// The most values in a document, keys among them, with what aliases repeat.
const MOST_VALUES: usize = 1_000_000;

/// How deep YAML may nest: its reader needs much stack for each level. For JSON it is 127.
const DEEPEST: usize = 64;

/// Reads a document. What it is shows in its first character, not in a header.
pub(super) fn read(text: &[u8]) -> Result<Value, DocumentError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let unreadable = |format, reason: String| DocumentError::Unreadable {
        format,
        reason: short(&reason),
    };
    match text.trim_ascii_start().first() {
        None => Err(DocumentError::NotOpenApi("it is empty".into())),
        Some(b'<') => Err(DocumentError::NotOpenApi(
            "it is a page of HTML or XML; say with `docs_path` where the document is".into(),
        )),
        Some(b'{') => {
            if values(text) > MOST_VALUES {
                let reason = format!("it has more than {MOST_VALUES} values");
                return Err(unreadable("JSON", reason));
            }
            serde_json::from_slice(text).map_err(|error| unreadable("JSON", error.to_string()))
        }
        Some(_) => yaml(text).map_err(|error| unreadable("YAML", error)),
    }
}

/// About how many values JSON has: each begins or ends with a sign of its own.
fn values(json: &[u8]) -> usize {
    let (mut values, mut in_text, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'{' | b'[' | b':' | b',' if !in_text => values += 1,
            _ => {}
        }
    }
    values
}

fn yaml(text: &[u8]) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MOST_VALUES,
            max_events: 4 * MOST_VALUES,
            max_depth: DEEPEST,
        },
        // As in JSON, the last one counts.
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        // YAML 1.2: `yes` and `no` are texts.
        strict_booleans: true,
        ignore_binary_tag_for_string: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(text, options).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_yaml_by_their_first_character() {
        let document = json!({"openapi": "3.1.0", "paths": {"/x": {}}});
        for text in [
            document.to_string(),
            format!("\u{feff} \n{document}"),
            "openapi: 3.1.0\npaths: {/x: {}}\n".to_owned(),
            "\u{feff}# a comment\n---\nopenapi: \"3.1.0\"\npaths:\n  /x: {}\n".to_owned(),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap(), document, "{text}");
        }
    }

    #[test]
    fn values_of_json_are_counted() {
        assert_eq!(values(br#"{"a": [1, "b,\",{[:"], "c\\": {"": 0}}"#), 8);
        let many = format!("{{\"a\":[{}0]}}", "{\"\":0},".repeat(400_000));
        let error = read(many.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("values"), "{error}");
        let text = format!("{{\"a\":\"{}\"}}", ",".repeat(2_000_000));
        assert!(read(text.as_bytes()).is_ok());
    }

    #[test]
    fn yaml_keys_are_texts_and_aliases_copies() {
        let text = "200: &ok {a: yes, b: ~, c: 1.5, d: '1'}\ntrue: *ok\non: .inf\n1.50: 2020-01-01\nx: {<<: *ok, b: 1}\ny: 1\ny: 2\n";
        let ok = json!({"a": "yes", "b": null, "c": 1.5, "d": "1"});
        assert_eq!(
            read(text.as_bytes()).unwrap(),
            json!({
                "200": ok, "true": ok, "on": null, "1.50": "2020-01-01",
                "x": {"a": "yes", "b": 1, "c": 1.5, "d": "1"}, "y": 2,
            })
        );
    }

    #[test]
    fn bombs_and_nonsense_are_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..15 {
            let before = format!("*a{}", i - 1);
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![before; 9].join(","));
        }
        let deep_json = format!("{{\"a\":{}", "[".repeat(100_000));
        let deep_yaml = format!("a: {}", "[".repeat(100_000));
        let indented: String = (0..2_000).map(|i| format!("{:i$}a:\n", "")).collect();
        for (text, why) in [
            ("", "empty"),
            (" \n", "empty"),
            ("<!DOCTYPE html>", "docs_path"),
            ("{\"a\":", "as JSON"),
            ("a: [1", "as YAML"),
            ("a: 1\n---\nb: 2\n", "as YAML"),
            ("a: &a [*a]", "as YAML"),
            (&bomb, "budget"),
            (&deep_json, "recursion"),
            (&deep_yaml, "as YAML"),
            (&indented, "as YAML"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            let shown: String = text.chars().take(40).collect();
            assert!(error.contains(why), "{shown}: {error}");
            assert!(error.len() < 400, "{error}");
        }
        assert!(read(b"a: \xff").is_err());
    }
}
