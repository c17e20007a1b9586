use std::collections::BTreeMap;
use std::time::Duration;

use framex_core::descriptor::{Location, ReplyShape};
use framex_core::expand::check;
use framex_core::settings::Secret;
use http::uri::{Authority, Scheme};
use serde_json::json;

use super::super::config::Keys;
use super::super::operation::{Argument, Body, Form, Place};
use super::super::rules::{KeyRules, PathRules};
use super::*;

const BRIDGE: &str = "this bridge";

fn rules(enable: &[&str], disable: &[&str]) -> PathRules {
    let list = |rules: &[&str]| rules.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>();
    PathRules::parse(&list(enable), &list(disable)).unwrap()
}

fn upstream() -> Upstream {
    Upstream {
        name: "shop".into(),
        scheme: Scheme::HTTP,
        authority: Authority::from_static("127.0.0.1:9000"),
        path: String::new(),
        docs: Vec::new(),
        prefix: String::new(),
        published: rules(&["*"], &[]),
        public: PathRules::default(),
        streams: PathRules::default(),
        keys: KeyRules::default(),
        timeout: Duration::from_millis(1500),
        envelope: false,
        forward_authorization: false,
        max_ongoing: 10,
    }
}

/// What `document` says, which has to be fit for the catalog.
fn read_for(upstream: &Upstream, document: &Value) -> Imported {
    let imported = import(document.to_string().as_bytes(), upstream, BRIDGE).unwrap();
    for Operation { descriptor, shape } in &imported.operations {
        check(descriptor).unwrap();
        let operation = descriptor.operation.as_ref().unwrap();
        let mut needed = Default::default();
        schemas::references(operation, &mut needed);
        for name in needed {
            assert!(descriptor.components.contains_key(&name), "{name}");
        }
        assert!(!operation.to_string().contains("127.0.0.1"), "{operation}");
        assert!(serde_json::to_vec(descriptor).unwrap().len() < 200_000);
        assert_eq!(shape.method, descriptor.routes[0].method);
    }
    imported
}

fn read(document: &Value) -> Imported {
    read_for(&upstream(), document)
}

/// A document of 3.1 with these paths.
fn of_paths(paths: Value) -> Value {
    json!({"openapi": "3.1.0", "info": {"title": "Shop", "version": "1"}, "paths": paths})
}

/// A document of 3.1 whose only path is `/x`, with this item.
fn of_item(item: Value) -> Value {
    of_paths(json!({ "/x": item }))
}

fn get(operation: Value) -> Value {
    of_item(json!({ "get": operation }))
}

fn only(imported: Imported) -> Operation {
    assert_eq!(imported.skipped, []);
    let [operation] = <[_; 1]>::try_from(imported.operations).unwrap();
    operation
}

fn find<'a>(imported: &'a Imported, method: &str, path: &str) -> &'a Operation {
    let mut all = imported.operations.iter();
    all.find(|o| o.shape.method == method && o.shape.path == path)
        .unwrap()
}

fn argument(name: &str, place: Place, required: bool, explode: bool) -> Argument {
    Argument {
        name: name.to_owned(),
        place,
        required,
        explode,
    }
}

fn reason(imported: &Imported, what: &str) -> String {
    let skipped = imported.skipped.iter().find(|s| s.what == what).unwrap();
    skipped.reason.clone()
}

#[test]
fn a_fastapi_application_comes_in_whole() {
    let document = serde_json::from_str(include_str!("testdata/fastapi.json")).unwrap();
    let shop = read(&document);
    assert_eq!((&*shop.title, &*shop.version), ("Shop", "2.1"));
    assert!(!shop.is_framex);
    assert_eq!(shop.skipped, []);
    assert_eq!(shop.operations.len(), 22);

    let item = find(&shop, "GET", "/items/{item_id}");
    let api = &item.descriptor;
    assert_eq!(api.id.as_str(), "proxy.shop.read_item_items_item_id_get");
    assert_eq!(api.summary, "One item");
    assert_eq!(api.tags, ["Shop"]);
    assert_eq!(
        item.shape.parameters,
        [
            argument("item_id", Place::Path, true, false),
            argument("q", Place::Query, false, true),
            argument("color", Place::Query, false, true),
            argument("tags", Place::Query, false, true),
            argument("page-size", Place::Query, false, true),
            argument("from", Place::Query, false, true),
            argument("x-trace", Place::Header, false, false),
            argument("session", Place::Cookie, false, true),
        ]
    );
    let named: Vec<&str> = api.parameters.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(
        named,
        ["item_id", "q", "color", "tags", "page-size", "from"]
    );
    let expected = json!({"$ref": "#/components/schemas/Order-Output"});
    assert_eq!(api.reply, ReplyShape::Value { schema: expected });
    let components: Vec<&str> = api.components.keys().map(String::as_str).collect();
    assert_eq!(
        components,
        [
            "Cat",
            "Color",
            "Dog",
            "HTTPValidationError",
            "Node-Output",
            "Order-Output",
            "ValidationError"
        ]
    );
    assert!(api.raw && api.headers && api.live && api.bridged && api.idempotent);
    assert!(!api.guarded);
    assert_eq!(api.timeout, Some(Duration::from_secs(2)));
    assert_eq!(api.max_body_size, None);

    let forms = |method: &str, path: &str| {
        let operation = find(&shop, method, path);
        let fields = operation.descriptor.parameters.iter();
        let fields = fields.map(|p| (p.name.clone(), p.location, p.required));
        (operation.shape.body.clone(), fields.collect::<Vec<_>>())
    };
    let body = |form, media_type: &str| Body {
        form,
        media_type: media_type.to_owned(),
        required: true,
    };
    let json_body = Some(body(Form::Json, "application/json"));
    for path in ["/orders", "/batch", "/two", "/any"] {
        let whole = ("body".to_owned(), Location::Body, true);
        assert_eq!(
            forms("POST", path),
            (json_body.clone(), vec![whole]),
            "{path}"
        );
    }
    assert_eq!(
        forms("POST", "/login"),
        (
            Some(body(Form::Urlencoded, "application/x-www-form-urlencoded")),
            vec![
                ("password".into(), Location::Form, true),
                ("scope".into(), Location::Form, false),
                ("user".into(), Location::Form, true),
            ]
        )
    );
    assert_eq!(
        forms("POST", "/uploads"),
        (
            Some(body(Form::Multipart, "multipart/form-data")),
            vec![
                ("files".into(), Location::File, true),
                ("small".into(), Location::File, false),
            ]
        )
    );
    let uploads = &find(&shop, "POST", "/uploads").descriptor;
    assert!(uploads.parameters[0].is_list() && !uploads.parameters[1].is_list());
    assert_eq!(uploads.timeout, Some(Duration::from_secs(3600)));
    assert_eq!(uploads.max_body_size, Some(u64::MAX));
    assert!(!uploads.idempotent);

    let reply = |method: &str, path: &str| find(&shop, method, path).descriptor.reply.clone();
    assert!(matches!(reply("GET", "/events"), ReplyShape::Stream { .. }));
    assert!(find(&shop, "GET", "/events").shape.streams);
    assert_eq!(reply("GET", "/text"), ReplyShape::Response);
    let null = json!({"type": "null"});
    assert_eq!(
        reply("DELETE", "/items/{item_id}"),
        ReplyShape::Value { schema: null }
    );
    assert!(find(&shop, "GET", "/secure/data").descriptor.guarded);
    assert!(find(&shop, "GET", "/old").descriptor.deprecated);
    let many: Vec<&str> = ["GET", "POST", "OPTIONS", "HEAD", "PATCH"]
        .map(|method| find(&shop, method, "/many").descriptor.id.method())
        .to_vec();
    assert_eq!(
        many,
        [
            "get_many",
            "post_many",
            "options_many",
            "head_many",
            "patch_many"
        ]
    );
}

#[test]
fn other_documents_are_refused_with_the_reason() {
    for (document, why) in [
        (
            json!({"swagger": "2.0", "paths": {}}),
            "Swagger 2.0; convert",
        ),
        (json!({"openapi": "3.2.0", "paths": {}}), "version is 3.2.0"),
        (json!({"openapi": "4.0.0"}), "version is 4.0.0"),
        (json!({"openapi": "3.10.0"}), "version is 3.10.0"),
        (json!({"detail": "Not Found"}), "no `openapi`"),
        (json!({"openapi": "3.1.0", "paths": []}), "no object"),
    ] {
        let error = import(document.to_string().as_bytes(), &upstream(), BRIDGE).unwrap_err();
        assert!(error.to_string().contains(why), "{document}: {error}");
    }
    assert!(import(b"[1]", &upstream(), BRIDGE).is_err());
    let yaml = b"openapi: 3.1\ninfo: {title: 7, version: 1.10}\npaths: {/x: {get: {responses: {200: {}}}}}";
    let imported = import(yaml, &upstream(), BRIDGE).unwrap();
    assert_eq!(imported.title, "7");
    let operation = imported.operations[0].descriptor.operation.clone().unwrap();
    assert_eq!(operation["responses"]["200"]["description"], "");
    assert_eq!(read(&json!({"openapi": "3.0.3"})).operations.len(), 0);
}

#[test]
fn what_cannot_be_used_costs_only_itself() {
    let ok = json!({"responses": {}});
    let with = |parameter: Value| json!({"parameters": [parameter], "responses": {}});
    let schema = |schema: Value| with(json!({"name": "q", "in": "query", "schema": schema}));
    let mut document = of_paths(json!({
        "/ok": {"get": ok},
        "/mixed/{a}.json": {"get": ok},
        "/twice/{a}/{a}": {"get": ok},
        "no/slash": {"get": ok},
        "/same/{a}": {"get": ok, "post": ok},
        "/same/{b}": {"get": ok},
        "/remote": {"get": schema(json!({"$ref": "types.yaml#/X"})), "post": ok},
        "/deep": {"get": schema(json!({"$ref": "#/components/schemas/Remote"}))},
        "/nowhere": {"get": schema(json!({"$ref": "#/components/schemas/None"}))},
        "/circle": {"get": with(json!({"$ref": "#/components/parameters/a"}))},
        "/elsewhere": {"get": with(json!({"name": "q", "in": "body"}))},
        "/nameless": {"get": with(json!({"in": "query"}))},
        "/server": {"get": {"servers": [{"url": "/a//b"}], "responses": {}}},
        "/item": {"$ref": "other.json"},
        "/text": {"get": "text", "parameters": 7},
    }));
    document["components"] = json!({
        "parameters": {"a": {"$ref": "#/components/parameters/b"}, "b": {"$ref": "#/components/parameters/a"}},
        "schemas": {"Remote": {"properties": {"x": {"items": {"$ref": "https://example.com/x"}}}}},
    });
    let imported = read(&document);
    let served = imported.operations.iter();
    let served: Vec<String> = served.map(|o| o.descriptor.routes[0].to_string()).collect();
    assert_eq!(
        served,
        ["GET /ok", "POST /remote", "GET /same/{a}", "POST /same/{a}"]
    );
    for (what, why) in [
        ("GET /mixed/{a}.json", "closing brace"),
        ("GET /twice/{a}/{a}", "twice"),
        ("GET no/slash", "begin with `/`"),
        ("GET /same/{b}", "`GET /same/{a}` is the same route"),
        ("GET /remote", "`types.yaml#/X` is outside"),
        ("GET /deep", "`https://example.com/x` is outside"),
        ("GET /nowhere", "`#/components/schemas/None` leads nowhere"),
        ("GET /circle", "refers to itself"),
        ("GET /elsewhere", "nowhere in a request"),
        ("GET /nameless", "no name"),
        ("GET /server", "not valid"),
        ("/item", "outside"),
    ] {
        let reason = reason(&imported, what);
        assert!(reason.contains(why), "{what}: {reason}");
    }
    assert_eq!(imported.skipped.len(), 12);
}

#[test]
fn only_what_is_enabled_is_looked_at() {
    let document = of_paths(json!({
        "/a": {"get": {}}, "/b/{x}": {"get": {}, "put": {}}, "/b/secret": {"get": {}}, "/c{": {"get": {}},
    }));
    let mut upstream = upstream();
    upstream.published = rules(&["/b/*"], &["/b/secret"]);
    upstream.prefix = "/up".into();
    let imported = read_for(&upstream, &document);
    assert_eq!(imported.skipped, []);
    let routes = imported.operations.iter();
    let routes: Vec<String> = routes.map(|o| o.descriptor.routes[0].to_string()).collect();
    assert_eq!(routes, ["GET /up/b/{x}", "PUT /up/b/{x}"]);
    let shape = &imported.operations[0].shape;
    assert_eq!((&*shape.prefix, &*shape.path), ("/up", "/b/{x}"));
    // Names do not depend on what is published.
    assert_eq!(imported.operations[0].descriptor.id.method(), "get_b_x");
}

#[test]
fn references_of_every_kind_are_followed() {
    let document = json!({
        "openapi": "3.1.0",
        "paths": {
            "/a/{id}": {
                "parameters": [
                    {"$ref": "#/components/parameters/Id"},
                    {"name": "q", "in": "query", "schema": {"type": "string"}},
                    {"name": "q", "in": "header", "schema": {"type": "string"}},
                ],
                "summary": "of the path",
                "post": {
                    "parameters": [{"name": "q", "in": "query", "required": true, "schema": {"type": "integer"}}],
                    "requestBody": {"$ref": "#/components/requestBodies/B", "description": "ours"},
                    "responses": {"200": {"$ref": "#/components/responses/R"}, "x-mine": 1},
                },
            },
            "/b/{id}": {"$ref": "#/paths/~1a~1%7Bid%7D"},
        },
        "components": {
            "parameters": {"Id": {"name": "id", "in": "path", "schema": {"$ref": "#/components/schemas/Id"}}},
            "requestBodies": {"B": {"description": "theirs", "content": {"application/vnd.shop+json": {
                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/N~1o d"}},
                "examples": {"one": {"$ref": "#/components/examples/E"}},
            }}}},
            "responses": {"R": {
                "description": "fine",
                "headers": {"x-left": {"$ref": "#/components/headers/H"}},
                "content": {"application/json": {"schema": {"$ref": "#/components/responses/Q/content/a~1b/schema"}}},
                "links": {"self": {"operationId": "x"}},
            }, "Q": {"content": {"a/b": {"schema": {"const": 1}}}}},
            "headers": {"H": {"schema": {"type": "integer"}, "x-internal": 1}},
            "examples": {"E": {"summary": "s", "value": [{"$ref": "a person's word"}]}},
            "schemas": {
                "Id": {"type": "integer"},
                "N/o d": {"properties": {"next": {"$ref": "#/components/schemas/N~1o%20d"},
                    "x": {"$ref": "#/components/schemas/Id/type"}, "$ref": {"type": "string"}}},
                "Unused": {},
            },
        },
    });
    let mut fine = document.clone();
    fine["components"]["schemas"]["N/o d"]["properties"]["x"] =
        json!({"default": {"$ref": "data"}});
    // A text is no schema.
    assert_eq!(read(&document).operations.len(), 0);
    let imported = read(&fine);
    assert_eq!(imported.skipped, []);
    let a = find(&imported, "POST", "/a/{id}");
    find(&imported, "POST", "/b/{id}");
    assert_eq!(a.descriptor.summary, "of the path");
    assert_eq!(
        a.shape.parameters,
        [
            argument("id", Place::Path, true, false),
            argument("q", Place::Query, true, true),
            argument("q", Place::Header, false, false),
        ]
    );
    let operation = a.descriptor.operation.as_ref().unwrap();
    let item = json!({"$ref": "#/components/schemas/N_o_d"});
    let content = &operation["requestBody"]["content"]["application/vnd.shop+json"];
    assert_eq!(operation["requestBody"]["description"], "ours");
    assert_eq!(content["schema"], json!({"type": "array", "items": item}));
    // It would be taken for a reference.
    assert_eq!(content.get("examples"), None);
    let answer = &operation["responses"]["200"];
    assert_eq!(
        answer["headers"],
        json!({"x-left": {"schema": {"type": "integer"}}})
    );
    assert_eq!(answer.get("links"), None);
    let hoisted = "components_responses_Q_content_a_b_schema";
    assert_eq!(
        answer["content"]["application/json"]["schema"],
        json!({"$ref": format!("#/components/schemas/{hoisted}")})
    );
    let components = &a.descriptor.components;
    assert_eq!(components[hoisted], json!({"const": 1}));
    assert_eq!(components["N_o_d"]["properties"]["next"], item);
    assert_eq!(components["N_o_d"]["properties"]["x"], json!({}));
    assert_eq!(components["N_o_d"]["properties"]["$ref"]["type"], "string");
    assert_eq!(components.len(), 3);
}

#[test]
fn documents_of_3_0_are_told_in_the_words_of_3_1() {
    let yaml = include_bytes!("testdata/pets.yaml");
    let pets = import(yaml, &upstream(), BRIDGE).unwrap();
    assert_eq!(pets.skipped, []);
    let list = &find(&pets, "GET", "/pets").descriptor;
    let pet = &list.components["Pet"];
    assert_eq!(pet["properties"]["name"]["type"], json!(["string", "null"]));
    assert_eq!(pet["properties"]["name"]["examples"], json!(["Rex"]));
    assert_eq!(
        pet["properties"]["age"],
        json!({"type": "integer", "exclusiveMinimum": 0})
    );
    assert_eq!(
        pet["properties"]["owner"],
        json!({"anyOf": [{"allOf": [{"$ref": "#/components/schemas/Owner"}]}, {"type": "null"}]})
    );
    // Data and names are not keywords.
    assert_eq!(pet["properties"]["nullable"], json!({"type": "boolean"}));
    assert_eq!(pet["default"], json!({"nullable": true, "example": 1}));
    assert_eq!(
        pet["discriminator"]["mapping"],
        json!({"dog": "#/components/schemas/Dog", "cat": "#/components/schemas/Cat"})
    );
    assert!(list.components.contains_key("Cat") && list.components.contains_key("Dog"));
    let shape = &find(&pets, "GET", "/pets").shape;
    assert_eq!(shape.base, "/v3");
    assert_eq!(
        shape.parameters[0],
        argument("ids", Place::Query, false, false)
    );
    let photo = find(&pets, "POST", "/pets/{id}/photo");
    assert_eq!(photo.shape.body.as_ref().unwrap().form, Form::Raw);
    assert_eq!(photo.shape.body.as_ref().unwrap().media_type, "image/png");
    assert_eq!(photo.descriptor.parameters[1].location, Location::Upload);
    assert_eq!(photo.shape.base, "/photos");
    assert!(photo.descriptor.guarded);
    assert!(!list.guarded);
}

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
    let mut document =
        get(json!({"responses": {"200": {"content": {"application/json": {"schema": envelope}}}}}));
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
    document["info"]["title"] = json!("Other");
    assert!(!read(&document).is_framex);
    document["x-framex"] = json!("0.1.0");
    assert!(read(&document).is_framex);
}

#[test]
fn streams_by_rule_and_envelopes_by_setting() {
    let mut upstream = upstream();
    upstream.streams = rules(&["/x"], &[]);
    upstream.envelope = true;
    let operation = only(read_for(&upstream, &get(json!({"responses": {"200": {}}}))));
    assert!(operation.shape.streams && operation.descriptor.streams());
    assert!(!operation.descriptor.raw);
}

#[test]
fn arguments_that_texts_cannot_hold_take_anything() {
    let operation = only(read(&get(json!({
        "parameters": [
            {"name": "filter", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
            {"name": "json", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}},
            {"name": "ids", "in": "query", "style": "pipeDelimited", "schema": {"type": "array", "items": {"type": "integer"}}},
            {"name": "ids", "in": "header", "schema": {}},
            {"name": "Authorization", "in": "header", "schema": {}},
        ],
        "responses": {},
    }))));
    let api = &operation.descriptor;
    let schema = |at: usize| api.parameters[at].schema.clone();
    assert_eq!((schema(0), schema(1)), (json!({}), json!({})));
    assert!(api.parameters[2].is_list());
    assert_eq!(api.parameters.len(), 3);
    let shown = api.operation.as_ref().unwrap();
    assert_eq!(shown["parameters"][0]["schema"], json!({"type": "object"}));
    assert_eq!(shown["parameters"].as_array().unwrap().len(), 4);
    assert!(operation.shape.parameters[0].explode);
    assert!(!operation.shape.parameters[2].explode);
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
fn depth_costs_no_stack() {
    let mut schema = json!({});
    for _ in 0..50 {
        schema = json!({ "items": { "nullable": true, "allOf": [schema] } });
    }
    let mut document = get(json!({"responses": {}}));
    document["components"] = json!({ "schemas": { "Deep": schema } });
    let reference = json!({"$ref": "#/components/schemas/Deep"});
    document["paths"]["/x"]["get"]["parameters"] =
        json!([{"name": "q", "in": "query", "schema": reference}]);
    for version in ["3.0.0", "3.1.0"] {
        document["openapi"] = json!(version);
        let text = document.to_string();
        // Deeper than readers go.
        assert!(import(text.as_bytes(), &upstream(), BRIDGE).is_err());
        let shallow = text.replacen(r#"{"items":{"allOf":["#, "", 25).replacen(
            r#"],"nullable":true}}"#,
            "",
            25,
        );
        let imported = import(shallow.as_bytes(), &upstream(), BRIDGE).unwrap();
        assert_eq!(imported.skipped, []);
    }
}

#[test]
fn the_same_document_gives_the_same_operations() {
    let text = include_str!("testdata/fastapi.json");
    let told = |text: &str| {
        let imported = import(text.as_bytes(), &upstream(), BRIDGE).unwrap();
        let all = imported
            .operations
            .iter()
            .map(|o| serde_json::to_string(&o.descriptor).unwrap());
        all.collect::<Vec<_>>()
    };
    assert_eq!(told(text), told(text));
}
