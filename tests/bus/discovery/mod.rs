//! Who finds whom, with real brokers: others as plain clients see them, and
//! plain clients as whoever they say they are.

mod come_and_go;
mod foreign;
mod many;
mod permissions;
mod seen_by_others;
mod versions;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use framex::PluginDefinition;
use framex::args::Args;
use framex::bus::nats::{NatsBus, Options};
use framex::bus::{Bus as _, LocalBus};
use framex_core::context::{CallMeta, Request};
use framex_test_support::nats::NatsServer;
use framex_test_support::until;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::no_settings;

const SOON: Duration = Duration::from_secs(10);

fn options(server: &NatsServer) -> Options {
    crate::nats::options(server.url(), Duration::from_secs(5))
}

/// A process that calls.
async fn caller(server: &NatsServer) -> Arc<NatsBus> {
    let bus = NatsBus::start(options(server), LocalBus::new(SOON)).expect("valid options");
    bus.ready(SOON).await.expect("it is ready");
    bus
}

/// A process that serves, and has said so.
async fn worker(server: &NatsServer, plugins: &[PluginDefinition]) -> Arc<NatsBus> {
    let bus = caller(server).await;
    offer(&bus, plugins).await;
    bus
}

async fn offer(bus: &NatsBus, plugins: &[PluginDefinition]) {
    for plugin in plugins {
        let instance = plugin.build(&no_settings()).expect("a plugin");
        bus.serve(&instance).expect("nobody else serves it");
        bus.offer(&plugin.metadata().name);
    }
    bus.ready(SOON).await.expect("it is ready");
}

async fn client(server: &NatsServer) -> Client {
    async_nats::connect(server.url()).await.expect("a broker")
}

fn request(args: Value) -> Request {
    Request {
        args: Args::from_json(args.to_string().into()),
        meta: CallMeta::default(),
    }
}

/// How many serve `api` as far as `bus` knows; none if it is not in the catalog.
fn instances(bus: &NatsBus, api: &str) -> Option<usize> {
    bus.catalog().get(api).map(|api| api.instances())
}

/// Waits for the problem that has all of `parts` in it, and gives it.
async fn problem(bus: &NatsBus, parts: &[&str]) -> String {
    let state = bus.state();
    let find = || {
        let state = state.borrow();
        let all = |text: &&String| parts.iter().all(|part| text.contains(part));
        state.problems.iter().find(all).cloned()
    };
    until(&format!("{parts:?} are told"), || find().is_some()).await;
    find().unwrap_or_default()
}

/// A service that says whatever the test wants it to say.
struct Fake {
    client: Client,
    name: String,
    id: String,
    answers: JoinSet<()>,
}

impl Fake {
    /// Answers PING and INFO with `metadata` and `endpoints`, and descriptions with
    /// what is in `described`, by API; the plugin's is under its name.
    async fn start(
        server: &NatsServer,
        (name, id, version): (&str, &str, &str),
        metadata: Value,
        endpoints: Value,
        described: HashMap<String, String>,
    ) -> Self {
        let client = client(server).await;
        let answer = |kind: &str| {
            json!({"type": format!("io.nats.micro.v1.{kind}_response"), "name": name, "id": id,
                "version": version, "description": "a fake", "metadata": metadata,
                "endpoints": endpoints})
            .to_string()
        };
        let mut answers = JoinSet::new();
        for (verb, kind) in [("PING", "ping"), ("INFO", "info")] {
            let answer = answer(kind);
            for at in ["", &format!(".{name}"), &format!(".{name}.{id}")] {
                let mut asked = client
                    .subscribe(format!("$SRV.{verb}{at}"))
                    .await
                    .expect("a subscription");
                let (client, answer) = (client.clone(), answer.clone());
                answers.spawn(async move {
                    while let Some(message) = asked.next().await {
                        if let Some(reply) = message.reply {
                            let _ = client.publish(reply, answer.clone().into()).await;
                        }
                    }
                });
            }
        }
        let plugin = name.to_owned();
        let mut asked = client
            .subscribe(format!("{name}._describe.{id}"))
            .await
            .expect("a subscription");
        let mine = client.clone();
        answers.spawn(async move {
            while let Some(message) = asked.next().await {
                let question: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
                let about = question["api"].as_str().unwrap_or(&plugin);
                let text = described.get(about).cloned().unwrap_or_default();
                if let Some(reply) = message.reply {
                    let _ = mine.publish(reply, text.into()).await;
                }
            }
        });
        client.flush().await.expect("a broker");
        Self {
            client,
            name: name.to_owned(),
            id: id.to_owned(),
            answers,
        }
    }

    /// A foreign service with one API, described in `descriptor`.
    async fn foreign(server: &NatsServer, id: &str, api: &str, descriptor: &Value) -> Self {
        let name = api.split('.').next().unwrap_or_default();
        let endpoints = json!([{"name": "x", "subject": api, "queue_group": name,
            "metadata": {"framex.descriptor": descriptor.to_string()}}]);
        Self::start(
            server,
            (name, id, "1.0.0"),
            Value::Null,
            endpoints,
            HashMap::new(),
        )
        .await
    }

    /// One of our own kind, with an API that it serves nowhere, with the `digest`.
    async fn native(server: &NatsServer, id: &str, version: &str, digest: &str) -> Self {
        let api = json!({"id": "ghost.Ghost.boo", "kind": "func", "summary": digest});
        let api = api.to_string();
        let hash = sha256(&api);
        let metadata = json!({"framex.protocol": "1", "framex.digest": digest});
        let endpoints = json!([{"name": "Ghost-boo", "subject": "ghost.Ghost.boo",
            "queue_group": "ghost", "metadata": {"framex.digest": hash}}]);
        let plugin = json!({"name": "ghost", "version": version}).to_string();
        let described = [
            ("ghost.Ghost.boo".to_owned(), api),
            ("ghost".to_owned(), plugin),
        ];
        Self::start(
            server,
            ("ghost", id, version),
            metadata,
            endpoints,
            described.into(),
        )
        .await
    }

    async fn announce(&self, version: &str, digest: &str, state: &str) {
        let said = json!({"type": "io.framex.v1.announcement", "name": self.name, "id": self.id,
            "version": version, "digest": digest, "state": state, "ongoing": 0, "beat": 2000});
        let subject = format!("_framex.announce.{}.{}", self.name, self.id);
        let sent = self.client.publish(subject, said.to_string().into());
        sent.await.expect("a broker");
        self.client.flush().await.expect("a broker");
    }

    /// It answers nothing any more; its connection stays.
    fn freeze(&mut self) {
        self.answers.abort_all();
    }
}

/// The digest of a description, as docs/protocol.md has it.
fn sha256(text: &str) -> String {
    use sha2::{Digest as _, Sha256};

    let hash = Sha256::digest(text.as_bytes());
    hash.iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
