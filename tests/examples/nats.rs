//! Examples on a real broker with nats.conf: each plugin in a process of its own,
//! as a user of its own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use framex_test_support::nats::NatsServer;
use framex_test_support::python::python_tool;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Answer;
use crate::process::Serving;
use crate::{answers, example};

/// How long news may take on a busy machine.
const NEWS: Duration = Duration::from_secs(10);

/// A broker, and a directory for the processes on it.
struct Place {
    broker: NatsServer,
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("nats.conf");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let start = NatsServer::builder().config_file(conf).start();
        Self {
            broker: runtime.block_on(start),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts a command of `binary` as `user` and waits until it is ready.
    fn start(&self, binary: impl AsRef<std::ffi::OsStr>, user: &str, words: &[&str]) -> Serving {
        let mut command = Command::new(binary);
        command
            .args(words)
            .args(["--nats-url", &self.broker.url(), "--nats-user", user])
            .env("NATS__PASSWORD", format!("{user}-dev"));
        Serving::start_ready(&mut command, self.dir.path())
    }

    fn edge(&self) -> Serving {
        self.start(env!("CARGO_BIN_EXE_framex"), "edge", &["edge"])
    }
}

/// Asks until `enough`, and gives the answer and how long it took.
fn until(
    what: &str,
    ask: impl Fn() -> Answer,
    enough: impl Fn(&Answer) -> bool,
) -> (Answer, Duration) {
    let begun = Instant::now();
    loop {
        let answer = ask();
        if enough(&answer) {
            return (answer, begun.elapsed());
        }
        let (status, text) = (answer.status, answer.text());
        assert!(begun.elapsed() < NEWS, "not yet: {what}: {status} {text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn weather(place: &Place) -> Serving {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python/weather.py");
    let mut command = Command::new(python_tool("nats-py==2.16.0").join("python"));
    command
        .arg(script)
        .arg(place.broker.url())
        .env("NATS_USER", "weather")
        .env("NATS_PASSWORD", "weather-dev");
    let mut weather = Serving::spawn(&mut command, place.dir.path());
    weather.wait_until("it serves", |line, _| line.starts_with("serving"));
    weather
}

/// A worker in Python, written from docs/protocol.md.
#[test]
fn weather_in_python() {
    let place = Place::new();
    let edge = place.edge();
    let framex = env!("CARGO_BIN_EXE_framex");
    let words = ["worker", "--load-builtin-plugins", "echo"];
    let _echo = place.start(framex, "echo", &words);
    let forecast = || edge.get("/api/v1/forecast?city=Oslo&days=2");
    assert_eq!(forecast().status, 404);

    // It appears by itself.
    let python = weather(&place);
    let (answer, _) = until("the route is there", forecast, |a| a.status == 200);
    let note = "I am calling with message=asked about Oslo,call_back_result=null";
    let expected = json!({"city": "Oslo", "days": ["rain", "rain"], "note": note});
    assert_eq!(answer.data(), expected);

    // Its operation is in the document.
    let document = edge.get("/api/v1/openapi.json").json();
    let operation = &document["paths"]["/api/v1/forecast"]["get"];
    assert_eq!(operation["summary"], "Says how the weather will be");
    let parameters = operation["parameters"].as_array().unwrap();
    let of = |name: &str| -> Value {
        let found = parameters.iter().find(|p| p["name"] == name);
        found
            .unwrap_or_else(|| panic!("no `{name}`: {operation}"))
            .clone()
    };
    assert_eq!(of("city")["required"], true);
    assert_eq!(of("days")["required"], false);
    assert_eq!(of("days")["schema"]["maximum"], 7);

    // Its errors are as anybody's.
    for path in ["/api/v1/forecast", "/api/v1/forecast?city=Oslo&days=8"] {
        let refused = edge.get(path);
        assert_eq!(refused.status, 422, "{}", refused.text());
        let body = refused.json();
        assert_eq!(body["code"], "bad_argument");
        assert!(body["message"].is_string() && body["request_id"].is_string());
    }

    // It is gone when it is stopped,
    let gone = || {
        let (_, took) = until("the route is gone", forecast, |a| a.status != 200);
        assert!(took < Duration::from_secs(3), "{took:?}");
        let document = || edge.get("/api/v1/openapi.json");
        let (_, took) = until("the operation is gone", document, |document| {
            document.json()["paths"]["/api/v1/forecast"].is_null()
        });
        assert!(took < Duration::from_secs(3), "{took:?}");
    };
    assert_eq!(python.stop(), Some(0));
    gone();

    // and when it is killed.
    let mut python = weather(&place);
    until("the route is back", forecast, |a| a.status == 200);
    python.process().kill();
    gone();
}

/// What is one process elsewhere, in several: each plugin in a worker of its own,
/// an edge and the broker. The same answers all the same.
#[test]
fn every_plugin_apart() {
    type Answers = fn(&Serving);
    let examples: [(&str, &[&str], Answers); 5] = [
        ("minimal", &["hello"], answers::hello),
        ("two_plugins", &["stock", "orders"], answers::shop),
        ("streaming", &["speaker", "megaphone"], answers::words),
        ("files", &["files"], answers::files),
        ("remote_blocking", &["maths"], answers::primes),
    ];
    let place = Place::new();
    for (name, plugins, answers) in examples {
        let binary = example(name);
        let worker = |plugin: &&str| {
            // The first needs the second, which is not there yet: it starts all the same.
            place.start(&binary, plugin, &["worker", "--load-plugins", plugin])
        };
        let workers: Vec<Serving> = plugins.iter().map(worker).collect();
        let edge = place.edge();
        answers(&edge);
        for process in workers.into_iter().chain([edge]) {
            assert_eq!(process.stop(), Some(0), "{name}");
        }
    }
}

/// A plugin without the one that it needs.
#[test]
fn orders_without_stock() {
    let place = Place::new();
    let words = ["worker", "--load-plugins", "orders"];
    let _orders = place.start(example("two_plugins"), "orders", &words);
    let edge = place.edge();
    let body = json!({ "item": "tea", "count": 1 }).to_string();
    let json = [("content-type", "application/json")];
    let refused = edge.send("POST", "/api/v1/orders", &json, body.as_bytes());
    // The error says which API is missing, and that it may come.
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.json()["code"], "no_responders");
    assert!(
        refused.text().contains("stock.Stock.take"),
        "{}",
        refused.text()
    );
}
