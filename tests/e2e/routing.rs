//! Paths and methods.

use framex_test_support::Server;
use serde_json::json;

use crate::zoo::Zoo;

#[tokio::test]
async fn methods_of_one_path() {
    let server = Server::of::<Zoo>().await;
    let answer = server.get("/api/v1/items/5").send().await;
    assert_eq!(answer.data(), "5");
    let answer = server.ask("DELETE", "/api/v1/items/5").send().await;
    assert_eq!(answer.data(), json!({"removed": 5}));
    let answer = server.ask("PUT", "/api/v1/items/5").send().await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("DELETE, GET, HEAD, OPTIONS"));
    // Methods are names, and their case counts.
    for method in ["get", "PURGE", "X"] {
        assert_eq!(
            server.ask(method, "/api/v1/items/5").send().await.status,
            405,
            "{method}"
        );
    }
    for method in ["GET", "POST"] {
        assert_eq!(server.ask(method, "/api/v1/both").send().await.data(), 1);
    }
    // What stands there in full beats a parameter.
    let answer = server.get("/api/v1/items/special").send().await;
    assert_eq!(answer.data(), "the special one");
}

#[tokio::test]
async fn head() {
    let server = Server::of::<Zoo>().await;
    let head = async |target: &str| server.ask("HEAD", target).send().await;
    let answer = head("/api/v1/echo?message=hello").await;
    assert_eq!(answer.status, 200);
    let full = server.get("/api/v1/echo?message=hello").send().await;
    assert_eq!(
        answer.header("content-length"),
        full.header("content-length")
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(head("/api/v1/echo").await.status, 422);
    assert_eq!(head("/api/v1/nowhere").await.status, 404);
    assert_eq!(head("/api/v1/model").await.status, 405);
    assert_eq!(head("/health").await.status, 200);
    assert_eq!(head("/docs").await.status, 200);
    assert_eq!(head("/api/v1/response/nothing").await.status, 204);
    // Bodies that are not there do not confuse what comes next.
    let mut connection = server.connect().await;
    for _ in 0..2 {
        connection
            .send("HEAD /api/v1/echo?message=a HTTP/1.1\r\nHost: x\r\n\r\n")
            .await;
        assert_eq!(connection.answer_to_head().await.status, 200);
        connection.send("HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(connection.answer_to_head().await.status, 404);
    }
    // A stream is not started to be thrown away.
    let answer = head("/api/v1/ticks?key=head&ms=1").await;
    assert_eq!(answer.status, 200);
    // Nobody knows its length, so nothing says 0.
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(crate::zoo::seen("head").begun, 0);
}

#[tokio::test]
async fn options() {
    let server = Server::of::<Zoo>().await;
    for (target, allow) in [
        ("/api/v1/items/5", "DELETE, GET, HEAD, OPTIONS"),
        ("/api/v1/model", "OPTIONS, POST"),
        ("/health", "GET, HEAD, OPTIONS"),
    ] {
        let answer = server.ask("OPTIONS", target).send().await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (204, Some(allow)),
            "{target}"
        );
        assert_eq!(answer.body, b"");
    }
    assert_eq!(
        server.ask("OPTIONS", "/api/v1/nowhere").send().await.status,
        404
    );
    // The server as a whole (RFC 9110, 9.3.7).
    let answer = server.ask("OPTIONS", "*").send().await;
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn paths_are_exact() {
    let server = Server::of::<Zoo>().await;
    for path in [
        "/api/v1/echo/?message=a",
        "/api/v1//echo?message=a",
        "//api/v1/echo?message=a",
        "/API/v1/echo?message=a",
        "/api/v1/Echo?message=a",
        "/api/v1/./echo?message=a",
        "/api/v1/x/../echo?message=a",
        "/api/v1/echo%2F?message=a",
        "/api/v1/echo;v=1?message=a",
        "/api/v1/items/",
        "/api/v1/items",
        "/api/v1/files/",
        "/health/",
        "/api/v1/hidden",
    ] {
        let answer = server.get(path).send().await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["status"], 404, "{path}");
    }
    let answer = server.get("/api/v1/echo/").send().await;
    assert!(answer.json()["message"].as_str().unwrap().contains('/'));
    assert_eq!(server.get("/plain").send().await.data(), "no prefix");
}

#[tokio::test]
async fn path_parameters_are_decoded_after_routing() {
    let server = Server::of::<Zoo>().await;
    let get = async |path: &str| server.get(path).send().await;
    assert_eq!(get("/api/v1/items/a%2Fb").await.data(), "a/b");
    assert_eq!(get("/api/v1/items/a%20b+c").await.data(), "a b+c");
    assert_eq!(get("/api/v1/items/%C3%A4").await.data(), "ä");
    assert_eq!(get("/api/v1/items/%00").await.data(), "\0");
    assert_eq!(get("/api/v1/items/..").await.data(), "..");
    assert_eq!(get("/api/v1/files/a/b%2Fc//d").await.data(), "a/b/c//d");
    assert_eq!(
        get("/api/v1/items/%ff").await.kinds(),
        [r#"string_unicode ["path","id"]"#]
    );
    assert_eq!(
        get("/api/v1/items/%zz").await.kinds(),
        [r#"percent_encoding ["path","id"]"#]
    );
    let answer = server.ask("DELETE", "/api/v1/items/x").send().await;
    assert_eq!(answer.kinds(), [r#"int_parsing ["path","id"]"#]);
    let answer = server
        .ask("DELETE", "/api/v1/items/4294967296")
        .send()
        .await;
    assert_eq!(answer.kinds(), [r#"int_out_of_range ["path","id"]"#]);
}

/// Forms of the request's target that proxies and old clients use.
#[tokio::test]
async fn other_forms_of_a_target() {
    let server = Server::of::<Zoo>().await;
    let address = server.address();
    let answer = server
        .get(&format!("http://{address}/api/v1/echo?message=absolute"))
        .send()
        .await;
    assert_eq!(answer.data(), "absolute");
    let answer = server.get(&format!("http://{address}")).send().await;
    assert_eq!(answer.status, 404);
    let answer = server.ask("CONNECT", "example.com:443").send().await;
    assert!((400..500).contains(&answer.status), "{}", answer.status);
    assert_eq!(answer.json()["status"], answer.status);
}
