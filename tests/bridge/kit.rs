//! The earlier framework: as our upstream, and as the bridge in front of us.

use framex_test_support::{PATIENCE, Server};
use serde_json::json;
use std::time::{Duration, Instant};

use crate::site::kit;

/// What it prints for each event of a stream.
fn chunk(text: char) -> String {
    format!("event: message_chunk\ndata: {{\"content\": \"{text}\"}}\n\n")
}

/// Its own proxy plugin reads our document and calls what is in it.
#[tokio::test]
async fn in_front_of_us() {
    let ours = Server::builder()
        .set("load_builtin_plugins", json!(["echo"]))
        .start()
        .await;
    let settings = format!(
        "load_builtin_plugins = [\"proxy\"]\n\
         [plugins.proxy]\nforce_stream_apis = [\"/api/v1/echo_stream\"]\n\
         [plugins.proxy.proxy_urls.\"http://{}\"]\nenable = [\"/*\"]\n",
        ours.address()
    );
    let theirs = kit(&settings);

    // It serves before it has read, and answers 200 to what it does not know.
    let begun = Instant::now();
    let document = loop {
        let document = theirs.ask("GET", "/api/v1/openapi.json").send().await;
        if document.json()["paths"]["/api/v1/streams/{stream}"].is_object() {
            break document.json();
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the import ended early: {document:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for path in ["/api/v1/echo", "/api/v1/echo_model", "/api/v1/echo_stream"] {
        assert!(document["paths"][path].is_object(), "{path}: {document}");
    }

    let echoed = theirs.ask("GET", "/api/v1/echo?message=h%C3%A4").send();
    let echoed = echoed.await.json();
    assert_eq!(
        (&echoed["status"], &echoed["data"]),
        (&json!(200), &json!("hä"))
    );
    let model = theirs
        .ask("POST", "/api/v1/echo_model?message=m")
        .json(r#"{"id": 5}"#);
    let model = model.send().await.json();
    assert_eq!(
        model["data"],
        json!({"message": "m", "model": {"id": 5, "name": "echo"}})
    );
    let stream = theirs.ask("GET", "/api/v1/echo_stream?message=!");
    let stream = stream.send().await;
    let mut events = stream.text().to_owned();
    for text in "This message is being streamed., !".chars() {
        let at = events
            .find(&chunk(text))
            .unwrap_or_else(|| panic!("{text:?}: {events}"));
        events.drain(..at + chunk(text).len());
    }
    assert!(events.contains("event: finish\ndata: {}\n\n"), "{events}");
}
