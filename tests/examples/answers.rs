//! What the examples answer, in one process and with every plugin in one of its own.

use serde_json::json;

use crate::process::Serving;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

pub(crate) fn hello(edge: &Serving) {
    let answer = edge.get("/api/v1/hello?name=you");
    let body = answer.json();
    assert_eq!(answer.status, 200);
    assert_eq!(body["message"], "success");
    assert_eq!(body["data"], "hello you");
    assert_eq!(edge.get("/api/v1/hello").data(), "hello world");
}

pub(crate) fn shop(edge: &Serving) {
    let order = |item: &str, count: u32| {
        let body = json!({ "item": item, "count": count }).to_string();
        edge.send("POST", "/api/v1/orders", &JSON, body.as_bytes())
    };
    assert_eq!(order("tea", 2).data(), json!({ "number": 1, "left": 3 }));
    assert_eq!(order("tea", 1).data(), json!({ "number": 2, "left": 2 }));
    assert_eq!(
        edge.get("/api/v1/stock/tea").data(),
        json!({ "item": "tea", "left": 2, "sold": 3 })
    );

    // The errors of `stock` reach the client of `orders`.
    let refused = order("cake", 2);
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["code"], "out_of_stock");
    assert_eq!(refused.json()["message"], "only 1 of `cake` left");
    assert_eq!(order("moon", 1).status, 404);
}

/// Server-sent events without the lines that name them.
fn without_ids(events: &str) -> String {
    let lines = events.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("id: ")).collect()
}

pub(crate) fn words(edge: &Serving) {
    let answer = edge.get("/api/v1/words?text=one+two&pause_ms=1");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(
        without_ids(answer.text()),
        concat!(
            "event: message_chunk\ndata: {\"content\": \"one\"}\n\n",
            "event: message_chunk\ndata: {\"content\": \"two\"}\n\n",
            "event: finish\ndata: {}\n\n",
        )
    );
    assert_eq!(
        without_ids(edge.get("/api/v1/loud?text=one").text()),
        concat!(
            "event: message_chunk\ndata: {\"content\": \"ONE\"}\n\n",
            "event: remark\ndata: {\"content\": \"the end\"}\n\n",
            "event: finish\ndata: {}\n\n",
        )
    );
    assert_eq!(
        edge.get("/api/v1/count?text=one+two+three").data(),
        json!({ "words": 3, "letters": 11 })
    );

    let lines = [("accept", "application/x-ndjson")];
    let answer = edge.send("GET", "/api/v1/words?text=one", &lines, b"");
    let lines: Vec<serde_json::Value> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| json!([line["event"], line["data"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["message_chunk", { "content": "one" }]),
            json!(["finish", {}]),
        ]
    );

    // Before the first event an error has its own status, through two plugins too.
    for path in ["/api/v1/words?text=", "/api/v1/loud?text="] {
        let answer = edge.get(path);
        assert_eq!(answer.status, 400);
        assert!(
            answer
                .text()
                .starts_with("event: error\ndata: {\"status\": 400")
        );
    }
    assert_eq!(edge.get("/api/v1/count?text=").status, 400);
}

pub(crate) fn files(edge: &Serving) {
    let form = concat!(
        "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n",
        "content-type: text/plain\r\n\r\nfirst\r\n",
        "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"b.bin\"\r\n\r\n",
        "\0\u{1}\r\n--x--\r\n",
    );
    let multipart = [("content-type", "multipart/form-data; boundary=x")];
    let stored = edge.send("POST", "/api/v1/files", &multipart, form.as_bytes());
    let both = json!([{ "name": "a.txt", "size": 5 }, { "name": "b.bin", "size": 2 }]);
    assert_eq!(stored.data(), both);
    assert_eq!(edge.get("/api/v1/files").data(), both);

    let download = edge.get("/api/v1/files/a.txt");
    assert_eq!(download.text(), "first");
    assert_eq!(download.header("content-length"), Some("5"));
    assert_eq!(
        download.header("content-disposition"),
        Some("attachment; filename=\"a.txt\"")
    );
    assert_eq!(edge.get("/api/v1/files/b.bin").body, b"\0\x01");

    let large: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_be_bytes).collect();
    let replaced = edge.send("PUT", "/api/v1/files/a.txt", &[], &large);
    assert_eq!(replaced.status, 201);
    let entry = json!({ "name": "a.txt", "size": large.len() });
    assert_eq!(replaced.json(), entry);
    assert!(edge.get("/api/v1/files/a.txt").body == large);

    assert_eq!(edge.get("/api/v1/files/d").status, 404);
    for name in ["..", ".hidden", "..%2Fescape", "a%5Cb"] {
        let answer = edge.send("PUT", &format!("/api/v1/files/{name}"), &[], b"x");
        assert_eq!(answer.status, 400, "{name}");
    }
}

pub(crate) fn primes(edge: &Serving) {
    assert_eq!(edge.get("/api/v1/primes?below=100").data(), 25);
    assert_eq!(edge.get("/api/v1/primes?below=4000000000").status, 400);

    // While two of them compute, others are answered.
    std::thread::scope(|scope| {
        let heavy = || edge.get("/api/v1/primes?below=3000000").data();
        let (one, two) = (scope.spawn(heavy), scope.spawn(heavy));
        assert_eq!(edge.get("/health").status, 200);
        assert_eq!(one.join().unwrap(), 216_816);
        assert_eq!(two.join().unwrap(), 216_816);
    });
}
