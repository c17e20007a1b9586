//! Documents as frameworks and people write them.

use super::*;

#[test]
fn a_fastapi_application_comes_in_whole() {
    let document = serde_json::from_str(include_str!("../testdata/fastapi.json")).unwrap();
    let shop = read(&document);
    assert_eq!((&*shop.title, &*shop.version), ("Shop", "2.1"));
    assert!(!shop.is_framex);
    assert_eq!(shop.skipped, []);
    assert_eq!(shop.operations.len(), 22);

    let item = find(&shop, "GET", "/items/{item_id}");
    let api = &item.descriptor;
    assert_eq!(api.id.as_str(), "proxy.shop.read_item_items__item_id__get");
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
fn documents_of_3_0_are_told_in_the_words_of_3_1() {
    let yaml = include_bytes!("../testdata/pets.yaml");
    let pets = import(yaml, &upstream(), &[], BRIDGE).unwrap();
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
    assert_eq!(
        pet["default"],
        json!({"kind": "dog", "nullable": true, "example": 1})
    );
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
fn the_same_document_gives_the_same_operations() {
    let text = include_str!("../testdata/fastapi.json");
    let told = |text: &str| {
        let imported = import(text.as_bytes(), &upstream(), &[], BRIDGE).unwrap();
        let all = imported
            .operations
            .iter()
            .map(|o| serde_json::to_string(&o.descriptor).unwrap());
        all.collect::<Vec<_>>()
    };
    assert_eq!(told(text), told(text));
}

#[test]
fn a_django_application_comes_in_whole() {
    let yaml = include_bytes!("../testdata/django.yaml");
    let django = import(yaml, &upstream(), &[], BRIDGE).unwrap();
    assert_eq!(django.skipped, []);
    assert_eq!(django.operations.len(), 12);
    // It named itself nothing.
    let list = find(&django, "GET", "/api/users/");
    assert_eq!(list.descriptor.tags, ["shop"]);
    assert_eq!(list.descriptor.routes[0].path, "/api/users/");
    assert!(!list.descriptor.guarded);
    let user = &list.descriptor.components["UserS"]["properties"];
    assert_eq!(user["avatar"]["type"], json!(["string", "null"]));
    assert_eq!(
        user["kind"]["anyOf"],
        json!([
            {"oneOf": [
                {"$ref": "#/components/schemas/KindEnum"},
                {"$ref": "#/components/schemas/BlankEnum"},
                {"$ref": "#/components/schemas/NullEnum"},
            ]},
            {"type": "null"},
        ])
    );
    let create = find(&django, "POST", "/api/users/");
    assert_eq!(create.shape.body.as_ref().unwrap().form, Form::Json);
}
