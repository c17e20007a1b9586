//! The edge's own paths, and the dashboard.

use std::collections::HashSet;
use std::process::Command;

use framex_test_support::Server;
use framex_test_support::python::{python_tool, run};
use framex_test_support::raw::Ask;
use serde_json::{Value, json};

use crate::zoo::Zoo;

#[tokio::test]
async fn health_and_its_kin() {
    let server = Server::of::<Zoo>().await;
    for (path, body) in [("/health", "\"ok\""), ("/ping", "\"pong\"")] {
        let answer = server.get(path).send().await;
        assert_eq!((answer.status, answer.text()), (200, body));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let answer = server.post(path).send().await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD, OPTIONS"))
        );
        assert_eq!(answer.json()["status"], 405);
    }
    let version = server.get("/version").send().await;
    assert_eq!(version.json(), env!("CARGO_PKG_VERSION"));
    let ready = server.get("/ready").send().await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (200, &json!("ready"))
    );
}

#[tokio::test]
async fn the_dashboard() {
    let server = Server::of::<Zoo>().await;
    let get = async |path: &str| Ask::new(server.dashboard(), "GET", path).send().await;
    assert_eq!(get("/health").await.json(), "ok");
    assert_eq!(get("/ready").await.json()["status"], "ready");
    let catalog = get("/catalog").await.json();
    assert_eq!(catalog["plugins"][0]["name"], "zoo");
    let apis = catalog["apis"].as_array().unwrap();
    let hidden = apis
        .iter()
        .find(|api| api["id"] == "zoo.Zoo.hidden")
        .unwrap();
    assert_eq!(
        (&hidden["kind"], &hidden["instances"], &hidden["version"]),
        (&json!("func"), &json!(1), &json!("1.2.3"))
    );
    let nowhere = get("/nowhere").await;
    assert_eq!(nowhere.status, 404);
    assert_eq!(nowhere.json()["code"], "not_found");
    assert!(nowhere.json()["timestamp"].is_string());
    assert_eq!(get("/api/v1/unit").await.status, 404);
    let answer = Ask::new(server.dashboard(), "POST", "/health").send().await;
    assert_eq!(answer.status, 405);
    let answer = Ask::new(server.dashboard(), "HEAD", "/catalog")
        .send()
        .await;
    assert_eq!(answer.status, 200);
}

/// Everything that a page refers to is there, on the page's own origin.
#[tokio::test]
async fn documentation_pages() {
    let server = Server::of::<Zoo>().await;
    for page in ["/docs", "/redoc"] {
        let answer = server.get(page).send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let html = answer.text();
        assert!(
            !html.contains("http://") && !html.contains("https://") && !html.contains("\"//"),
            "{html}"
        );
        let mut found = 0;
        for attribute in ["src=\"", "href=\""] {
            for rest in html.split(attribute).skip(1) {
                let link = rest.split('"').next().unwrap();
                let path = link.trim_start_matches("./");
                let target = if path.starts_with('/') {
                    path.to_owned()
                } else {
                    format!("/{path}")
                };
                let asset = server.get(&target).send().await;
                assert_eq!(asset.status, 200, "{page} refers to {link}");
                assert!(!asset.body.is_empty());
                found += 1;
            }
        }
        assert!(found >= 2, "{html}");
    }
    assert_eq!(server.get("/docs/assets/nothing").send().await.status, 404);
    assert_eq!(server.post("/docs").send().await.status, 405);
}

#[tokio::test]
async fn the_openapi_document_is_valid() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .plugin::<crate::kept::Keeping>()
        .rule("/api/v1/items/{id}", &["k"])
        .rule("/api/v1/kept/*", &["k"])
        .start()
        .await;
    let answer = server.get("/api/v1/openapi.json").send().await;
    assert_eq!(answer.status, 200);
    let document: Value = answer.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = HashSet::new();
    let mut operations = 0;
    for item in document["paths"].as_object().unwrap().values() {
        for (method, operation) in item.as_object().unwrap() {
            if [
                "get", "put", "post", "delete", "options", "head", "patch", "trace",
            ]
            .contains(&method.as_str())
            {
                operations += 1;
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "`{id}` twice");
            }
        }
    }
    assert!(operations > 30, "{operations}");
    assert!(document["paths"]["/api/v1/hidden"].is_null());
    assert!(document["paths"]["/api/v1/files/{path}"].is_object());

    let tool = python_tool("openapi-spec-validator==0.9.0");
    let file = std::env::temp_dir().join(format!("framex-openapi-{}.json", std::process::id()));
    std::fs::write(&file, &answer.body).unwrap();
    let said = run(Command::new(tool.join("openapi-spec-validator")).arg(&file));
    assert!(said.contains("OK"), "{said}");
    std::fs::remove_file(&file).unwrap();
}
