//! Multipart bodies.

use framex_test_support::{Answer, Server};
use serde_json::{Value, json};

use crate::zoo::Zoo;

const TYPE: &str = "multipart/form-data; boundary=XX";

fn file(name: &str, disposition: &str, bytes: &str) -> String {
    format!(
        "--XX\r\nContent-Disposition: form-data; name=\"{name}\"; {disposition}\r\nContent-Type: text/x\r\n\r\n{bytes}\r\n"
    )
}

fn text(name: &str, value: &str) -> String {
    format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

async fn send(server: &Server, body: impl Into<Vec<u8>>) -> Answer {
    let ask = server.post("/api/v1/upload").header("Content-Type", TYPE);
    ask.body(body).send().await
}

#[tokio::test]
async fn files_and_fields() {
    let server = Server::of::<Zoo>().await;
    let body = [
        file("file", "filename=\"a.txt\"", "hello"),
        file("more", "filename=\"b\"", ""),
        file("more", "filename=\"c\"", "--XY\r\n--X"),
        text("note", "ä"),
        text("count", "7"),
        text("nobody knows", "x"),
        "--XX--\r\n".to_owned(),
    ]
    .concat();
    assert_eq!(
        send(&server, body).await.data(),
        json!({"file": ["a.txt", "text/x", 5], "more": [["b", "text/x", 0], ["c", "text/x", 9]], "maybe": null, "note": "ä", "count": 7})
    );
    let large = file("file", "filename=\"l\"", &"x".repeat(2_000_000)) + "--XX--";
    assert_eq!(send(&server, large).await.data()["file"][2], 2_000_000);
}

#[tokio::test]
async fn names_in_any_language() {
    let server = Server::of::<Zoo>().await;
    for (disposition, name) in [
        ("filename=\"übung 1.txt\"", "übung 1.txt"),
        ("filename=\"日本.txt\"", "日本.txt"),
        ("filename=\"a \\\"b\\\".txt\"", "a \"b\".txt"),
        ("filename=\"../../etc/passwd\"", "../../etc/passwd"),
        ("filename=plain.txt", "plain.txt"),
        ("filename=\"\"", ""),
        // RFC 7578 forbids the other form in forms.
        ("filename=\"x\"; filename*=UTF-8''%C3%BC.txt", "x"),
    ] {
        let answer = send(&server, file("file", disposition, "x") + "--XX--\r\n").await;
        assert_eq!(answer.status, 200, "{disposition}: {}", answer.lossy());
        assert_eq!(answer.data()["file"][0], name, "{disposition}");
    }
}

#[tokio::test]
async fn missing_and_mistaken() {
    let server = Server::of::<Zoo>().await;
    let kinds = async |body: String| send(&server, body).await.kinds();
    let end = "--XX--\r\n";
    assert_eq!(kinds(end.to_owned()).await, [r#"missing ["body","file"]"#]);
    assert_eq!(
        kinds(text("file", "x") + &text("count", "256") + end).await,
        [
            r#"file_type ["body","file"]"#,
            r#"int_out_of_range ["body","count"]"#
        ]
    );
    assert_eq!(
        kinds(file("file", "filename=\"a\"", "") + &file("note", "filename=\"a\"", "") + end).await,
        [r#"string_type ["body","note"]"#]
    );
    let mut bytes = file("file", "filename=\"a\"", "").into_bytes();
    bytes.extend_from_slice(
        b"--XX\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n\xff\r\n--XX--\r\n",
    );
    assert_eq!(
        send(&server, bytes).await.kinds(),
        [r#"string_unicode ["body","note"]"#]
    );
    let answer = server.post("/api/v1/upload").send().await;
    assert_eq!(answer.kinds(), [r#"missing ["body","file"]"#]);
}

#[tokio::test]
async fn broken() {
    let server = Server::of::<Zoo>().await;
    let whole = file("file", "filename=\"a\"", "hello");
    for body in [
        "hello".to_owned(),
        String::new(),
        whole.clone(),
        whole[..40].to_owned(),
        whole.replace("XX", "YY") + "--YY--\r\n",
        "--XX\r\n\r\nno name\r\n--XX--\r\n".to_owned(),
        "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nContent-Type: \u{1}\r\n\r\n\r\n--XX--\r\n".to_owned(),
        format!("--XX\r\n{}\r\n\r\nx\r\n--XX--\r\n", "A: b\r\n".repeat(5000)),
    ] {
        let answer = send(&server, body.clone()).await;
        assert_eq!(answer.status, 422, "{body:.80}: {}", answer.lossy());
    }
    for kind in [
        "multipart/form-data",
        "application/json",
        "application/x-www-form-urlencoded",
    ] {
        let ask = server.post("/api/v1/upload").header("Content-Type", kind);
        assert_eq!(ask.body("a=1").send().await.status, 415, "{kind}");
    }
    let answer = send(&server, text("file", "x").repeat(20_000) + "--XX--").await;
    assert_eq!(answer.status, 422);
    let answer: Value = server.get("/api/v1/echo?message=alive").send().await.data();
    assert_eq!(answer, "alive");
}
