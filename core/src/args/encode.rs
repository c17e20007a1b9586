//! From the parts of an HTTP request to the map that travels on a bus.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use serde_transcode::Transcoder;

use super::Message;
use super::check::{self, Components};
use super::http_args::{self, FileForText, HttpArgs, TextForFile, Told};
use super::source::query_values;
use super::upload::{Slot, Upload};
use crate::body::ByteStream;
use crate::descriptor::{ApiDescriptor, Location, Parameter};
use crate::error::Error;
use crate::payload::{self, Payload, json};
use crate::problem::Problem;
use crate::reply::RawJson;

/// The map of `request`'s arguments for `api`. Beside it go the files that have more than
/// `inline` bytes or are still coming; without `inline` all have to be here.
pub(super) fn message(
    request: &HttpArgs,
    added: &[(String, Slot)],
    api: &ApiDescriptor,
    inline: Option<usize>,
) -> Result<Message, Error> {
    let mut problems = Vec::new();
    let mut files = Files::new(inline);
    let query = query_values(api, request, &mut problems);
    let mut object = Object::with_capacity(room(request, api));
    let mut binaries = Vec::new();
    for (parameter, texts) in api.parameters.iter().zip(&query) {
        let written: Result<(), Told> = match parameter.location {
            Location::Query => object.encoded(api, parameter, texts, true),
            Location::Path => match request.path_value(&parameter.name) {
                Some(text) => object.encoded(api, parameter, &[text], false),
                None => Ok(()),
            },
            // A file in place of a text, and a text in place of a file, travel as what
            // they are: the handler's side reports them with all the rest.
            Location::Form => {
                match request.body.texts(&parameter.name) {
                    Ok(texts) => object.decoded(api, parameter, &texts),
                    Err(FileForText(file)) => {
                        binaries.push((&*parameter.name, files.pack(&[file])?));
                    }
                }
                Ok(())
            }
            Location::File => {
                match request.body.files(&parameter.name) {
                    Ok(slots) if slots.is_empty() => {}
                    Ok(slots) => binaries.push((&parameter.name, files.pack(&slots)?)),
                    Err(TextForFile(text)) => {
                        object.name(&parameter.name);
                        json::text(&mut object.0, text);
                    }
                }
                Ok(())
            }
            Location::Body => {
                if let Some(body) = request.body.json() {
                    if let Err(error) = RawJson::new(body.clone()) {
                        problems.push(check::not_json(body, &error));
                    }
                    object.name(&parameter.name);
                    object.0.extend_from_slice(body);
                }
                Ok(())
            }
            Location::Raw => {
                binaries.push((&parameter.name, Packed::Raw(request.body.bytes())));
                Ok(())
            }
            Location::Upload => {
                let packed = match request.body.upload() {
                    Some(slot) => files.pack(&[slot])?,
                    None => Packed::Raw(request.body.bytes()),
                };
                binaries.push((&parameter.name, packed));
                Ok(())
            }
        };
        if let Err((kind, msg)) = written {
            let loc = vec![
                parameter.location.loc().into(),
                parameter.name.clone().into(),
            ];
            problems.push(Problem::new(kind, loc, msg));
        }
    }
    if !problems.is_empty() {
        check::shorten(&mut problems);
        return Err(Error::validation(problems));
    }
    let object = object.finish();
    files.add(&mut binaries, added)?;
    let payload = if binaries.is_empty() {
        Payload::Json(object.into())
    } else {
        Payload::MessagePack(pack(&object, &binaries)?.into())
    };
    Ok(Message {
        payload,
        bodies: files.bodies,
    })
}

/// `payload` and the files that were added to it.
pub(super) fn with_files(
    payload: &Payload,
    added: &[(String, Slot)],
    inline: Option<usize>,
) -> Result<Message, Error> {
    let mut files = Files::new(inline);
    let mut binaries = Vec::new();
    files.add(&mut binaries, added)?;
    let payload = match payload {
        payload if binaries.is_empty() => payload.clone(),
        Payload::Json(object) => Payload::MessagePack(pack(object, &binaries)?.into()),
        Payload::MessagePack(map) => {
            Payload::MessagePack(pack(&payload::to_json(map)?, &binaries)?.into())
        }
    };
    Ok(Message {
        payload,
        bodies: files.bodies,
    })
}

/// About how long the object will be.
fn room(request: &HttpArgs, api: &ApiDescriptor) -> usize {
    let names: usize = api.parameters.iter().map(|p| p.name.len() + 6).sum();
    let body = request.body.json().map_or(0, Bytes::len);
    let uri = request.uri.path_and_query().map_or(0, |u| u.as_str().len());
    names + body + uri + 2
}

/// A JSON object in the making.
struct Object(Vec<u8>);

impl Object {
    fn with_capacity(room: usize) -> Self {
        let mut out = Vec::with_capacity(room);
        out.push(b'{');
        Self(out)
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        json::text(&mut self.0, name);
        self.0.push(b':');
    }

    /// What lies encoded in a URL.
    fn encoded(
        &mut self,
        api: &ApiDescriptor,
        parameter: &Parameter,
        texts: &[&str],
        plus: bool,
    ) -> Result<(), Told> {
        match texts {
            [] => {}
            [text] if parameter.schema["type"] == "string" => {
                self.name(&parameter.name);
                http_args::decode_to_json(&mut self.0, text, plus)?;
            }
            [text] => {
                let text = http_args::decode(text, plus)?;
                self.decoded(api, parameter, &[text]);
            }
            texts => {
                let texts = texts.iter().map(|text| http_args::decode(text, plus));
                let texts: Vec<_> = texts.collect::<Result<_, _>>()?;
                self.decoded(api, parameter, &texts);
            }
        }
        Ok(())
    }

    /// A list of all texts where the schema wants one, else the last.
    fn decoded(&mut self, api: &ApiDescriptor, parameter: &Parameter, texts: &[Cow<'_, str>]) {
        let Some(last) = texts.last() else { return };
        self.name(&parameter.name);
        let (schema, components) = (&parameter.schema, &api.components);
        if !check::is_list(schema) {
            scalar(&mut self.0, schema, components, last);
            return;
        }
        let mut mark = b'[';
        for text in texts {
            self.0.push(mark);
            scalar(&mut self.0, check::items(schema), components, text);
            mark = b',';
        }
        self.0.push(b']');
    }
}

/// What `schema` sees in `text`.
fn scalar(out: &mut Vec<u8>, schema: &Value, components: &Components, text: &str) {
    match check::read_text(schema, components, text) {
        Value::String(text) => json::text(out, &text),
        // Rust reads `-0` as some integers and not as others.
        Value::Number(zero) if zero.as_u64() == Some(0) && text.starts_with('-') => {
            json::text(out, text);
        }
        // As many digits as were sent.
        Value::Number(number)
            if number.is_f64() && serde_json::from_str::<IgnoredAny>(text).is_ok() =>
        {
            out.extend_from_slice(text.as_bytes());
        }
        value => json::value(out, &value),
    }
}

/// The files of a call, some of which travel beside its map.
pub(super) struct Files {
    inline: Option<usize>,
    bodies: Vec<ByteStream>,
}

impl Files {
    pub(super) fn new(inline: Option<usize>) -> Self {
        Self {
            inline,
            bodies: Vec::new(),
        }
    }

    /// Packs files by their names.
    fn add<'a>(
        &mut self,
        binaries: &mut Vec<(&'a str, Packed)>,
        added: &'a [(String, Slot)],
    ) -> Result<(), Error> {
        for (name, slot) in added {
            let file = self.file(slot)?;
            match binaries.iter_mut().find(|(known, _)| known == name) {
                Some((_, Packed::Files(files))) => files.push(file),
                _ => binaries.push((name, Packed::Files(vec![file]))),
            }
        }
        Ok(())
    }

    /// The bodies that travel beside the map.
    pub(super) fn into_bodies(self) -> Vec<ByteStream> {
        self.bodies
    }

    pub(super) fn pack(&mut self, slots: &[&Slot]) -> Result<Packed, Error> {
        let files = slots.iter().map(|slot| self.file(slot));
        files.collect::<Result<_, _>>().map(Packed::Files)
    }

    fn file(&mut self, slot: &Slot) -> Result<File, Error> {
        slot.with(|slot| {
            let taken =
                || Error::internal("a file among the arguments of a call was taken already");
            let upload = slot.as_mut().ok_or_else(taken)?;
            let inline = self.inline.unwrap_or(usize::MAX);
            let bytes = upload.as_full().filter(|bytes| bytes.len() <= inline);
            let mut file = File {
                filename: upload.filename.clone(),
                content_type: upload.content_type.clone(),
                bytes: bytes.cloned(),
                body: None,
                size: None,
            };
            if file.bytes.is_some() {
                return Ok(file);
            }
            if self.inline.is_none() {
                let what = "a file that is still coming does not fit into one message";
                return Err(Error::internal(what));
            }
            file.size = upload.size();
            file.body = u32::try_from(self.bodies.len()).ok();
            self.bodies.extend(slot.take().map(Upload::into_stream));
            Ok(file)
        })
    }
}

/// What JSON does not carry as it is.
pub(super) enum Packed {
    Raw(Bytes),
    Files(Vec<File>),
}

/// A file as it travels; [`binary::File`](super::binary::File) reads it.
#[derive(Serialize)]
pub(super) struct File {
    filename: String,
    content_type: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_binary")]
    bytes: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

fn as_binary<S: Serializer>(bytes: &Option<Bytes>, output: S) -> Result<S::Ok, S::Error> {
    output.serialize_bytes(bytes.as_deref().unwrap_or_default())
}

impl File {
    /// About how long it will be.
    fn room(&self) -> usize {
        let bytes = self.bytes.as_ref().map_or(0, Bytes::len);
        80 + self.filename.len() + self.content_type.len() + bytes
    }
}

impl Packed {
    /// About how long it will be.
    fn room(&self) -> usize {
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Files(files) => files.iter().map(File::room).sum(),
        }
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Raw(bytes) => output.serialize_bytes(bytes),
            Self::Files(files) => match &files[..] {
                [file] => file.serialize(output),
                files => files.serialize(output),
            },
        }
    }
}

/// A map of the members of a JSON object and of `binaries`.
struct Members<'a> {
    object: BTreeMap<String, &'a RawValue>,
    binaries: &'a [(&'a str, Packed)],
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let count = self.object.len() + self.binaries.len();
        let mut map = output.serialize_map(Some(count))?;
        for (name, json) in &self.object {
            let mut value = serde_json::Deserializer::from_str(json.get());
            map.serialize_entry(name, &Transcoder::new(&mut value))?;
        }
        for (name, binary) in self.binaries {
            map.serialize_entry(name, binary)?;
        }
        map.end()
    }
}

/// The members of `object`, and `binaries` behind them.
pub(super) fn pack(object: &[u8], binaries: &[(&str, Packed)]) -> Result<Vec<u8>, Error> {
    let sizes = binaries
        .iter()
        .map(|(name, binary)| name.len() + 16 + binary.room());
    let room = object.len() + sizes.sum::<usize>();
    // MessagePack counts no further.
    u32::try_from(room)?;
    let mut out = Vec::with_capacity(room);
    let members = Members {
        object: serde_json::from_slice(object)?,
        binaries,
    };
    members.serialize(&mut rmp_serde::Serializer::new(&mut out).with_struct_map())?;
    Ok(out)
}
