use framex_core::id::ApiId;
use http::Method;

use super::*;

pub(super) fn api(id: &str, routes: &[(Method, &str)]) -> ApiDescriptor {
    let mut api = ApiDescriptor::new(ApiId::parse(id).unwrap(), ApiKind::Http);
    api.routes = routes
        .iter()
        .map(|(method, path)| Route {
            method: method.clone(),
            path: (*path).to_owned(),
        })
        .collect();
    api
}

pub(super) fn get(id: &str, path: &str) -> ApiDescriptor {
    api(id, &[(Method::GET, path)])
}

pub(super) fn parameter(location: Location, name: &str, schema: Value) -> Parameter {
    Parameter {
        name: name.to_owned(),
        location,
        schema,
        ..Parameter::default()
    }
}

/// `api` with a reply of the component `name`, and that component.
pub(super) fn replying(mut api: ApiDescriptor, name: &str, schema: Value) -> ApiDescriptor {
    api.reply = ReplyShape::Value {
        schema: json!({ "$ref": format!("#/components/schemas/{name}") }),
    };
    api.components.insert(name.to_owned(), schema);
    api
}

pub(super) fn write(apis: Vec<ApiDescriptor>) -> Value {
    let described = apis.into_iter().map(|api| {
        let plugin = PluginMetadata {
            name: api.id.plugin().to_owned(),
            ..PluginMetadata::default()
        };
        (plugin, api)
    });
    checked(&Catalog::from_descriptors(described), &|_| false)
}

/// The document, in which every reference leads somewhere.
pub(super) fn checked(catalog: &Catalog, protected: &dyn Fn(&Route) -> bool) -> Value {
    let document = document(catalog, &Options::new("1.2.3", protected));
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    document
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|v| collect_references(v, found)),
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                found.push(reference.clone());
            }
            map.values().for_each(|v| collect_references(v, found));
        }
        _ => {}
    }
}

fn data_schema<'a>(document: &'a Value, path: &str) -> &'a Value {
    &document["paths"][path]["get"]["responses"]["200"]["content"][JSON]["schema"]["properties"]["data"]
}

#[test]
fn an_operation_says_what_the_descriptor_does() {
    let mut echo = get("echo.EchoPlugin.echo", "/api/v1/echo");
    echo.summary = "Repeats".into();
    echo.deprecated = true;
    let mut list = parameter(Location::Query, "xs", json!({ "type": "array" }));
    list.default = Some(json!([1]));
    let mut text = parameter(Location::Query, "message", json!({ "type": "string" }));
    text.required = true;
    echo.parameters = vec![text.clone(), list, text];
    let document = write(vec![echo]);
    let operation = &document["paths"]["/api/v1/echo"]["get"];
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(operation["operationId"], "echo_EchoPlugin_echo");
    assert_eq!(operation["x-framex-api"], "echo.EchoPlugin.echo");
    assert_eq!(operation["x-framex-stream"], false);
    assert_eq!(operation["summary"], "Repeats");
    assert_eq!(operation["deprecated"], true);
    assert_eq!(operation["tags"], json!(["echo"]));
    assert_eq!(
        operation["parameters"],
        json!([
            { "name": "message", "in": "query", "required": true, "schema": { "type": "string" } },
            {
                "name": "xs", "in": "query", "required": false, "style": "form", "explode": true,
                "schema": { "type": "array", "default": [1] },
            },
        ])
    );
    let responses = operation["responses"].as_object().unwrap();
    let statuses: Vec<_> = responses.keys().collect();
    assert_eq!(statuses, ["200", "422", "500", "503", "504", "default"]);
    let envelope = &responses["200"]["content"][JSON]["schema"];
    assert_eq!(
        envelope["required"],
        json!(["status", "message", "timestamp", "data"])
    );
    assert_eq!(envelope["properties"]["data"], json!({}));
}

#[test]
fn internal_and_hidden_apis_are_left_out() {
    let mut func = get("a.B.func", "/func");
    func.kind = ApiKind::Func;
    let mut hidden = get("a.B.hidden", "/hidden");
    hidden.include_in_schema = false;
    let document = write(vec![func, hidden]);
    assert_eq!(document["paths"], json!({}));
    assert_eq!(document["tags"], json!([]));
}

#[test]
fn operation_ids_are_unique() {
    let routes = [(Method::GET, "/x"), (Method::POST, "/x")];
    let document = write(vec![
        api("a.B.c", &routes),
        get("a.b_C.d", "/1"),
        get("a_b.C.d", "/2"),
    ]);
    let id = |path: &str, method: &str| document["paths"][path][method]["operationId"].clone();
    assert_eq!(id("/x", "get"), "a_B_c_get");
    assert_eq!(id("/x", "post"), "a_B_c_post");
    assert_eq!(id("/1", "get"), "a_b_C_d");
    assert_eq!(id("/2", "get"), "a_b_C_d_2");
}

#[test]
fn one_path_has_one_set_of_parameter_names() {
    let mut delete = api("a.B.delete", &[(Method::DELETE, "/items/{key}")]);
    delete.parameters = vec![parameter(
        Location::Path,
        "key",
        json!({ "type": "integer" }),
    )];
    let document = write(vec![
        delete,
        get("a.B.get", "/items/{id}"),
        get("a.B.rest", "/files/{*rest}"),
    ]);
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/files/{rest}", "/items/{key}"]);
    let item = &document["paths"]["/items/{key}"];
    for (method, kind) in [("delete", "integer"), ("get", "string")] {
        assert_eq!(
            item[method]["parameters"],
            json!([{ "name": "key", "in": "path", "required": true, "schema": { "type": kind } }])
        );
    }
}

#[test]
fn bodies_are_described() {
    let post = |id: &str, path: &str, parameters| {
        let mut api = api(id, &[(Method::POST, path)]);
        api.parameters = parameters;
        api
    };
    let mut model = parameter(Location::Body, "model", json!({ "type": "object" }));
    model.required = true;
    let mut file = parameter(Location::File, "file", json!({}));
    file.required = true;
    file.description = "A picture".into();
    let document = write(vec![
        post("a.B.json", "/json", vec![model]),
        post(
            "a.B.raw",
            "/raw",
            vec![parameter(Location::Raw, "b", json!({}))],
        ),
        post(
            "a.B.form",
            "/form",
            vec![
                file,
                parameter(Location::File, "more", json!({ "type": "array" })),
                parameter(Location::Form, "title", json!({ "type": "string" })),
            ],
        ),
    ]);
    let upload = write(vec![post(
        "a.B.upload",
        "/upload",
        vec![parameter(Location::Upload, "b", json!({}))],
    )]);
    let upload = &upload["paths"]["/upload"]["post"];
    assert_eq!(
        upload["requestBody"],
        json!({ "required": false, "content": { BYTES: { "schema": {} } } })
    );
    assert!(upload["responses"]["413"].is_object());
    let body = |path: &str| document["paths"][path]["post"]["requestBody"].clone();
    assert_eq!(
        body("/json"),
        json!({ "required": true, "content": { JSON: { "schema": { "type": "object" } } } })
    );
    assert_eq!(
        body("/raw"),
        json!({ "required": false, "content": { BYTES: { "schema": {} } } })
    );
    let file = json!({ "type": "string", "contentMediaType": BYTES });
    let mut described = file.clone();
    described["description"] = json!("A picture");
    assert_eq!(
        body("/form"),
        json!({ "required": true, "content": { MULTIPART: { "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {
                "file": described,
                "more": { "type": "array", "items": file },
                "title": { "type": "string" },
            },
        } } } })
    );
    let responses = &document["paths"]["/form"]["post"]["responses"];
    for status in ["413", "415", "422"] {
        assert!(responses[status].is_object(), "{status}");
    }
}

#[test]
fn answers_without_the_envelope_are_described() {
    let mut raw = get("a.B.raw", "/raw");
    raw.raw = true;
    raw.reply = ReplyShape::Value {
        schema: json!({ "type": "integer" }),
    };
    let mut own = get("a.B.own", "/own");
    own.reply = ReplyShape::Response;
    let document = write(vec![raw, own]);
    let responses = |path: &str| document["paths"][path]["get"]["responses"].clone();
    assert_eq!(
        responses("/raw")["200"]["content"],
        json!({ JSON: { "schema": { "type": "integer" } } })
    );
    assert_eq!(
        responses("/own")["default"]["content"],
        json!({ "*/*": { "schema": {} } })
    );
    assert_eq!(responses("/own")["200"], Value::Null);
}

#[test]
fn streams_are_described() {
    let mut stream = get("a.B.s", "/s");
    stream.reply = ReplyShape::Stream {
        schema: json!({ "type": "string" }),
    };
    let document = write(vec![stream, get("a.B.t", "/t")]);
    let operation = &document["paths"]["/s"]["get"];
    assert_eq!(operation["x-framex-stream"], true);
    let success = &operation["responses"]["200"];
    let data = &success["content"][EVENT_STREAM]["schema"];
    assert_eq!(data["properties"]["content"], json!({ "type": "string" }));
    let line = &success["content"][NDJSON]["schema"];
    assert_eq!(line["properties"]["data"], *data);
    assert_eq!(
        operation["responses"]["504"]["$ref"],
        "#/components/responses/FrameX.Timeout.Stream"
    );
    let timeout = |name: &str| {
        let content = &document["components"]["responses"][name]["content"];
        content.as_object().unwrap().len()
    };
    assert_eq!(timeout("FrameX.Timeout.Stream"), 3);
    assert_eq!(timeout("FrameX.Timeout"), 1);
}

#[test]
fn kept_streams_have_an_address() {
    let stream = |id: &str, path: &str, live: bool| {
        let mut api = get(id, path);
        api.reply = ReplyShape::Stream { schema: json!({}) };
        api.live = live;
        (PluginMetadata::default(), api)
    };
    let live = Catalog::from_descriptors([stream("a.B.live", "/live", true)]);
    let document = checked(&live, &|_| false);
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/live"]);
    let described = [
        stream("a.B.live", "/live", true),
        stream("a.B.kept", "/kept", false),
        stream("a.B.shut", "/shut", false),
        stream("a.B.mine", "/api/v1/streams/{mine}", true),
    ];
    let catalog = Catalog::from_descriptors(described);
    let document = checked(&catalog, &|route| route.path == "/shut");
    let operation = |path: &str, method: &str| document["paths"][path][method].clone();
    let resumable = |path: &str| {
        let operation = operation(path, "get");
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let address = &operation["responses"]["200"]["headers"]["X-FrameX-Stream"];
        let gone = &operation["responses"]["410"];
        let header = "#/components/parameters/FrameX.LastEventId";
        parameters.iter().any(|p| p["$ref"] == header) && address.is_object() && gone.is_object()
    };
    assert_eq!(
        ["/live", "/kept", "/shut"].map(resumable),
        [false, true, true]
    );
    let address = "/api/v1/streams/{stream}";
    assert!(resumable(address));
    let header = &document["components"]["parameters"]["FrameX.LastEventId"];
    assert_eq!(header["name"], "Last-Event-ID");
    assert_eq!(
        operation(address, "get")["operationId"],
        "framex_stream_follow"
    );
    let stop = operation(address, "delete");
    assert_eq!(
        stop["responses"]["204"]["description"],
        "Its handler is stopped."
    );
    assert_eq!(stop["security"], json!([{}, { "APIKeyHeader": [] }]));
}

#[test]
fn protected_routes_ask_for_a_key() {
    let described = [get("a.B.open", "/open"), get("a.B.shut", "/shut")]
        .map(|api| (PluginMetadata::default(), api));
    let catalog = Catalog::from_descriptors(described);
    let document = checked(&catalog, &|route| route.path == "/shut");
    let operation = |path: &str| document["paths"][path]["get"].clone();
    assert_eq!(
        operation("/shut")["security"],
        json!([{ "APIKeyHeader": [] }])
    );
    assert!(operation("/shut")["responses"]["401"].is_object());
    assert_eq!(operation("/open")["security"], Value::Null);
    assert_eq!(operation("/open")["responses"]["401"], Value::Null);
    let scheme = &document["components"]["securitySchemes"]["APIKeyHeader"];
    assert_eq!(
        (&scheme["type"], &scheme["in"], &scheme["name"]),
        (&json!("apiKey"), &json!("header"), &json!("Authorization"))
    );
    assert_eq!(
        checked(&catalog, &|_| false)["components"]["securitySchemes"],
        Value::Null
    );
}

#[test]
fn schemas_that_differ_are_kept_apart() {
    let integer = json!({ "type": "integer" });
    let text = json!({ "type": "string" });
    let same = json!({ "type": "boolean" });
    let document = write(vec![
        replying(get("a.B.x", "/ax"), "Item", integer.clone()),
        replying(get("a.B.y", "/ay"), "Item", integer.clone()),
        replying(get("b.B.x", "/bx"), "Item", integer.clone()),
        replying(get("c.B.x", "/cx"), "Item", text.clone()),
        replying(get("c.B.y", "/cy"), "Item", integer.clone()),
        replying(get("a.B.s", "/as"), "Same", same.clone()),
        replying(get("b.B.s", "/bs"), "Same", same.clone()),
    ]);
    for (path, name, schema) in [
        ("/ax", "a.Item", &integer),
        ("/ay", "a.Item", &integer),
        ("/bx", "b.Item", &integer),
        ("/cx", "c.B.x.Item", &text),
        ("/cy", "c.B.y.Item", &integer),
        ("/as", "Same", &same),
        ("/bs", "Same", &same),
    ] {
        let reference = format!("#/components/schemas/{name}");
        assert_eq!(data_schema(&document, path)["$ref"], reference.as_str());
        assert_eq!(document["components"]["schemas"][name], *schema, "{name}");
    }
    assert_eq!(document["components"]["schemas"]["Item"], Value::Null);
}

#[test]
fn schemas_of_one_text_differ_where_their_parts_do() {
    let page = json!({ "properties": { "items": { "$ref": "#/components/schemas/Item" } } });
    let paged = |id: &str, path: &str, kind: &str| {
        let mut api = replying(get(id, path), "Page", page.clone());
        api.components
            .insert("Item".into(), json!({ "type": kind }));
        api
    };
    let document = write(vec![
        paged("a.B.c", "/a", "string"),
        paged("b.B.c", "/b", "integer"),
    ]);
    let schemas = &document["components"]["schemas"];
    for plugin in ["a", "b"] {
        assert_eq!(
            schemas[format!("{plugin}.Page")]["properties"]["items"]["$ref"],
            format!("#/components/schemas/{plugin}.Item").as_str()
        );
    }
}

#[test]
fn component_names_fit() {
    let document = write(vec![
        replying(
            get("a.B.c", "/1"),
            "FrameX.Error",
            json!({ "type": "string" }),
        ),
        replying(get("a.B.d", "/2"), "A b", json!({ "type": "string" })),
        replying(get("a.B.e", "/3"), "A_b", json!({ "type": "integer" })),
        replying(get("a.B.f", "/4"), "", json!({})),
    ]);
    for (path, name) in [
        ("/1", "_FrameX.Error"),
        ("/2", "A_b_2"),
        ("/3", "A_b"),
        ("/4", "_"),
    ] {
        let reference = format!("#/components/schemas/{name}");
        assert_eq!(data_schema(&document, path)["$ref"], reference.as_str());
    }
    let error = &document["components"]["schemas"]["FrameX.Error"];
    assert_eq!(error["type"], "object");
}

#[test]
fn schemas_may_refer_to_themselves() {
    let reference = json!({ "$ref": "#/components/schemas/Node" });
    let node = json!({
        "type": "object",
        "properties": { "next": reference, "all": { "type": "array", "items": reference } },
    });
    let document = write(vec![replying(get("a.B.c", "/c"), "Node", node.clone())]);
    assert_eq!(document["components"]["schemas"]["Node"], node);
}

#[test]
fn schemas_that_are_themselves_are_anything() {
    let mut loops = replying(
        get("a.B.c", "/c"),
        "A",
        json!({ "$ref": "#/components/schemas/B" }),
    );
    let back =
        json!({ "anyOf": [{ "$ref": "#/components/schemas/A" }, { "type": "null" }], "type": 7 });
    loops.components.insert("B".into(), back);
    let document = write(vec![loops]);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["A"], json!({}));
    assert_eq!(schemas["B"], json!({ "anyOf": [{}, { "type": "null" }] }));
}

#[test]
fn nonsense_is_left_out() {
    let mut api = api(
        "a.B.c",
        &[
            (Method::GET, "no-slash"),
            (Method::GET, "/{a}/{a}"),
            (Method::from_bytes(b"BREW").unwrap(), "/pot"),
            (Method::GET, "/ok"),
            (Method::GET, "/ok"),
        ],
    );
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({ "items": deep });
    }
    api.parameters = vec![
        parameter(
            Location::Query,
            "a",
            json!({ "$ref": "#/components/schemas/No", "title": "A" }),
        ),
        parameter(Location::Query, "b", json!(17)),
        parameter(Location::Query, "c", json!(false)),
        parameter(Location::Query, "d", deep),
        parameter(
            Location::Query,
            "e",
            json!({
                "type": ["string", "string"], "required": "x", "properties": [], "minLength": -1,
                "allOf": {}, "enum": 1, "items": [{}], "$id": "http://elsewhere/", "x-own": [1],
                "default": { "$ref": "data" }, "discriminator": { "propertyName": "k", "mapping": { "a": "No" } },
            }),
        ),
        parameter(Location::Query, "", json!({})),
        parameter(Location::Path, "gone", json!({})),
    ];
    let catalog = Catalog::from_descriptors([(PluginMetadata::default(), api)]);
    let document = document(&catalog, &Options::new("", &|_| false));
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.keys().collect::<Vec<_>>(), ["/ok"]);
    let parameters = paths["/ok"]["get"]["parameters"].as_array().unwrap();
    let schemas: Vec<_> = parameters.iter().map(|p| &p["schema"]).collect();
    assert_eq!(*schemas[0], json!({ "title": "A" }));
    assert_eq!(*schemas[1], json!({}));
    assert_eq!(*schemas[2], json!({ "not": {} }));
    assert_eq!(
        *schemas[4],
        json!({
            "x-own": [1],
            "discriminator": { "propertyName": "k", "mapping": {} },
        })
    );
    assert_eq!(schemas.len(), 5);
}

#[test]
fn tags_tell_about_plugins_without_markup() {
    let plugin = PluginMetadata {
        name: "a".into(),
        version: "1.0".into(),
        description: "Does *things* <script>".into(),
        author: "[me](x) <b>".into(),
        url: "https://example.com/?a=1&b".into(),
        ..PluginMetadata::default()
    };
    let other = PluginMetadata {
        name: "b".into(),
        url: "javascript:alert(1)".into(),
        tags: vec!["a".into()],
        ..PluginMetadata::default()
    };
    let one = Catalog::from_descriptors([(plugin.clone(), get("a.B.c", "/a"))]);
    let about = "Does *things* &lt;script&gt;\n\n👤 \\[me\\](x) &lt;b&gt; · 🧩 v1.0 · \
                 [🔗 Repo](https://example.com/?a=1&amp;b)";
    assert_eq!(
        checked(&one, &|_| false)["tags"],
        json!([{ "name": "a", "description": about }])
    );
    let two =
        Catalog::from_descriptors([(plugin, get("a.B.c", "/a")), (other, get("b.B.c", "/b"))]);
    assert_eq!(
        checked(&two, &|_| false)["tags"],
        json!([{ "name": "a", "description": format!("**a**\n\n{about}\n\n**b**") }])
    );
}

#[test]
fn the_same_catalog_gives_the_same_bytes() {
    let many = |ids: Vec<usize>| {
        let apis = ids.into_iter().map(|n| {
            let path = format!("/{}", n % 50);
            let schema = json!({ "title": (n % 3).to_string(), "type": "object" });
            replying(get(&format!("p{}.T.m{n}", n % 7), &path), "Item", schema)
        });
        write(apis.collect()).to_string()
    };
    assert_eq!(many((0..100).collect()), many((0..100).rev().collect()));
}
