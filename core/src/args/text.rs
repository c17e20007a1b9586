//! Typed values out of the texts of a URL or a form.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{CowStrDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};

/// What was wrong with a text; never holds the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextError {
    /// The problem's type.
    pub(super) kind: &'static str,
    /// What is allowed.
    pub(super) expected: String,
}

impl TextError {
    fn new(kind: &'static str, expected: impl Into<String>) -> Self {
        Self {
            kind,
            expected: expected.into(),
        }
    }
}

impl TextError {
    /// What came, without its value.
    pub(super) fn got(&self) -> &'static str {
        match self.kind {
            "int_out_of_range" => "an integer outside of them",
            "enum" => "another name",
            "finite_number" => "another",
            _ => "a text that is not one",
        }
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expected)
    }
}

impl std::error::Error for TextError {}

impl de::Error for TextError {
    fn custom<T: fmt::Display>(_: T) -> Self {
        // The text of such an error may repeat what was sent.
        Self::new("value_error", "a valid value")
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        let names: Vec<_> = expected.iter().map(|name| format!("`{name}`")).collect();
        Self::new("enum", format!("one of {}", names.join(", ")))
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new("value_error", expected.to_string())
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new("value_error", expected.to_string())
    }
}

/// One decoded text.
#[derive(Clone)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

/// Every value that was given for a list.
pub(super) struct Texts<'a>(pub(super) Vec<Cow<'a, str>>);

impl<'de> IntoDeserializer<'de, TextError> for Text<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
            match self.0.parse::<$type>() {
                Ok(value) => visitor.$visit(value),
                Err(error) => {
                    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
                    let range = format!("an integer from {} to {}", <$type>::MIN, <$type>::MAX);
                    let unsigned = <$type>::MIN == 0 && self.0.starts_with('-')
                        && self.0.len() > 1 && self.0[1..].bytes().all(|b| b.is_ascii_digit());
                    Err(match error.kind() {
                        NegOverflow | PosOverflow => TextError::new("int_out_of_range", range),
                        _ if unsigned => TextError::new("int_out_of_range", range),
                        _ => TextError::new("int_parsing", range),
                    })
                }
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = TextError;

    integers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        read_bool(&self.0).map_or_else(
            || {
                Err(TextError::new(
                    "bool_parsing",
                    "a boolean, `true` or `false`",
                ))
            },
            |value| visitor.visit_bool(value),
        )
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        match self.0.parse::<f64>() {
            Ok(value) if value.is_finite() => visitor.visit_f64(value),
            Ok(_) => Err(TextError::new("finite_number", "a finite number")),
            Err(_) => Err(TextError::new("float_parsing", "a number")),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TextError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TextError> {
        CowStrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        visitor.visit_seq(SeqDeserializer::new(std::iter::once(self)))
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct tuple tuple_struct
        map struct identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for Texts<'de> {
    type Error = TextError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        visitor.visit_seq(SeqDeserializer::new(self.0.into_iter().map(Text)))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TextError> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf unit unit_struct seq tuple tuple_struct map struct enum
        identifier ignored_any
    }
}

/// The spellings of a boolean, in any case.
pub(super) fn read_bool(text: &str) -> Option<bool> {
    const YES: [&str; 6] = ["true", "1", "yes", "on", "t", "y"];
    const NO: [&str; 6] = ["false", "0", "no", "off", "f", "n"];
    let is = |spellings: &[&str]| spellings.iter().any(|s| s.eq_ignore_ascii_case(text));
    match () {
        () if is(&YES) => Some(true),
        () if is(&NO) => Some(false),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, &'static str> {
        T::deserialize(Text(Cow::Borrowed(text))).map_err(|e| e.kind)
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Green,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Id(u32);

    #[test]
    fn scalars() {
        assert_eq!(read::<i64>("-7"), Ok(-7));
        assert_eq!(read::<i64>("01"), Ok(1));
        assert_eq!(read::<i64>("1.5"), Err("int_parsing"));
        assert_eq!(read::<u8>("256"), Err("int_out_of_range"));
        assert_eq!(read::<u8>("-1"), Err("int_out_of_range"));
        assert_eq!(read::<u8>("--1"), Err("int_parsing"));
        assert_eq!(read::<f64>("1e3"), Ok(1000.0));
        assert_eq!(read::<f64>("nan"), Err("finite_number"));
        assert_eq!(read::<f32>("1e999"), Err("finite_number"));
        assert_eq!(read::<bool>("Yes"), Ok(true));
        assert_eq!(read::<bool>("maybe"), Err("bool_parsing"));
        assert_eq!(read::<Option<String>>(""), Ok(Some(String::new())));
        assert_eq!(read::<char>("ä"), Ok('ä'));
        assert_eq!(read::<Id>("3"), Ok(Id(3)));
    }

    #[test]
    fn named_types() {
        assert_eq!(read::<Colour>("green"), Ok(Colour::Green));
        let error = Colour::deserialize(Text("blue".into())).unwrap_err();
        assert_eq!(error, TextError::new("enum", "one of `red`, `green`"));
        assert!(read::<uuid::Uuid>("67e55044-10b1-426f-9247-bb680e5fe0c8").is_ok());
        assert_eq!(read::<uuid::Uuid>("nope"), Err("value_error"));
        assert!(read::<chrono::DateTime<chrono::Utc>>("2026-01-01T00:00:00Z").is_ok());
    }

    #[test]
    fn lists() {
        let texts = Texts(vec!["1".into(), "2".into()]);
        assert_eq!(Vec::<u8>::deserialize(texts), Ok(vec![1, 2]));
        assert_eq!(read::<Vec<u8>>("1"), Ok(vec![1]));
    }
}
