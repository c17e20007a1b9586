//! Plugins with every kind of argument, result and misbehaviour.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use framex::prelude::*;
use serde_json::{Value, json};

/// What a test sees of the handlers that were given its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Handlers that began.
    pub(crate) begun: usize,
    /// Handlers that are gone: finished, failed or dropped.
    pub(crate) gone: usize,
    /// Events that were made.
    pub(crate) events: usize,
}

static SEEN: Mutex<Option<HashMap<String, Seen>>> = Mutex::new(None);

/// What happened so far to handlers with this key.
pub(crate) fn seen(key: &str) -> Seen {
    note(key, |_| ())
}

fn note(key: &str, change: impl FnOnce(&mut Seen)) -> Seen {
    let mut all = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = all
        .get_or_insert_with(HashMap::new)
        .entry(key.to_owned())
        .or_default();
    change(seen);
    *seen
}

/// Lives as long as a handler.
pub(crate) struct Guard(String);

/// Reads a file to its end.
async fn show(file: Upload) -> Result<Value> {
    let about = (file.filename.clone(), file.content_type.clone());
    Ok(json!([about.0, about.1, file.bytes().await?.len()]))
}

impl Guard {
    pub(crate) fn new(key: &str) -> Self {
        note(key, |seen| seen.begun += 1);
        Self(key.to_owned())
    }

    pub(crate) fn event(&self) {
        note(&self.0, |seen| seen.events += 1);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        note(&self.0, |seen| seen.gone += 1);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Colour {
    Red,
    Green,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Model {
    id: i32,
    #[serde(default = "nobody")]
    name: String,
    tags: Option<Vec<String>>,
    inner: Option<Inner>,
    #[serde(rename = "alias-ed")]
    aliased: Option<u8>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Inner {
    when: DateTime<Utc>,
    colour: Colour,
}

fn nobody() -> String {
    "nobody".to_owned()
}

/// Everything that a plugin can do.
#[derive(Default)]
pub(crate) struct Zoo;

#[on_register(
    plugin = "zoo",
    version = "1.2.3",
    author = "me",
    url = "https://example.com"
)]
impl Zoo {
    /// Returns `message` unchanged.
    #[on_request(get, "/echo")]
    async fn echo(&self, message: String) -> String {
        message
    }

    #[on_request(get, "/scalars")]
    async fn scalars(&self, i: i64, u: u8, f: f64, b: bool, s: String) -> Value {
        json!([i, u, f, b, s])
    }

    #[on_request(get, "/floats")]
    async fn floats(&self) -> Vec<f64> {
        vec![1.5, f64::NAN, f64::INFINITY]
    }

    #[on_request(get, "/optional")]
    async fn optional(
        &self,
        x: Option<i64>,
        #[arg(default = 7)] y: i64,
        #[arg(default = "dflt".to_owned())] s: String,
    ) -> Value {
        json!([x, y, s])
    }

    #[on_request(get, "/lists")]
    async fn lists(&self, xs: Vec<i32>, names: Option<Vec<String>>) -> Value {
        json!([xs, names])
    }

    #[on_request(get, "/kinds")]
    async fn kinds(
        &self,
        colour: Option<Colour>,
        when: Option<DateTime<Utc>>,
        day: Option<NaiveDate>,
        id: Option<Uuid>,
    ) -> Value {
        json!([colour, when, day, id])
    }

    #[on_request(get, "/renamed")]
    async fn renamed(&self, #[arg(name = "page-size")] size: u32) -> u32 {
        size
    }

    #[on_request(get, "/items/{id}")]
    async fn item(&self, id: String) -> String {
        id
    }

    #[on_request(delete, "/items/{id}")]
    async fn remove(&self, id: u32) -> Value {
        json!({ "removed": id })
    }

    #[on_request(get, "/items/special")]
    async fn special(&self) -> &'static str {
        "the special one"
    }

    #[on_request(get, "/files/{*path}")]
    async fn file(&self, path: String) -> String {
        path
    }

    #[on_request(get, "/plain", api_prefix = false)]
    async fn plain(&self) -> &'static str {
        "no prefix"
    }

    #[on_request(get, post, "/both")]
    async fn both(&self) -> u8 {
        1
    }

    #[on_request(post, "/model")]
    async fn model(&self, #[body] model: Model) -> Model {
        model
    }

    #[on_request(put, "/model_and_query")]
    async fn model_and_query(&self, x: i64, y: bool, #[body] model: Model) -> Value {
        json!([x, y, model])
    }

    #[on_request(post, "/maybe")]
    async fn maybe(&self, #[body] model: Option<Model>) -> Option<Model> {
        model
    }

    #[on_request(post, "/value")]
    async fn value(&self, #[body] value: Value) -> Value {
        value
    }

    #[on_request(post, "/raw_json")]
    async fn raw_json(&self, #[body] body: RawJson) -> RawJson {
        body
    }

    #[on_request(post, "/bytes")]
    async fn bytes(&self, #[body] body: Bytes) -> Value {
        json!({ "length": body.len(), "first": body.first(), "last": body.last() })
    }

    #[on_request(post, "/no_body")]
    async fn no_body(&self) -> u8 {
        1
    }

    #[on_request(post, "/upload")]
    async fn upload(
        &self,
        file: Upload,
        more: Vec<Upload>,
        maybe: Option<Upload>,
        note: Option<String>,
        count: Option<u8>,
    ) -> Result<Value> {
        let mut shown = json!({ "more": [], "maybe": null, "note": note, "count": count });
        shown["file"] = show(file).await?;
        for file in more {
            let file = show(file).await?;
            shown["more"].as_array_mut().unwrap().push(file);
        }
        if let Some(file) = maybe {
            shown["maybe"] = show(file).await?;
        }
        Ok(shown)
    }

    #[on_request(get, "/response/{kind}")]
    async fn response(&self, kind: String) -> Result<Response> {
        let header = |name: &'static str, value: &'static str| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let with = |response: Response, (name, value): (HeaderName, HeaderValue)| {
            response.with_header(name, value)
        };
        Ok(match kind.as_str() {
            "created" => with(
                Response::json(StatusCode::CREATED, &json!({"id": 1}))?,
                header("location", "/api/v1/items/1"),
            ),
            "html" => Response::html("<h1>hi</h1>"),
            "redirect" => Response::redirect("/elsewhere")?,
            "nothing" => Response::new(StatusCode::NO_CONTENT),
            "nothing_with_body" => Response::new(StatusCode::NO_CONTENT).with_body("surplus"),
            "unchanged_with_body" => Response::new(StatusCode::NOT_MODIFIED).with_body("surplus"),
            "informational" => Response::new(StatusCode::SWITCHING_PROTOCOLS).with_body("x"),
            "download" => Response::download("ä.bin", "application/octet-stream", vec![0, 255]),
            "cookies" => with(
                with(Response::text("ok"), header("set-cookie", "a=1")),
                header("set-cookie", "b=2"),
            ),
            "long_length" => with(Response::text("short"), header("content-length", "500")),
            "short_length" => with(Response::text("long enough"), header("content-length", "2")),
            "chunked" => with(
                Response::text("text"),
                header("transfer-encoding", "chunked"),
            ),
            "closing" => with(Response::text("bye"), header("connection", "close")),
            "teapot" => Response::new(StatusCode::IM_A_TEAPOT).with_body("short and stout"),
            _ => return Err(Error::not_found("no such response")),
        })
    }

    #[on_request(get, "/raw", raw)]
    async fn raw(&self, fail: Option<bool>) -> Result<Value> {
        if fail == Some(true) {
            return Err(Error::conflict("raw and wrong"));
        }
        Ok(json!({"bare": true}))
    }

    #[on_request(get, "/unit")]
    async fn unit(&self) {}

    #[on_request(get, "/spoof")]
    async fn spoof(&self) -> Value {
        json!({"is_middleware_error": true, "status": 1, "message": "spoof"})
    }

    #[on_request(get, "/big")]
    async fn big(&self, size: usize) -> String {
        "x".repeat(size)
    }

    #[on_request(get, "/fail/{kind}")]
    async fn fail(&self, kind: String) -> Result<String> {
        match kind.as_str() {
            "io" => {
                std::fs::read_to_string("/srv/secret-place/password=hunter2")?;
                Ok(String::new())
            }
            "other" => Err(std::io::Error::other("password=hunter2").into()),
            "conflict" => Err(Error::conflict("taken")
                .with_code("name_taken")
                .with_detail(json!({"name": "x"}))
                .with_header(
                    HeaderName::from_static("x-more"),
                    HeaderValue::from_static("1"),
                )),
            "busy" => Err(Error::unavailable("come back").with_header(
                HeaderName::from_static("retry-after"),
                HeaderValue::from_static("7"),
            )),
            "lying" => Err(Error::conflict("taken").with_header(
                HeaderName::from_static("content-length"),
                HeaderValue::from_static("3"),
            )),
            "unauthorized" => Err(Error::unauthorized("who?")),
            "panic" => panic!("password=hunter2"),
            _ => Err(Error::not_found("no such failure")),
        }
    }

    #[on_request(get, "/slow", timeout = "100ms")]
    async fn slow(&self, key: String) -> String {
        let _guard = Guard::new(&key);
        std::future::pending().await
    }

    /// Never ends by itself.
    #[on_request(get, "/hang")]
    async fn hang(&self, key: String) -> String {
        let _guard = Guard::new(&key);
        std::future::pending().await
    }

    #[on_request(post, "/hang_body")]
    async fn hang_body(&self, key: String, #[body] body: Value) -> Value {
        let _guard = Guard::new(&key);
        std::future::pending::<()>().await;
        body
    }

    #[on_request(get, "/wait")]
    async fn wait(&self, key: String, ms: u64) -> u64 {
        let _guard = Guard::new(&key);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        ms
    }

    #[on_request(get, "/one_at_a_time", max_ongoing_requests = 1)]
    async fn one_at_a_time(&self, key: String) -> String {
        let _guard = Guard::new(&key);
        std::future::pending().await
    }

    #[on_request(get, "/block")]
    async fn block(&self, key: String, ms: u64) -> u64 {
        let _guard = Guard::new(&key);
        std::thread::sleep(Duration::from_millis(ms));
        ms
    }

    #[on_request(get, "/stream/{kind}", stream = live)]
    fn stream(&self, kind: String) -> impl Stream<Item = Result<Event>> {
        async_stream::stream! {
            match kind.as_str() {
                "texts" => {
                    for text in ["T", "", "a\nb \"c\" ä"] {
                        yield Ok(Event::text(text));
                    }
                }
                "objects" => {
                    yield Event::json(&json!({"n": 1}));
                    yield Event::json(&json!([1, 2]));
                    yield Ok(Event::debug("why"));
                    yield Event::json("x").map(|e| e.named("mine"));
                }
                "empty" => {}
                "finishes" => {
                    yield Ok(Event::text("T"));
                    yield Event::json(&json!({"total": 1})).map(|e| e.named("finish"));
                }
                "mid" => {
                    yield Ok(Event::text("T"));
                    yield Err(Error::conflict("mid boom"));
                    yield Ok(Event::text("never"));
                }
                "mid_io" => {
                    yield Ok(Event::text("T"));
                    yield Err(std::io::Error::other("password=hunter2").into());
                }
                "mid_panic" => {
                    yield Ok(Event::text("T"));
                    panic!("password=hunter2");
                }
                "early" => yield Err(Error::conflict("early boom").with_header(
                    HeaderName::from_static("x-more"),
                    HeaderValue::from_static("1"),
                )),
                "early_panic" => panic!("password=hunter2"),
                _ => yield Err(Error::not_found("no such stream")),
            }
        }
    }

    /// `count` texts, `ms` apart; goes on for ever without a count.
    #[on_request(get, "/ticks", stream = live)]
    fn ticks(&self, key: String, ms: u64, count: Option<usize>) -> impl Stream<Item = Event> {
        let guard = Guard::new(&key);
        async_stream::stream! {
            for number in 0..count.unwrap_or(usize::MAX) {
                if number > 0 {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                guard.event();
                yield Event::text(number.to_string());
            }
        }
    }

    /// As fast as it is taken: events of a kilobyte.
    #[on_request(get, "/flood", stream = live)]
    fn flood(&self, key: String) -> impl Stream<Item = Event> {
        let guard = Guard::new(&key);
        async_stream::stream! {
            loop {
                guard.event();
                yield Event::text("x".repeat(1000));
            }
        }
    }

    /// Never says a word.
    #[on_request(get, "/silence", stream = live)]
    fn silence(&self, key: String) -> impl Stream<Item = Event> {
        let guard = Guard::new(&key);
        async_stream::stream! {
            let _guard = guard;
            std::future::pending::<()>().await;
            yield Event::text("");
        }
    }

    #[on_request(get, "/one_stream", stream = live, max_ongoing_requests = 1)]
    fn one_stream(&self, key: String) -> impl Stream<Item = Event> {
        let guard = Guard::new(&key);
        async_stream::stream! {
            let _guard = guard;
            yield Event::text("T");
            std::future::pending::<()>().await;
        }
    }

    #[on_request(func)]
    async fn hidden(&self) -> u8 {
        1
    }

    #[on_request(get, "/who")]
    async fn who(&self, ctx: &Context) -> Value {
        describe(ctx)
    }
}

/// What a handler knows of its call.
pub(crate) fn describe(ctx: &Context) -> Value {
    json!({
        "plugin": ctx.plugin().name,
        "caller": ctx.caller(),
        "principal": ctx.principal().map(Principal::name),
        "request_id": ctx.request_id().as_str(),
        "header": ctx.header("x-test"),
        "trace_id": format!("{:032x}", ctx.trace().trace_id),
        "span_id": format!("{:016x}", ctx.trace().span_id),
        "remaining_ms": ctx.remaining().map(|left| u64::try_from(left.as_millis()).unwrap()),
    })
}
