//! What needs a key upstream is not open here by mistake, and nothing here tells where things are.

use framex_test_support::raw::Ask;
use framex_test_support::{Server, log};
use serde_json::{Value, json};

use crate::documents::{with_paths, write};
use crate::site::{KEY, bridge, bridge_to, everything, imported, paper, seen, until_status};

async fn document(server: &Server) -> String {
    let document = server.get("/api/v1/openapi.json").send().await;
    document.text().to_owned()
}

/// X17: nothing here protects it, so it is not there: not as a route, not in the document, and
/// not by the way of what nobody answers, however it is written.
#[tokio::test]
async fn held_back() {
    for (name, keys) in [
        ("keyed", json!({"/secure/*": [KEY]})),
        ("keyless", json!({})),
    ] {
        let rules = json!({ "auth": { "rules": keys } });
        let server = bridge_to(everything(), name, rules);
        let server = server.server("enable_proxy", true).start().await;
        imported(&server, name).await;
        for target in [
            "/secure/data",
            "/secure/data?count=held",
            "/%73ecure/data?count=held",
            "/secure%2Fdata?count=held",
            "//secure/data?count=held",
            "/x/../secure/data?count=held",
            "/secure/./data?count=held",
            "/mirror/../secure/data?count=held",
        ] {
            for method in ["GET", "HEAD"] {
                let ask = server.ask(method, target).header("Authorization", KEY);
                let answer = ask.send().await;
                let refused = matches!(answer.status, 400 | 404);
                assert!(refused, "{name} {method} {target}: {}", answer.status);
            }
        }
        assert!(!document(&server).await.contains("/secure/"));
        let told = log::lines_with(&format!("proxy.{name}.secure_data_secure_data_get"));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("held back") && told[0].contains("/secure/data"),
            "{told:?}"
        );
        // Whoever may call plugins' APIs is inside: the key goes along, where there is one.
        let call = server.post(&format!(
            "/api/v1/call?target=proxy.{name}.secure_data_secure_data_get"
        ));
        let answer = call.json("{}").send().await;
        match name {
            "keyed" => assert_eq!(answer.data(), json!({"secret": "data"})),
            _ => assert!(
                matches!(answer.status, 401 | 403 | 422),
                "{}",
                answer.lossy()
            ),
        }
        server.stop().await;
    }
    assert_eq!(seen("held").await, 0);
}

/// With a rule of ours it is published; the client's key opens ours, our key the upstream's.
#[tokio::test]
async fn protected_here_too() {
    let rules = json!({ "auth": { "rules": { "/secure/*": [KEY] } } });
    let server = bridge_to(everything(), "shut", rules)
        .rule("/secure/data", &["client-key"])
        .start()
        .await;
    imported(&server, "shut").await;
    for wrong in ["", KEY, "Bearer other"] {
        let answer = server
            .get("/secure/data?count=shut")
            .header("Authorization", wrong);
        let answer = answer.send().await;
        assert_eq!(answer.status, 401, "{wrong}: {}", answer.lossy());
    }
    assert_eq!(seen("shut").await, 0);
    let answer = server
        .get("/secure/data")
        .header("Authorization", "client-key");
    assert_eq!(answer.send().await.json(), json!({"secret": "data"}));
    // The other one is still held back.
    assert_eq!(server.get("/secure/other").send().await.status, 404);
    let document: Value = serde_json::from_str(&document(&server).await).unwrap();
    assert!(document["paths"]["/secure/data"]["get"]["security"].is_array());
    assert!(document["paths"]["/secure/other"].is_null());
    server.stop().await;
}

/// With a rule, but no key of ours: the upstream decides, and its refusal comes through.
#[tokio::test]
async fn protected_here_without_a_key_for_there() {
    let server = bridge_to(everything(), "closed", json!({}));
    let server = server.rule("/secure/*", &["client-key"]).start().await;
    imported(&server, "closed").await;
    let answer = server
        .get("/secure/data")
        .header("Authorization", "client-key");
    let answer = answer.send().await;
    assert!(matches!(answer.status, 401 | 403), "{}", answer.lossy());
    assert!(answer.json()["detail"].is_string());
    server.stop().await;
}

/// What is said to be public is open here, and still gets the upstream's key.
#[tokio::test]
async fn said_to_be_public() {
    let rules = json!({ "public": ["/secure/other"], "auth": { "rules": { "/secure/*": [KEY] } } });
    let server = bridge_to(everything(), "public", rules).start().await;
    imported(&server, "public").await;
    let other = server
        .get("/secure/other")
        .header("Authorization", "anything");
    assert_eq!(other.send().await.json(), "other");
    assert_eq!(server.get("/secure/data").send().await.status, 404);
    // The key is for those paths alone.
    let mirror = server.get("/mirror/x").send().await.json();
    assert!(!mirror["headers"].to_string().contains(KEY));
    server.stop().await;
}

/// A document that says that everything needs a key, and only by a rule of its root.
#[tokio::test]
async fn a_rule_of_the_whole_document() {
    let get = |security: Value| {
        let mut get = json!({ "get": { "responses": { "200": { "description": "ok" } } } });
        if !security.is_null() {
            get["get"]["security"] = security;
        }
        get
    };
    let text = json!({
        "openapi": "3.1.0", "info": { "title": "Secured", "version": "1" },
        "security": [{ "key": [] }],
        "components": { "securitySchemes": {
            "key": { "type": "apiKey", "in": "header", "name": "x-key" },
        }},
        "paths": {
            "/inherits": get(Value::Null), "/opens": get(json!([])), "/may": get(json!([{ "key": [] }, {}])),
        },
    });
    let at = "/~documents/secured";
    let kept = paper().ask("PUT", at).json(text.to_string());
    assert_eq!(kept.send().await.status, 204);
    let rules = json!({ "docs_path": at });
    let server = bridge_to(paper(), "secured", rules).start().await;
    imported(&server, "secured").await;
    assert_eq!(server.get("/opens").send().await.status, 200);
    assert_eq!(server.get("/may").send().await.status, 200);
    assert_eq!(server.get("/inherits").send().await.status, 404);
    server.stop().await;
}

/// What is not published is not reached by another reading of what is.
#[tokio::test]
async fn other_readings() {
    let get = json!({ "get": { "responses": { "200": { "description": "ok" } } } });
    let paths =
        json!({ "/{one}": get, "/{one}/{two}": get, "/admin/keys": get, "/admin/{what}": get });
    let at = write("readings", "application/json", &with_paths(paths)).await;
    let rules = json!({ "docs_path": at, "disable": ["/admin/*"] });
    for falls_back in [false, true] {
        let server =
            bridge_to(paper(), "readings", rules.clone()).server("enable_proxy", falls_back);
        let server = server.start().await;
        imported(&server, "readings").await;
        assert_eq!(server.get("/a").send().await.json()["path"], "/a");
        assert_eq!(
            server.get("/a%20c/b").send().await.json()["path"],
            "/a%20c/b"
        );
        for target in [
            "/admin/keys",
            "/admin%2Fkeys",
            "/admin%2fkeys",
            "/%61dmin/keys",
            "/admin%2F%2Fkeys",
            "//admin/keys",
            "/x/..%2Fadmin/keys",
            "/x%2F..%2Fadmin%2Fkeys",
            "/admin\\keys",
            "/admin%5Ckeys",
            "/admin;x/keys",
            "/./admin/keys",
            "/admin/./keys",
        ] {
            let answer = server.get(target).send().await;
            assert!(
                matches!(answer.status, 400 | 404),
                "{target}: {}",
                answer.lossy()
            );
            assert!(
                !answer.lossy().contains("\"path\":"),
                "{target}: {}",
                answer.lossy()
            );
        }
        server.stop().await;
    }
}

/// A template that is open does not open what is not, where both stand for a path.
#[tokio::test]
async fn a_public_template_beside_a_secret() {
    let get = json!({ "get": { "responses": { "200": { "description": "ok" } } } });
    let at = write(
        "beside",
        "application/json",
        &with_paths(json!({ "/{one}/{two}": get, "/secret/data": get })),
    )
    .await;
    let rules = json!({
        "docs_path": at, "public": ["/{one}/{two}"], "auth": { "rules": { "/*": ["the-key"] } },
    });
    for falls_back in [false, true] {
        let server = bridge_to(paper(), "beside", rules.clone()).server("enable_proxy", falls_back);
        let server = server.start().await;
        imported(&server, "beside").await;
        assert_eq!(server.get("/a/b").send().await.json()["key"], "the-key");
        for target in ["/secret/data", "/%73ecret/data", "/secret/%64ata"] {
            let answer = server.get(target).send().await;
            assert!(
                !answer.lossy().contains("the-key"),
                "{target}: {}",
                answer.lossy()
            );
            assert!(
                matches!(answer.status, 400 | 404),
                "{target}: {}",
                answer.lossy()
            );
        }
        server.stop().await;
    }
}

/// What its document holds back is not reached by its siblings, nor by what nobody answers.
#[tokio::test]
async fn what_is_not_published_beside_a_template() {
    let get = json!({ "get": { "responses": { "200": { "description": "ok" } } } });
    let mut guarded = get.clone();
    guarded["get"]["security"] = json!([{ "key": [] }]);
    let at = write(
        "siblings",
        "application/json",
        &with_paths(json!({
            "/items/{id}": get, "/items/secret": get, "/items/guarded": guarded,
            "/users/{id}": get, "/users/me": get,
        })),
    )
    .await;
    let rules = json!({
        "docs_path": at, "enable": ["/items/{id}", "/items/guarded", "/users/*", "/other/*"],
        "disable": ["/users/{id}"], "auth": { "rules": { "/items/*": ["the-key"] } },
        "public": ["/items/{id}"],
    });
    let server = bridge_to(paper(), "siblings", rules).server("enable_proxy", true);
    let server = server.start().await;
    imported(&server, "siblings").await;
    assert_eq!(server.get("/items/5").send().await.json()["key"], "the-key");
    assert_eq!(server.get("/users/me").send().await.status, 200);
    assert_eq!(server.get("/other/x").send().await.status, 200);
    for target in [
        "/items/secret",
        "/items/%73ecret",
        "/items/secret/",
        "/items/secret;a",
        "/items/guarded",
        "/items/Guarded",
        "/items/guarded/",
        "/items/guarded;a",
        "/users/5",
        "/users/5/",
        "/%75sers/5",
    ] {
        for method in ["GET", "HEAD"] {
            let answer = server.ask(method, target).send().await;
            assert_eq!(answer.status, 404, "{method} {target}: {}", answer.lossy());
        }
    }
    server.stop().await;
}

/// The upstream's own document, and what the edge has of its own, by whatever name.
#[tokio::test]
async fn documents_of_upstreams() {
    let server = bridge_to(everything(), "papers", json!({})).server("enable_proxy", true);
    let server = server.start().await;
    imported(&server, "papers").await;
    for target in [
        "/openapi.json",
        "/%6fpenapi.json",
        "/openapi.json/",
        "/openapi.json;x",
        "/%64ocs",
        "/%72edoc",
        "/docs%2Foauth2-redirect",
        "/api/v1/proxy/remote",
        "/api/v1/proxy/%72emote/",
        "/API/v1/proxy/refresh",
    ] {
        for method in ["GET", "POST"] {
            let answer = server.ask(method, target).send().await;
            assert!(
                matches!(answer.status, 400 | 404),
                "{method} {target}: {}",
                answer.lossy()
            );
            // An answer of ours, not the upstream's.
            assert!(answer.json()["request_id"].is_string(), "{target}");
        }
    }
    server.stop().await;
}

/// Addresses, keys and the words of libraries stay inside.
#[tokio::test]
async fn nothing_tells_where_things_are() {
    let mut upstream = crate::site::application("everything");
    upstream.start();
    let rules = json!({ "auth": { "rules": { "/secure/*": [KEY] } } });
    let server = bridge_to(&upstream, "inside", rules);
    let server = server.server("enable_proxy", true).start().await;
    imported(&server, "inside").await;
    let (address, port) = (
        upstream.address().to_string(),
        upstream.address().port().to_string(),
    );
    let mut texts = vec![document(&server).await];
    upstream.stop();
    let down = until_status(&server, "/text", 502).await;
    texts.push(down.text().to_owned());
    for target in ["/docs", "/redoc", "/ready", "/metrics", "/catalog"] {
        texts.push(server.get(target).send().await.lossy());
    }
    let fallen = server.get("/nowhere/at/all").send().await;
    texts.push(format!("{:?} {}", fallen.headers, fallen.lossy()));
    let called = server
        .post("/api/v1/call?target=GET%20/text")
        .json("{}")
        .send()
        .await;
    assert_eq!(called.status, 502, "{}", called.lossy());
    texts.push(called.lossy());
    let catalog = Ask::new(server.dashboard(), "GET", "/catalog").send().await;
    texts.push(catalog.lossy());
    for text in texts {
        for word in [&*address, &port, KEY, "hyper", "os error"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
    server.stop().await;
}

/// Settings that would not do what they say stop the start, and are named.
#[tokio::test]
async fn wrong_settings() {
    let url = "http://127.0.0.1:9";
    for (proxy, named) in [
        (
            json!({ "proxy_urls": { url: { "enable": ["/x*"] } } }),
            "/x*",
        ),
        (
            json!({ "proxy_urls": { url: { "disable": ["x"] } } }),
            "disable",
        ),
        (
            json!({ "proxy_urls": { url: { "public": ["/a/*/b"] } } }),
            "/a/*/b",
        ),
        (json!({ "proxy_urls": { url: { "enabel": [] } } }), "enabel"),
        (json!({ "proxy_urls": ["ftp://x"] }), "ftp://x"),
        (json!({ "proxy_urls": [url], "white_list": ["*x"] }), "*x"),
        (
            json!({ "proxy_urls": [url], "auth": { "rules": { "/x*": ["k"] } } }),
            "/x*",
        ),
        (
            json!({ "proxy_urls": [url], "timeout": "never" }),
            "timeout",
        ),
        (
            json!({ "proxy_functions": { "gopher://x": ["f"] } }),
            "gopher",
        ),
    ] {
        let error = match bridge(proxy.clone()).try_start().await {
            Ok(_) => panic!("{proxy} starts"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(named), "{named}: {error}");
        assert!(error.contains("proxy"), "{error}");
    }
}
