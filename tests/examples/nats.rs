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
use crate::{JSON, example};

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
    assert_eq!(python.stop(), Some(0));
    let (_, took) = until("the route is gone", forecast, |a| a.status != 200);
    assert!(took < Duration::from_secs(3), "{took:?}");
    let (_, took) = until(
        "the operation is gone",
        || edge.get("/api/v1/openapi.json"),
        |a| a.json()["paths"]["/api/v1/forecast"].is_null(),
    );
    assert!(took < Duration::from_secs(3), "{took:?}");

    // and when it is killed.
    let mut python = weather(&place);
    until("the route is back", forecast, |a| a.status == 200);
    python.process().kill();
    let (_, took) = until("the route is gone", forecast, |a| a.status != 200);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// What is one process elsewhere, in four: two workers that call each other, an
/// edge and the broker.
#[test]
fn two_plugins_apart() {
    let place = Place::new();
    let binary = example("two_plugins");
    // `stock` needs `orders`, which is not there yet: it starts all the same.
    let stock = place.start(&binary, "stock", &["worker", "--load-plugins", "stock"]);
    let orders = place.start(&binary, "orders", &["worker", "--load-plugins", "orders"]);
    let edge = place.edge();
    let order = |item: &str, count: u32| {
        let body = json!({ "item": item, "count": count }).to_string();
        edge.send("POST", "/api/v1/orders", &JSON, body.as_bytes())
    };
    let (first, _) = until("orders are taken", || order("tea", 2), |a| a.status == 200);
    assert_eq!(first.data()["left"], 3);
    assert_eq!(
        edge.get("/api/v1/stock/tea").data(),
        json!({ "item": "tea", "left": 3, "sold": 2 })
    );
    // An error goes through three processes unchanged.
    let refused = order("cake", 2);
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["code"], "out_of_stock");
    assert_eq!(refused.json()["message"], "only 1 of `cake` left");

    // Without `stock` the edge says which API is missing.
    assert_eq!(stock.stop(), Some(0));
    let (gone, _) = until("`stock` is gone", || order("tea", 1), |a| a.status != 200);
    assert!(gone.text().contains("stock.Stock.take"), "{}", gone.text());
    assert_eq!(orders.stop(), Some(0));
    assert_eq!(edge.stop(), Some(0));
}
