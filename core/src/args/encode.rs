//! From the parts of an HTTP request to the map that travels on a bus.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::check::{self, Components};
use super::http_args::{self, FileForText, HttpArgs, TextForFile, Told, Upload};
use super::source::query_values;
use crate::descriptor::{ApiDescriptor, Location, Parameter};
use crate::error::Error;
use crate::payload::reader::{Head, Reader};
use crate::payload::writer::{self, TooLong};
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

/// The members of `object`, and `binaries` behind them.
fn pack(object: &[u8], binaries: &[(&Parameter, Binary<'_>)]) -> Result<Vec<u8>, Error> {
    let mut members = Vec::with_capacity(object.len());
    writer::value(&mut members, object)?;
    let mut members = Reader::new(&members);
    let count = match members.head()? {
        Head::Map(count) => count,
        _ => 0,
    };
    let members = members.rest();

    let size = |binary: &Binary<'_>| match binary {
        Binary::Raw(bytes) => bytes.len(),
        Binary::Files(files) => files.iter().map(|file| size_of_file(file)).sum(),
    };
    let sizes: usize = binaries
        .iter()
        .map(|(parameter, binary)| parameter.name.len() + 16 + size(binary))
        .sum();
    let mut out = Vec::with_capacity(members.len() + sizes);
    writer::map(&mut out, count + binaries.len())?;
    out.extend_from_slice(members);
    for (parameter, binary) in binaries {
        writer::text(&mut out, &parameter.name)?;
        match binary {
            Binary::Raw(bytes) => writer::binary(&mut out, bytes)?,
            Binary::Files(files) => {
                if files.len() > 1 {
                    writer::list(&mut out, files.len())?;
                }
                for upload in files {
                    file(&mut out, upload)?;
                }
            }
        }
    }
    Ok(out)
}

fn size_of_file(file: &Upload) -> usize {
    64 + file.filename.len() + file.content_type.len() + file.bytes.len()
}

fn file(out: &mut Vec<u8>, file: &Upload) -> Result<(), TooLong> {
    writer::map(out, 3)?;
    writer::text(out, "filename")?;
    writer::text(out, &file.filename)?;
    writer::text(out, "content_type")?;
    writer::text(out, &file.content_type)?;
    writer::text(out, "bytes")?;
    writer::binary(out, &file.bytes)
}
