//! Documents: those that tests write, and the edge's own.

use framex_test_support::Server;
use serde_json::{Value, json};

use crate::site::{bridge_to, paper};

/// Keeps `document` at paper.py; gives where.
pub(crate) async fn write(name: &str, media_type: &str, document: &str) -> String {
    let path = format!("/~documents/{name}");
    let kept = paper()
        .ask("PUT", &path)
        .header("Content-Type", media_type)
        .body(document)
        .send()
        .await;
    assert_eq!(kept.status, 204);
    path
}

/// A document with these paths.
pub(crate) fn with_paths(paths: Value) -> String {
    json!({ "openapi": "3.1.0", "info": { "title": "Paper", "version": "1" }, "paths": paths })
        .to_string()
}

/// A bridge to paper.py, whose document is at `docs_path`.
pub(crate) async fn to_paper(name: &str, docs_path: &str) -> Server {
    let rules = json!({ "docs_path": docs_path, "disable": ["/~documents/*"] });
    bridge_to(paper(), name, rules).start().await
}

/// What `server` serves, as it says.
pub(crate) async fn document(server: &Server) -> Value {
    server.get("/api/v1/openapi.json").send().await.json()
}
