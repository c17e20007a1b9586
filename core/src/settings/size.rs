use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A number of bytes, written as an integer or as `"4 MiB"`, `"512KiB"`, `"2MB"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// `bytes` bytes.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size in bytes, as large as this machine can count.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Reads `"4 MiB"`; the unit, in any case, may be left out.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
        let number: u64 = number.parse().ok()?;
        let factor = match unit.trim_start() {
            "" => 1,
            unit => {
                let named = |(name, _): &&(&str, u64)| name.eq_ignore_ascii_case(unit);
                UNITS.iter().find(named)?.1
            }
        };
        number.checked_mul(factor).map(Self)
    }
}

/// The largest unit that leaves no fraction: `4 MiB`, `1500 B`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = &UNITS[..3];
        match binary
            .iter()
            .find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor))
        {
            Some((unit, factor)) => write!(f, "{} {unit}", self.0 / factor),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;
        impl Visitor<'_> for Sizes {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes or a text like \"4 MiB\"")
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                let negative = |_| E::invalid_value(de::Unexpected::Signed(bytes), &self);
                u64::try_from(bytes).map(Size).map_err(negative)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
                Size::parse(text).ok_or_else(wrong)
            }
        }
        deserializer.deserialize_any(Sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_more() {
        for (text, bytes, shown) in [
            ("0", 0, "0 B"),
            ("4MiB", 4 << 20, "4 MiB"),
            ("512 KiB", 512 << 10, "512 KiB"),
            ("2mb", 2_000_000, "2000000 B"),
            (" 17 B ", 17, "17 B"),
            ("1 GiB", 1 << 30, "1 GiB"),
        ] {
            let size = Size::parse(text).unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_string(), shown);
            assert_eq!(Size::parse(shown), Some(size));
        }
        for text in ["", "MiB", "-1", "1.5MiB", "4 X", "4M", "99999999999 GiB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }
}
