//! Reads MessagePack as JSON or as what a seed makes of it.

use std::fmt;

use rmp_serde::decode::Error;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Malformed, json};

const EXTENSION: &str = "an extension";

/// What `seed` makes of the one value that `bytes` are, nested at most `depth` deep.
pub(crate) fn read<'de, S: DeserializeSeed<'de>>(
    bytes: &'de [u8],
    depth: usize,
    seed: S,
) -> Result<S::Value, Malformed> {
    let mut input = rmp_serde::Deserializer::from_read_ref(bytes);
    // The library names the first depth that it refuses.
    input.set_max_depth(depth + 1);
    let value = seed.deserialize(&mut input);
    let value = value.map_err(|error| malformed(what(&error)))?;
    // An option begins with a look at the next byte, which should not be there.
    match Option::<Unread>::deserialize(&mut input) {
        Ok(_) => Err(malformed("more bytes behind the value")),
        Err(_) => Ok(value),
    }
}

/// A value that is left where it is.
struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

pub(crate) fn malformed(what: &'static str) -> Malformed {
    Malformed {
        format: "MessagePack",
        what,
        at: None,
    }
}

fn what(error: &Error) -> &'static str {
    match error {
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => "it ends too early",
        Error::TypeMismatch(_) => "a byte that begins nothing",
        Error::Utf8Error(_) => "a text that is not UTF-8",
        Error::DepthLimitExceeded => "it is nested too deeply",
        Error::Syntax(what) if what == EXTENSION => EXTENSION,
        // Nothing else is refused for what it is.
        _ => "a key that is no text",
    }
}

/// Writes the value that it is shown as JSON.
pub(crate) struct ToJson<'o>(pub(crate) &'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for ToJson<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        // Also shows what is no list, and bytes as one. Asked for any value, it would show
        // bytes as such, and texts that are not UTF-8 as if they were bytes.
        input.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ToJson<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        json::value(self.0, &value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        json::value(self.0, &value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        json::value(self.0, &value);
        Ok(())
    }

    fn visit_f32<E>(self, value: f32) -> Result<(), E> {
        json::value(self.0, &value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        json::value(self.0, &value);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        json::text(self.0, text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let begin = self.0.len();
        self.0.push(b'[');
        while items.next_element_seed(ToJson(self.0))?.is_some() {
            self.0.push(b',');
        }
        close(self.0, begin, b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let begin = self.0.len();
        self.0.push(b'{');
        while entries.next_key_seed(Key(self.0))?.is_some() {
            self.0.push(b':');
            entries.next_value_seed(ToJson(self.0))?;
            self.0.push(b',');
        }
        close(self.0, begin, b'}');
        Ok(())
    }

    /// The library's way to show an extension.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(de::Error::custom(EXTENSION))
    }
}

/// Ends what began at `begin`, in place of the comma behind its last entry.
fn close(out: &mut Vec<u8>, begin: usize, mark: u8) {
    if out.len() > begin + 1 {
        out.pop();
    }
    out.push(mark);
}

/// Writes the key that it is shown.
struct Key<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or an integer")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        json::text(self.0, text);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        json::text(self.0, &value.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        json::text(self.0, &value.to_string());
        Ok(())
    }
}
