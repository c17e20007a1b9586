//! Our plugins, as any client of the services protocol sees them.

use async_nats::{HeaderMap, Message};
use framex::PluginDefinition;
use framex_test_support::nats::NatsServer;
use framex_test_support::patiently;
use framex_test_support::python::{python_tool, run};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

use super::{client, worker};
use crate::plugins::Callee;

fn json_of(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).expect("JSON")
}

#[tokio::test]
async fn questions_are_answered_at_every_subject() {
    let server = NatsServer::start().await;
    let bus = worker(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    for (verb, kind) in [("PING", "ping"), ("INFO", "info"), ("STATS", "stats")] {
        let one = format!(".callee.{}", bus.id());
        for at in ["", ".callee", &one] {
            let subject = format!("$SRV.{verb}{at}");
            let asked = client.request(subject.clone(), "".into());
            let answer = json_of(&patiently(&subject, asked).await.expect("an answer"));
            assert_eq!(answer["type"], format!("io.nats.micro.v1.{kind}_response"));
            assert_eq!(answer["name"], "callee");
            assert_eq!(answer["id"], bus.id());
            assert_eq!(answer["version"], "1.0.0");
            assert_eq!(answer["metadata"]["framex.protocol"], "1");
            assert_eq!(answer["metadata"]["framex.state"], "ready");
        }
    }
    // Those who announce themselves need not be found by polls.
    let mut poll = HeaderMap::new();
    poll.insert("Framex-Poll", "1");
    let polled = client.request_with_headers("$SRV.PING", poll, "".into());
    let polled = tokio::time::timeout(Duration::from_millis(300), polled).await;
    assert!(polled.is_err(), "{polled:?}");

    bus.withdraw("callee").await;
    for verb in ["PING", "INFO", "STATS"] {
        // A subscription that just ended may swallow one question.
        let silent = async {
            loop {
                let asked = client.request(format!("$SRV.{verb}"), "".into());
                match tokio::time::timeout(Duration::from_millis(500), asked).await {
                    Ok(Ok(answer)) => panic!("{answer:?}"),
                    Ok(Err(_)) => break,
                    Err(_) => {}
                }
            }
        };
        patiently("nobody is there", silent).await;
    }
}

#[tokio::test]
async fn an_info_is_small_and_descriptions_are_whole() {
    let server = NatsServer::start().await;
    let bus = worker(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let asked = client.request("$SRV.INFO.callee", "".into());
    let info = patiently("INFO", asked).await.expect("an answer");
    let endpoints = json_of(&info)["endpoints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(
        info.payload.len() < 400 * (endpoints.len() + 2),
        "{}",
        info.payload.len()
    );
    let echo = endpoints
        .iter()
        .find(|e| e["subject"] == "callee.Callee.echo");
    let echo = echo.expect("its API");
    assert_eq!(echo["name"], "Callee-echo");
    assert_eq!(echo["queue_group"], "callee");
    assert_eq!(echo["metadata"]["framex.route"], "GET /api/v1/echo");
    assert_eq!(echo["metadata"]["framex.kind"], "all");

    let at = format!("callee._describe.{}", bus.id());
    assert_eq!(json_of(&info)["metadata"]["framex.describe"], at);
    let ask = async |question: Value| {
        let asked = client.request(at.clone(), question.to_string().into());
        patiently("a description", asked).await.expect("an answer")
    };
    let described = ask(json!({"api": "callee.Callee.echo"})).await;
    assert_eq!(json_of(&described)["id"], "callee.Callee.echo");
    let text = String::from_utf8_lossy(&described.payload);
    assert_eq!(echo["metadata"]["framex.digest"], super::sha256(&text));
    assert_eq!(
        json_of(&ask(json!({"plugin": true})).await)["name"],
        "callee"
    );
    for (question, status) in [
        (json!({"api": "callee.Callee.no"}), "404"),
        (json!({}), "400"),
        (json!([1]), "400"),
    ] {
        let answer = ask(question).await;
        let headers = answer.headers.expect("headers");
        let code = headers
            .get("Nats-Service-Error-Code")
            .map(async_nats::HeaderValue::as_str);
        assert_eq!(code, Some(status));
    }
}

#[tokio::test]
async fn calls_are_counted() {
    let server = NatsServer::start().await;
    let _bus = worker(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    for args in [r#"{"value":1}"#, r#"{"value":2}"#, r#"{}"#] {
        let asked = client.request("callee.Callee.echo", args.into());
        patiently("a call", asked).await.expect("an answer");
    }
    let asked = client.request("$SRV.STATS.callee", "".into());
    let stats = json_of(&patiently("STATS", asked).await.expect("an answer"));
    let endpoints = stats["endpoints"].as_array().cloned().unwrap_or_default();
    let echo = endpoints
        .iter()
        .find(|e| e["subject"] == "callee.Callee.echo");
    let echo = echo.expect("its API");
    assert_eq!(
        (&echo["num_requests"], &echo["num_errors"]),
        (&json!(3), &json!(1))
    );
    let average = echo["average_processing_time"].as_u64();
    assert!(average.is_some_and(|average| average > 0), "{echo}");
    assert!(
        stats["started"].as_str().is_some_and(|s| s.ends_with('Z')),
        "{stats}"
    );
}

/// What nats-py's own classes make of our answers.
const READER: &str = r#"
import asyncio, json, sys
import nats
from nats.micro.service import ServiceInfo, ServicePing, ServiceStats

async def main(url):
    nc = await nats.connect(url)
    async def ask(verb, kind):
        reply = await nc.request(f"$SRV.{verb}.callee", b"", timeout=5)
        return kind.from_dict(json.loads(reply.data))
    ping = await ask("PING", ServicePing)
    info = await ask("INFO", ServiceInfo)
    stats = await ask("STATS", ServiceStats)
    assert ping.id == info.id == stats.id, (ping, info, stats)
    assert ping.metadata["framex.state"] == "ready", ping
    subjects = {e.subject: e for e in info.endpoints}
    assert subjects["callee.Callee.echo"].queue_group == "callee", subjects
    assert {e.name for e in stats.endpoints} == {e.name for e in info.endpoints}, stats
    await nc.close()

asyncio.run(main(sys.argv[1]))
"#;

#[tokio::test]
async fn a_foreign_client_reads_all_of_it() {
    let server = NatsServer::start().await;
    let _bus = worker(&server, &[PluginDefinition::of::<Callee>()]).await;
    let url = server.url();
    let read = tokio::task::spawn_blocking(move || {
        let python = python_tool(super::foreign::NATS_PY).join("python");
        run(Command::new(python).args(["-c", READER, &url]))
    });
    read.await.expect("it reads");
}
