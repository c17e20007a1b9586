//! Keys.

use framex_test_support::{Answer, Server};
use serde_json::json;

use crate::zoo::{Zoo, seen};

async fn locked() -> Server {
    Server::builder()
        .plugin::<Zoo>()
        .rule("/api/v1/*", &["general"])
        .rule("/api/v1/items/*", &["items"])
        .rule("/api/v1/items/{id}", &["one", "two"])
        .rule("/api/v1/unit", &[])
        .rule("/docs", &["reader"])
        .rule("/ready", &["operator"])
        .start()
        .await
}

async fn with(server: &Server, method: &str, target: &str, key: &str) -> Answer {
    let mut ask = server.ask(method, target);
    if !key.is_empty() {
        ask = ask.header("Authorization", key);
    }
    ask.send().await
}

fn assert_refused(answer: &Answer, key: &str) {
    assert_eq!(answer.status, 401, "{}", answer.lossy());
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    if !key.is_empty() && key != "Bearer" {
        let all = format!("{:?} {}", answer.headers, answer.lossy());
        assert!(!all.contains(key), "{all}");
    }
}

#[tokio::test]
async fn the_best_rule_counts() {
    let server = locked().await;
    let get = async |target: &str, key: &str| with(&server, "GET", target, key).await;
    for key in ["one", "two", "Bearer one", "bearer  two"] {
        assert_eq!(get("/api/v1/items/5", key).await.status, 200, "{key}");
    }
    for key in [
        "",
        "general",
        "items",
        "One",
        "one ,two",
        "Basic one",
        "Bearer",
        "onetwo",
    ] {
        assert_refused(&get("/api/v1/items/5", key).await, key);
    }
    assert_eq!(get("/api/v1/items/special", "items").await.status, 200);
    assert_refused(&get("/api/v1/items/special", "one").await, "one");
    assert_eq!(get("/api/v1/raw", "general").await.status, 200);
    assert_eq!(get("/plain", "").await.status, 200);
    for key in ["", "general", "Bearer "] {
        assert_refused(&get("/api/v1/unit", key).await, "general");
    }
    // Every method of the template is behind it.
    assert_refused(
        &with(&server, "DELETE", "/api/v1/items/5", "items").await,
        "items",
    );
    let head = with(&server, "HEAD", "/api/v1/items/5", "").await;
    assert_eq!(
        (head.status, head.header("www-authenticate")),
        (401, Some("Bearer"))
    );
}

#[tokio::test]
async fn the_key_comes_before_everything_else() {
    let server = locked().await;
    // Wrong parameters, wrong type, too large: none of it is looked at.
    assert_refused(&with(&server, "GET", "/api/v1/echo", "").await, "");
    let answer = server
        .post("/api/v1/model")
        .header("Content-Type", "text/plain")
        .header("Content-Length", "99999999")
        .header("Authorization", "offered-key")
        .send()
        .await;
    assert_refused(&answer, "offered-key");
    // Nor does a stream begin.
    let answer = with(
        &server,
        "GET",
        "/api/v1/ticks?key=locked&ms=1",
        "offered-key",
    )
    .await;
    assert_refused(&answer, "offered-key");
    assert!(
        answer
            .text()
            .starts_with("event: error\ndata: {\"status\": 401, "),
        "{}",
        answer.text()
    );
    assert_eq!(seen("locked").begun, 0);
    let answer = with(&server, "HEAD", "/api/v1/ticks?key=locked&ms=1", "").await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn the_edges_own_paths() {
    let server = locked().await;
    let get = async |target: &str, key: &str| with(&server, "GET", target, key).await;
    assert_refused(&get("/docs", "general").await, "general");
    assert_eq!(get("/docs", "reader").await.status, 200);
    assert_refused(&get("/ready", "").await, "");
    assert_eq!(get("/ready", "operator").await.status, 200);
    assert_refused(&get("/api/v1/openapi.json", "").await, "");
    assert_eq!(get("/api/v1/openapi.json", "general").await.status, 200);
    for open in ["/health", "/ping", "/version", "/redoc"] {
        assert_eq!(get(open, "").await.status, 200, "{open}");
    }
    assert_eq!(get("/api/v1/nowhere", "").await.status, 404);
}

#[tokio::test]
async fn a_key_makes_a_principal() {
    let server = locked().await;
    let answer = with(&server, "GET", "/api/v1/who", "general").await;
    let principal = answer.data()["principal"].as_str().unwrap().to_owned();
    assert!(
        principal.contains("/api/v1/*") && !principal.contains("general"),
        "{principal}"
    );
    let open = Server::of::<Zoo>().await;
    let answer = with(&open, "GET", "/api/v1/who", "general").await;
    assert_eq!(answer.data()["principal"], json!(null));
}

#[tokio::test]
async fn rules_that_protect_nothing_stop_the_start() {
    for rule in [
        "/api/v1/nowhere",
        "/api/v1/items/5",
        "/api/v2/*",
        "/api/v1/echo/*",
        "/API/v1/*",
    ] {
        let started = Server::builder()
            .plugin::<Zoo>()
            .rule(rule, &["x"])
            .try_start()
            .await;
        let error = started.err().expect(rule).to_string();
        assert!(
            error.contains(&format!("`{rule}`")) && error.contains("no route"),
            "{error}"
        );
    }
    for rule in ["/api/v1/pub*", "api/v1/*", "*", "/a/*/b"] {
        let started = Server::builder()
            .plugin::<Zoo>()
            .rule(rule, &["x"])
            .try_start()
            .await;
        let error = started.err().expect(rule).to_string();
        assert!(error.contains(rule), "{error}");
    }
    // An empty key would open the route to those who send none.
    let started = Server::builder()
        .plugin::<Zoo>()
        .rule("/api/v1/*", &[""])
        .try_start()
        .await;
    match started {
        Err(error) => assert!(error.to_string().contains("/api/v1/*"), "{error}"),
        Ok(server) => assert_eq!(server.get("/api/v1/unit").send().await.status, 401),
    }
}
