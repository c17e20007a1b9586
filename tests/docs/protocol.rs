//! docs/protocol.md, held against a worker by somebody who knows no more than
//! the page: what the examples say is sent byte by byte, what comes back is
//! compared with them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use framex::descriptor::ApiDescriptor;
use framex::id::ApiId;
use framex_test_support::nats::{Message, NatsServer, Wire};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::markdown::blocks;
use crate::process::Serving;
use crate::{read, root};

pub(crate) const DOCUMENT: &str = "docs/protocol.md";

const INBOX: &str = "_INBOX.stranger";
/// Longer than the pause between two chunks of `echo_stream`.
const A_WHILE: Duration = Duration::from_millis(500);

/// The example for which `wanted` holds.
fn example(wanted: impl Fn(&Value) -> bool) -> Value {
    let text = read(DOCUMENT);
    let examples = blocks(&text).into_iter().filter(|b| b.kind == "json");
    let mut examples = examples.map(|block| {
        serde_json::from_str::<Value>(&block.text)
            .unwrap_or_else(|error| panic!("{DOCUMENT}:{}: {error}", block.line))
    });
    let mut found = examples.by_ref().filter(|example| wanted(example));
    let first = found.next().expect("there is an example of it");
    assert_eq!(found.next(), None, "there are two examples of it");
    first
}

fn keys(object: &Value) -> BTreeSet<&str> {
    let object = object.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let mut lines = message.headers.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// A worker of ours and a stranger.
struct Meeting {
    wire: Wire,
    _worker: Serving,
    _server: NatsServer,
    _dir: tempfile::TempDir,
}

impl Meeting {
    async fn arrange() -> Self {
        let server = NatsServer::start().await;
        let mut wire = Wire::connect(&server).await;
        wire.subscribe(&format!("{INBOX}.*"), None).await;
        wire.subscribe("_framex.announce.>", None).await;
        wire.fence().await;
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_framex"));
        command
            .args(["worker", "--load-builtin-plugins", "echo", "--nats-url"])
            .arg(server.url());
        let path = dir.path().to_owned();
        let start = move || Serving::start_ready(&mut command, Path::new(&path));
        let worker = tokio::task::spawn_blocking(start).await;
        Self {
            wire,
            _worker: worker.expect("it starts"),
            _server: server,
            _dir: dir,
        }
    }

    async fn send(&mut self, subject: &str, slot: &str, headers: &[&str], payload: &Value) {
        let payload = payload.to_string();
        let reply = format!("{INBOX}.{slot}");
        self.wire
            .publish(subject, Some(&reply), headers, payload.as_bytes())
            .await;
    }

    /// The next message for the inbox.
    async fn answer(&mut self) -> Message {
        loop {
            let message = self.wire.message().await;
            if message.subject.starts_with(INBOX) {
                return message;
            }
        }
    }

    /// All messages for the inbox that come in a while.
    async fn answers(&mut self) -> Vec<Message> {
        tokio::time::sleep(A_WHILE).await;
        let mut messages = self.wire.messages().await;
        messages.retain(|message| message.subject.starts_with(INBOX));
        messages
    }

    async fn ask(&mut self, subject: &str, payload: &Value) -> Value {
        self.send(subject, "ask", &[], payload).await;
        let answer = self.answer().await;
        serde_json::from_slice(&answer.payload).expect("JSON")
    }
}

#[tokio::test]
async fn examples_of_calls_are_true() {
    let mut meeting = Meeting::arrange().await;
    let arguments = example(|e| e.get("message").is_some() && e.get("code").is_none());
    let result = example(Value::is_string);
    let answer = meeting.ask("echo.EchoPlugin.echo", &arguments).await;
    assert_eq!(answer, result);

    let error = example(|e| e.get("code").is_some());
    let echo = "echo.EchoPlugin.echo";
    meeting.send(echo, "bad", &[], &json!({})).await;
    let refused = meeting.answer().await;
    assert_eq!(header(&refused, "Nats-Service-Error-Code"), Some("422"));
    assert!(header(&refused, "Nats-Service-Error").is_some());
    let body: Value = serde_json::from_slice(&refused.payload).expect("JSON");
    assert!(keys(&body).is_subset(&keys(&error)), "{body}");
    assert_eq!(body["detail"][0]["type"], "missing");
}

#[tokio::test]
async fn examples_of_control_are_true() {
    let mut meeting = Meeting::arrange().await;
    let stream = "echo.EchoPlugin.echo_stream";
    let window = ["Framex-Call: window=2"];
    let arguments = json!({"message": "x"});
    meeting.send(stream, "s", &window, &arguments).await;
    let first = meeting.answers().await;
    let numbers: Vec<_> = first.iter().map(|m| header(m, "Framex-Chunk")).collect();
    assert_eq!(numbers, [Some("1"), Some("2")]);
    assert_eq!(first[0].payload, b"\"T\"");

    let mut credit = example(|e| e.get("credit").is_some());
    credit["call"] = format!("{INBOX}.s").into();
    let text = credit.to_string();
    let control = "echo._control";
    meeting
        .wire
        .publish(control, None, &[], text.as_bytes())
        .await;
    let third = meeting.answer().await;
    assert_eq!(header(&third, "Framex-Chunk"), Some("3"));

    let mut cancel = example(|e| e.get("cancel").is_some());
    cancel["call"] = format!("{INBOX}.s").into();
    let text = cancel.to_string();
    meeting
        .wire
        .publish(control, None, &[], text.as_bytes())
        .await;
    meeting.answers().await;
    assert_eq!(meeting.answers().await, []);
}

#[tokio::test]
async fn what_an_instance_says_of_itself_is_on_the_page() {
    let mut meeting = Meeting::arrange().await;
    let page = read(DOCUMENT);
    let said = loop {
        let message = meeting.wire.message().await;
        if message.subject.starts_with("_framex.announce.echo.") {
            break serde_json::from_slice::<Value>(&message.payload).expect("JSON");
        }
    };
    let announcement = example(|e| e.get("state").is_some());
    assert_eq!(keys(&said), keys(&announcement));
    assert_eq!(said["type"], announcement["type"]);
    assert_eq!(said["beat"], announcement["beat"]);

    let info = meeting.ask("$SRV.INFO.echo", &json!({})).await;
    let endpoints = info["endpoints"].as_array().expect("a list");
    assert_eq!(endpoints.len(), 4, "{info}");
    let named = |key: &str| assert!(page.contains(&format!("`{key}`")), "the page lacks `{key}`");
    let metadata = endpoints.iter().map(|endpoint| &endpoint["metadata"]);
    metadata
        .chain([&info["metadata"]])
        .flat_map(keys)
        .for_each(named);

    // A descriptor of ours has nothing that is not there, and the example is one.
    let describe = info["metadata"]["framex.describe"]
        .as_str()
        .expect("a text");
    let api = "echo.EchoPlugin.echo_model";
    let question = json!({ "api": api });
    meeting.send(describe, "describe", &[], &question).await;
    let description = meeting.answer().await.payload;
    let described: Value = serde_json::from_slice(&description).expect("JSON");
    assert_eq!(described["id"], api);
    let endpoint = endpoints.iter().find(|endpoint| endpoint["subject"] == api);
    let announced = &endpoint.expect("an endpoint")["metadata"]["framex.digest"];
    let digest = Sha256::digest(&description)[..16]
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!(*announced, digest);
    let parameters = described["parameters"].as_array().expect("a list");
    keys(&described).into_iter().for_each(named);
    parameters.iter().flat_map(keys).for_each(named);
    let plugin = meeting.ask(describe, &json!({"plugin": true})).await;
    keys(&plugin).into_iter().for_each(named);
    assert_eq!(plugin["name"], "echo");
    let example = example(|e| e.get("routes").is_some());
    let id = ApiId::parse("weather.Weather.forecast").expect("an id");
    let api = ApiDescriptor::read(&id, example.to_string().as_bytes()).expect("a descriptor");
    assert_eq!(api.routes[0].to_string(), "GET /api/v1/forecast");
    assert_eq!(api.parameters[0].name, "city");
}

/// The page names every header there is.
#[test]
fn every_header_is_on_the_page() {
    let page = read(DOCUMENT);
    let wire = root().join("bus/src/nats/wire/mod.rs");
    let wire = std::fs::read_to_string(wire).expect("the module that names headers");
    let names = wire.split("HeaderName::from_static(\"").skip(1);
    let names: Vec<&str> = names.filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
