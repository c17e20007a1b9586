//! Functions, and a plugin that calls them. Both systems of a test are in one process, so
//! functions say in whose name they ran.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use framex::prelude::*;
use framex_test_support::{Server, ServerBuilder};
use serde_json::{Value, json};

/// What every function is called in settings.
pub(crate) const ALL: [&str; 9] = [
    "desk.echo",
    "desk.refuse",
    "panic",
    "sleep",
    "ping",
    "pong",
    "unit",
    "asking",
    "fickle",
];

/// What happened, by the label of a test.
static LOG: LazyLock<Mutex<HashMap<String, Vec<&'static str>>>> = LazyLock::new(Mutex::default);

fn log(label: &str, what: &'static str) {
    let mut log = LOG.lock().unwrap();
    log.entry(label.to_owned()).or_default().push(what);
}

/// What happened so far under `label`.
pub(crate) fn logged(label: &str) -> Vec<&'static str> {
    LOG.lock().unwrap().get(label).cloned().unwrap_or_default()
}

/// Waits until that is `expected`.
pub(crate) async fn until_logged(label: &str, expected: &[&str]) {
    let end = Instant::now() + Duration::from_secs(10);
    while logged(label) != expected {
        assert!(Instant::now() < end, "{:?}", logged(label));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Note {
    text: String,
    number: f64,
    large: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    next: Option<Box<Note>>,
}

/// In whose name it ran, and what it was given.
#[on_proxy(name = "desk.echo")]
async fn echo(ctx: &Context, note: Note, times: Option<u32>) -> Result<(String, Vec<Note>)> {
    let times = times.unwrap_or(1) as usize;
    Ok((ctx.plugin().name.clone(), vec![note; times]))
}

#[on_proxy(name = "desk.refuse")]
async fn refuse(label: String, status: u16) -> Result<u64> {
    log(&label, "ran");
    let status = StatusCode::from_u16(status)?;
    Err(Error::new(status, "the desk is closed")
        .with_code("closed")
        .with_detail(json!({"until": 8})))
}

#[on_proxy]
async fn panic(label: String) -> Result<()> {
    log(&label, "ran");
    if label.is_empty() {
        return Ok(());
    }
    panic!("secret of the desk");
}

/// Says when it is dropped.
struct Bell(String);

impl Drop for Bell {
    fn drop(&mut self) {
        log(&self.0, "gone");
    }
}

#[on_proxy]
async fn sleep(label: String, millis: u64) {
    log(&label, "asleep");
    let _bell = Bell(label);
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[on_proxy]
async fn ping(ctx: &Context, label: String) -> Result<u64> {
    log(&label, "ping");
    Box::pin(pong::proxy(ctx, label)).await
}

#[on_proxy]
async fn pong(ctx: &Context, label: String) -> Result<u64> {
    log(&label, "pong");
    Box::pin(ping::proxy(ctx, label)).await
}

#[on_proxy]
async fn unit() {}

/// What another API says, wherever it runs.
#[on_proxy]
async fn asking(ctx: &Context) -> Result<u64> {
    ctx.call_plugin_api("desk.Desk.seven", args! {}).await
}

/// Whose result is of another type than its callers expect.
#[on_proxy]
async fn fickle(answer: Value) -> Result<Value> {
    Ok(answer)
}

/// Calls them.
#[derive(Debug, Default)]
pub(crate) struct Desk;

#[on_register(plugin = "desk")]
impl Desk {
    #[on_request(post, "/desk/echo")]
    async fn echo(
        &self,
        ctx: &Context,
        #[body] note: Note,
        times: Option<u32>,
    ) -> Result<(String, Vec<Note>)> {
        echo::proxy(ctx, note, times).await
    }

    #[on_request(get, "/desk/refuse")]
    async fn refuse(&self, ctx: &Context, label: String, status: u16) -> Result<u64> {
        refuse::proxy(ctx, label, status).await
    }

    #[on_request(get, "/desk/panic")]
    async fn panic(&self, ctx: &Context, label: String) -> Result<()> {
        panic::proxy(ctx, label).await
    }

    #[on_request(get, "/desk/sleep", timeout = "20s")]
    async fn sleep(&self, ctx: &Context, label: String, millis: u64) -> Result<()> {
        sleep::proxy(ctx, label, millis).await
    }

    #[on_request(get, "/desk/ping")]
    async fn ping(&self, ctx: &Context, label: String) -> Result<u64> {
        ping::proxy(ctx, label).await
    }

    #[on_request(get, "/desk/unit")]
    async fn unit(&self, ctx: &Context) -> Result<()> {
        unit::proxy(ctx).await
    }

    #[on_request(get, "/desk/asking")]
    async fn asking(&self, ctx: &Context) -> Result<u64> {
        asking::proxy(ctx).await
    }

    #[on_request(func)]
    async fn seven(&self) -> u64 {
        7
    }

    #[on_request(post, "/desk/fickle")]
    async fn fickle(&self, ctx: &Context, #[body] answer: Value) -> Result<Value> {
        fickle::proxy(ctx, answer).await
    }
}

/// A system with the desk and the bridge, whose `[plugins.proxy]` is `proxy`.
pub(crate) fn system(proxy: Value) -> ServerBuilder {
    Server::builder()
        .plugin::<Desk>()
        .set("load_plugins", json!(["desk"]))
        .set("load_builtin_plugins", json!(["proxy"]))
        .set("plugins", json!({"proxy": proxy}))
}

/// A note whose numbers are hard to carry.
pub(crate) fn note() -> Note {
    let inner = Note {
        text: "\u{0}\"ä\u{1F980}".into(),
        number: 14546.003305709393,
        large: u64::MAX,
        next: None,
    };
    Note {
        text: String::new(),
        number: 0.1 + 0.2,
        large: 0,
        next: Some(Box::new(inner)),
    }
}

/// Asks `front` to have the note echoed: in whose name that ran, if all of it came back.
pub(crate) async fn echoed(front: &Server) -> String {
    let body = serde_json::to_string(&note()).unwrap();
    let ask = front.post("/api/v1/desk/echo?times=2");
    let answer = ask.json(body).send().await;
    assert_eq!(answer.status, 200, "{}", answer.lossy());
    let (name, notes): (String, Vec<Note>) = serde_json::from_value(answer.data().clone()).unwrap();
    assert_eq!(notes, [note(), note()]);
    name
}
