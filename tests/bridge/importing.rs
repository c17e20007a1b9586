//! Documents become APIs: whole, partly, again, and not at all.

use framex_test_support::log;
use framex_test_support::python::{python_tool, run};
use serde_json::{Value, json};

use crate::documents::{document, to_paper, write};
use crate::site::{bridge, bridge_to, clash, everything, front, ids, imported, paper, ready, seen};

/// A document of OpenAPI 3.0, as people write them.
const LEGACY: &str = include_str!("upstream/legacy.yaml");

/// The whole application is there: in the catalog, and in a document that is valid.
#[tokio::test]
async fn a_whole_application() {
    let theirs = everything().ask("GET", "/openapi.json").send().await.json();
    let answer = front().get("/api/v1/openapi.json").send().await;
    let ours = answer.json();
    let mut count = 0;
    for (path, item) in theirs["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let found = &ours["paths"][path][method];
            if path == "/secure/data" {
                assert!(found.is_null(), "{path} is held back");
                continue;
            }
            assert!(found.is_object(), "{method} {path}");
            count += 1;
            assert_eq!(found["summary"], operation["summary"], "{method} {path}");
            let names = |operation: &Value| -> Vec<(String, String)> {
                let parameters = operation["parameters"].as_array();
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let pairs = parameters.into_iter().flatten();
                pairs.map(|p| (text(&p["in"]), text(&p["name"]))).collect()
            };
            for name in names(operation) {
                assert!(names(found).contains(&name), "{method} {path}: {name:?}");
            }
            let types = |body: &Value| -> Vec<String> {
                let content = body["content"].as_object();
                content
                    .into_iter()
                    .flatten()
                    .map(|(t, _)| t.clone())
                    .collect()
            };
            assert_eq!(
                types(&found["requestBody"]),
                types(&operation["requestBody"])
            );
            assert_eq!(
                types(&found["responses"]["200"]),
                types(&operation["responses"]["200"]),
                "{method} {path}"
            );
        }
    }
    let of_upstream = |id: &String| id.starts_with("proxy.everything.");
    assert_eq!(
        ids(front())
            .await
            .iter()
            .filter(|id| of_upstream(id))
            .count(),
        count + 1
    );
    let text = answer.text();
    assert!(!text.contains(&everything().address().to_string()));
    assert!(!text.contains("127.0.0.1"), "an address in the document");

    let tool = python_tool("openapi-spec-validator==0.9.0");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &answer.body).unwrap();
    let mut command = std::process::Command::new(tool.join("openapi-spec-validator"));
    let said = run(command.arg(file.path()));
    assert!(said.contains("OK"), "{said}");
}

/// Two applications with the same names for different things, beside a plugin with the same path.
#[tokio::test]
async fn names_that_clash() {
    let server = bridge(json!({ "proxy_urls": {
        everything().url(): { "name": "one", "enable": ["/*"] },
        clash().url(): { "name": "two", "enable": ["/*"] },
    }}))
    .set("load_builtin_plugins", json!(["proxy", "echo"]))
    .start()
    .await;
    imported(&server, "one").await;
    imported(&server, "two").await;

    // X18: one `operationId`, two operations.
    assert_eq!(server.get("/users").send().await.json(), json!(["ann"]));
    let orders = server.get("/orders").send().await.json();
    assert_eq!(orders, json!({ "orders": ["tea"] }));
    let ids = ids(&server).await;
    for id in [
        "proxy.one.list",
        "proxy.two.list",
        "proxy.one.clash",
        "proxy.two.clash",
    ] {
        assert!(ids.iter().any(|known| known == id), "{id}: {ids:?}");
    }

    // X20: one model's name, two models.
    let document = document(&server).await;
    let resolve = |schema: &Value| -> Value {
        let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        document["components"]["schemas"][name].clone()
    };
    let body = &document["paths"]["/json/clash"]["post"]["requestBody"];
    let one = resolve(&body["content"]["application/json"]["schema"]);
    let reply = &document["paths"]["/orders"]["get"]["responses"]["200"];
    let two = resolve(&reply["content"]["application/json"]["schema"]);
    assert!(one["properties"]["everything"].is_object(), "{one}");
    assert!(two["properties"]["orders"].is_object(), "{two}");

    // X19: a plugin's own names are out of reach, and so are its routes and the edge's.
    let echo = server.get("/api/v1/echo?message=mine").send().await;
    assert_eq!(echo.data(), "mine");
    assert_eq!(server.get("/health").send().await.json(), "ok");
    let operation = &document["paths"]["/api/v1/echo"]["get"];
    assert_eq!(operation["x-framex-api"], "echo.EchoPlugin.echo");
    // Of one path in two upstreams the first has it, and the other is still there by its id.
    let items = document["paths"]["/items/{item_id}"]["get"]["x-framex-api"].clone();
    let call = json!({ "item_id": "7" }).to_string();
    let mut answers = Vec::new();
    for upstream in ["one", "two"] {
        let id = format!("proxy.{upstream}.get_item_items__item_id__get");
        if items == id.as_str() {
            answers.push(server.get("/items/7").send().await.json());
            continue;
        }
        let answer = server
            .post(&format!("/api/v1/call?target={id}"))
            .json(&*call);
        answers.push(answer.send().await.data());
    }
    assert!(answers.contains(&json!({"item": 7})), "{answers:?}");
    assert!(answers.contains(&json!({"sku": "7"})), "{answers:?}");
    server.stop().await;
}

/// A document in YAML, of OpenAPI 3.0, with everything by reference, below a path of its own.
#[tokio::test]
async fn a_legacy_document() {
    let at = write("legacy", "application/yaml", LEGACY).await;
    let server = to_paper("legacy", &at).await;
    imported(&server, "legacy").await;
    let pets = server.get("/pets/5?limit=3").send().await.json();
    assert_eq!(
        (&pets["path"], &pets["query"]),
        (&json!("/legacy/v1/pets/5"), &json!("limit=3"))
    );
    let document = document(&server).await;
    let get = &document["paths"]["/pets/{pet}"]["get"];
    let names: Vec<_> = get["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["name"])
        .collect();
    assert!(
        names.contains(&&json!("pet")) && names.contains(&&json!("limit")),
        "{names:?}"
    );
    let text = document.to_string();
    assert!(
        text.contains("\"Cat\"") && !text.contains("nullable"),
        "{text}"
    );
    // Only what is unusable is missing, and each is told with the reason.
    for path in ["/elsewhere", "/circle", "/bad{template"] {
        assert!(document["paths"][path].is_null(), "{path}");
    }
    let report = server
        .post("/api/v1/call?target=proxy.ProxyPlugin.upstreams")
        .json("{}")
        .send()
        .await
        .data();
    let skipped = report[0]["skipped"].to_string();
    for named in ["/elsewhere", "/circle", "/bad{template"] {
        assert!(skipped.contains(named), "{report}");
    }
    assert!(
        log::lines_with("/elsewhere").len() < 20,
        "told once, not at each look"
    );
    server.stop().await;
}

/// Where its document says that it is.
#[tokio::test]
async fn an_application_below_a_path() {
    let server = bridge_to(crate::site::based(), "based", json!({}))
        .start()
        .await;
    imported(&server, "based").await;
    let answer = server.get("/where/x%20y").send().await.json();
    assert_eq!(answer, json!({"name": "x y", "path": "/v7/where/x%20y"}));
    server.stop().await;
}

/// What is not a document is told, and costs nothing else.
#[tokio::test]
async fn what_is_no_document() {
    for (name, media_type, text) in [
        ("html", "text/html", "<html>not found</html>"),
        (
            "swagger",
            "application/json",
            r#"{"swagger": "2.0", "paths": {}}"#,
        ),
        ("list", "application/json", "[]"),
        ("empty", "application/json", ""),
        (
            "bomb",
            "application/yaml",
            "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nopenapi: *b",
        ),
    ] {
        let at = write(name, media_type, text).await;
        let server = bridge(json!({ "refresh": "200ms", "proxy_urls": {
            paper().url(): { "name": "wrong", "enable": ["/*"], "docs_path": at },
            clash().url(): { "name": "right", "enable": ["/*"] },
        }}));
        let server = server.start().await;
        imported(&server, "right").await;
        let told = ready(&server).await;
        assert_eq!(told["status"], "degraded", "{told}");
        let told = told.to_string();
        assert!(told.contains("wrong"), "{name}: {told}");
        assert!(!told.contains("127.0.0.1"), "{told}");
        assert_eq!(server.get("/orders").send().await.status, 200);
        server.stop().await;
    }
}

/// What is published is what the rules say.
#[tokio::test]
async fn rules() {
    let disable =
        json!({ "enable": ["/json/*", "/text", "/items/{item_id}"], "disable": ["/json/any"] });
    let server = bridge_to(everything(), "ruled", disable).server("enable_proxy", true);
    let server = server.start().await;
    imported(&server, "ruled").await;
    let paths = document(&server).await["paths"].clone();
    for (path, there) in [
        ("/json/object", true),
        ("/text", true),
        ("/items/{item_id}", true),
        ("/json/any", false),
        ("/html", false),
        ("/secure/data", false),
    ] {
        assert_eq!(paths[path].is_object(), there, "{path}");
    }
    assert_eq!(server.get("/items/1").send().await.status, 200);
    // Also where everything that nobody answers goes to the bridge.
    for target in [
        "/html?count=ruled",
        "/%68tml?count=ruled",
        "/hidden?count=ruled",
    ] {
        assert_eq!(server.get(target).send().await.status, 404, "{target}");
    }
    let any = server.post("/json/any?count=ruled").json("1").send().await;
    assert_eq!(any.status, 404);
    assert_eq!(seen("ruled").await, 0);
    server.stop().await;
}
