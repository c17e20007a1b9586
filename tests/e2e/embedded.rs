//! Apps inside a program that meet on a broker: no command line, no process of
//! their own.

use framex::App;
use framex::settings::{Loaded, Overrides, Settings, Sources};
use framex_test_support::nats::NatsServer;
use framex_test_support::raw::Ask;
use framex_test_support::{PATIENCE, Server, patiently, until};
use serde_json::json;

use crate::zoo::Zoo;

fn settings(broker: &NatsServer) -> Loaded {
    let settings = json!({
        "server": {"use_nats": true, "port": 0, "dashboard_port": 0},
        "nats": {"url": broker.url()},
    });
    Settings::load(&Sources {
        overrides: Overrides::from(settings.as_object().unwrap().clone()),
        ..Sources::default()
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_apps_meet_on_a_broker() {
    let broker = NatsServer::start().await;
    let serving = App::builder().plugin::<Zoo>().settings(settings(&broker));
    let serving = serving.start().await.unwrap();
    serving.ready(PATIENCE).await.unwrap();

    let calling = App::builder().settings(settings(&broker));
    let calling = calling.start().await.unwrap();
    calling.ready(PATIENCE).await.unwrap();
    let bus = calling.bus();
    let listening = calling.listen().unwrap();
    assert!(
        listening.report().contains(&broker.url()),
        "{}",
        listening.report()
    );
    let get = async |path: &str| Ask::new(listening.address(), "GET", path).send().await;
    assert_eq!(get("/api/v1/echo?message=far").await.data(), "far");
    assert_eq!(get("/api/v1/items/a%2Fb").await.data(), "a/b");
    let stream = get("/api/v1/stream/texts").await;
    assert!(stream.text().ends_with("event: finish\ndata: {}\n\n"));
    let ready = get("/ready").await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (200, &json!("ready"))
    );

    patiently("the stop", serving.stop()).await;
    until("the routes went", || bus.catalog().apis().next().is_none()).await;
    let gone = get("/api/v1/echo?message=far").await.status;
    assert!(matches!(gone, 404 | 503), "{gone}");
    patiently("the stop", listening.stop()).await;
}

#[tokio::test]
async fn an_app_without_its_broker_says_what_it_waits_for() {
    let broker = NatsServer::start().await;
    let settings = settings(&broker);
    broker.kill();
    let app = App::builder().plugin::<Zoo>().settings(settings);
    let app = app.start().await.unwrap();
    let limit = std::time::Duration::from_millis(300);
    let error = app.ready(limit).await.unwrap_err().to_string();
    assert!(error.contains(&broker.url()), "{error}");
    app.stop().await;
    // A rule that no route has yet may have one later.
    let server = Server::builder()
        .server("use_nats", true)
        .set("nats", json!({"url": broker.url()}))
        .rule("/api/v1/later", &["k"])
        .start()
        .await;
    assert_eq!(server.get("/health").send().await.status, 200);
    assert_eq!(server.get("/ready").send().await.status, 503);
}
