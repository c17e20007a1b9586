//! Bytes and files in a payload: MessagePack's bin, or a list of numbers.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::http_args::Upload;

/// A value that may be something else, which is read over all the same. Bytes and texts
/// stay where they lie; of the rest a tree is built.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum Attempt<T> {
    Read(T),
    Otherwise(IgnoredAny),
}

/// Bytes, where they lie if they can stay there.
pub(super) struct Binary<'a>(pub(super) Cow<'a, [u8]>);

impl Binary<'_> {
    /// The bytes, as a part of `payload` if they were read from there.
    pub(super) fn within(self, payload: &Bytes) -> Bytes {
        match self.0 {
            Cow::Borrowed(bytes) => payload.slice_ref(bytes),
            Cow::Owned(bytes) => bytes.into(),
        }
    }
}

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.serialize_bytes(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Binary<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        // Asked for bytes, JSON would give those of a text.
        input.deserialize_any(BinaryVisitor)
    }
}

struct BinaryVisitor;

impl<'de> Visitor<'de> for BinaryVisitor {
    type Value = Binary<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, or a list of them")
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Binary(Cow::Borrowed(bytes)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        let bytes = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        Ok(Binary(Cow::Owned(bytes)))
    }
}

/// A file as it travels.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct File<'a> {
    filename: Option<Cow<'a, str>>,
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    bytes: Binary<'a>,
}

impl<'a> File<'a> {
    pub(super) fn new(upload: &'a Upload) -> Self {
        Self {
            filename: Some(Cow::Borrowed(&upload.filename)),
            content_type: Some(Cow::Borrowed(&upload.content_type)),
            bytes: Binary(Cow::Borrowed(&upload.bytes)),
        }
    }
}

/// One file, several or none. One is a map, or only its bytes.
pub(super) struct Files<'a>(Vec<File<'a>>);

impl Files<'_> {
    /// The files, as parts of `payload` if they were read from there.
    pub(super) fn within(self, payload: &Bytes) -> Vec<Upload> {
        let upload = |file: File<'_>| Upload {
            filename: file.filename.unwrap_or_default().into_owned(),
            content_type: file.content_type.unwrap_or_default().into_owned(),
            bytes: file.bytes.within(payload),
        };
        self.0.into_iter().map(upload).collect()
    }
}

impl<'de> Deserialize<'de> for Files<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(FilesVisitor)
    }
}

struct FilesVisitor;

impl<'de> Visitor<'de> for FilesVisitor {
    type Value = Files<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file or a list of files")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Files(Vec::new()))
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Files(vec![File {
            filename: None,
            content_type: None,
            bytes: Binary(Cow::Borrowed(bytes)),
        }]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let file = File::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Files(vec![file]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut files = Vec::new();
        while let Some(Files(mut one)) = list.next_element()? {
            if one.len() != 1 {
                return Err(A::Error::custom("expected a file"));
            }
            files.append(&mut one);
        }
        Ok(Files(files))
    }
}
