//! Bytes and files in a payload: MessagePack's bin, or a list of numbers.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::upload::Upload;
use crate::body::Bodies;

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
#[derive(serde::Deserialize)]
pub(super) struct File<'a> {
    filename: Option<Cow<'a, str>>,
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    bytes: Option<Binary<'a>>,
    /// In place of the bytes, the body that brings them.
    body: Option<u32>,
    /// How many that will bring.
    size: Option<u64>,
}

impl File<'_> {
    /// The file, as a part of `payload` if it was read from there.
    fn within(self, payload: &Bytes, bodies: Option<&Arc<dyn Bodies>>) -> Option<Upload> {
        let upload = match (self.bytes, self.body) {
            (Some(bytes), _) => Upload::new(bytes.within(payload)),
            (None, Some(number)) => Upload::new(bodies?.open(number, self.size)),
            (None, None) => return None,
        };
        let upload = upload.named(self.filename.unwrap_or_default());
        Some(upload.with_content_type(self.content_type.unwrap_or_default()))
    }
}

/// One file, several or none. One is a map, or only its bytes.
pub(super) struct Files<'a>(Vec<File<'a>>);

impl Files<'_> {
    /// The files, as parts of `payload` if they were read from there. None if one has
    /// no bytes, and nobody brings any.
    pub(super) fn within(
        self,
        payload: &Bytes,
        bodies: Option<&Arc<dyn Bodies>>,
    ) -> Option<Vec<Upload>> {
        let files = self.0.into_iter();
        files.map(|file| file.within(payload, bodies)).collect()
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
            bytes: Some(Binary(Cow::Borrowed(bytes))),
            body: None,
            size: None,
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
