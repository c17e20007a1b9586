//! The earlier framework: as our upstream, and as the bridge in front of us.

use framex_test_support::{PATIENCE, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use crate::site::{bridge, imported, kit};

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

/// It is our upstream: its plugins are ours, and its errors have their real status.
#[tokio::test]
async fn behind_us() {
    let settings = "load_builtin_plugins = [\"echo\"]\nload_plugins = [\"teller\"]\n\
                    [auth.rules]\n\"/api/v1/tell\" = [\"kit-key\"]\n";
    let theirs = kit(settings);
    let ours = bridge(json!({ "refresh": "300ms", "proxy_urls": { theirs.url(): {
        "name": "kit", "enable": ["/*"], "auth": { "rules": { "/api/v1/tell": ["kit-key"] } },
        "force_stream_apis": ["/api/v1/echo_stream", "/api/v1/tell_stream"],
    }}}))
    .server("enable_proxy", true)
    .rule("/api/v1/tell", &["our-key"])
    .start()
    .await;
    imported(&ours, "kit").await;

    // Unwrapped like FrameX means here: the upstream's own envelope is the body.
    let echo = ours.get("/api/v1/echo?message=h%C3%A4").send().await;
    assert_eq!(echo.data(), "hä");
    let model = ours
        .post("/api/v1/echo_model?message=m")
        .json(r#"{"id": 5}"#);
    assert_eq!(model.send().await.data(), "m,{'id': 5, 'name': 'echo'}");
    let tell = || {
        ours.post("/api/v1/tell")
            .json(r#"{"what": "x", "times": 2}"#)
    };
    assert_eq!(tell().send().await.status, 401);
    let told = tell().header("Authorization", "our-key").send().await;
    assert_eq!(told.data(), json!(["x", "x"]));
    let stream = ours.get("/api/v1/tell_stream?words=a,b").send().await;
    let expected = format!("{}{}event: finish\ndata: {{}}\n\n", chunk('a'), chunk('b'));
    assert_eq!(stream.text(), expected);

    // Errors: HTTP 200 there.
    for (target, status) in [
        ("/api/v1/tell_error?status=404", 404),
        ("/api/v1/tell_error?status=429", 429),
        ("/api/v1/tell_error?status=503", 503),
        ("/api/v1/tell_crash", 500),
        ("/api/v1/echo", 422),
        ("/api/v1/nowhere", 404),
    ] {
        let answer = ours.get(target).send().await;
        assert_eq!(answer.status, status, "{target}: {}", answer.lossy());
        assert_eq!(answer.json()["status"], status, "{target}");
    }
    let busy = ours.get("/api/v1/tell_error?status=429").send().await;
    assert_eq!(busy.header("retry-after"), Some("7"));

    // Calls of plugins get the data without its envelope, and errors as errors.
    let call = async |how: &str, target: &str, values: Value| {
        let target = target.replace(' ', "%20");
        let call = ours.post(&format!("/api/v1/{how}?target={target}"));
        call.json(values.to_string()).send().await
    };
    let echo = call("call", "GET /api/v1/echo", json!({ "message": "x" })).await;
    assert_eq!(echo.data(), "x");
    let told = json!({ "body": { "what": "y" } });
    assert_eq!(
        call("call", "/api/v1/tell", told).await.data(),
        json!(["y"])
    );
    let failed = call("call", "/api/v1/tell_error", json!({ "status": 409 })).await;
    assert_eq!(failed.status, 409, "{}", failed.lossy());
    assert!(failed.lossy().contains("it is 409"), "{}", failed.lossy());
    let words = call("reply", "/api/v1/tell_stream", json!({ "words": "a,boom" }))
        .await
        .data();
    assert_eq!(
        words["stream"],
        json!([["message_chunk", { "content": "a" }], { "error": 409 }])
    );
    ours.stop().await;
}
