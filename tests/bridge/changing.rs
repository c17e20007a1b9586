//! Documents are looked at again: upstreams come, change and go.

use std::time::Duration;

use serde_json::{Value, json};

use crate::documents::{document, to_paper, with_paths, write};
use crate::site::{application, bridge, everything, imported, paper, ready, until, until_status};

/// An upstream that is down at the start is there when it is.
#[tokio::test]
async fn down_at_the_start() {
    let mut late = application("clash");
    let rules = |name: &str| json!({ "name": name, "enable": ["/*"] });
    let server = bridge(json!({ "refresh": "300ms", "proxy_urls": {
        late.url(): rules("late"), everything().url(): rules("there"),
    }}));
    let server = server.start().await;
    imported(&server, "there").await;
    assert_eq!(server.get("/text").send().await.status, 200);
    assert_eq!(server.get("/orders").send().await.status, 404);
    let told = ready(&server).await;
    assert!(told.to_string().contains("late"), "{told}");
    assert!(!told.to_string().contains(&late.address().to_string()));
    late.start();
    until_status(&server, "/orders", 200).await;
    until("nothing is missing", async || {
        let told = ready(&server).await.to_string();
        (!told.contains("late")).then_some(())
    })
    .await;
    // Down again: its operations stay, and say what is wrong.
    late.stop();
    let down = server.get("/orders").send().await;
    assert_eq!(down.status, 502, "{}", down.lossy());
    server.stop().await;
}

/// Operations come, change and go with the document; one that stays answers all the time.
#[tokio::test]
async fn a_document_that_changes() {
    let get = json!({ "get": { "responses": { "200": { "description": "ok" } } } });
    let paths = with_paths(json!({ "/stays": get, "/goes": get }));
    let at = write("changing", "application/json", &paths).await;
    let server = to_paper("changing", &at).await;
    imported(&server, "changing").await;
    assert_eq!(server.get("/goes").send().await.status, 200);
    assert_eq!(server.get("/comes").send().await.status, 404);

    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let address = server.address();
    let asking = tokio::spawn(async move {
        let mut count = 0;
        while stopped.try_recv().is_err() {
            let answer = framex_test_support::raw::Ask::new(address, "GET", "/stays").send();
            assert_eq!(answer.await.status, 200);
            count += 1;
        }
        count
    });
    write(
        "changing",
        "application/json",
        &with_paths(json!({ "/stays": get, "/comes": get })),
    )
    .await;
    until_status(&server, "/comes", 200).await;
    until_status(&server, "/goes", 404).await;
    let paths = document(&server).await["paths"].clone();
    assert!(
        paths["/goes"].is_null() && paths["/comes"].is_object(),
        "{paths}"
    );
    // What cannot be read changes nothing.
    let gone = paper().ask("DELETE", &at).send().await;
    assert_eq!(gone.status, 204);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(server.get("/comes").send().await.status, 200);
    assert!(ready(&server).await.to_string().contains("changing"));
    stop.send(()).unwrap();
    assert!(asking.await.unwrap() > 20);
    server.stop().await;
}

/// Whoever has a key may ask for a look at once.
#[tokio::test]
async fn on_demand() {
    let get = json!({ "get": { "responses": { "200": { "description": "ok" } } } });
    let at = write(
        "asked",
        "application/json",
        &with_paths(json!({ "/a": get })),
    )
    .await;
    let server = bridge(json!({ "refresh": "1h", "proxy_urls": { paper().url(): {
        "name": "asked", "enable": ["/a", "/b"], "docs_path": at,
    }}}))
    .rule("/api/v1/proxy/refresh", &["operator"])
    .start()
    .await;
    imported(&server, "asked").await;
    write(
        "asked",
        "application/json",
        &with_paths(json!({ "/b": get })),
    )
    .await;
    let refresh = || server.post("/api/v1/proxy/refresh");
    assert_eq!(refresh().send().await.status, 401);
    assert_eq!(server.get("/b").send().await.status, 404);
    let report = refresh().header("Authorization", "operator").send().await;
    assert_eq!(report.data()[0]["operations"], 1, "{}", report.lossy());
    until_status(&server, "/b", 200).await;
    until_status(&server, "/a", 404).await;
    server.stop().await;
    // Without a rule nobody can.
    let open = to_paper("asked", &at).await;
    assert_eq!(open.post("/api/v1/proxy/refresh").send().await.status, 404);
    open.stop().await;
}

/// The document's own key is sent, and a document that has not changed is not read again.
#[tokio::test]
async fn a_document_behind_a_key() {
    let get = json!({ "get": { "responses": { "200": { "description": "ok" } } } });
    let at = write(
        "locked",
        "application/json",
        &with_paths(json!({ "/x": get })),
    )
    .await;
    let fetched = async || -> Vec<Value> {
        let fetched = paper().ask("GET", &format!("{at}/fetched")).send().await;
        fetched.json().as_array().unwrap().clone()
    };
    let settings = |keys: Value| {
        bridge(json!({
            "refresh": "200ms", "auth": { "rules": keys },
            "proxy_urls": { paper().url(): { "name": "locked", "enable": ["/x"], "docs_path": at } },
        }))
    };
    let without = settings(json!({})).start().await;
    assert!(ready(&without).await.to_string().contains("locked"));
    without.stop().await;
    assert!(fetched().await.iter().all(Value::is_null));

    let with = settings(json!({ at.clone(): ["document-key", "another"] }))
        .start()
        .await;
    imported(&with, "locked").await;
    // The key is the document's alone.
    assert_eq!(with.get("/x").send().await.json()["key"], Value::Null);
    let before = fetched().await.len();
    until("it is looked at again", async || {
        (fetched().await.len() > before + 1).then_some(())
    })
    .await;
    assert_eq!(fetched().await.last(), Some(&json!("document-key")));
    with.stop().await;
}
