//! An app inside a test: a client that reaches the edge without a socket.
//!
//! ```
//! use framex::prelude::*;
//!
//! #[derive(Default)]
//! struct Greeter;
//!
//! #[on_register(plugin = "greeter")]
//! impl Greeter {
//!     #[on_request(get, "/greet")]
//!     async fn greet(&self, name: String) -> String {
//!         format!("hello {name}")
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = framex::App::test().plugin::<Greeter>().start().await?;
//! let answer = app.get("/api/v1/greet?name=you").send().await;
//! assert_eq!(answer.status(), 200);
//! assert_eq!(answer.data::<String>(), "hello you");
//! # Ok(())
//! # }
//! ```

use std::pin::Pin;

use bytes::Bytes;
use framex_core::args::Args;
use framex_core::context::{CallMeta, Principal, Request as CallRequest};
use framex_core::error::{CallError, Error};
use framex_core::event::{Data, Event, EventStream};
use framex_core::plugin::{Plugin, PluginDefinition};
use framex_core::reply::Reply;
use framex_http_edge::EdgeBody;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::app::{App, AppBuilder};
use crate::start::StartError;

/// A download larger than this is not read as one value, in bytes.
const MOST_COLLECTED: usize = 64 << 20;

/// Collects what a [`TestApp`] is made of. Reads no files and no variables.
pub struct TestBuilder(AppBuilder);

impl TestBuilder {
    pub(crate) fn new(builder: AppBuilder) -> Self {
        Self(builder)
    }

    /// Adds a plugin.
    #[must_use]
    pub fn plugin<P: Plugin>(self) -> Self {
        Self(self.0.plugin::<P>())
    }

    /// Adds a plugin by its definition.
    #[must_use]
    pub fn definition(self, definition: PluginDefinition) -> Self {
        Self(self.0.definition(definition))
    }

    /// The configuration of a plugin: its table in `[plugins]`.
    #[must_use]
    pub fn config(self, plugin: &str, config: Value) -> Self {
        Self(self.0.config(plugin, config))
    }

    /// Sets one value, e.g. `set("server.max_body_size", 1000)`.
    #[must_use]
    pub fn set(self, key: &str, value: impl Into<Value>) -> Self {
        Self(self.0.set(key, value))
    }

    /// Makes and starts the plugins.
    ///
    /// # Errors
    ///
    /// As [`AppBuilder::start`].
    pub async fn start(self) -> Result<TestApp, StartError> {
        Ok(TestApp(self.0.start_apart().await?))
    }
}

/// An app and a client for it.
pub struct TestApp(App);

impl TestApp {
    /// A GET request for a path with its query.
    pub fn get(&self, path: &str) -> TestRequest<'_> {
        self.request(Method::GET, path)
    }

    /// A POST request.
    pub fn post(&self, path: &str) -> TestRequest<'_> {
        self.request(Method::POST, path)
    }

    /// Any request.
    pub fn request(&self, method: Method, path: &str) -> TestRequest<'_> {
        TestRequest {
            app: self,
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            principal: None,
            body: TestBody::Bytes(Bytes::new()),
        }
    }

    /// Calls an API on the bus, by id or path, and reads its result.
    ///
    /// # Errors
    ///
    /// The handler's own and the bus'.
    pub async fn call<T: DeserializeOwned>(&self, target: &str, args: Args) -> Result<T, Error> {
        match self.reply(target, args).await? {
            Reply::Value(json) => Ok(serde_json::from_slice(&json)?),
            Reply::Response(response) => Ok(serde_json::from_slice(&response.body)?),
            Reply::Download(download) => {
                let bytes = download.body.collect(MOST_COLLECTED).await?;
                Ok(serde_json::from_slice(&bytes)?)
            }
            Reply::Stream(_) => Err(Error::bad_request("the API streams: use `TestApp::stream`")),
        }
    }

    /// Calls a streaming API on the bus.
    ///
    /// # Errors
    ///
    /// The handler's own and the bus'.
    pub async fn stream(&self, target: &str, args: Args) -> Result<EventStream, Error> {
        match self.reply(target, args).await? {
            Reply::Stream(events) => Ok(events),
            Reply::Value(_) | Reply::Response(_) | Reply::Download(_) => Err(Error::bad_request(
                "the API does not stream: use `TestApp::call`",
            )),
        }
    }

    /// The app itself.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.0
    }

    /// Stops the plugins, as the end of a process would.
    pub async fn stop(self) {
        self.0.stop().await;
    }

    async fn reply(&self, target: &str, args: Args) -> Result<Reply, Error> {
        let meta = CallMeta::default();
        let request = CallRequest { args, meta };
        let bus = self.0.bus();
        bus.call_target(target, request)
            .await
            .map_err(CallError::into_error)
    }
}

enum TestBody {
    Bytes(Bytes),
    Form(Vec<u8>),
}

const BOUNDARY: &str = "framex-test-boundary-7f3a";

/// A request that is being put together.
#[must_use = "a request does nothing until `send`"]
pub struct TestRequest<'a> {
    app: &'a TestApp,
    method: Method,
    path: String,
    headers: HeaderMap,
    principal: Option<Principal>,
    body: TestBody,
}

impl TestRequest<'_> {
    /// Adds a header.
    ///
    /// # Panics
    ///
    /// If name or value cannot be a header's.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        let value = HeaderValue::from_str(value).expect("a header's value");
        self.headers.append(name, value);
        self
    }

    /// Asks as this principal, as if a key or a login had said so.
    pub fn principal(mut self, name: &str) -> Self {
        self.principal = Some(Principal::new(name));
        self
    }

    /// Sets a JSON body.
    ///
    /// # Panics
    ///
    /// If `value` cannot be JSON.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        let json = serde_json::to_vec(value).expect("a value that can be JSON");
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = TestBody::Bytes(json.into());
        self
    }

    /// Sets a body of any kind.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = TestBody::Bytes(body.into());
        self
    }

    /// Adds a text field of a multipart body.
    pub fn text(self, name: &str, value: &str) -> Self {
        self.part(&format!("name=\"{name}\""), None, value.as_bytes())
    }

    /// Adds a file of a multipart body.
    pub fn file(
        self,
        name: &str,
        filename: &str,
        content_type: &str,
        bytes: impl AsRef<[u8]>,
    ) -> Self {
        let disposition = format!("name=\"{name}\"; filename=\"{filename}\"");
        self.part(&disposition, Some(content_type), bytes.as_ref())
    }

    fn part(mut self, disposition: &str, content_type: Option<&str>, bytes: &[u8]) -> Self {
        let mut form = match self.body {
            TestBody::Form(form) => form,
            TestBody::Bytes(_) => Vec::new(),
        };
        let kind =
            content_type.map_or_else(String::new, |kind| format!("Content-Type: {kind}\r\n"));
        form.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n{kind}\r\n")
                .as_bytes(),
        );
        form.extend_from_slice(bytes);
        form.extend_from_slice(b"\r\n");
        self.body = TestBody::Form(form);
        self
    }

    /// Sends it and waits for the answer: for the head of a stream, else for all of it.
    ///
    /// # Panics
    ///
    /// If the path is no valid path, or a download breaks off.
    pub async fn send(self) -> TestResponse {
        let mut headers = self.headers;
        let body = match self.body {
            TestBody::Bytes(bytes) => bytes,
            TestBody::Form(mut form) => {
                form.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
                let kind = format!("multipart/form-data; boundary={BOUNDARY}");
                let kind = HeaderValue::from_str(&kind).expect("a valid boundary");
                headers.insert(CONTENT_TYPE, kind);
                form.into()
            }
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.path.parse().expect("a valid path");
        *request.headers_mut() = headers;
        if let Some(principal) = self.principal {
            request.extensions_mut().insert(principal);
        }
        let response = self.app.0.edge().handle(request).await;
        TestResponse::read(response).await
    }
}

/// An answer. A stream's events come one by one, anything else is there at once.
pub struct TestResponse {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Bytes,
    stream: Option<Pin<Box<EdgeBody>>>,
    received: String,
}

impl TestResponse {
    async fn read(response: Response<EdgeBody>) -> Self {
        let (parts, body) = response.into_parts();
        let kind = parts.headers.get(CONTENT_TYPE);
        let events = [&b"text/event-stream"[..], b"application/x-ndjson"];
        let of_events =
            kind.is_some_and(|kind| events.iter().any(|e| kind.as_bytes().starts_with(e)));
        let streams = of_events && http_body::Body::size_hint(&body).exact().is_none();
        let (bytes, stream) = if streams {
            (Bytes::new(), Some(Box::pin(body)))
        } else {
            let collected = body
                .collect()
                .await
                .expect("a body that does not break off");
            (collected.to_bytes(), None)
        };
        Self {
            status: parts.status,
            headers: parts.headers,
            bytes,
            stream,
            received: String::new(),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// One header, if it is there and visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body; empty for a stream.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("a body of UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is no such JSON; the message shows the body.
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| {
            panic!(
                "{error} in the body {:?}",
                String::from_utf8_lossy(&self.bytes)
            )
        })
    }

    /// The result inside the envelope.
    ///
    /// # Panics
    ///
    /// If the answer is no success or its `data` is no `T`; the message shows the body.
    #[must_use]
    pub fn data<T: DeserializeOwned>(&self) -> T {
        let mut envelope: Value = self.json();
        assert!(self.status.is_success(), "{}: {envelope}", self.status);
        let data = envelope["data"].take();
        serde_json::from_value(data.clone())
            .unwrap_or_else(|error| panic!("{error} in `data`: {data}"))
    }

    /// The next event of a stream; `None` after its end.
    ///
    /// # Panics
    ///
    /// If what comes is no event.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.received.find("\n\n") {
                let block: String = self.received.drain(..end + 2).collect();
                if let Some(event) = parse(&block) {
                    return Some(event);
                }
                continue;
            }
            let frame = self.stream.as_mut()?.as_mut().frame().await?;
            let frame = frame.expect("a stream that does not break off");
            let bytes = frame.into_data().unwrap_or_default();
            self.received
                .push_str(std::str::from_utf8(&bytes).expect("events are UTF-8"));
        }
    }

    /// All events that are still to come.
    pub async fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next_event().await {
            events.push(event);
        }
        events
    }
}

/// `event:` and `data:` of one block; `None` for a comment.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let name = field("event: ")?.to_owned();
    let data: Value = serde_json::from_str(field("data: ")?).expect("an event's data is JSON");
    let event = match &data {
        Value::Object(map) if map.len() == 1 => match map.get("content").and_then(Value::as_str) {
            Some(text) => Event::text(text.to_owned()),
            None => Event::json(&data).ok()?,
        },
        _ => Event::json(&data).ok()?,
    };
    debug_assert!(matches!(event.data(), Data::Text(_) | Data::Json(_)));
    Some(event.named(name))
}
