//! JSON for people: the same document, indented. Members keep their order and
//! numbers their digits, which a tree of values would lose.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// `json` indented by two spaces.
pub(crate) fn pretty(json: &[u8]) -> Result<String, serde_json::Error> {
    let raw: &RawValue = serde_json::from_slice(json)?;
    serde_json::to_string_pretty(&Part(raw))
}

/// `json` on one line.
pub(crate) fn one_line(json: &[u8]) -> Result<String, serde_json::Error> {
    let raw: &RawValue = serde_json::from_slice(json)?;
    serde_json::to_string(&Part(raw))
}

struct Part<'a>(&'a RawValue);

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;

        let text = self.0.get();
        match text.as_bytes().first() {
            Some(b'{') => {
                let members: Members<'_> = serde_json::from_str(text).map_err(S::Error::custom)?;
                let mut map = out.serialize_map(Some(members.0.len()))?;
                for (key, value) in members.0 {
                    map.serialize_entry(&key, &Part(value))?;
                }
                map.end()
            }
            Some(b'[') => {
                let items: Items<'_> = serde_json::from_str(text).map_err(S::Error::custom)?;
                let mut list = out.serialize_seq(Some(items.0.len()))?;
                for item in items.0 {
                    list.serialize_element(&Part(item))?;
                }
                list.end()
            }
            _ => self.0.serialize(out),
        }
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        input.deserialize_map(Visit)
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        input.deserialize_seq(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_digits_stay() {
        let json = br#" {"b":1.0,"a":[123456789012345678901234567890, {}, []],"b":"\u00e4"} "#;
        let text = pretty(json).unwrap();
        let expected = "{\n  \"b\": 1.0,\n  \"a\": [\n    123456789012345678901234567890,\n    {},\n    []\n  ],\n  \"b\": \"\\u00e4\"\n}";
        assert_eq!(text, expected);
        assert_eq!(one_line(b"{ \"a\" :\n[1 , 2] }").unwrap(), r#"{"a":[1,2]}"#);
        assert!(pretty(b"nope").is_err());
    }
}
