//! Reads MessagePack, value by value.

use rmp::Marker;

use super::{MAX_DEPTH, Malformed, json};

/// A value's first bytes. The rest of lists and maps are values, of the others as
/// many bytes as are said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Head {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Single(f32),
    Double(f64),
    Text(usize),
    Binary(usize),
    List(usize),
    Map(usize),
    Extension(usize),
}

impl Head {
    /// What it begins, for people.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Unsigned(_) | Self::Signed(_) => "an integer",
            Self::Single(_) | Self::Double(_) => "a number",
            Self::Text(_) => "a string",
            Self::Binary(_) => "bytes",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Extension(_) => "an extension",
        }
    }
}

/// A place in MessagePack.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    all: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            all: bytes.len(),
            rest: bytes,
        }
    }

    /// What is wrong here.
    pub(crate) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed {
            format: "MessagePack",
            what,
            at: self.all - self.rest.len(),
        }
    }

    /// What is not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// That nothing follows.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("more bytes behind the value"))
        }
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.malformed("it ends too early"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            return Err(self.malformed("it ends too early"));
        };
        self.rest = rest;
        Ok(*taken)
    }

    fn length8(&mut self) -> Result<usize, Malformed> {
        Ok(usize::from(u8::from_be_bytes(self.array()?)))
    }

    fn length16(&mut self) -> Result<usize, Malformed> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    fn length32(&mut self) -> Result<usize, Malformed> {
        let length = u32::from_be_bytes(self.array()?);
        usize::try_from(length).map_err(|_| self.malformed("it is too long"))
    }

    /// The beginning of the next value.
    pub(crate) fn head(&mut self) -> Result<Head, Malformed> {
        let [first] = self.array()?;
        // An extension has its type before its bytes.
        Ok(match Marker::from_u8(first) {
            Marker::Null => Head::Null,
            Marker::False => Head::Bool(false),
            Marker::True => Head::Bool(true),
            Marker::FixPos(value) => Head::Unsigned(value.into()),
            Marker::U8 => Head::Unsigned(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Head::Unsigned(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Head::Unsigned(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Head::Unsigned(u64::from_be_bytes(self.array()?)),
            Marker::FixNeg(value) => Head::Signed(value.into()),
            Marker::I8 => Head::Signed(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Head::Signed(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Head::Signed(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Head::Signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Head::Single(f32::from_be_bytes(self.array()?)),
            Marker::F64 => Head::Double(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(length) => Head::Text(length.into()),
            Marker::Str8 => Head::Text(self.length8()?),
            Marker::Str16 => Head::Text(self.length16()?),
            Marker::Str32 => Head::Text(self.length32()?),
            Marker::Bin8 => Head::Binary(self.length8()?),
            Marker::Bin16 => Head::Binary(self.length16()?),
            Marker::Bin32 => Head::Binary(self.length32()?),
            Marker::FixArray(length) => Head::List(length.into()),
            Marker::Array16 => Head::List(self.length16()?),
            Marker::Array32 => Head::List(self.length32()?),
            Marker::FixMap(length) => Head::Map(length.into()),
            Marker::Map16 => Head::Map(self.length16()?),
            Marker::Map32 => Head::Map(self.length32()?),
            Marker::FixExt1 => Head::Extension(2),
            Marker::FixExt2 => Head::Extension(3),
            Marker::FixExt4 => Head::Extension(5),
            Marker::FixExt8 => Head::Extension(9),
            Marker::FixExt16 => Head::Extension(17),
            Marker::Ext8 => Head::Extension(self.length8()? + 1),
            Marker::Ext16 => Head::Extension(self.length16()? + 1),
            Marker::Ext32 => Head::Extension(self.length32()?.saturating_add(1)),
            Marker::Reserved => return Err(self.malformed("a byte that begins nothing")),
        })
    }

    /// A text of `length` bytes.
    pub(crate) fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let bytes = self.take(length)?;
        simdutf8::basic::from_utf8(bytes).map_err(|_| self.malformed("a text that is not UTF-8"))
    }

    /// The bytes of the next value, whatever it is.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let before = self.rest;
        let mut left = 1_u64;
        while left > 0 {
            left -= 1;
            match self.head()? {
                Head::Text(length) | Head::Binary(length) | Head::Extension(length) => {
                    self.take(length)?;
                }
                Head::List(length) => left += length as u64,
                Head::Map(length) => left += length as u64 * 2,
                _ => {}
            }
        }
        Ok(&before[..before.len() - self.rest.len()])
    }

    /// Writes the next value as JSON.
    pub(crate) fn json(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        self.json_within(out, MAX_DEPTH)
    }

    fn json_within(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Malformed> {
        let head = self.head()?;
        if let Head::List(length) | Head::Map(length) = head {
            let Some(depth) = depth.checked_sub(1) else {
                return Err(self.malformed("it is nested too deeply"));
            };
            let map = matches!(head, Head::Map(_));
            out.push(if map { b'{' } else { b'[' });
            for index in 0..length {
                if index > 0 {
                    out.push(b',');
                }
                if map {
                    self.key(out)?;
                    out.push(b':');
                }
                self.json_within(out, depth)?;
            }
            out.push(if map { b'}' } else { b']' });
            return Ok(());
        }
        match head {
            Head::Null => out.extend_from_slice(b"null"),
            Head::Bool(value) => json::value(out, &value),
            Head::Unsigned(value) => json::value(out, &value),
            Head::Signed(value) => json::value(out, &value),
            Head::Single(value) => json::value(out, &value),
            Head::Double(value) => json::value(out, &value),
            Head::Text(length) => json::text(out, self.text(length)?),
            Head::Binary(length) => json::value(out, self.take(length)?),
            Head::Extension(_) => return Err(self.malformed("an extension")),
            Head::List(_) | Head::Map(_) => {}
        }
        Ok(())
    }

    fn key(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self.head()? {
            Head::Text(length) => json::text(out, self.text(length)?),
            Head::Unsigned(value) => quoted(out, &value),
            Head::Signed(value) => quoted(out, &value),
            _ => return Err(self.malformed("a key that is no text")),
        }
        Ok(())
    }
}

/// An integer as a text.
fn quoted<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) {
    out.push(b'"');
    json::value(out, value);
    out.push(b'"');
}
