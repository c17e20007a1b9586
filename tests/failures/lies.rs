//! Services that say of themselves what cannot be: they are refused by name, and
//! everybody else goes on.

use std::time::Duration;

use async_nats::Client;
use framex_test_support::nats::NatsServer;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::load::once;
use crate::process::Serving;
use crate::site::Site;
use crate::stopwatch::Stopwatch;

/// A service that answers discovery with whatever it was given, and everything
/// else with its name.
struct Liar(#[allow(dead_code, reason = "ends with it")] JoinSet<()>);

impl Liar {
    async fn start(client: &Client, name: &str, info: Value) -> Self {
        let ping = json!({
            "type": "io.nats.micro.v1.ping_response", "name": name, "id": name,
            "version": "1.0.0", "metadata": info["metadata"],
        });
        let mut tasks = JoinSet::new();
        for (verb, answer) in [("PING", ping), ("INFO", info)] {
            let answer = match answer["raw"].as_str() {
                Some(raw) => raw.to_owned(),
                None => answer.to_string(),
            };
            for subject in ["", &format!(".{name}"), &format!(".{name}.{name}")] {
                Self::answer(&mut tasks, client, format!("$SRV.{verb}{subject}"), &answer).await;
            }
        }
        let said = format!("\"{name}\"");
        Self::answer(&mut tasks, client, format!("{name}.>"), &said).await;
        Self(tasks)
    }

    async fn answer(tasks: &mut JoinSet<()>, client: &Client, subject: String, answer: &str) {
        let mut questions = client.subscribe(subject).await.unwrap();
        let (client, answer) = (client.clone(), answer.to_owned());
        tasks.spawn(async move {
            while let Some(question) = questions.next().await {
                if let Some(reply) = question.reply {
                    client.publish(reply, answer.clone().into()).await.unwrap();
                }
            }
        });
    }
}

/// A service with endpoints, each a subject with its descriptor.
fn info(name: &str, endpoints: &[(&str, Value)]) -> Value {
    let endpoint = |(subject, descriptor): &(&str, Value)| {
        let text = match descriptor {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        json!({
            "name": subject.replace(['.', '>', '*', ' '], "-"), "subject": subject,
            "queue_group": "q", "metadata": {"framex.descriptor": text},
        })
    };
    let endpoints: Vec<Value> = endpoints.iter().map(endpoint).collect();
    json!({
        "type": "io.nats.micro.v1.info_response", "name": name, "id": name,
        "version": "1.0.0", "metadata": {}, "description": "", "endpoints": endpoints,
    })
}

fn route(route: &str) -> Value {
    json!({"routes": [route]})
}

async fn refused(edge: &Serving, name: &str) {
    let name = &format!("`{name}`");
    let told = async || {
        let ready = once(edge.board(), "GET /ready").await;
        let reasons = ready.body["reasons"].to_string();
        (reasons.contains(name) && edge.log().contains(name)).then_some(ready)
    };
    let watch = Stopwatch::start();
    let what = format!("{name} is refused");
    let ready = watch.within(Duration::from_secs(5), &what, told).await;
    // It is theirs to mend; the edge works.
    assert_eq!(ready.status, 200, "{ready:?}");
}

#[tokio::test]
async fn services_that_lie_about_themselves() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let worker = site.worker("a");
    let edge = site.edge();
    let client = async_nats::connect(broker.url()).await.unwrap();
    let huge = json!({
        "routes": ["GET /api/v1/huge"],
        "reply": {"type": "value", "schema": {"description": "x".repeat(300_000)}},
    });
    let many: Vec<String> = (0..5000).map(|n| format!("liar10.Liar.n{n}")).collect();
    let many: Vec<(&str, Value)> = many.iter().map(|id| (&**id, json!({}))).collect();
    let lies = [
        // Another plugin's API.
        (
            "liar1",
            info("liar1", &[("work.Work.quick", route("GET /api/v1/liar1"))]),
        ),
        // Another plugin's route.
        (
            "liar2",
            info("liar2", &[("liar2.Liar.x", route("GET /api/v1/quick"))]),
        ),
        // The edge's own, and none of ours.
        (
            "liar3",
            info("liar3", &[("liar3.Liar.x", route("GET /health"))]),
        ),
        (
            "liar4",
            info("liar4", &[("liar4.Liar.x", route("GET /api/v1/{unclosed"))]),
        ),
        (
            "liar5",
            info("liar5", &[("liar5.Liar.x", route("FETCH /api/v1/liar5"))]),
        ),
        ("liar6", info("liar6", &[("liar6.Liar.x", huge)])),
        (
            "liar7",
            info("liar7", &[("liar7.>", route("GET /api/v1/liar7"))]),
        ),
        (
            "liar8",
            info("liar8", &[("liar8.Liar.x", "{\"routes\":".into())]),
        ),
        (
            "liar9",
            info(
                "liar9",
                &[("liar9.Liar.x", json!({"id": "work.Work.once"}))],
            ),
        ),
        ("liar10", info("liar10", &many)),
        ("liar11", json!({"raw": "no JSON at all"})),
    ];
    let mut liars = Vec::new();
    for (name, info) in lies {
        liars.push(Liar::start(&client, name, info).await);
    }
    // Beside them one that is honest.
    let honest = info("honest", &[("honest.Good.x", route("GET /api/v1/honest"))]);
    liars.push(Liar::start(&client, "honest", honest).await);
    let there = async || {
        let got = edge.get("/api/v1/honest").await;
        (got.status == 200).then(|| got.said().to_owned())
    };
    let watch = Stopwatch::start();
    let said = watch
        .within(Duration::from_secs(4), "honest is there", there)
        .await;
    assert_eq!(said, "honest");
    for number in 1..=11 {
        refused(&edge, &format!("liar{number}")).await;
    }

    let document = edge.get("/api/v1/openapi.json").await;
    assert!(
        !document.body.to_string().contains("liar"),
        "{}",
        document.body
    );
    for path in ["/api/v1/quick", "/api/v1/slow?ms=0"] {
        let got = edge.get(path).await;
        assert_eq!((got.status, got.said()), (200, "a"), "{got:?}");
    }
    assert_eq!(edge.get("/health").await.status, 200);
    // They go, and so does the blame.
    drop(liars);
    let good = async || {
        let ready = once(edge.board(), "GET /ready").await;
        (ready.body["status"] == "ready").then_some(())
    };
    Stopwatch::start()
        .within(Duration::from_secs(5), "all is well", good)
        .await;
    for serving in [&worker, &edge] {
        assert!(!serving.log().contains("panicked"), "{}", serving.log());
    }
}

/// Of our own kind, as it says: it announces itself, and describes nothing or nonsense.
#[tokio::test]
async fn native_instances_that_lie() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let _worker = site.worker("a");
    let edge = site.edge();
    let client = async_nats::connect(broker.url()).await.unwrap();
    let native = |name: &str, subject: &str, digest: &str, describe: &str| {
        json!({
            "type": "io.nats.micro.v1.info_response", "name": name, "id": name, "version": "1.0.0",
            "description": "",
            "metadata": {
                "framex.protocol": "1", "framex.state": "ready", "framex.digest": digest,
                "framex.describe": describe,
            },
            "endpoints": [{"name": "x", "subject": subject, "queue_group": name,
                "metadata": {"framex.digest": digest, "framex.route": "GET /api/v1/quick"}}],
        })
    };
    let lies = [
        // Describes with its name, which is no descriptor.
        (
            "fake1",
            native("fake1", "fake1.Fake.x", "0011", "fake1._describe.fake1"),
        ),
        // Nobody is there who describes.
        (
            "fake2",
            native("fake2", "fake2.Fake.x", "0022", "nobody.at.home"),
        ),
        // Another's API; and descriptions of another's.
        (
            "fake3",
            native("fake3", "work.Work.quick", "0033", "work._describe.fake3"),
        ),
    ];
    let mut liars = Vec::new();
    for (name, info) in &lies {
        liars.push(Liar::start(&client, name, info.clone()).await);
        let announcement = json!({
            "type": "io.framex.v1.announcement", "name": name, "id": name, "version": "1.0.0",
            "digest": info["metadata"]["framex.digest"], "state": "ready", "ongoing": 0, "beat": 2000,
        });
        let subject = format!("_framex.announce.{name}.{name}");
        client
            .publish(subject, announcement.to_string().into())
            .await
            .unwrap();
    }
    for (name, _) in &lies {
        refused(&edge, name).await;
    }
    for _ in 0..20 {
        let got = edge.get("/api/v1/quick").await;
        assert_eq!((got.status, got.said()), (200, "a"), "{got:?}");
    }
    assert!(!edge.log().contains("panicked"), "{}", edge.log());
    drop(liars);
}

/// What two workers say of one API does not fit together: told, not mixed.
#[tokio::test]
async fn descriptions_that_contradict_each_other() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let client = async_nats::connect(broker.url()).await.unwrap();
    let parameter = |kind: &str| {
        json!({
            "routes": ["GET /api/v1/twice"],
            "parameters": [{"name": "n", "location": "query", "required": true, "schema": {"type": kind}}],
        })
    };
    let edge = site.edge();
    let one = info("twin", &[("twin.Twin.x", parameter("integer"))]);
    let _one = Liar::start(&client, "twin", one).await;
    let there = async || (edge.get("/api/v1/twice?n=1").await.status == 200).then_some(());
    Stopwatch::start()
        .within(Duration::from_secs(4), "the first is there", there)
        .await;
    let mut two = info("twin", &[("twin.Twin.x", parameter("boolean"))]);
    two["id"] = "other".into();
    let other = json!({
        "type": "io.nats.micro.v1.ping_response", "name": "twin", "id": "other",
        "version": "1.0.0", "metadata": {},
    });
    let mut tasks = JoinSet::new();
    for (verb, answer) in [("PING", &other), ("INFO", &two)] {
        for subject in [
            format!("$SRV.{verb}"),
            format!("$SRV.{verb}.twin"),
            format!("$SRV.{verb}.twin.other"),
        ] {
            Liar::answer(&mut tasks, &client, subject, &answer.to_string()).await;
        }
    }
    refused(&edge, "twin.Twin.x").await;
}
