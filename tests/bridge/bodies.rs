//! Bodies of requests, whatever they are.

use framex_test_support::raw::Ask;
use framex_test_support::{Answer, Connection, patiently};
use serde_json::{Value, json};

use crate::forwarding::Both;
use crate::site::front;

/// Sends this JSON both ways.
async fn json_body(method: &str, target: &str, body: &str) -> Answer {
    let both = Both::ask(method, target, |ask| ask.json(body)).await;
    both.same(&format!("{method} {target} {body}"))
}

#[tokio::test]
async fn json_of_any_shape() {
    for (target, body, status) in [
        (
            "/json/object",
            r#"{"id": 1, "unknown": [1, {"x": null}]}"#,
            200,
        ),
        (
            "/json/object",
            "{\"id\":1,  \"id\":2,\n\"name\":\"\\u00e4\"}",
            200,
        ),
        ("/json/object", r#"{"name": "no id"}"#, 422),
        ("/json/object", "{\"id\": ", 422),
        ("/json/object", "", 422),
        (
            "/json/array",
            r#"[{"id": 1}, {"id": 2, "colour": "red"}]"#,
            200,
        ),
        ("/json/array", "[]", 200),
        ("/json/scalar", "7", 200),
        ("/json/scalar", "12345678901234567890123456", 200),
        ("/json/maybe", "null", 200),
        ("/json/maybe", r#"{"id": 3}"#, 200),
        (
            "/json/tree",
            r#"{"name":"a","children":[{"name":"b","children":[{"name":"c"}]}]}"#,
            200,
        ),
        ("/json/any", "[1.0, \"x\", {\"y\": [true, null]}]", 200),
        ("/json/any", "\"text\"", 200),
        ("/json/any", "1e400", 200),
        ("/json/clash", r#"{"everything": 1}"#, 200),
    ] {
        assert_eq!(
            json_body("POST", target, body).await.status,
            status,
            "{body}"
        );
    }
    let set = json_body("POST", "/json/object", r#"{"id": 1, "more": 2}"#).await;
    assert_eq!(
        set.json()["set"],
        json!(["id", "more"]),
        "no defaults are filled in"
    );
    let embedded = r#"{"item": {"id": 1}, "why": "so"}"#;
    json_body("PATCH", "/json/embedded/4?dry=true", embedded).await;
}

#[tokio::test]
async fn forms_and_files() {
    let form = |body: &'static str| {
        move |ask: Ask| {
            ask.header("Content-Type", "application/x-www-form-urlencoded")
                .body(body)
        }
    };
    let whole = Both::ask("POST", "/form", form("name=%C3%A4+b&age=4&tags=a&tags=b&x"));
    let whole = whole.await.same("form").json();
    assert_eq!(whole, json!({"name": "ä b", "age": 4, "tags": ["a", "b"]}));
    let without = Both::ask("POST", "/form", form("age=4")).await.same("form");
    assert_eq!(without.status, 422);

    let multipart = |ask: Ask| {
        let mut body = Vec::new();
        for (name, data) in [
            ("ä ö.txt", &b"one"[..]),
            ("日本.bin", &[0, 255, 13, 10, 45, 45]),
        ] {
            let head = format!(
                "--xx-y\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\nContent-Type: text/odd\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(data);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(
            "--xx-y\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nä\r\n--xx-y--\r\n"
                .as_bytes(),
        );
        ask.header("Content-Type", "multipart/form-data; boundary=xx-y")
            .body(body)
    };
    let files = Both::ask("POST", "/files", multipart).await.same("files");
    let files = files.json();
    assert_eq!(files["note"], "ä");
    let names: Vec<&Value> = files["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| &f["name"])
        .collect();
    assert_eq!(names, ["ä ö.txt", "日本.bin"]);
}

#[tokio::test]
async fn raw_bodies() {
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let raw = Both::ask("POST", "/raw", |ask| {
        ask.header("Content-Type", "application/x-odd; a=\"b\"")
            .header("Content-Encoding", "x-none")
            .body(bytes.clone())
    });
    let raw = raw.await.same("raw").json();
    assert_eq!(raw["length"], "70000");
    // A body whose length nobody says, in pieces.
    let mut connection = Connection::open(front().address()).await;
    connection
        .send("POST /raw HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    connection
        .send("4\r\ndefg\r\n0\r\nx-trailer: 1\r\n\r\n")
        .await;
    let answer = patiently("an answer", connection.answer()).await.json();
    assert_eq!(
        (&answer["size"], &answer["length"]),
        (&json!(7), &json!(null))
    );
    // A client that waits to be asked for it.
    let mut connection = Connection::open(front().address()).await;
    connection
        .send("POST /raw HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(connection.head().await.status, 100);
    connection.send("abc").await;
    assert_eq!(connection.answer().await.json()["size"], 3);
}

#[tokio::test]
async fn much_in_both_directions() {
    const SIZE: usize = 30 << 20;
    let large = front().get(&format!("/large?size={SIZE}")).send().await;
    assert_eq!(large.body.len(), SIZE);
    assert!(large.body.iter().all(|byte| *byte == b'x'));
    let sent = front().post("/raw").body(vec![7; SIZE]).send().await;
    assert_eq!(sent.json()["size"], SIZE);
}
