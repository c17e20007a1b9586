//! The headers of HTTP requests and answers, as JSON.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// What a value that is no UTF-8 is written as: an object with this member, a text in
/// which each character is a byte.
const BYTES: &str = "latin1";

/// All of them: names with a text, or with a list of texts.
pub(super) fn all_headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut object = Map::new();
    for name in headers.keys() {
        let mut values: Vec<Value> = headers.get_all(name).iter().map(written).collect();
        let value = match values.len() {
            1 => values.remove(0),
            _ => Value::Array(values),
        };
        object.insert(name.as_str().to_owned(), value);
    }
    object
}

/// What a text like that says. What makes no sense is left out.
pub(super) fn read_header_object(text: &str) -> HeaderMap {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => header_map(object),
        _ => HeaderMap::new(),
    }
}

/// As [`read_header_object`].
pub(super) fn header_map(object: Map<String, Value>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in object {
        let Ok(name) = HeaderName::try_from(name) else {
            continue;
        };
        let values = match value {
            Value::Array(values) => values,
            one => vec![one],
        };
        for value in values.iter().filter_map(read) {
            headers.append(name.clone(), value);
        }
    }
    headers
}

fn written(value: &HeaderValue) -> Value {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Value::from(text),
        Err(_) => {
            let text: String = value.as_bytes().iter().copied().map(char::from).collect();
            Value::Object(Map::from_iter([(BYTES.to_owned(), text.into())]))
        }
    }
}

fn read(value: &Value) -> Option<HeaderValue> {
    match value {
        Value::String(text) => HeaderValue::from_bytes(text.as_bytes()).ok(),
        Value::Object(object) => {
            let characters = object.get(BYTES)?.as_str()?.chars();
            let bytes: Result<Vec<u8>, _> = characters.map(u8::try_from).collect();
            HeaderValue::from_bytes(&bytes.ok()?).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_out_as_they_went_in() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("set-cookie", &b"a=1"[..]),
            ("x-one", b"\"quoted\"\t'"),
            ("set-cookie", b"b=2; Path=/"),
            ("x-utf8", "\u{e4}\u{1f600}".as_bytes()),
            ("set-cookie", b"c=\xe4\xff"),
            ("content-disposition", b"attachment; filename=\"\xfc.txt\""),
            ("x-empty", b""),
        ] {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let text = Value::Object(all_headers(&headers)).to_string();
        assert_eq!(read_header_object(&text), headers);
    }

    #[test]
    fn what_is_no_header_is_left_out() {
        let text =
            r#"{"a b": "1", "x": ["1", 2, null, "a\nb", {"latin1": "\u1234"}, {}], "y": []}"#;
        let headers = read_header_object(text);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x"], "1");
        for garbage in ["", "[]", "{", "1"] {
            assert!(read_header_object(garbage).is_empty());
        }
    }
}
