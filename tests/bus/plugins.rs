//! What the suite calls.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use framex::prelude::*;
use serde_json::{Value, json};

/// What happened to the handlers with one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) begun: usize,
    pub(crate) gone: usize,
    pub(crate) events: usize,
}

thread_local! {
    /// Of one test: each has a thread, and its handlers run there.
    static SEEN: RefCell<HashMap<String, Seen>> = RefCell::default();
}

pub(crate) fn seen(key: &str) -> Seen {
    note(key, |_| ())
}

fn note(key: &str, change: impl FnOnce(&mut Seen)) -> Seen {
    SEEN.with_borrow_mut(|all| {
        let seen = all.entry(key.to_owned()).or_default();
        change(seen);
        *seen
    })
}

struct Guard(String);

impl Guard {
    fn new(key: &str) -> Self {
        note(key, |seen| seen.begun += 1);
        Self(key.to_owned())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        note(&self.0, |seen| seen.gone += 1);
    }
}

/// Called by all.
#[derive(Default)]
pub(crate) struct Callee;

#[on_register(plugin = "callee", version = "1.0.0")]
impl Callee {
    #[on_request(all, get, "/echo")]
    async fn echo(&self, value: Value) -> Value {
        value
    }

    #[on_request(get, "/thing/{id}")]
    async fn get_thing(&self, id: u32) -> u32 {
        id
    }

    #[on_request(delete, "/thing/{id}")]
    async fn delete_thing(&self, id: u32) -> Value {
        json!({ "deleted": id })
    }

    #[on_request(func)]
    async fn respond(&self) -> Response {
        Response::new(StatusCode::ACCEPTED)
            .with_header(
                HeaderName::from_static("x-own"),
                HeaderValue::from_static("1"),
            )
            .with_body(vec![0_u8, 255])
    }

    #[on_request(post, "/upload")]
    async fn upload(&self, mut file: Upload, key: String) -> Result<Value> {
        let _guard = Guard::new(&key);
        let mut hash = DefaultHasher::new();
        let (mut size, mut pieces) = (0, 0);
        while let Some(piece) = file.next().await {
            let piece = piece.inspect_err(|_| {
                note(&key, |seen| seen.events += 1);
            })?;
            hash.write(&piece);
            size += piece.len();
            pieces += 1;
            if key.starts_with("slow") {
                note(&key, |seen| seen.events += 1);
                std::future::pending::<()>().await;
            }
        }
        Ok(json!({ "size": size, "hash": hash.finish(), "pieces": pieces > 0 }))
    }

    /// An event for each mebibyte.
    #[on_request(post, "/listen", stream)]
    fn listen(&self, file: Upload, prompt: String) -> impl Stream<Item = Result<Event>> {
        let mut file = file;
        async_stream::try_stream! {
            yield Event::text(prompt.len().to_string());
            let (mut size, mut told) = (0, 0);
            while let Some(piece) = file.next().await {
                size += piece?.len();
                while size - told >= 1 << 20 {
                    told += 1 << 20;
                    yield Event::text(told.to_string());
                }
            }
            yield Event::text(size.to_string());
        }
    }

    #[on_request(post, "/ignore")]
    async fn ignore(&self, file: Upload) -> Option<u64> {
        file.size()
    }

    #[on_request(post, "/turn")]
    async fn turn(&self, file: Upload) -> Download {
        let size = file.size();
        let download = Download::new(file.into_stream());
        match size {
            Some(size) => download.with_size(size),
            None => download,
        }
    }

    #[on_request(func)]
    async fn download(&self, size: usize, known: bool, key: String) -> Download {
        let guard = Guard::new(&key);
        let pieces = async_stream::stream! {
            let _guard = guard;
            let mut left = size;
            let mut n = 0_u8;
            while left > 0 {
                let piece = left.min(50_000);
                left -= piece;
                n = n.wrapping_add(1);
                note(&key, |seen| seen.events += 1);
                if key == "breaks" && n == 40 {
                    yield Err(Error::conflict("it broke"));
                    return;
                }
                yield Ok::<_, Error>(vec![n; piece]);
            }
        };
        let download = Download::new(pieces)
            .named("a.bin")
            .with_status(StatusCode::PARTIAL_CONTENT);
        match known {
            true => download.with_size(size as u64),
            false => download,
        }
    }

    #[on_request(func)]
    async fn respond_at_length(&self, size: usize) -> Response {
        Response::new(StatusCode::ACCEPTED).with_body(vec![1_u8; size])
    }

    #[on_request(func)]
    async fn fail_at_length(&self, size: usize) -> Result<()> {
        Err(Error::conflict("x".repeat(size)))
    }

    #[on_request(func)]
    async fn fail(&self, kind: String) -> Result<()> {
        match kind.as_str() {
            "own" => Err(Error::conflict("taken")
                .with_code("name_taken")
                .with_detail(json!({"name": "x"}))
                .with_header(
                    HeaderName::from_static("x-own"),
                    HeaderValue::from_static("1"),
                )),
            "foreign" => Err(std::io::Error::other("password=hunter2").into()),
            _ => panic!("password=hunter2"),
        }
    }

    #[on_request(func)]
    async fn hang(&self, key: String) {
        let _guard = Guard::new(&key);
        std::future::pending::<()>().await;
    }

    #[on_request(func, timeout = "50ms")]
    async fn brief(&self, key: String) {
        let _guard = Guard::new(&key);
        std::future::pending::<()>().await;
    }

    #[on_request(func)]
    async fn wait(&self, key: String, ms: u64) -> u64 {
        let _guard = Guard::new(&key);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        ms
    }

    #[on_request(func, max_ongoing_requests = 2)]
    async fn two(&self, key: String) {
        let _guard = Guard::new(&key);
        std::future::pending::<()>().await;
    }

    #[on_request(func, stream)]
    fn count(&self, to: usize) -> impl Stream<Item = Event> {
        futures_util::stream::iter((0..to).map(|n| Event::text(n.to_string())))
    }

    #[on_request(func, stream)]
    fn flood(&self, key: String) -> impl Stream<Item = Event> {
        let guard = Guard::new(&key);
        futures_util::stream::repeat_with(move || {
            note(&guard.0, |seen| seen.events += 1);
            Event::text("x".repeat(1000))
        })
    }

    #[on_request(func, stream)]
    fn broken(&self, kind: String) -> impl Stream<Item = Result<Event>> {
        async_stream::stream! {
            if kind != "early" {
                yield Ok(Event::text("first"));
            }
            if kind == "panic" {
                panic!("password=hunter2");
            }
            yield Err(Error::conflict("boom"));
        }
    }

    #[on_request(func, stream, max_ongoing_requests = 1)]
    fn one_stream(&self, key: String, to: Option<usize>) -> impl Stream<Item = Event> {
        let guard = Guard::new(&key);
        async_stream::stream! {
            let _guard = guard;
            for n in 0..to.unwrap_or(1) {
                yield Event::text(n.to_string());
            }
            if to.is_none() {
                std::future::pending::<()>().await;
            }
        }
    }

    #[on_request(func, stream, timeout = "100ms")]
    fn short_stream(&self, key: String) -> impl Stream<Item = Event> {
        let guard = Guard::new(&key);
        async_stream::stream! {
            let _guard = guard;
            yield Event::text("first");
            std::future::pending::<()>().await;
        }
    }

    #[on_request(func)]
    async fn context(&self, ctx: &Context) -> Value {
        json!({
            "caller": ctx.caller(),
            "principal": ctx.principal().map(Principal::name),
            "request_id": ctx.request_id().as_str(),
            "header": ctx.header("x-test"),
            "trace": ctx.trace().to_string(),
            "remaining_ms": ctx.remaining().map(|left| u64::try_from(left.as_millis()).expect("a short time")),
        })
    }
}

/// Calls the callee.
#[derive(Default)]
pub(crate) struct Caller;

#[on_register(plugin = "caller", required_remote_apis = [
    "callee.Callee.context", "callee.Callee.hang", "callee.Callee.flood", "callee.Callee.fail", "/api/v1/echo",
])]
impl Caller {
    #[on_request(func)]
    async fn ask(&self, ctx: &Context, target: String, args: RawJson) -> Result<Value> {
        ctx.call_plugin_api(&target, args::Args::from_json(args.into_bytes()))
            .await
    }

    #[on_request(func)]
    async fn own_trace(&self, ctx: &Context) -> Result<Value> {
        let inner: Value = ctx
            .call_plugin_api("callee.Callee.context", args! {})
            .await?;
        Ok(json!([ctx.trace().to_string(), inner]))
    }

    #[on_request(func, stream)]
    fn pass_on(&self, ctx: &Context, key: String) -> impl Stream<Item = Result<Event>> {
        let ctx = ctx.clone();
        async_stream::try_stream! {
            let mut events = ctx.stream("callee.Callee.flood", args! { key }).await?;
            while let Some(event) = events.next().await {
                yield event?;
            }
        }
    }

    #[on_request(func)]
    async fn circle(&self, ctx: &Context, depth: u32) -> Result<u32> {
        note("circle", |seen| seen.begun += 1);
        ctx.call_plugin_api("caller.Caller.circle", args! { depth: depth + 1 })
            .await
    }
}

/// Bounded as a whole.
#[derive(Default)]
pub(crate) struct Narrow;

#[on_register(plugin = "narrow", max_ongoing_requests = 2)]
impl Narrow {
    #[on_request(func)]
    async fn a(&self, key: String) {
        let _guard = Guard::new(&key);
        std::future::pending::<()>().await;
    }

    #[on_request(func)]
    async fn b(&self, key: String) {
        let _guard = Guard::new(&key);
        std::future::pending::<()>().await;
    }
}

/// Claims what the callee has.
#[derive(Default)]
pub(crate) struct Thief;

#[on_register(plugin = "thief")]
impl Thief {
    #[on_request(get, "/echo")]
    async fn echo(&self) -> u8 {
        1
    }
}
