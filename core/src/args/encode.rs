//! From the parts of an HTTP request to the map that travels on a bus.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use serde_transcode::Transcoder;

use super::binary::File;
use super::check::{self, Components};
use super::http_args::{self, FileForText, HttpArgs, TextForFile, Told, Upload};
use super::source::query_values;
use crate::descriptor::{ApiDescriptor, Location, Parameter};
use crate::error::Error;
use crate::payload::{Payload, json};
use crate::problem::Problem;
use crate::reply::RawJson;

/// The map of `request`'s arguments for `api`.
pub(super) fn payload(request: &HttpArgs, api: &ApiDescriptor) -> Result<Payload, Error> {
    let mut problems = Vec::new();
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
                        binaries.push((parameter, Binary::Files(vec![file])));
                    }
                }
                Ok(())
            }
            Location::File => {
                match request.body.files(&parameter.name) {
                    Ok(files) if files.is_empty() => {}
                    Ok(files) => binaries.push((parameter, Binary::Files(files))),
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
                binaries.push((parameter, Binary::Raw(request.body.bytes())));
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
    Ok(if binaries.is_empty() {
        Payload::Json(object.into())
    } else {
        Payload::MessagePack(pack(&object, &binaries)?.into())
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

/// What JSON does not carry as it is.
enum Binary<'a> {
    Raw(Bytes),
    Files(Vec<&'a Upload>),
}

impl Binary<'_> {
    /// About how long it will be.
    fn room(&self) -> usize {
        let file =
            |file: &&Upload| 64 + file.filename.len() + file.content_type.len() + file.bytes.len();
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Files(files) => files.iter().map(file).sum(),
        }
    }
}

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Raw(bytes) => output.serialize_bytes(bytes),
            Self::Files(files) => match files[..] {
                [file] => File::new(file).serialize(output),
                _ => output.collect_seq(files.iter().map(|file| File::new(file))),
            },
        }
    }
}

/// A map of the members of a JSON object and of `binaries`.
struct Members<'a> {
    object: BTreeMap<String, &'a RawValue>,
    binaries: &'a [(&'a Parameter, Binary<'a>)],
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let count = self.object.len() + self.binaries.len();
        let mut map = output.serialize_map(Some(count))?;
        for (name, json) in &self.object {
            let mut value = serde_json::Deserializer::from_str(json.get());
            map.serialize_entry(name, &Transcoder::new(&mut value))?;
        }
        for (parameter, binary) in self.binaries {
            map.serialize_entry(&parameter.name, binary)?;
        }
        map.end()
    }
}

/// The members of `object`, and `binaries` behind them.
fn pack(object: &[u8], binaries: &[(&Parameter, Binary<'_>)]) -> Result<Vec<u8>, Error> {
    let sizes = binaries
        .iter()
        .map(|(parameter, binary)| parameter.name.len() + 16 + binary.room());
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
