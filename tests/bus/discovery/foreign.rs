//! Services of other makes, honest and not.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use framex::bus::Bus as _;
use framex_test_support::nats::NatsServer;
use framex_test_support::until;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::{Fake, caller, instances, problem, request};
use crate::bodies::{coming, with_file};

/// The foreign client that the tests speak to.
pub(super) const NATS_PY: &str = "nats-py==2.16.0";

const SERVICE: &str = r#"
import asyncio, json, sys
import nats, nats.micro

async def main(url):
    nc = await nats.connect(url)
    async def add(request):
        arguments = json.loads(request.data)
        await request.respond(json.dumps(arguments["a"] + arguments["b"]).encode())
    service = await nats.micro.add_service(nc, name="adder", version="0.3.0")
    # What is added later is found too.
    await asyncio.sleep(1.5)
    integer = {"type": "integer"}
    descriptor = {"routes": ["GET /api/v1/add"], "summary": "Adds", "parameters": [
        {"name": "a", "required": True, "schema": integer},
        {"name": "b", "required": True, "schema": integer}]}
    await service.add_endpoint(name="Adder-add", subject="adder.Adder.add", queue_group="adder",
        handler=add, metadata={"framex.descriptor": json.dumps(descriptor)})
    await service.add_endpoint(name="private", subject="adder.private", handler=add)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"#;

/// A process that is killed when the test is over.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_service_of_nats_py_is_an_api_like_any() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let (url, python) = (server.url(), NATS_PY);
    let start = tokio::task::spawn_blocking(move || {
        let python = framex_test_support::python::python_tool(python).join("python");
        let mut command = Command::new(python);
        command.args(["-c", SERVICE, &url]).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python");
        let out = process.stdout.take().expect("its output");
        let mut line = String::new();
        let read = std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line);
        assert!(read.is_ok_and(|n| n > 0), "it ended");
        Killed(process)
    });
    let process = start.await.expect("it starts");
    let api = "adder.Adder.add";
    let took = until("it is found", || instances(&caller, api) == Some(1)).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let catalog = caller.catalog();
    let found = catalog.resolve("GET /api/v1/add").expect("its route");
    assert_eq!(
        (&*found.plugin.version, &*found.descriptor.summary),
        ("0.3.0", "Adds")
    );
    assert_eq!(caller.state().borrow().problems, [""; 0]);

    let request = request(json!({"a": 20, "b": 22}));
    let reply = caller.call_target(api, request).await.expect("an answer");
    let framex::Reply::Value(sum) = reply else {
        panic!("no value");
    };
    assert_eq!(sum, "42");

    drop(process);
    let took = until("it is noticed", || instances(&caller, api) == Some(0)).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_new_foreign_service_is_found_within_a_second() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    for n in 0..3 {
        let api = format!("quick{n}.Quick.go");
        let fake = Fake::foreign(&server, "q", &api, &json!({})).await;
        let took = until("it is found", || instances(&caller, &api) == Some(1)).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        drop(fake);
    }
}

/// It asks for nothing: what it gets is in the request.
#[tokio::test]
async fn a_foreign_service_gets_files_in_one_message_or_not_at_all() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let api = "keeper.Keeper.keep";
    let file = json!({"name": "file", "location": "file", "required": true});
    let descriptor = json!({"routes": ["POST /api/v1/keep"], "parameters": [file]});
    let _fake = Fake::foreign(&server, "k1", api, &descriptor).await;
    until("it is found", || instances(&caller, api) == Some(1)).await;
    let client = super::client(&server).await;
    let requests = client.queue_subscribe(api, "keeper".into()).await;
    let mut requests = requests.expect("a subscription");
    client.flush().await.expect("a broker");

    let (file, _) = coming(200_000, None);
    let call = tokio::spawn(caller.call_target(api, with_file(file, "")));
    let asked = requests.next().await.expect("a request");
    assert!(
        asked.payload.len() > 200_000,
        "{} bytes",
        asked.payload.len()
    );
    let reply = asked.reply.expect("a reply subject");
    let sent = client.publish(reply, "true".into()).await;
    sent.expect("a broker");
    let reply = call.await.expect("no panic");
    assert!(reply.is_ok(), "{reply:?}");

    let (file, counter) = coming(2_000_000, None);
    let error = caller.call_target(api, with_file(file, "")).await;
    let error = error.expect_err("it is too large").into_error();
    assert_eq!(
        (error.status().as_u16(), error.code()),
        (413, "payload_too_large")
    );
    assert!(counter.is_dropped());
    let args = json!({"file": "x".repeat(2_000_000)});
    let error = caller.call_target(api, request(args)).await;
    let error = error.expect_err("it is too large").into_error();
    assert_eq!(error.code(), "payload_too_large");
}

#[tokio::test]
async fn services_without_our_metadata_are_nobody() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let endpoints = json!([{"name": "x", "subject": "orders.create", "queue_group": "q"}]);
    let about = ("orders", "o1", "1.0.0");
    let _fake = Fake::start(&server, about, Value::Null, endpoints, HashMap::new()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(caller.catalog().apis().count(), 0);
    assert_eq!(caller.state().borrow().problems, [""; 0]);
}

#[tokio::test]
async fn liars_are_named_and_the_rest_goes_on() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let huge = json!({"reply": {"schema": {"description": "x".repeat(300_000)}}});
    let mut fakes = Vec::new();
    for (id, api, descriptor, reason) in [
        (
            "l1",
            "liar.Liar.health",
            json!({"routes": ["GET /health"]}),
            "/api/v1/",
        ),
        (
            "l2",
            "liar.Liar.path",
            json!({"routes": ["GET /api/v1/a b"]}),
            "not valid",
        ),
        (
            "l3",
            "liar.Liar.self",
            json!({"id": "honest.Honest.yes"}),
            "honest.Honest.yes",
        ),
        ("l4", "liar.Liar.huge", huge, "more than 262144"),
        ("l5", "liar.not-an-id", json!({}), "is not an API id"),
    ] {
        fakes.push(Fake::foreign(&server, id, api, &descriptor).await);
        problem(
            &caller,
            &[&format!("instance `{id}` of `liar`"), api, reason],
        )
        .await;
    }
    let endpoints = json!([{"name": "x", "subject": "honest.Honest.no", "queue_group": "q",
        "metadata": {"framex.descriptor": "{}"}}]);
    let about = ("liar", "l6", "1.0.0");
    fakes.push(Fake::start(&server, about, Value::Null, endpoints, HashMap::new()).await);
    problem(&caller, &["`l6`", "belongs to the plugin `honest`"]).await;

    let metadata = json!({"framex.protocol": "1", "framex.digest": "d"});
    let endpoints = json!([{"name": "x", "subject": "liar.Liar.digest", "queue_group": "liar",
        "metadata": {"framex.digest": "0123"}}]);
    let described = [("liar.Liar.digest", "{}"), ("liar", r#"{"name":"liar"}"#)];
    let described = described.map(|(name, json)| (name.to_owned(), json.to_owned()));
    let about = ("liar", "l7", "1.0.0");
    let fake = Fake::start(&server, about, metadata, endpoints, described.into()).await;
    fake.announce("1.0.0", "d", "ready").await;
    problem(&caller, &["`l7`", "liar.Liar.digest", "its digest"]).await;

    let many: Vec<_> = (0..5000)
        .map(|n| json!({"subject": format!("liar.Liar.a{n}"), "metadata": {"framex.descriptor": "{}"}}))
        .collect();
    let about = ("liar", "l8", "1.0.0");
    fakes.push(Fake::start(&server, about, Value::Null, json!(many), HashMap::new()).await);
    problem(&caller, &["`l8`", "5000 APIs"]).await;

    assert_eq!(caller.catalog().apis().count(), 0);
    fakes.push(Fake::foreign(&server, "h1", "honest.Honest.yes", &json!({})).await);
    until("the honest is found", || {
        instances(&caller, "honest.Honest.yes") == Some(1)
    })
    .await;
}
