//! Writes MessagePack, each value in its shortest form.

use std::fmt;

use rmp::Marker;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Malformed;

/// The value that `json` is.
pub(crate) fn value(out: &mut Vec<u8>, json: &[u8]) -> Result<(), Malformed> {
    let mut input = serde_json::Deserializer::from_slice(json);
    Transcode(out)
        .deserialize(&mut input)
        .and_then(|()| input.end())
        .map_err(|error| Malformed::json(json, &error))
}

/// The beginning of a map with `length` entries.
pub(crate) fn map(out: &mut Vec<u8>, length: usize) -> Result<(), TooLong> {
    let at = out.len();
    out.push(0);
    open(out, at, length, &MAP)
}

/// The beginning of a list of `length` values.
pub(crate) fn list(out: &mut Vec<u8>, length: usize) -> Result<(), TooLong> {
    let at = out.len();
    out.push(0);
    open(out, at, length, &LIST)
}

/// A text.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) -> Result<(), TooLong> {
    match u8::try_from(text.len()) {
        Ok(length @ 0..32) => out.push(Marker::FixStr(length).to_u8()),
        _ => sized(
            out,
            text.len(),
            [Marker::Str8, Marker::Str16, Marker::Str32],
        )?,
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Bytes.
pub(crate) fn binary(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), TooLong> {
    sized(
        out,
        bytes.len(),
        [Marker::Bin8, Marker::Bin16, Marker::Bin32],
    )?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// More than MessagePack can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("MessagePack counts no further than 4294967295")]
pub(crate) struct TooLong;

fn sized(out: &mut Vec<u8>, length: usize, markers: [Marker; 3]) -> Result<(), TooLong> {
    let [short, middle, long] = markers;
    if let Ok(length) = u8::try_from(length) {
        marked(out, short, length.to_be_bytes());
    } else if let Ok(length) = u16::try_from(length) {
        marked(out, middle, length.to_be_bytes());
    } else {
        let length = u32::try_from(length).map_err(|_| TooLong)?;
        marked(out, long, length.to_be_bytes());
    }
    Ok(())
}

fn marked<const N: usize>(out: &mut Vec<u8>, marker: Marker, bytes: [u8; N]) {
    out.push(marker.to_u8());
    out.extend_from_slice(&bytes);
}

/// How the beginning of a map or a list is written.
struct Markers {
    few: fn(u8) -> Marker,
    some: Marker,
    many: Marker,
}

const MAP: Markers = Markers {
    few: Marker::FixMap,
    some: Marker::Map16,
    many: Marker::Map32,
};

const LIST: Markers = Markers {
    few: Marker::FixArray,
    some: Marker::Array16,
    many: Marker::Array32,
};

/// Writes over the byte `at`, where a map or list begins that has turned out to
/// have `length` entries.
fn open(out: &mut Vec<u8>, at: usize, length: usize, markers: &Markers) -> Result<(), TooLong> {
    let behind = at + 1..at + 1;
    out[at] = match u16::try_from(length) {
        Ok(0..16) => (markers.few)(u8::try_from(length).unwrap_or_default()).to_u8(),
        Ok(length) => {
            out.splice(behind, length.to_be_bytes());
            markers.some.to_u8()
        }
        Err(_) => {
            let length = u32::try_from(length).map_err(|_| TooLong)?;
            out.splice(behind, length.to_be_bytes());
            markers.many.to_u8()
        }
    };
    Ok(())
}

fn unsigned(out: &mut Vec<u8>, value: u64) {
    if let Ok(value) = u8::try_from(value) {
        if value < 128 {
            out.push(Marker::FixPos(value).to_u8());
        } else {
            marked(out, Marker::U8, value.to_be_bytes());
        }
    } else if let Ok(value) = u16::try_from(value) {
        marked(out, Marker::U16, value.to_be_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        marked(out, Marker::U32, value.to_be_bytes());
    } else {
        marked(out, Marker::U64, value.to_be_bytes());
    }
}

fn signed(out: &mut Vec<u8>, value: i64) {
    if let Ok(value) = u64::try_from(value) {
        unsigned(out, value);
    } else if let Ok(value) = i8::try_from(value) {
        if value >= -32 {
            out.push(Marker::FixNeg(value).to_u8());
        } else {
            marked(out, Marker::I8, value.to_be_bytes());
        }
    } else if let Ok(value) = i16::try_from(value) {
        marked(out, Marker::I16, value.to_be_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        marked(out, Marker::I32, value.to_be_bytes());
    } else {
        marked(out, Marker::I64, value.to_be_bytes());
    }
}

/// Writes what it is shown.
struct Transcode<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Transcode<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Transcode<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.push(Marker::Null.to_u8());
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        let marker = if value { Marker::True } else { Marker::False };
        self.0.push(marker.to_u8());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        unsigned(self.0, value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        signed(self.0, value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        marked(self.0, Marker::F64, value.to_be_bytes());
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        text(self.0, value).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let at = self.0.len();
        self.0.push(0);
        let mut length = 0;
        while items.next_element_seed(Transcode(self.0))?.is_some() {
            length += 1;
        }
        open(self.0, at, length, &LIST).map_err(A::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let at = self.0.len();
        self.0.push(0);
        let mut length = 0;
        while entries.next_key_seed(Transcode(self.0))?.is_some() {
            entries.next_value_seed(Transcode(self.0))?;
            length += 1;
        }
        open(self.0, at, length, &MAP).map_err(A::Error::custom)
    }
}
