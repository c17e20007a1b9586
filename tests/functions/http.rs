//! Over HTTP, where a rule of the other system lets this one in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use framex_test_support::{Server, patiently};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::desk::{ALL, Desk, echoed, logged, system, until_logged};

const REMOTE: &str = "/api/v1/proxy/remote";

/// A system that runs functions for whoever has the key.
async fn far() -> Server {
    system(json!({})).rule(REMOTE, &["s3cret"]).start().await
}

/// `[plugins.proxy]` by which all functions run at `address`.
fn away(address: impl std::fmt::Display, key: &str) -> Value {
    json!({
        "proxy_functions": {format!("http://{address}"): ALL},
        "auth": {"rules": {REMOTE: [key]}},
        "timeout": "2s",
    })
}

async fn near(far: &Server) -> Server {
    system(away(far.address(), "s3cret")).start().await
}

/// Status and code.
async fn outcome(server: &Server, path: &str) -> (u16, Value) {
    let answer = server.get(path).send().await;
    let text = answer.lossy();
    assert!(
        !text.contains("127.0.0.1") && !text.contains("s3cret"),
        "{text}"
    );
    (answer.status, answer.json()["code"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_run_on_another_system() {
    let far = far().await;
    let near = near(&far).await;
    assert_eq!(echoed(&far).await, "desk", "here");
    assert_eq!(echoed(&near).await, "proxy", "there");
    let unit = near.get("/api/v1/desk/unit").send().await;
    assert_eq!((unit.status, unit.data()), (200, Value::Null));
    let asking = near.get("/api/v1/desk/asking").send().await;
    assert_eq!(asking.data(), 7, "it calls what it needs there");
    // Whatever it looks like, a result is a result.
    for result in [
        json!("error proxy"),
        json!({"status": 500, "data": [1]}),
        json!([]),
        json!(1e300),
    ] {
        let answer = near.post("/api/v1/desk/fickle").json(result.to_string());
        assert_eq!(answer.send().await.data(), result);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_there_is_one_here_and_happened_once() {
    let far = far().await;
    let near = near(&far).await;
    for status in [400, 401, 403, 404, 405, 409, 422, 429, 500, 503] {
        let label = format!("http {status}");
        let path = format!("/api/v1/desk/refuse?label=http%20{status}&status={status}");
        let answer = near.get(&path).send().await;
        assert_eq!(answer.status, status);
        let told = answer.json();
        assert_eq!(
            (&told["code"], &told["message"]),
            (&json!("closed"), &json!("the desk is closed"))
        );
        assert_eq!(told["detail"], json!({"until": 8}));
        assert_eq!(answer.header("x-framex-function"), None);
        assert_eq!(logged(&label), ["ran"]);
    }
    assert_eq!(
        outcome(&near, "/api/v1/desk/panic?label=http%20panic").await,
        (500, json!("internal"))
    );
    assert_eq!(logged("http panic"), ["ran"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_rule_nobody_is_let_in() {
    let open = system(json!({})).start().await;
    let call = json!({"func_name": "unit", "data": {}}).to_string();
    assert_eq!(
        open.post(REMOTE).json(call.clone()).send().await.status,
        404
    );
    let document = open.get("/api/v1/openapi.json").send().await.json();
    assert!(document["paths"].get(REMOTE).is_none());
    let near = system(away(open.address(), "s3cret")).start().await;
    assert_eq!(
        outcome(&near, "/api/v1/desk/unit").await,
        (502, json!("upstream_refused"))
    );

    let far = far().await;
    assert_eq!(far.post(REMOTE).json(call.clone()).send().await.status, 401);
    let right = far
        .post(REMOTE)
        .header("authorization", "s3cret")
        .json(call);
    let right = right.send().await.json();
    assert_eq!(
        (&right["status"], &right["data"]),
        (&json!(200), &Value::Null)
    );
    // What only this system may not is not the fault of its clients.
    let wrong = system(away(far.address(), "other")).start().await;
    assert_eq!(
        outcome(&wrong, "/api/v1/desk/unit").await,
        (502, json!("upstream_refused"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_looked_up_and_nothing_else() {
    let far = far().await;
    let ask = async |body: Value| {
        let ask = far.post(REMOTE).header("authorization", "s3cret");
        ask.json(body.to_string()).send().await
    };
    let unknown = ask(json!({"func_name": "logging.FileHandler", "data": {"x": 1}})).await;
    assert_eq!(
        (unknown.status, &unknown.json()["code"]),
        (404, &json!("unknown_function"))
    );
    assert!(unknown.lossy().contains("`logging.FileHandler`"));
    let long = ask(json!({"func_name": "x".repeat(10_000), "data": {}})).await;
    assert!(long.status == 404 && long.lossy().len() < 500);
    let wrong =
        ask(json!({"func_name": "desk.echo", "data": {"note": {}, "times": -1, "__class__": 1}}))
            .await;
    assert_eq!(wrong.status, 422);
    let places: Vec<String> = wrong
        .problems()
        .into_iter()
        .map(|(_, place, _)| place)
        .collect();
    assert_eq!(places.len(), 3, "{places:?}");
    for body in [
        json!({"func_name": "unit"}),
        json!({"func_name": 1, "data": {}}),
        json!([]),
        json!({"func_name": "unit", "data": {}, "more": 1}),
        json!({"func_name": "unit", "data": 1}),
    ] {
        assert_eq!(ask(body.clone()).await.status, 422, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_stops_what_runs_there() {
    let far = far().await;
    let near = near(&far).await;
    let sleep = near.get("/api/v1/desk/sleep?label=http%20leave&millis=15000");
    let connection = sleep.start().await;
    until_logged("http leave", &["asleep"]).await;
    drop(connection);
    until_logged("http leave", &["asleep", "gone"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_slow_is_stopped() {
    let far = far().await;
    let near = near(&far).await;
    let begun = Instant::now();
    let slow = outcome(&near, "/api/v1/desk/sleep?label=http%20slow&millis=15000").await;
    assert_eq!(slow, (504, json!("upstream_timeout")));
    assert!(begun.elapsed() < Duration::from_secs(5));
    until_logged("http slow", &["asleep", "gone"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_not_there_is_told() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let near = system(away(free, "s3cret")).start().await;
    let ready = async || near.get("/ready").send().await.lossy();
    assert!(!ready().await.contains("upstream_"));
    assert_eq!(
        outcome(&near, "/api/v1/desk/unit").await,
        (502, json!("upstream_unreachable"))
    );
    for _ in 0..5 {
        near.get("/api/v1/desk/unit").send().await;
    }
    assert_eq!(
        outcome(&near, "/api/v1/desk/unit").await,
        (502, json!("upstream_down"))
    );
    let told = ready().await;
    assert!(
        told.contains("upstream_") && !told.contains("127.0.0.1"),
        "{told}"
    );
    let metrics = near.get("/metrics").send().await.lossy();
    let open = metrics
        .lines()
        .find(|line| line.starts_with("framex_upstream_circuit_open{"));
    assert!(open.is_some_and(|line| line.ends_with(" 1.0")), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_a_circle_ends() {
    // Ports that each has to know before the other one is there.
    let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (one, two) = (listen().await, listen().await);
    let port = |listener: TcpListener| listener.local_addr().unwrap().port();
    let (one, two) = (port(one), port(two));
    let start = async |own: u16, other: u16, names: [&str; 2]| {
        let proxy = json!({
            "proxy_functions": {format!("http://127.0.0.1:{other}"): names},
            "auth": {"rules": {"*": ["s3cret"]}},
        });
        system(proxy)
            .rule(REMOTE, &["s3cret"])
            .server("port", own)
            .start()
            .await
    };
    let a = start(one, two, ["ping", "unit"]).await;
    let _b = start(two, one, ["pong", "unit"]).await;
    let unit = a.get("/api/v1/desk/unit").send().await;
    assert_eq!(
        (unit.status, &unit.json()["code"]),
        (508, &json!("loop_detected"))
    );
    assert_eq!(
        outcome(&a, "/api/v1/desk/ping?label=http%20ping").await,
        (508, json!("loop_detected"))
    );
    assert_eq!(logged("http ping"), ["ping", "pong"]);
}

/// A server that reads one request of each connection and says `answer`.
async fn scripted(answer: &'static str) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            serve(&mut client, answer, &counted).await;
        }
    });
    (address, asked)
}

async fn serve(client: &mut TcpStream, answer: &str, asked: &AtomicUsize) {
    let mut request = Vec::new();
    while !request.ends_with(b"\"data\":{}}") {
        if client.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let text = String::from_utf8(request).unwrap().to_lowercase();
    assert!(
        text.starts_with("post /api/v1/proxy/remote http/1.1\r\n"),
        "{text}"
    );
    for header in [
        "authorization: s3cret\r\n",
        "x-framex-trail: ",
        "x-request-id: from-far\r\n",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-",
    ] {
        assert!(text.contains(header), "{header} in {text}");
    }
    assert!(
        !text.contains("cookie") && !text.contains("of the client"),
        "{text}"
    );
    asked.fetch_add(1, Ordering::Relaxed);
    let _ = client.write_all(answer.as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_never_a_result() {
    let html = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi";
    let bare = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\nnull";
    let elsewhere = "HTTP/1.1 307 Temporary Redirect\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n";
    let gateway = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 7\r\n\r\n<html/>";
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"status\":200,\"data\":nu";
    for answer in [html, bare, elsewhere, gateway, short, "", "what?\r\n\r\n"] {
        let (address, asked) = scripted(answer).await;
        let near = system(away(address, "s3cret")).start().await;
        let ask = near
            .get("/api/v1/desk/unit")
            .header("x-request-id", "from-far")
            .header("cookie", "a=of the client")
            .header("authorization", "of the client")
            .header(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            );
        let answered = patiently("an answer", ask.send()).await;
        let code = &answered.json()["code"];
        assert_eq!(
            (answered.status, code),
            (502, &json!("upstream_broken")),
            "{answer}"
        );
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_without_the_bridge_runs_nothing() {
    let plain = Server::of::<Desk>().await;
    assert_eq!(echoed(&plain).await, "desk");
    let near = system(away(plain.address(), "s3cret")).start().await;
    assert_eq!(
        outcome(&near, "/api/v1/desk/unit").await,
        (502, json!("upstream_refused"))
    );
}
