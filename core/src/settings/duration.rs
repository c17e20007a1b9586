//! Durations in settings: `"30s"`, `"500ms"`, `"1m 30s"`, or seconds as a
//! number. The two functions named as serde wants them serve `#[serde(with)]`.

use std::fmt;
use std::time::Duration;

use serde::Serializer;
use serde::de::{self, Deserializer, Visitor};

/// Reads a text with units, or seconds (`"30"`, `"0.5"`).
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

/// Writes what [`parse`] reads.
pub(crate) fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Writes a text with units.
///
/// # Errors
///
/// The serializer's.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&show(*duration))
}

/// Reads a text with units, or a number of seconds.
///
/// # Errors
///
/// For anything else.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Durations;
    impl Visitor<'_> for Durations {
        type Value = Duration;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration like \"30s\" or a number of seconds")
        }
        fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_secs(seconds))
        }
        fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
            let negative = |_| E::invalid_value(de::Unexpected::Signed(seconds), &self);
            u64::try_from(seconds)
                .map(Duration::from_secs)
                .map_err(negative)
        }
        fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Duration, E> {
            let wrong = |_| E::invalid_value(de::Unexpected::Float(seconds), &self);
            Duration::try_from_secs_f64(seconds).map_err(wrong)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
            parse(text).ok_or_else(wrong)
        }
    }
    deserializer.deserialize_any(Durations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_and_seconds() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("1m 30s", 90_000),
            ("1m30s", 90_000),
            ("2", 2_000),
            ("0.5", 500),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(text), Some(duration), "{text}");
            assert_eq!(parse(&show(duration)), Some(duration), "{text}");
        }
        for text in ["", "-1", "-1s", "soon", "NaN", "inf", "1e300"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
