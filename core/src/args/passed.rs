//! Arguments of an API that stands for another service's operation: the HTTP request as it
//! came, or the values that a plugin named.

use std::sync::LazyLock;

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value};

use super::encode::{Files, pack};
use super::upload::{Slot, Upload};
use super::{Args, Decoder, HttpArgs, HttpBody, Message, Repr};
use crate::descriptor::{ApiDescriptor, ApiKind, Location, Parameter};
use crate::error::Error;
use crate::id::ApiId;
use crate::payload::{self, Payload};

/// The members of the map that such a request travels as.
const REQUEST: &str = "~request";
const BODY: &str = "~body";
/// What was called, where nobody on the bus serves it.
const TARGET: &str = "~target";

/// An HTTP request as it came.
#[derive(Debug)]
pub struct Passed {
    /// Its method.
    pub method: Method,
    /// Its path and query, undecoded.
    pub target: String,
    /// Its body with the `Content-Type` it came with; none if it has none.
    pub body: Option<Upload>,
}

/// The values that a plugin named.
#[derive(Debug, Default)]
pub struct Named {
    /// What is no file.
    pub values: Map<String, Value>,
    /// The files, in the order of the API's parameters.
    pub files: Vec<(String, Upload)>,
    /// What was called, if not this API ([`Args::aimed_at`]).
    pub target: Option<String>,
}

/// What a call is about that nobody on the bus answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Aim {
    /// An HTTP request for this method and path, undecoded.
    Request(Method, String),
    /// A plugin's call of this id, path, or method and path; none if it says none.
    Named(Option<String>),
}

/// How a request that is passed on lies in a map, as if an API had these parameters.
static SHAPE: LazyLock<ApiDescriptor> = LazyLock::new(|| {
    let id = ApiId::parse("proxy.Request.passed").unwrap_or_else(|_| unreachable!("a valid id"));
    let mut api = ApiDescriptor::new(id, ApiKind::Func);
    let parameter = |name: &str, location| Parameter {
        name: name.to_owned(),
        location,
        ..Parameter::default()
    };
    api.parameters = vec![
        parameter(REQUEST, Location::Query),
        parameter(BODY, Location::Upload),
        parameter(TARGET, Location::Query),
    ];
    api
});

impl Args {
    /// The HTTP request as it came, where a client called a
    /// [`bridged`](ApiDescriptor::bridged) API; `None` where a plugin did ([`Args::named`]).
    ///
    /// The body is there for the first who asks.
    ///
    /// # Errors
    ///
    /// 422 for a message that says it is such a request and is none.
    pub fn passed(&self) -> Result<Option<Passed>, Error> {
        if let Repr::Http(request) = &self.repr {
            return Ok(Some(Passed {
                method: request.method.clone(),
                target: target(request).to_owned(),
                body: body(&request.body),
            }));
        }
        if !self.by_http {
            return Ok(None);
        }
        let mut decoder = Decoder::new(&SHAPE, self);
        let request = decoder.optional::<String>(0);
        let Some(Some(request)) = request else {
            return Ok(None);
        };
        let files = decoder.files(1);
        if let Some(error) = decoder.finish() {
            return Err(error);
        }
        let (method, target) = request_line(&request)?;
        Ok(Some(Passed {
            method,
            target: target.to_owned(),
            body: files.and_then(|mut files| files.pop()),
        }))
    }

    /// The method and the path of the HTTP request that they lie in, if they do.
    #[must_use]
    pub fn target(&self) -> Option<String> {
        match &self.repr {
            Repr::Http(request) => Some(format!("{} {}", request.method, request.uri.path())),
            Repr::Payload(..) => None,
        }
    }

    /// What was called, for whoever takes calls that nobody answers. Files stay where
    /// they are.
    ///
    /// # Errors
    ///
    /// As [`Args::passed`] and [`Args::named`].
    pub fn aim(&self) -> Result<Aim, Error> {
        if let Repr::Http(request) = &self.repr {
            let path = request.uri.path().to_owned();
            return Ok(Aim::Request(request.method.clone(), path));
        }
        let mut decoder = Decoder::new(&SHAPE, self);
        let (line, target) = (decoder.optional::<String>(0), decoder.optional(2));
        match (line, target) {
            (Some(Some(line)), _) if self.by_http => {
                let (method, target) = request_line(&line)?;
                let path = target.split_once('?').map_or(target, |(path, _)| path);
                Ok(Aim::Request(method, path.to_owned()))
            }
            (_, Some(target)) => Ok(Aim::Named(target)),
            (_, None) => Err(decoder.into_error()),
        }
    }

    /// The same again, if they are an HTTP request all of which lies here and can be
    /// [passed](Args::passed) on as it came: cheap, for whoever may have to send it twice.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        let Repr::Http(request) = &self.repr else {
            return None;
        };
        let body = match &request.body {
            HttpBody::Empty => HttpBody::Empty,
            HttpBody::Json(bytes) => HttpBody::Json(bytes.clone()),
            HttpBody::Raw(bytes) => HttpBody::Raw(bytes.clone()),
            HttpBody::Upload(_) | HttpBody::Form(_) => return None,
        };
        Some(Self::from_http(HttpArgs {
            method: request.method.clone(),
            uri: request.uri.clone(),
            path: request.path.clone(),
            body,
        }))
    }

    /// Whether they are an HTTP request whose form was read: that cannot be
    /// [passed](Args::passed) on any more.
    #[must_use]
    pub fn has_form(&self) -> bool {
        matches!(&self.repr, Repr::Http(request) if matches!(request.body, HttpBody::Form(_)))
    }

    /// The values that a plugin named for `api`, whatever their types. The files are there
    /// for the first who asks; a text where `api` takes a file is a value.
    ///
    /// # Errors
    ///
    /// 422 for what is no map, or no file where `api` takes one.
    pub fn named(&self, api: &ApiDescriptor) -> Result<Named, Error> {
        let mut decoder = Decoder::new(api, self);
        let mut named = Named::default();
        if let Repr::Payload(payload, _) = &self.repr {
            let json = match payload {
                Payload::Json(json) => json.clone(),
                Payload::MessagePack(map) => payload::to_json(map)?,
            };
            if !json.trim_ascii().is_empty() {
                named.values = serde_json::from_slice(&json)?;
            }
        }
        for (index, parameter) in api.parameters.iter().enumerate() {
            let file = matches!(parameter.location, Location::File | Location::Upload);
            let text = || {
                named
                    .values
                    .get(&parameter.name)
                    .is_some_and(Value::is_string)
            };
            if file && !text() {
                named.values.remove(&parameter.name);
                let files = decoder.files(index).unwrap_or_default().into_iter();
                named
                    .files
                    .extend(files.map(|file| (parameter.name.clone(), file)));
            }
        }
        if let Some(error) = decoder.finish() {
            return Err(error);
        }
        if let Some(Value::String(target)) = named.values.remove(TARGET) {
            named.target = Some(target);
        }
        Ok(named)
    }

    /// Says what was called, to whoever takes calls that nobody answers. A request that
    /// came by HTTP and lies here as it came says so itself.
    ///
    /// # Errors
    ///
    /// For arguments that are no map.
    pub fn aimed_at(mut self, target: &str) -> Result<Self, Error> {
        let Repr::Payload(payload, _) = &mut self.repr else {
            return Ok(self);
        };
        match payload {
            Payload::Json(json) => {
                let name = serde_json::to_string(target)?;
                let text = json.trim_ascii();
                let members = match text {
                    [] => &b"{"[..],
                    [members @ .., b'}'] => members.trim_ascii_end(),
                    _ => return Err(Error::bad_request("the arguments are no map")),
                };
                let comma = if members == b"{" { "" } else { "," };
                // At the end, where it counts whatever the caller named so.
                let aimed = format!("{comma}\"{TARGET}\":{name}}}");
                *json = [members, aimed.as_bytes()].concat().into();
            }
            Payload::MessagePack(map) => *map = with_member(map, TARGET, target)?.into(),
        }
        Ok(self)
    }
}

/// The message that `request` travels as to a bridged API.
pub(super) fn message(request: &HttpArgs, inline: Option<usize>) -> Result<Message, Error> {
    let line = format!("{} {}", request.method, target(request));
    let mut object = Map::new();
    object.insert(REQUEST.to_owned(), line.into());
    let object = serde_json::to_vec(&object)?;
    let whole;
    let packed = match &request.body {
        HttpBody::Empty => None,
        HttpBody::Upload(slot) => Some(slot),
        HttpBody::Json(_) | HttpBody::Raw(_) => {
            whole = body(&request.body).map(Slot::from);
            whole.as_ref()
        }
        HttpBody::Form(_) => {
            return Err(Error::internal("the body of a passed request was read"));
        }
    };
    let Some(slot) = packed else {
        return Ok(Message {
            payload: Payload::Json(object.into()),
            bodies: Vec::new(),
        });
    };
    let mut files = Files::new(inline);
    let binaries = [(BODY, files.pack(&[slot])?)];
    let payload = Payload::MessagePack(pack(&object, &binaries)?.into());
    Ok(Message {
        payload,
        bodies: files.into_bodies(),
    })
}

fn request_line(line: &str) -> Result<(Method, &str), Error> {
    let no_request = || Error::bad_request(format!("`{REQUEST}` is no request line"));
    let (method, target) = line.split_once(' ').ok_or_else(no_request)?;
    Ok((method.parse().map_err(|_| no_request())?, target))
}

/// A MessagePack map with one text more.
fn with_member(map: &[u8], name: &str, text: &str) -> Result<Vec<u8>, Error> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
    let (members, rest) = match map {
        [] => (0, map),
        [short @ 0x80..=0x8f, rest @ ..] => (u32::from(short & 15), rest),
        [0xde, a, b, rest @ ..] => (number(&[*a, *b]), rest),
        [0xdf, a, b, c, d, rest @ ..] => (number(&[*a, *b, *c, *d]), rest),
        _ => return Err(Error::bad_request("the arguments are no map")),
    };
    let mut out = vec![0xdf];
    out.extend_from_slice(&members.saturating_add(1).to_be_bytes());
    out.extend_from_slice(rest);
    // At the end, as above.
    rmp_serde::encode::write(&mut out, name)?;
    rmp_serde::encode::write(&mut out, text)?;
    Ok(out)
}

fn target(request: &HttpArgs) -> &str {
    request
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str)
}

fn body(body: &HttpBody) -> Option<Upload> {
    match body {
        HttpBody::Upload(slot) => Slot::take(slot),
        HttpBody::Raw(bytes) => Some(Upload::new(Bytes::clone(bytes))),
        HttpBody::Json(bytes) => {
            Some(Upload::new(Bytes::clone(bytes)).with_content_type(payload::JSON))
        }
        HttpBody::Empty | HttpBody::Form(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::stream;
    use serde_json::json;

    use super::*;
    use crate::args::PathValues;
    use crate::body::{Bodies, ByteStream};

    struct Brought(Mutex<Vec<Option<ByteStream>>>);

    impl Bodies for Brought {
        fn open(&self, number: u32, _: Option<u64>) -> ByteStream {
            self.0.lock().unwrap()[number as usize].take().unwrap()
        }
    }

    fn bridged() -> ApiDescriptor {
        let mut api = ApiDescriptor::new(ApiId::parse("proxy.up.x").unwrap(), ApiKind::Http);
        api.bridged = true;
        api
    }

    fn request(uri: &str, body: HttpBody) -> Args {
        Args::from_http(HttpArgs {
            method: Method::PUT,
            uri: uri.parse().unwrap(),
            path: PathValues::default(),
            body,
        })
    }

    /// As another process gets them.
    fn sent(args: &Args, api: &ApiDescriptor) -> Args {
        let Message { payload, bodies } = args.to_message(api, 4).unwrap();
        let bodies = bodies.into_iter().map(Some).collect();
        Args::from_message(payload, Arc::new(Brought(Mutex::new(bodies))))
            .made_of_http(args.by_http())
    }

    #[tokio::test]
    async fn a_request_is_the_same_here_and_there() {
        let uri = "/a%20b/%C3%A4?x=1&x='2'&&y";
        let coming = || {
            let pieces = ["ab", "cd", "ef"].map(|p| Ok(Bytes::from(p)));
            let upload = Upload::new(ByteStream::new(stream::iter(pieces)));
            HttpBody::Upload(upload.with_content_type("text/x").into())
        };
        let small = || HttpBody::Upload(Upload::new(ByteStream::full("abc")).into());
        for (body, text) in [
            (coming as fn() -> HttpBody, Some("abcdef")),
            (small, Some("abc")),
            (|| HttpBody::Raw("abc".into()), Some("abc")),
            (|| HttpBody::Json("[1, 2]".into()), Some("[1, 2]")),
            (|| HttpBody::Empty, None),
        ] {
            for travels in [false, true] {
                let mut args = request(uri, body());
                if travels {
                    args = sent(&args, &bridged());
                }
                let path = uri.split('?').next().unwrap();
                let aim = Aim::Request(Method::PUT, path.into());
                assert_eq!(args.aim().unwrap(), aim);
                let passed = args.passed().unwrap().unwrap();
                assert_eq!((passed.method.as_str(), &*passed.target), ("PUT", uri));
                match (passed.body, text) {
                    (Some(body), Some(text)) => {
                        assert_eq!(body.content_type.is_empty(), text == "abc");
                        assert_eq!(body.bytes().await.unwrap(), text);
                    }
                    (None, None) => {}
                    (body, text) => panic!("{body:?} {text:?}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn named_values_come_with_their_files_and_their_target() {
        let mut api = bridged();
        api.parameters = vec![Parameter {
            name: "file".into(),
            location: Location::File,
            ..Parameter::default()
        }];
        let args = || {
            let upload = Upload::new(ByteStream::full("12345")).named("n");
            // What a caller calls so does not count.
            let json = br#" {"a": [1], "~target": "/evil", "b": null} "#;
            Args::from_json(Bytes::from_static(json)).with_file("file", upload)
        };
        for travels in [false, true] {
            let mut args = args();
            if travels {
                args = sent(&args, &api);
            }
            let args = args.aimed_at("GET /x").unwrap();
            assert_eq!(args.aim().unwrap(), Aim::Named(Some("GET /x".into())));
            assert!(args.passed().unwrap().is_none());
            let named = args.named(&api).unwrap();
            assert_eq!(Value::from(named.values), json!({"a": [1], "b": null}));
            assert_eq!(named.target.as_deref(), Some("GET /x"));
            let [(name, file)] = <[_; 1]>::try_from(named.files).unwrap();
            assert_eq!((&*name, &*file.filename), ("file", "n"));
            assert_eq!(file.bytes().await.unwrap(), "12345");
        }
        let empty = Args::default().aimed_at("/y").unwrap();
        let named = empty.named(&bridged()).unwrap();
        assert_eq!(
            (named.values.len(), named.target.as_deref()),
            (0, Some("/y"))
        );
        let text = Args::from_json(Bytes::from_static(br#"{"file": "abc"}"#));
        let named = text.named(&api).unwrap();
        assert_eq!(Value::from(named.values), json!({"file": "abc"}));
        let wrong = Args::from_json(Bytes::from_static(b"[1]"));
        assert!(wrong.named(&bridged()).is_err());
    }
}
