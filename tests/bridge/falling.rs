//! What nobody on the bus answers goes to the bridge, and never round and round.

use framex_test_support::port::Port;
use framex_test_support::raw::Ask;
use framex_test_support::{Server, log};
use serde_json::{Value, json};

use crate::documents::{document, with_paths, write};
use crate::site::{bridge, bridge_to, everything, front, ids, imported, paper, seen, until};

async fn call(server: &Server, target: &str, values: Value) -> framex_test_support::Answer {
    let target = target.replace(' ', "%20");
    let call = server.post(&format!("/api/v1/call?target={target}"));
    call.json(values.to_string()).send().await
}

/// A path that is in no document, from the edge and from a plugin.
#[tokio::test]
async fn paths_that_no_document_has() {
    let server = bridge_to(everything(), "open", json!({})).server("enable_proxy", true);
    let server = server.start().await;
    imported(&server, "open").await;
    let hidden = server.ask("GET", "/hidden?x='1'&x=2").header("X-Two", "1");
    let hidden = hidden.send().await.json();
    assert_eq!(
        (&hidden["path"], &hidden["query"]),
        (&json!("/hidden"), &json!("x='1'&x=2"))
    );
    // FastAPI's document does not say that this one takes more than one segment.
    assert_eq!(
        server.get("/files/a/b%20c.txt").send().await.json(),
        "a/b c.txt"
    );
    let called = call(&server, "GET /hidden", json!({ "x": 5 })).await.data();
    assert_eq!(
        (&called["path"], &called["query"]),
        (&json!("/hidden"), &json!("x=5"))
    );
    // Its own answer, whatever it is.
    let nowhere = server.get("/not/there").send().await;
    assert_eq!(
        (nowhere.status, nowhere.json()),
        (404, json!({"detail": "Not Found"}))
    );
    let nowhere = call(&server, "GET /not/there", json!({})).await;
    assert_eq!(nowhere.json()["code"], "upstream_error");
    assert_eq!(nowhere.status, 404);
    let wrong = server.ask("DELETE", "/hidden").send().await;
    assert_eq!(wrong.status, 405);
    // What is disabled is so with a query, too.
    let target = "GET /openapi.json?x=1";
    let refused = call(&server, target, json!({})).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (404, &json!("unknown_api"))
    );
    // A template is an operation's, whatever its parameters are called, or nobody's.
    let item = call(&server, "GET /items/{id}", json!({ "id": 5 })).await;
    assert_eq!(item.data(), json!({ "item": 5 }), "{}", item.lossy());
    let place = json!({ "city": "a", "country": "b" });
    let place = call(&server, "/places/{city}/{country}", place).await;
    assert_eq!(place.data(), json!(["a", "b"]), "by their positions");
    let nobodys = call(&server, "POST /users/{id}", json!({ "x": 5 })).await;
    assert_eq!(
        (nobodys.status, &nobodys.json()["code"]),
        (404, &json!("unknown_api"))
    );
    // Ids are for the bus alone.
    let id = call(&server, "nobody.Nobody.nothing", json!({})).await;
    assert_eq!(
        (id.status, &id.json()["code"]),
        (404, &json!("unknown_api"))
    );
    server.stop().await;

    // Only where it is told to.
    assert_eq!(front().get("/hidden?count=told").send().await.status, 404);
    let unknown = call(front(), "GET /hidden", json!({ "count": "told" })).await;
    assert_eq!(
        (unknown.status, &unknown.json()["code"]),
        (404, &json!("unknown_api"))
    );
    assert_eq!(seen("told").await, 0);
}

/// Of several that allow a path, the one whose prefix says most of it gets it.
#[tokio::test]
async fn the_longest_prefix_gets_a_path() {
    let (url, other) = (everything().url(), paper().url());
    let server = bridge(json!({ "refresh": "200ms", "proxy_urls": {
        url: { "name": "everything", "enable": ["/*"], "disable": ["/text"], "prefix": "/up" },
        other: { "name": "paper", "enable": ["/*"], "docs_path": "/none" },
    }}));
    let server = server
        .server("enable_proxy", true)
        .rule("/up/ruled", &["key"]);
    let server = server.start().await;
    imported(&server, "everything").await;
    // A rule without a route holds there.
    let told = log::lines_with("`/up/ruled`");
    assert!(told[0].contains("for what goes to the bridge"), "{told:?}");
    assert_eq!(server.get("/up/ruled").send().await.status, 401);
    let hidden = server.get("/up/hidden?x=1").send().await.json();
    assert_eq!(hidden["path"], "/hidden");
    let called = call(&server, "GET /up/hidden", json!({})).await.data();
    assert_eq!(called["path"], "/hidden");
    // What it does not allow is the next one's.
    let text = server.get("/up/text").send().await.json();
    assert_eq!(text["path"], "/up/text");
    server.stop().await;
}

/// Two systems of which each is the other's upstream.
struct Pair {
    one: Server,
    two: Server,
}

impl Pair {
    /// The first of them has `more` upstreams.
    async fn start(more: Value) -> Self {
        // Each has to know where the other one will be.
        let ports = [Port::reserve(), Port::reserve()];
        let start = async |own: &Port, other: &Port, name: &str, more: &Value| {
            let mut upstreams = more.clone();
            let other = format!("http://{}", other.address());
            upstreams[other] = json!({ "name": name, "enable": ["/*"] });
            let server = bridge(json!({ "proxy_urls": upstreams, "refresh": "200ms" }))
                .server("port", own.number())
                .server("enable_proxy", true);
            server.start().await
        };
        let one = start(&ports[0], &ports[1], "two", &more).await;
        let two = start(&ports[1], &ports[0], "one", &json!({})).await;
        Self { one, two }
    }

    async fn requests(&self) -> f64 {
        let mut sum = 0.0;
        for server in [&self.one, &self.two] {
            let metrics = server.get("/metrics").send().await;
            let of = metrics.text().lines().filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                let counts = name.starts_with("framex_upstream_requests_total");
                counts.then(|| value.parse::<f64>().unwrap())
            });
            sum += of.sum::<f64>();
        }
        sum
    }
}

/// 508 with the path, after a few requests and not a storm of them.
#[tokio::test]
async fn never_round_and_round() {
    let pair = Pair::start(json!({})).await;
    // Each has read what the other one has.
    imported(&pair.one, "two").await;
    imported(&pair.two, "one").await;
    for server in [&pair.one, &pair.two] {
        let before = pair.requests().await;
        let answer = server.get("/nobody/has/this?x=1").send().await;
        assert_eq!(answer.status, 508, "{}", answer.lossy());
        let body = answer.json();
        assert_eq!(body["code"], "loop_detected", "{body}");
        assert!(body.to_string().contains("/nobody/has/this"), "{body}");
        let called = call(server, "GET /nobody/has/this", json!({})).await;
        assert_eq!(called.status, 508, "{}", called.lossy());
        let message = called.json()["message"].to_string();
        assert!(message.contains("/nobody/has/this"), "{message}");
        // Documents are looked at meanwhile.
        let sent = pair.requests().await - before;
        assert!(sent <= 12.0, "{sent} requests");
    }
    // What one of them has is there for both, and asked for once.
    for server in [&pair.one, &pair.two] {
        let echo = server
            .post("/api/v1/call?target=proxy.ProxyPlugin.upstreams")
            .json("{}");
        assert_eq!(echo.send().await.status, 200);
    }
    pair.two.stop().await;
    pair.one.stop().await;
}

/// What one of the two no longer has does not live on because each believes the other.
#[tokio::test]
async fn nothing_lives_on_in_a_mirror() {
    let get = json!({ "get": { "responses": { "200": { "description": "ok" } } } });
    let both = with_paths(json!({ "/lives": get, "/dies": get }));
    let at = write("mirrored", "application/json", &both).await;
    let rules = json!({ "name": "paper", "enable": ["/lives", "/dies"], "docs_path": at });
    let pair = Pair::start(json!({ paper().url(): rules })).await;
    let has = async |server: &Server, path: &str| {
        let document = document(server).await;
        document["paths"][path].is_object()
    };
    for server in [&pair.one, &pair.two] {
        until("it is there", async || {
            has(server, "/dies").await.then_some(())
        })
        .await;
        assert_eq!(server.get("/dies?x=1").send().await.json()["path"], "/dies");
    }
    write(
        "mirrored",
        "application/json",
        &with_paths(json!({ "/lives": get })),
    )
    .await;
    for server in [&pair.one, &pair.two] {
        until("it is gone", async || {
            (!has(server, "/dies").await).then_some(())
        })
        .await;
        assert!(has(server, "/lives").await);
    }
    // Their operations of each other do not pile up.
    let (one, two) = (ids(&pair.one).await, ids(&pair.two).await);
    assert!(one.len() < 20 && two.len() < 20, "{one:?} {two:?}");
    pair.two.stop().await;
    pair.one.stop().await;
}

/// Three in a row: what the last one has is reached through the first.
#[tokio::test]
async fn through_two_bridges() {
    let last = bridge_to(everything(), "everything", json!({}))
        .start()
        .await;
    imported(&last, "everything").await;
    let url = format!("http://{}", last.address());
    let first = bridge(json!({ "refresh": "300ms", "proxy_urls": {
        url: { "name": "middle", "enable": ["/*"], "disable": ["/api/v1/proxy/*"] },
    }}));
    let first = first.server("enable_proxy", true).start().await;
    imported(&first, "middle").await;
    let seen = until("it is there", async || {
        let answer = first.get("/mirror/a%20b?x='1'").send().await;
        (answer.status == 200).then(|| answer.json())
    })
    .await;
    assert_eq!(
        (&seen["path"], &seen["query"]),
        (&json!("/mirror/a%20b"), &json!("x='1'"))
    );
    let headers = seen["headers"].as_array().unwrap();
    let trail = headers
        .iter()
        .find(|pair| pair[0] == "x-framex-trail")
        .unwrap();
    assert_eq!(trail[1].as_str().unwrap().split(',').count(), 2);
    let document = first.get("/api/v1/openapi.json").send().await.json();
    let operation = &document["paths"]["/mirror/{rest}"]["get"];
    assert_eq!(
        operation["x-framex-via"].as_array().unwrap().len(),
        2,
        "{operation}"
    );
    let last_address = last.address().to_string();
    assert!(!document.to_string().contains(&last_address));
    first.stop().await;
    last.stop().await;
}

/// A request that says where it has been is believed.
#[tokio::test]
async fn too_many_bridges() {
    let trail: Vec<String> = (0..8).map(|n| format!("{n:016x}")).collect();
    let ask = Ask::new(front().address(), "GET", "/text?count=trailed");
    let answer = ask.header("X-FrameX-Trail", &trail.join(", ")).send().await;
    assert_eq!(answer.status, 508, "{}", answer.lossy());
    assert_eq!(seen("trailed").await, 0);
}
