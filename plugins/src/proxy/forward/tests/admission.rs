//! What is sent to an upstream at all, and with which key.

use super::requests::listening;
use super::*;
use crate::proxy::document;
use crate::proxy::operation::{Argument, Place, Style};

/// Tells `forwarder` of a document with these paths.
fn knows(forwarder: &Arc<Forwarder>, paths: Value) {
    let info = json!({"title": "T", "version": "1"});
    let document = json!({"openapi": "3.1.0", "info": info, "paths": paths});
    let text = document.to_string();
    let imported = document::import(text.as_bytes(), &forwarder.upstream, &[], "bridge-1");
    forwarder.set_known(imported.unwrap().known);
}

#[tokio::test]
async fn what_could_be_another_path_is_not_sent() {
    let (upstream, heads) = listening().await;
    let open = upstream.forwarder(json!({"disable": ["/admin/*"]}));
    let keyed = upstream.forwarder(json!({"auth": {"rules": {"/x": ["k"]}}}));
    let part = upstream.forwarder(json!({"enable": ["/x", "/y/a"]}));
    knows(
        &open,
        json!({"/x": {"get": {}}, "/y/{id}/secret": {"get": {}}}),
    );
    for (forwarder, target, status) in [
        (&open, "/x/%2e%2e/admin", Some(400)),
        (&open, "/x%5cadmin", Some(400)),
        (&open, "/%61dmin/users", Some(404)),
        (&open, "/admin%2Fusers", Some(404)),
        // Read with slashes, it is another operation's.
        (&open, "/y/5%2Fsecret", Some(400)),
        (&open, "/y/5%2Fother", None),
        (&keyed, "/y/a%2Fb", Some(400)),
        (&part, "/y%2Fb", Some(400)),
        (&part, "/y%2Fa", None),
    ] {
        let answer = pass(forwarder, &format!("GET {target}")).await;
        let refused = answer.err().map(|error| error.status().as_u16());
        assert_eq!(refused, status, "{target}");
        assert_eq!(heads.lock().unwrap().pop().is_some(), status.is_none());
    }
    // An operation that is gone is nobody's.
    knows(&open, json!({}));
    assert!(pass(&open, "GET /y/5%2Fsecret").await.is_ok());
}

/// What a template stands for may be another operation, which its document may hold back.
#[tokio::test]
async fn a_template_does_not_open_its_siblings() {
    let (upstream, heads) = listening().await;
    let forwarder = upstream.forwarder(json!({
        "enable": ["/items/{id}", "/items/open", "/items/guarded", "/items/{name}.json"],
        "auth": {"rules": {"/items/guarded": ["their-key"]}},
    }));
    let get = json!({"get": {}});
    knows(
        &forwarder,
        json!({
            "/items/{id}": get, "/items/secret": get, "/items/open": get, "/items/guarded": get,
            "/items/new": {"post": {}}, "/items/{name}.json": get, "/items/{name}.key": get,
        }),
    );
    let parameter = Argument {
        name: "id".into(),
        place: Place::Path,
        required: true,
        style: Style::Commas,
    };
    let shape = Shape {
        parameters: vec![parameter],
        ..shape(&forwarder, "/items/{id}")
    };
    let descriptor = ApiDescriptor::new(ApiId::parse("proxy.up.item").unwrap(), ApiKind::Http);
    let items = forwarder.operation(descriptor.into(), shape.into());
    for (id, client, plugin) in [
        ("1", true, true),
        ("secrets", true, true),
        // What is there for another method is an item for this one.
        ("new", true, true),
        ("secret", false, false),
        ("%73ecret", false, true),
        ("SECRET", false, false),
        ("secret;v=1", false, false),
        ("guarded", false, false),
        ("open", false, true),
        // It has no route of its own.
        ("a.json", true, true),
        ("a.key", false, false),
    ] {
        for method in ["GET", "HEAD"] {
            let args = args(method, &format!("/items/{id}"), None);
            let answer = items.call(context(&[]), args).await;
            let refused = answer.err().map(|error| error.status().as_u16());
            assert_eq!(refused, (!client).then_some(404), "{method} {id}");
            assert_eq!(heads.lock().unwrap().pop().is_some(), client, "{id}");
        }
        let answer = items.call(
            context(&[]),
            Args::from_json(json!({"id": id}).to_string().into()),
        );
        let refused = answer.await.err().map(|error| error.status().as_u16());
        assert_eq!(refused, (!plugin).then_some(404), "{id}");
        let head = heads.lock().unwrap().pop();
        assert!(!head.unwrap_or_default().contains("their-key"));
    }
}

/// Documents are read by the bridge alone, and what systems ask each other is not for clients.
#[tokio::test]
async fn what_is_the_bridges_alone_is_not_passed_on() {
    let (upstream, heads) = listening().await;
    let url = format!("http://{}/api", upstream.address);
    let forwarder = forwarder(
        &url,
        json!({"docs_path": "/schema?format=json", "auth": {"rules": {"*": ["k"]}}}),
    );
    let wide = Shape {
        base: String::new(),
        ..shape(&forwarder, "/{*rest}")
    };
    let descriptor = ApiDescriptor::new(ApiId::parse("proxy.up.all").unwrap(), ApiKind::Http);
    let wide = forwarder.operation(descriptor.into(), wide.into());
    for path in [
        "/schema",
        "/%73chema/",
        "/openapi.json",
        "/api/schema",
        "/api/v1/proxy/remote",
        "/api/v1/Proxy/%72emote;x/",
        "/api/v1/proxy/refresh",
    ] {
        let answer = wide.call(context(&[]), args("POST", path, None)).await;
        assert_eq!(answer.unwrap_err().status(), 404, "{path}");
    }
    // Below the URL's own path.
    for path in [
        "/api/v1/proxy/remote",
        "/v1/proxy/remote",
        "/v1/proxy/remote/",
    ] {
        let passed = args("POST", path, None).passed().unwrap().unwrap();
        let answer = forwarder.pass(&context(&[]), passed).await;
        assert_eq!(answer.unwrap_err().status(), 404, "{path}");
        let named = Args::from_json("{}".into());
        let named = named.named(&ApiDescriptor::new(
            ApiId::parse("a.B.c").unwrap(),
            ApiKind::Func,
        ));
        let target = format!("POST {path}?x=1");
        let answer = forwarder.call(&context(&[]), &target, named.unwrap()).await;
        assert_eq!(answer.unwrap_err().status(), 404, "{path}");
    }
    assert!(heads.lock().unwrap().is_empty());
}
