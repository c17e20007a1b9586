//! Plugins call what is behind the bridge as they call each other.

use framex_test_support::Answer;
use serde_json::{Value, json};

use crate::site::{everything, front};

async fn call(target: &str, values: Value) -> Answer {
    ask("call", target, values).await
}

async fn ask(how: &str, target: &str, values: Value) -> Answer {
    let target = target.replace(' ', "%20");
    let call = front().post(&format!("/api/v1/{how}?target={target}"));
    call.json(values.to_string()).send().await
}

#[tokio::test]
async fn by_path_and_by_id() {
    let item = json!({ "item": 5 });
    for target in [
        "GET /items/{item_id}",
        "proxy.everything.get_item_items__item_id__get",
    ] {
        assert_eq!(call(target, json!({ "item_id": 5 })).await.data(), item);
    }
    // Two methods on one path.
    let both = call("/items/{item_id}", json!({ "item_id": 5 })).await;
    assert_eq!(both.json()["code"], "ambiguous_api");
    let deleted = call("DELETE /items/{item_id}", json!({ "item_id": 5 })).await;
    assert_eq!(deleted.data(), Value::Null);
    let place = json!({ "country": "d;ä", "city": "a b?" });
    assert_eq!(
        call("/places/{country}/{city}", place).await.data(),
        json!(["d;ä", "a b?"])
    );
}

#[tokio::test]
async fn named_values_go_where_the_document_says() {
    let query = json!({
        "count_of": 3, "from": "a&b", "page-size": 2, "tags": ["x", "y z"], "n": [1, 2], "exact": true,
        "colour": "green", "q": null,
    });
    let seen = call("/query", query).await.data();
    assert_eq!(
        seen,
        json!({"count_of": 3, "from": "a&b", "page-size": 2, "q": null, "colour": "green",
            "tags": ["x", "y z"], "n": [1, 2], "exact": true})
    );
    let traced = call("/traced", json!({ "x-trace": "t" })).await.data();
    assert_eq!(traced["x-trace"], "t");
    let cookie = call("/cookies", json!({ "session": "mine" })).await;
    assert_eq!(cookie.data(), "mine");

    // A single value that is no parameter is the body, whatever it is called; so is `body`.
    for name in ["body", "item"] {
        let set = call("/json/object", json!({ name: { "id": 1, "unknown": [2] } })).await;
        assert_eq!(
            set.data()["set"],
            json!(["id", "unknown"]),
            "{}",
            set.lossy()
        );
    }
    for (target, body) in [
        (
            "/json/array",
            json!([{"id": 1, "name": "n", "note": null, "colour": null}]),
        ),
        ("/json/scalar", json!(7)),
        ("/json/maybe", Value::Null),
        ("/json/any", json!([1, {"x": null}])),
        (
            "/json/tree",
            json!({"name": "a", "children": [{"name": "b", "children": []}]}),
        ),
    ] {
        assert_eq!(
            call(target, json!({ "body": body })).await.data(),
            body,
            "{target}"
        );
    }
    let embedded =
        json!({ "item_id": 4, "dry": true, "body": { "item": { "id": 1 }, "why": "so" } });
    let embedded = call("PATCH /json/embedded/{item_id}", embedded)
        .await
        .data();
    assert_eq!(
        (&embedded["item_id"], &embedded["dry"], &embedded["why"]),
        (&json!(4), &json!(true), &json!("so"))
    );
    let form = call(
        "/form",
        json!({ "name": "ä &", "age": 4, "tags": ["a", "b"] }),
    )
    .await;
    assert_eq!(
        form.data(),
        json!({"name": "ä &", "age": 4, "tags": ["a", "b"]})
    );
}

#[tokio::test]
async fn files() {
    let target = "/api/v1/call-files?target=/files&field=files&names=one.txt&names=%C3%A4.txt";
    let sent = front()
        .post(target)
        .json(json!({ "note": "n" }).to_string());
    let sent = sent.send().await.data();
    assert_eq!(sent["note"], "n");
    let shown: Vec<_> = sent["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (&f["name"], &f["size"]))
        .collect();
    assert_eq!(
        shown[0],
        (&json!("one.txt"), &json!("this is one.txt".len()))
    );
    assert_eq!(shown[1], (&json!("ä.txt"), &json!("this is ä.txt".len())));
}

/// Failures are failures with their status, never a text as a result.
#[tokio::test]
async fn failures_are_errors() {
    for (target, values, status) in [
        ("/fail/{status}", json!({ "status": 404 }), 404),
        ("/fail/{status}", json!({ "status": 409 }), 409),
        ("/fail/{status}", json!({ "status": 503 }), 503),
        ("/fail-html", json!({}), 503),
        ("/crash", json!({}), 500),
        ("/items/{item_id}", json!({ "item_id": "x" }), 500),
        ("GET /items/{item_id}", json!({ "item_id": "x" }), 422),
        // What the document says is missing need not be asked for.
        ("/query", json!({}), 422),
    ] {
        let answer = call(target, values).await;
        assert_eq!(answer.status, status, "{target}: {}", answer.lossy());
        assert!(answer.json()["message"].is_string());
        let address = everything().address().to_string();
        assert!(!answer.lossy().contains(&address), "{}", answer.lossy());
    }
    let missing = call("/query", json!({ "nonsense": 1 })).await;
    let text = missing.lossy();
    for named in ["count_of", "from", "nonsense"] {
        assert!(text.contains(named), "{text}");
    }
    let failed = call("/fail/{status}", json!({ "status": 409 }))
        .await
        .json();
    assert_eq!(failed["code"], "upstream_error");
    assert!(
        failed["message"].as_str().unwrap().contains("everything"),
        "{failed}"
    );
}

#[tokio::test]
async fn other_kinds_of_answers() {
    let reply = async |target: &str, values: Value| ask("reply", target, values).await.data();
    assert_eq!(reply("/null", json!({})).await, json!({ "value": null }));
    assert_eq!(reply("/nothing", json!({})).await, json!({ "value": null }));
    assert_eq!(
        reply("/created", json!({})).await,
        json!({ "value": { "id": 7 } })
    );
    let text = reply("/text", json!({})).await;
    assert_eq!(
        text,
        json!({ "response": 200, "size": "just text, ä".len() })
    );
    let bytes = reply("/bytes/{kind}", json!({ "kind": "binary" })).await;
    assert_eq!(bytes, json!({ "response": 200, "size": 256 }));
    let stream = reply("/sse", json!({})).await;
    let events = stream["stream"].as_array().unwrap();
    assert_eq!(events.len(), 5, "{stream}");
    assert_eq!(events[1], json!(["named", {"n": 1}]));
    assert_eq!(events[2][1], json!({"content": "two\nlines"}));
    assert_eq!(events[4][1], json!({"content": "[DONE]"}));
    let broken = reply("/sse", json!({ "breaks": true })).await;
    let events = broken["stream"].as_array().unwrap();
    assert_eq!(events.last(), Some(&json!({ "error": 502 })), "{broken}");
    let chat = reply("/chat", json!({ "body": { "prompt": "a b" } })).await;
    assert_eq!(chat["stream"].as_array().unwrap().len(), 2, "{chat}");
}
