//! What documents cannot do.

use super::*;

#[test]
fn keys_guard_unless_the_path_is_public() {
    let document = |root: Value, own: Value| {
        let mut document = get(json!({"responses": {}}));
        for (place, security) in [("/security", root), ("/paths/~1x/get/security", own)] {
            let (parent, key) = place.rsplit_once('/').unwrap();
            if !security.is_null() {
                document.pointer_mut(parent).unwrap()[key] = security;
            }
        }
        document
    };
    let guarded = |upstream: &Upstream, document: &Value| {
        only(read_for(upstream, document)).descriptor.guarded
    };
    let asks = json!([{"key": []}]);
    for (root, own, expected) in [
        (Value::Null, Value::Null, false),
        (asks.clone(), Value::Null, true),
        (asks.clone(), json!([]), false),
        (Value::Null, asks.clone(), true),
        (json!([{}]), Value::Null, false),
        (Value::Null, json!([{}, {"key": []}]), false),
        (
            Value::Null,
            json!([{"key": []}, {"other": ["scope"]}]),
            true,
        ),
        (Value::Null, json!({"key": []}), true),
    ] {
        let document = document(root, own);
        assert_eq!(guarded(&upstream(), &document), expected, "{document}");
    }
    let mut upstream = upstream();
    let secured = document(asks, Value::Null);
    upstream.public = rules(&["/x"], &[]);
    assert!(!guarded(&upstream, &secured));
    upstream.public = PathRules::default();
    upstream.keys = KeyRules::parse(&Keys {
        rules: BTreeMap::from([("/x".to_owned(), vec![Secret::new("k")])]),
    })
    .unwrap();
    assert!(guarded(&upstream, &document(Value::Null, Value::Null)));
}

#[test]
fn addresses_are_in_no_text() {
    let mut document = get(json!({
        "operationId": "http://127.0.0.1:9000",
        "summary": "at 127.0.0.1:9000",
        "description": "see http://127.0.0.1:9000/docs",
        "externalDocs": {"url": "http://127.0.0.1:9000/docs"},
        "servers": [{"url": "http://127.0.0.1:9000/inner"}],
        "x-amazon-apigateway-integration": {"uri": "http://10.0.0.1/"},
        "responses": {"200": {"description": "127.0.0.1", "content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/X"}, "example": {"self": "http://127.0.0.1:9000/x/1"},
        }}}},
    }));
    document["info"]["title"] = json!("http://127.0.0.1:9000");
    document["components"] = json!({"schemas": {"X": {"default": "HTTP://127.0.0.1:9000/"}}});
    let operation = only(read(&document));
    let api = &operation.descriptor;
    let text = serde_json::to_string(&api).unwrap();
    assert!(
        !text.contains("127.0.0.1") && !text.contains("10.0.0.1"),
        "{text}"
    );
    assert_eq!(api.description, "see /docs");
    let shown = api.operation.as_ref().unwrap();
    assert_eq!(
        shown["responses"]["200"]["content"]["application/json"]["example"]["self"],
        "/x/1"
    );
    assert_eq!(operation.shape.base, "/inner");
}

#[test]
fn what_comes_back_to_its_bridge_is_not_passed_on_again() {
    let via = |via: Value| read(&get(json!({"x-framex-via": via, "responses": {}})));
    let own =
        |imported: Imported| only(imported).descriptor.operation.unwrap()["x-framex-via"].clone();
    assert_eq!(own(read(&get(json!({})))), json!([BRIDGE]));
    assert_eq!(own(via(json!(["other"]))), json!(["other", BRIDGE]));
    let back = via(json!(["other", BRIDGE]));
    assert_eq!(back.operations.len(), 0);
    assert!(reason(&back, "GET /x").contains("by itself"));
    let long = via(json!(["1", "2", "3", "4", "5", "6", "7", "8"]));
    assert!(reason(&long, "GET /x").contains("8 bridges"));
}

#[test]
fn framex_systems_are_told_from_others() {
    let envelope = json!({"type": "object", "properties": {
        "status": {}, "message": {}, "timestamp": {}, "data": {"$ref": "#/components/schemas/Out"},
    }});
    let mut document = get(
        json!({"x-framex-api": "a.B.c", "responses": {"200": {"content": {"application/json": {"schema": envelope}}}}}),
    );
    document["components"] = json!({"schemas": {"Out": {"type": "integer"}}});
    document["info"]["title"] = json!("FrameX API");
    document["paths"]["/api/v1/proxy/remote"] = json!({"post": {}});
    let imported = read(&document);
    assert!(imported.is_framex);
    assert!(reason(&imported, "POST /api/v1/proxy/remote").contains("functions"));
    let api = &imported.operations[0].descriptor;
    let out = json!({"$ref": "#/components/schemas/Out"});
    assert_eq!(api.reply, ReplyShape::Value { schema: out });
    assert_eq!(api.tags, ["shop"]);
    // By which plugins may call it.
    assert_eq!(api.operation.as_ref().unwrap()["x-framex-api"], "a.B.c");
    document["info"]["title"] = json!("Other");
    assert!(!read(&document).is_framex);
    document["x-framex"] = json!("0.1.0");
    assert!(read(&document).is_framex);
}

#[test]
fn no_text_fills_the_log() {
    let long = "é".repeat(10_000);
    let mut document = of_paths(json!({
        format!("/{long}//"): {"get": {}},
        "/x": {"get": {"parameters": [{"$ref": format!("#/{long}")}]}},
    }));
    document["info"]["title"] = json!(long);
    let imported = read(&document);
    assert_eq!(imported.title.chars().count(), 201);
    assert_eq!(imported.skipped.len(), 2);
    for Skipped { what, reason } in imported.skipped {
        assert!(what.chars().count() < 202 && reason.chars().count() < 202);
    }
    document["openapi"] = json!(long);
    let error = import(document.to_string().as_bytes(), &upstream(), &[], BRIDGE).unwrap_err();
    assert!(error.to_string().len() < 1_000);
}

#[test]
fn depth_costs_no_stack() {
    let document = |levels: usize, version: &str| {
        let nested = |schema, _| json!({ "items": { "nullable": true, "allOf": [schema] } });
        let mut document = get(json!({
            "parameters": [{"name": "q", "in": "query", "schema": {"$ref": "#/components/schemas/Deep"}}],
            "responses": {},
        }));
        document["components"]["schemas"]["Deep"] = (0..levels).fold(json!({}), nested);
        document["openapi"] = json!(version);
        document.to_string()
    };
    for version in ["3.0.0", "3.1.0"] {
        let imported = import(document(40, version).as_bytes(), &upstream(), &[], BRIDGE).unwrap();
        assert_eq!(imported.skipped, []);
        // Deeper than readers go.
        assert!(import(document(50, version).as_bytes(), &upstream(), &[], BRIDGE).is_err());
    }
}

#[test]
fn large_descriptions_are_cut_down() {
    let text = "x".repeat(50_000);
    let mut document = of_paths(json!({
        "/schemas": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/S0"}}}}}}},
        "/examples": {"get": {"responses": {"200": {"content": {"application/json": {"examples": {
            "a": {"value": text}, "b": {"value": text},
        }}}}}}},
        "/texts": {"get": {"description": text.repeat(3)}},
    }));
    for number in 0..20 {
        let next = format!("#/components/schemas/S{}", (number + 1) % 20);
        document["components"]["schemas"][format!("S{number}")] =
            json!({"description": &text[..20_000], "properties": {"next": {"$ref": next}}});
    }
    let imported = read(&document);
    assert_eq!(imported.operations.len(), 2);
    let schemas = &find(&imported, "GET", "/schemas").descriptor.components;
    assert_eq!(schemas["S0"]["description"], text[..20_000]);
    assert!(schemas.len() > 4 && schemas.len() < 10);
    assert!(
        schemas.values().last().unwrap()["description"]
            .as_str()
            .unwrap()
            .contains("Left out")
    );
    assert!(reason(&imported, "GET /texts").contains("larger"));
}

#[test]
fn no_document_takes_long() {
    let text = get(json!({"responses": {}})).to_string();
    let budget = Budget::new(Duration::ZERO);
    let late = within(&budget, text.as_bytes(), &upstream(), &[], BRIDGE).unwrap_err();
    assert!(late.to_string().contains("longer than 30s"), "{late}");

    // A way through 5,000 references, for each of them.
    let mut document = of_paths(json!({"/5000": {"get": {"responses": {}}}}));
    for number in 0..5_000 {
        let next = format!("#/paths/~1{}", number + 1);
        document["paths"][format!("/{number}")] = json!({ "$ref": next });
    }
    let imported = read(&document);
    assert_eq!(imported.operations.len(), 33);
    assert!(reason(&imported, "/1").contains("too many references"));
    // Nor does the report of it.
    assert_eq!(imported.skipped.len(), MOST_SKIPPED + 1);
    assert_eq!(imported.skipped[MOST_SKIPPED].what, "3968 others");
}

#[test]
fn operations_have_bounds_together() {
    let paths = |count: usize, operation: &Value| {
        let paths =
            (0..count).map(|number| (format!("/x{number:05}"), json!({ "get": operation })));
        of_paths(Value::Object(paths.collect()))
    };
    let import =
        |document: Value| import(document.to_string().as_bytes(), &upstream(), &[], BRIDGE);
    let many = import(paths(4_002, &json!({"responses": {}}))).unwrap();
    assert_eq!(many.operations.len(), 4_000);
    assert_eq!(many.skipped.len(), 2);
    assert!(reason(&many, "GET /x04000").contains("4000 operations before"));

    let mut large = paths(
        600,
        &json!({"responses": {"200": {"$ref": "#/components/responses/R"}}}),
    );
    large["components"]["responses"]["R"] = json!({"description": "x".repeat(70_000)});
    let large = import(large).unwrap();
    assert!(large.operations.len() > 400 && large.operations.len() < 500);
    assert!(reason(&large, "GET /x00599").contains("too large together"));

    let too_many = import(paths(50_001, &json!({}))).unwrap_err();
    assert!(
        too_many.to_string().contains("50000 operations"),
        "{too_many}"
    );
}

#[test]
fn what_every_framex_has_is_not_passed_on() {
    let pages = [
        "/health",
        "/ready",
        "/version",
        "/ping",
        "/metrics",
        "/docs",
        "/docs/assets/{name}",
        "/redoc",
        "/openapi.json",
        "/api/v1/openapi.json",
        "/api/v1/streams/{id}",
    ];
    let paths = pages.iter().chain(&["/docsx", "/x/health"]);
    let mut document = of_paths(paths.map(|path| (*path, json!({"get": {}}))).collect());
    assert_eq!(read(&document).operations.len(), 13);
    document["x-framex"] = json!("0.1.0");
    let imported = read(&document);
    assert_eq!(imported.skipped, []);
    assert_eq!(imported.operations.len(), 2);
    let known = |path: &str| imported.known.meant(&Method::GET, path).unwrap().published;
    assert!(known("/docsx") && !known("/health") && !known("/docs/assets/x"));
}

#[test]
fn addresses_of_other_upstreams_are_in_no_text_either() {
    let docs = json!({"url": "http://intranet.example.com/docs"});
    let mut document = get(json!({
        "description": "like http://10.0.0.8:80/x, or at 10.0.0.8",
        "externalDocs": docs,
        "responses": {"200": {"content": {"application/json": {
            "schema": {"externalDocs": docs, "properties": {"externalDocs": {"type": "string"}}},
        }}}},
    }));
    document["openapi"] = json!("3.0.0");
    let site = Site {
        authority: Authority::from_static("10.0.0.8:80"),
        name: "orders".into(),
    };
    let text = document.to_string();
    let api = only(import(text.as_bytes(), &upstream(), &[site], BRIDGE).unwrap()).descriptor;
    assert_eq!(api.description, "like /x, or at orders");
    let shown = api.operation.unwrap();
    assert!(!shown.to_string().contains("intranet"), "{shown}");
    let content = &shown["responses"]["200"]["content"]["application/json"];
    assert_eq!(
        content["schema"]["properties"]["externalDocs"]["type"],
        "string"
    );
}
