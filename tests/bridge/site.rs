//! The services, and bridges in front of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use framex_test_support::python::python_with;
use framex_test_support::raw::Ask;
use framex_test_support::upstream::Upstream;
use framex_test_support::{Answer, PATIENCE, Server, ServerBuilder, log};
use serde_json::{Value, json};

use crate::caller::Caller;

/// What everything.py asks for on its protected routes.
pub(crate) const KEY: &str = "up-key";

/// Where the services' sources are.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bridge/upstream")
}

/// Programs of the environment that has everything they need.
pub(crate) fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| python_with(&sources().join("requirements.txt")))
}

/// The application `<module>:app` in a process of the test's own, not running yet.
pub(crate) fn application(module: &str) -> Upstream {
    Upstream::asgi(programs(), &sources(), &format!("{module}:app"))
}

/// Has the shared process of each application.
macro_rules! shared {
    ($($name:ident),*) => {$(
        /// The application of that name, shared: nobody stops it.
        pub(crate) fn $name() -> &'static Upstream {
            static SHARED: OnceLock<Upstream> = OnceLock::new();
            SHARED.get_or_init(|| application(stringify!($name)).started())
        }
    )*};
}

shared!(everything, clash, based, paper);

/// The earlier framework, with these settings.
pub(crate) fn kit(settings: &str) -> Upstream {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.toml"), settings).unwrap();
    let plugins = sources().join("kit");
    Upstream::new(move |address| {
        let mut command = Command::new(programs().join("framex"));
        command
            .args(["run", "--port", &address.port().to_string()])
            .env("PYTHONPATH", &plugins)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(dir.path());
        command
    })
    .started()
}

/// A bridge with these settings of `[plugins.proxy]`, and a plugin that calls what it is told to.
pub(crate) fn bridge(proxy: Value) -> ServerBuilder {
    log::keep();
    Server::builder()
        .plugin::<Caller>()
        .set("load_plugins", json!(["caller"]))
        .set("load_builtin_plugins", json!(["proxy"]))
        .set("plugins", json!({ "proxy": proxy }))
}

/// A bridge in front of one upstream, called `name`.
pub(crate) fn bridge_to(upstream: &Upstream, name: &str, rules: Value) -> ServerBuilder {
    let mut rules = rules;
    rules["name"] = json!(name);
    if rules["enable"].is_null() {
        rules["enable"] = json!(["/*"]);
    }
    bridge(json!({ "proxy_urls": { upstream.url(): rules }, "refresh": "200ms" }))
}

/// A bridge in front of everything.py that all tests share, with a plugin that calls it:
/// `/secure/other` is public there, the key for both is sent.
pub(crate) fn front() -> &'static Server {
    static FRONT: OnceLock<Server> = OnceLock::new();
    FRONT.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // For good: it is what all tests' requests go through.
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let server = bridge(json!({
                    "proxy_urls": { everything().url(): {
                        "name": "everything", "enable": ["/*"], "public": ["/secure/other"],
                    }},
                    "auth": { "rules": { "/secure/*": [KEY] } },
                }));
                let server = server.start().await;
                imported(&server, "everything").await;
                tell.send(server).unwrap();
                std::future::pending::<()>().await;
            });
        });
        told.recv_timeout(Duration::from_secs(60)).unwrap()
    })
}

/// The ids of all APIs of the bridge, in order.
pub(crate) async fn ids(server: &Server) -> Vec<String> {
    let catalog = Ask::new(server.dashboard(), "GET", "/catalog").send().await;
    let catalog = catalog.json();
    let apis = catalog["apis"].as_array().unwrap();
    let ids = apis.iter().map(|api| api["id"].as_str().unwrap());
    ids.filter(|id| id.starts_with("proxy."))
        .map(str::to_owned)
        .collect()
}

/// Waits until something of the upstream `name` is there.
pub(crate) async fn imported(server: &Server, name: &str) {
    let prefix = format!("proxy.{name}.");
    let what = format!("the operations of `{name}` are there");
    until(&what, async || {
        let ids = ids(server).await;
        ids.iter().any(|id| id.starts_with(&prefix)).then_some(())
    })
    .await;
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "waited {PATIENCE:?} until {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks for `target` until the answer has that status.
pub(crate) async fn until_status(server: &Server, target: &str, status: u16) -> Answer {
    until(&format!("{target} answers {status}"), async || {
        let answer = server.get(target).send().await;
        (answer.status == status).then_some(answer)
    })
    .await
}

/// How often everything.py has counted `key`.
pub(crate) async fn seen(key: &str) -> u64 {
    let answer = everything()
        .ask("GET", &format!("/seen/{key}"))
        .send()
        .await;
    answer.json().as_u64().unwrap()
}

/// What `/ready` says of the upstreams that do not work.
pub(crate) async fn ready(server: &Server) -> Value {
    server.get("/ready").send().await.json()
}
