//! Over a broker that the caller's own system does not know: each has a broker to itself.

use std::time::{Duration, Instant};

use framex_test_support::nats::NatsServer;
use framex_test_support::{PATIENCE, Server};
use serde_json::{Value, json};

use crate::desk::{ALL, echoed, logged, system, until_logged};

/// Two accounts, so two surfaces, of which one lets a stranger have functions run and do
/// nothing else.
const ACCOUNTS: &str = r#"
accounts {
  NEAR { users: [{ user: near, password: near }] }
  FAR { users: [
    { user: far, password: far }
    { user: guest, password: "g:u/est", permissions {
      publish { allow: [
        "proxy.ProxyPlugin.remote", "proxy.ProxyPlugin.remote.*", "proxy._control", "proxy._control.*",
        "proxy._body.*.*", "$SRV.>", "*._describe.*", "_framex.fence"
      ] }
      subscribe { allow: ["_INBOX.guest.>", "_framex.announce.>"] }
    } }
    { user: reader, password: reader, permissions {
      publish { allow: ["$SRV.>", "*._describe.*", "_framex.fence"] }
      subscribe { allow: ["_INBOX.reader.>", "_framex.announce.>"] }
    } }
  ] }
}
"#;

/// A system on `broker`, as `user`.
async fn on(broker: &NatsServer, user: &str, proxy: Value) -> Server {
    let nats = json!({"url": broker.url(), "user": user, "password": user});
    let server = system(proxy).server("use_nats", true).set("nats", nats);
    let server = server.start().await;
    let end = Instant::now() + PATIENCE;
    while server.get("/ready").send().await.status != 200 {
        assert!(Instant::now() < end, "not ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server
}

/// `proxy_functions` by which all are `user`'s on `broker`.
fn away(broker: &NatsServer, user: &str) -> Value {
    let url = format!("nats://{user}@{}", broker.address());
    json!({"proxy_functions": {url: ALL}, "timeout": "10s"})
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_run_in_another_account() {
    let broker = NatsServer::with_config(ACCOUNTS).await;
    let far = on(&broker, "far", json!({})).await;
    let near = on(&broker, "near", away(&broker, "guest:g%3Au%2Fest")).await;
    assert_eq!(echoed(&far).await, "desk", "here");
    assert_eq!(echoed(&near).await, "proxy", "in the name of its bridge");
    let unit = near.get("/api/v1/desk/unit").send().await;
    assert_eq!((unit.status, unit.data()), (200, Value::Null));

    let label = "broker refuse";
    let refused = near.get("/api/v1/desk/refuse?label=broker%20refuse&status=409");
    let refused = refused.send().await;
    assert_eq!(refused.status, 409);
    let told = refused.json();
    assert_eq!(
        (&told["code"], &told["message"]),
        (&json!("closed"), &json!("the desk is closed"))
    );
    assert_eq!(told["detail"], json!({"until": 8}));
    assert_eq!(refused.header("x-framex-function"), None);
    assert_eq!(logged(label), ["ran"]);

    let panic = near
        .get("/api/v1/desk/panic?label=broker%20panic")
        .send()
        .await;
    assert_eq!(
        (panic.status, &panic.json()["code"]),
        (500, &json!("internal"))
    );
    assert!(!panic.lossy().contains("secret of the desk"));
    assert_eq!(logged("broker panic"), ["ran"]);

    // More than a message of the broker holds, there and back.
    let large = "x".repeat(3 << 19);
    let answer = near
        .post("/api/v1/desk/fickle")
        .json(json!(large).to_string());
    let answer = answer.send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.data(), json!(large));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_stops_what_runs_there() {
    let (near, far) = (NatsServer::start().await, NatsServer::start().await);
    let _far = on(&far, "far", json!({})).await;
    let near = on(&near, "near", away(&far, "x:y")).await;
    let sleep = near.get("/api/v1/desk/sleep?label=broker%20leave&millis=15000");
    let connection = sleep.start().await;
    until_logged("broker leave", &["asleep"]).await;
    drop(connection);
    until_logged("broker leave", &["asleep", "gone"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_told_at_once() {
    let broker = NatsServer::start().await;
    let far = on(&broker, "far", json!({})).await;
    let near = system(away(&broker, "x:y")).start().await;
    assert_eq!(echoed(&near).await, "proxy");
    let unit = async || near.get("/api/v1/desk/unit").send().await;
    let unreachable = async || {
        let begun = Instant::now();
        let answer = unit().await;
        let quick = begun.elapsed() < Duration::from_millis(2500);
        assert!(quick, "after {:?}", begun.elapsed());
        assert!(!answer.lossy().contains("127.0.0.1"), "{}", answer.lossy());
        (answer.status, answer.json()["code"].clone())
    };
    // Nobody there to run it.
    far.stop().await;
    assert_eq!(unreachable().await, (502, json!("upstream_unreachable")));
    broker.kill();
    let end = Instant::now() + PATIENCE;
    loop {
        let ready = near.get("/ready").send().await;
        if ready.lossy().contains("the broker of `upstream_") {
            break;
        }
        assert!(Instant::now() < end, "{}", ready.lossy());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(unreachable().await, (502, json!("upstream_unreachable")));
    broker.restart().await;
    let _far = on(&broker, "far", json!({})).await;
    let end = Instant::now() + PATIENCE;
    while unit().await.status != 200 {
        assert!(Instant::now() < end, "{}", unit().await.lossy());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_refused() {
    let broker = NatsServer::with_config(ACCOUNTS).await;
    let _far = on(&broker, "far", json!({})).await;
    let near = on(&broker, "near", away(&broker, "reader:reader")).await;
    let refused = near.get("/api/v1/desk/unit").send().await;
    let told = refused.json();
    assert_eq!(
        (refused.status, &told["code"]),
        (502, &json!("upstream_refused")),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_a_circle_ends() {
    let (one, two) = (NatsServer::start().await, NatsServer::start().await);
    let url = |broker: &NatsServer| format!("nats://{}", broker.address());
    let a = on(
        &one,
        "a",
        json!({"proxy_functions": {url(&two): ["ping", "unit"]}}),
    )
    .await;
    let _b = on(
        &two,
        "b",
        json!({"proxy_functions": {url(&one): ["pong", "unit"]}}),
    )
    .await;
    let unit = a.get("/api/v1/desk/unit").send().await;
    assert_eq!(
        (unit.status, &unit.json()["code"]),
        (508, &json!("loop_detected"))
    );
    let ping = a.get("/api/v1/desk/ping?label=broker%20ping").send().await;
    assert_eq!(
        (ping.status, &ping.json()["code"]),
        (508, &json!("loop_detected"))
    );
    assert_eq!(logged("broker ping"), ["ping", "pong"]);
}
