mod bounds;
mod real;

use std::collections::BTreeMap;
use std::time::Duration;

use framex_core::descriptor::{Location, ReplyShape};
use framex_core::expand::check;
use framex_core::settings::Secret;
use http::uri::{Authority, Scheme};
use serde_json::json;

use super::*;
use crate::proxy::config::Keys;
use crate::proxy::operation::{Argument, Body, Form, Place, Style};
use crate::proxy::rules::{KeyRules, PathRules};

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
    let imported = import(document.to_string().as_bytes(), upstream, &[], BRIDGE).unwrap();
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
        style: match explode {
            true => Style::Pairs,
            false => Style::Commas,
        },
    }
}

fn reason(imported: &Imported, what: &str) -> String {
    let skipped = imported.skipped.iter().find(|s| s.what == what).unwrap();
    skipped.reason.clone()
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
        let error = import(document.to_string().as_bytes(), &upstream(), &[], BRIDGE).unwrap_err();
        assert!(error.to_string().contains(why), "{document}: {error}");
    }
    assert!(import(b"[1]", &upstream(), &[], BRIDGE).is_err());
    let yaml = b"openapi: 3.1\ninfo: {title: 7, version: 1.10}\npaths: {/x: {get: {responses: {200: {}}}}}";
    let imported = import(yaml, &upstream(), &[], BRIDGE).unwrap();
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
fn what_is_not_published_is_known() {
    let document = of_paths(json!({
        "/items/{item-id}": {"get": {}},
        "/items/secret": {"get": {}},
        "/items/{id}/keys": {"get": {"security": [{"key": []}]}},
        "/items/mixed-{x}": {"get": {}},
        "/files/{path}": {"get": {"parameters": [
            {"name": "path", "in": "path", "schema": {}, "x-framex-rest": true},
        ]}},
    }));
    let mut upstream = upstream();
    upstream.published = rules(&["/items/{id}", "/files/{path}"], &[]);
    let known = read_for(&upstream, &document).known;
    let meant = |path: &str| {
        let meant = known.meant(&Method::GET, path).unwrap();
        (&*meant.template, meant.published, meant.guarded)
    };
    assert_eq!(meant("/items/1"), ("/items/{item_id}", true, false));
    assert_eq!(meant("/items/secret"), ("/items/secret", false, false));
    assert_eq!(meant("/items/1/keys"), ("/items/{id}/keys", false, true));
    assert_eq!(meant("/items/mixed-1"), ("/items/mixed-{x}", false, false));
    assert_eq!(meant("/files/a/b"), ("/files/{path}", true, false));
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
fn the_rest_of_a_path_is_marked_by_framex_systems() {
    let path = json!({"name": "path", "in": "path", "schema": {}, "x-framex-rest": true});
    let document = of_paths(json!({"/files/{path}": {"get": {"parameters": [path]}}}));
    let operation = only(read(&document));
    assert_eq!(operation.descriptor.routes[0].path, "/files/{*path}");
    assert_eq!(operation.shape.path, "/files/{path}");
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
fn parameters_in_every_style() {
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
    assert_eq!(
        (schema(0), schema(1)),
        (json!({"type": "object"}), json!({}))
    );
    assert!(api.parameters[2].is_list());
    assert_eq!(api.parameters.len(), 3);
    let shown = api.operation.as_ref().unwrap();
    assert_eq!(shown["parameters"][0]["schema"], json!({"type": "object"}));
    assert_eq!(shown["parameters"].as_array().unwrap().len(), 4);
    let styles = operation.shape.parameters.iter().map(|one| one.style);
    let styles: Vec<Style> = styles.collect();
    assert_eq!(
        styles,
        [Style::Deep, Style::Json, Style::Pipes, Style::Commas]
    );
}
