use serde_json::{Value, json};

use super::tests::{api, checked, get, parameter, replying, write};
use super::*;

const ID: &str = "proxy.shop.get_x";

/// What another service says of `GET /x/{id}`.
fn passed_on(id: &str, path: &str, operation: Value) -> ApiDescriptor {
    let mut api = get(id, path);
    api.bridged = true;
    api.live = true;
    api.raw = true;
    api.tags = vec!["Shop".into()];
    api.operation = Some(operation);
    api
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[test]
fn an_operation_is_shown_as_it_is() {
    let full = json!({
        "operationId": "theirs", "security": [{"theirs": []}], "servers": [{"url": "/x"}],
        "callbacks": {}, "x-mine": 1, "x-framex-via": ["a bridge"], "tags": ["theirs"],
        "externalDocs": {"url": "https://example.com/", "x-mine": 1},
        "parameters": [
            {"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}, "example": 7},
            {"name": "q", "in": "query", "style": "deepObject", "explode": true, "allowReserved": true,
                "schema": reference("Filter"), "examples": {"one": {"value": {"a": 1}, "x-mine": 1}}},
            {"name": "X-Trace", "in": "header", "style": "form", "schema": {}},
            {"name": "f", "in": "query", "content": {"application/json": {"schema": reference("Filter")}}},
        ],
        "requestBody": {"required": true, "content": {"multipart/form-data": {
            "schema": {"properties": {"a": reference("Filter")}},
            "encoding": {"a": {"contentType": "text/plain", "headers": {"h": {"schema": {}}}}},
        }}},
        "responses": {
            "200": {"description": "fine", "headers": {"left": {"schema": reference("Filter")}},
                "content": {"application/json": {"schema": reference("Filter"), "example": {"a": 1}}}},
            "422": {"description": "theirs"},
            "5XX": {"description": "theirs too"},
        },
    });
    let mut api = passed_on(ID, "/x/{id}", full);
    api.summary = "One".into();
    api.components
        .insert("Filter".into(), json!({"type": "object"}));
    let document = write(vec![api]);
    let operation = &document["paths"]["/x/{id}"]["get"];
    assert_eq!(
        *operation,
        json!({
            "operationId": "proxy_shop_get_x", "tags": ["Shop"], "summary": "One",
            "x-framex-api": ID, "x-framex-stream": false, "x-framex-via": ["a bridge"],
            "externalDocs": {"url": "https://example.com/"},
            "parameters": [
                {"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}, "example": 7},
                {"name": "q", "in": "query", "style": "deepObject", "explode": true, "allowReserved": true,
                    "schema": reference("Filter"), "examples": {"one": {"value": {"a": 1}}}},
                {"name": "X-Trace", "in": "header", "schema": {}},
                {"name": "f", "in": "query", "content": {"application/json": {"schema": reference("Filter")}}},
            ],
            "requestBody": {"required": true, "content": {"multipart/form-data": {
                "schema": {"properties": {"a": reference("Filter")}},
                "encoding": {"a": {"contentType": "text/plain", "headers": {"h": {"schema": {}}}}},
            }}},
            "responses": {
                "200": {"description": "fine", "headers": {"left": {"schema": reference("Filter")}},
                    "content": {"application/json": {"schema": reference("Filter"), "example": {"a": 1}}}},
                "413": {"$ref": "#/components/responses/FrameX.PayloadTooLarge"},
                "422": {"description": "theirs"},
                "502": {"$ref": "#/components/responses/FrameX.BadGateway"},
                "503": {"$ref": "#/components/responses/FrameX.Unavailable"},
                "504": {"$ref": "#/components/responses/FrameX.Timeout"},
                "5XX": {"description": "theirs too"},
            },
        })
    );
    assert_eq!(document["tags"], json!([{ "name": "Shop" }]));
    assert!(document["x-framex"].is_string());
}

#[test]
fn what_is_not_openapi_is_left_out() {
    for (part, nonsense, shown) in [
        ("parameters", json!(7), json!([])),
        (
            "parameters",
            json!([
                7, {"name": "", "in": "query"}, {"in": "query"}, {"name": "a"}, {"name": "gone", "in": "path"},
                {"name": "a", "in": "query", "schema": 7, "required": "yes", "style": "simple"},
                {"name": "a", "in": "query", "schema": {}},
                {"name": "H", "in": "header"}, {"name": "h", "in": "header"},
                {"name": "b", "in": "query", "schema": reference("None"), "example": {"$ref": "x"}},
            ]),
            json!([
                {"name": "a", "in": "query", "schema": {}},
                {"name": "H", "in": "header", "schema": {}},
                {"name": "b", "in": "query", "schema": {}},
            ]),
        ),
        ("requestBody", json!({"content": {}}), Value::Null),
        ("requestBody", json!({"content": {"x": {}}}), Value::Null),
        ("requestBody", json!([]), Value::Null),
        ("externalDocs", json!({"url": "javascript:x"}), Value::Null),
        ("x-framex-via", json!({"$ref": "x"}), Value::Null),
        ("deprecated", json!("yes"), Value::Null),
    ] {
        let document = write(vec![passed_on(ID, "/x", json!({ part: nonsense }))]);
        let operation = &document["paths"]["/x"]["get"];
        let found = operation.get(part).cloned();
        let empty = Value::Array(Vec::new());
        match shown {
            Value::Array(list) => assert_eq!(found.unwrap_or(empty), Value::Array(list)),
            shown => assert_eq!(found.unwrap_or_default(), shown, "{part}"),
        }
    }
    let responses = json!({"200": 7, "600": {}, "20": {}, "+20": {}, "2xx": {}, "x-mine": {},
        "404": {"description": 7, "headers": {"": {}, "a": 7}, "content": {"application/json": 7}, "links": {}}});
    let document = write(vec![passed_on(ID, "/x", json!({ "responses": responses }))]);
    let responses = &document["paths"]["/x"]["get"]["responses"];
    assert_eq!(responses["404"], json!({"description": ""}));
    let statuses: Vec<_> = responses.as_object().unwrap().keys().collect();
    assert_eq!(statuses, ["404", "502", "503", "504"]);
    let document = write(vec![passed_on(ID, "/x", json!({}))]);
    assert!(document["paths"]["/x"]["get"]["responses"]["default"].is_object());
}

#[test]
fn paths_have_every_parameter_under_its_shown_name() {
    let own = json!({"name": "key", "in": "path", "description": "theirs", "schema": {"type": "integer"}});
    let operation = json!({ "parameters": [own] });
    let mut put = passed_on("proxy.shop.put", "/x/{key}/{*rest}", operation);
    put.routes[0].method = Method::PUT;
    let document = write(vec![get("a.B.c", "/x/{id}/{*tail}"), put]);
    let item = &document["paths"]["/x/{id}/{tail}"];
    assert_eq!(
        item["put"]["parameters"],
        json!([
            {"name": "id", "in": "path", "required": true, "description": "theirs", "schema": {"type": "integer"}},
            {"name": "tail", "in": "path", "required": true, "schema": {"type": "string"}, "x-framex-rest": true},
        ])
    );
    assert_eq!(item["get"]["parameters"][1]["x-framex-rest"], true);
}

#[test]
fn a_route_of_two_is_the_plugins() {
    let theirs = passed_on("a.shop.x", "/x", json!({}));
    let both = [get("z.B.c", "/x"), theirs];
    let described = both.into_iter().map(|api| {
        let name = api.id.plugin().to_owned();
        (
            PluginMetadata {
                name,
                ..PluginMetadata::default()
            },
            api,
        )
    });
    let document = checked(&Catalog::from_descriptors(described), &|_| false);
    let item = document["paths"]["/x"].as_object().unwrap();
    assert_eq!(item.len(), 1);
    assert_eq!(item["get"]["x-framex-api"], "z.B.c");
}

#[test]
fn what_asks_for_a_key_is_there_only_where_the_edge_asks_too() {
    let mut api = passed_on(ID, "/x", json!({}));
    api.guarded = true;
    let catalog = Catalog::from_descriptors([(PluginMetadata::default(), api)]);
    assert_eq!(checked(&catalog, &|_| false)["paths"], json!({}));
    let shown = checked(&catalog, &|_| true);
    let operation = &shown["paths"]["/x"]["get"];
    assert_eq!(operation["security"], json!([{ API_KEY: [] }]));
    let unauthorized = json!({"$ref": "#/components/responses/FrameX.Unauthorized"});
    assert_eq!(operation["responses"]["401"], unauthorized);
    assert!(shown["components"]["securitySchemes"][API_KEY].is_object());
}

#[test]
fn successes_are_in_the_envelope_by_setting() {
    let answers = |schema: Value| {
        let content = json!({"application/json; charset=utf-8": {"schema": schema, "example": 1}, "text/plain": {"example": "a"}});
        json!({"responses": {
            "201": {"description": "", "content": content}, "404": {"description": "", "content": content},
        }})
    };
    let mut api = passed_on(ID, "/x", answers(json!({"type": "integer"})));
    api.raw = false;
    let document = write(vec![api]);
    let responses = &document["paths"]["/x"]["get"]["responses"];
    let of = |status: &str| &responses[status]["content"];
    let enveloped = &of("201")["application/json; charset=utf-8"];
    assert_eq!(
        enveloped["schema"]["properties"]["data"],
        json!({"type": "integer"})
    );
    assert_eq!(enveloped.get("example"), None);
    assert_eq!(of("201")["text/plain"], json!({"example": "a"}));
    let bare = &of("404")["application/json; charset=utf-8"];
    assert_eq!(*bare, json!({"schema": {"type": "integer"}, "example": 1}));
}

#[test]
fn models_of_one_name_are_kept_apart() {
    let theirs = |id: &str, path: &str, kind: &str| {
        let answer = json!({"description": "", "content": {"application/json": {"schema": reference("Item")}}});
        let mut api = passed_on(id, path, json!({"responses": {"200": answer}}));
        api.components
            .insert("Item".into(), json!({ "type": kind }));
        api
    };
    let shown = |document: &Value, path: &str| {
        let answer = &document["paths"][path]["get"]["responses"]["200"];
        let schema = &answer["content"]["application/json"]["schema"];
        let data = schema
            .pointer("/properties/data/$ref")
            .unwrap_or(&schema["$ref"]);
        data.as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned()
    };
    let shop = || theirs("proxy.shop.x", "/shop", "string");
    let users = || theirs("proxy.users.x", "/users", "integer");
    let document = write(vec![shop(), users()]);
    assert_eq!(shown(&document, "/shop"), "proxy.shop.Item");
    assert_eq!(shown(&document, "/users"), "proxy.users.Item");
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["proxy.shop.Item"], json!({"type": "string"}));

    // A plugin's model keeps its name.
    let own = replying(get("a.B.c", "/own"), "Item", json!({"type": "integer"}));
    let document = write(vec![own, shop(), users()]);
    assert_eq!(shown(&document, "/own"), "Item");
    assert_eq!(shown(&document, "/users"), "Item");
    assert_eq!(shown(&document, "/shop"), "proxy.shop.Item");

    let inside = theirs("proxy.shop.y", "/inside", "boolean");
    let document = write(vec![shop(), inside]);
    assert_eq!(shown(&document, "/shop"), "proxy.shop.x.Item");
    assert_eq!(shown(&document, "/inside"), "proxy.shop.y.Item");
}

#[test]
fn without_an_operation_its_parameters_tell() {
    let mut bridged = api(ID, &[(Method::GET, "/x")]);
    bridged.bridged = true;
    bridged.parameters = vec![parameter(Location::Query, "q", json!({"type": "string"}))];
    for operation in [None, Some(json!("text"))] {
        bridged.operation = operation;
        let document = write(vec![bridged.clone()]);
        assert_eq!(document["paths"]["/x"]["get"]["parameters"][0]["name"], "q");
    }
}
