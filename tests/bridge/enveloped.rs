//! An upstream whose answers look like everything else.

use serde_json::json;

use crate::site::{bridge_to, everything, imported};

/// Successful JSON in the envelope of everything else, if the settings say so.
#[tokio::test]
async fn in_the_envelope() {
    let server = bridge_to(everything(), "wrapped", json!({ "envelope": true }));
    let server = server.start().await;
    imported(&server, "wrapped").await;
    for (target, data) in [
        ("/items/7", json!({"item": 7})),
        ("/null", json!(null)),
        ("/users", json!(["ann"])),
    ] {
        let answer = server.get(target).send().await;
        assert_eq!(answer.json()["message"], "success", "{target}");
        assert!(answer.json()["timestamp"].is_string());
        assert_eq!(answer.data(), data, "{target}");
    }
    let created = server.post("/created").send().await;
    assert_eq!(
        (created.status, created.header("location")),
        (201, Some("/items/7"))
    );
    let created = created.json();
    assert_eq!(
        (&created["status"], &created["data"]),
        (&json!(201), &json!({"id": 7}))
    );
    // What is no JSON, or packed, or a failure, is as it is.
    for target in [
        "/text",
        "/html",
        "/bytes/gzip",
        "/bytes/binary",
        "/lines",
        "/sse",
        "/fail/409",
    ] {
        let direct = everything().ask("GET", target).send().await;
        let answer = server.get(target).send().await;
        assert!(answer.body == direct.body, "{target}: {}", answer.lossy());
    }
    assert_eq!(server.post("/nothing").send().await.status, 204);
    // The documents say so too.
    let document = server.get("/api/v1/openapi.json").send().await.json();
    let reply = &document["paths"]["/users"]["get"]["responses"]["200"]["content"];
    let schema = &reply["application/json"]["schema"];
    assert_eq!(schema["properties"]["data"]["type"], "array", "{schema}");
    server.stop().await;
}
