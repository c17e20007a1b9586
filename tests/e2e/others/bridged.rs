//! What stands for other services: held back without a rule, yielding to plugins, and
//! everything that nobody here answers.

use framex::Error;
use framex_core::body::ByteStream;
use framex_core::reply::Download;

use super::*;

/// Answers what nobody does, with what it was asked.
struct Bridge;

impl Fallback for Bridge {
    fn call(&self, target: &str, _: Option<&ApiDescriptor>, request: Request) -> Call {
        let target = target.to_owned();
        Call::remote(Box::pin(async move {
            let Request { args, meta } = request;
            let passed = args.passed().unwrap().unwrap();
            if passed.target.starts_with("/nobody") {
                return Err(CallError::Handler(Error::not_found("nobody's")));
            }
            let kind = passed.body.as_ref().map(|body| body.content_type.clone());
            let body = match passed.body {
                Some(body) => body.bytes().await.map_err(CallError::Handler)?,
                None => Default::default(),
            };
            let header = |name: &str| meta.headers.get(name).map(|v| v.to_str().unwrap());
            let seen = serde_json::json!({
                "target": target,
                "line": format!("{} {}", passed.method, passed.target),
                "body": String::from_utf8_lossy(&body),
                "type": kind,
                "for": header("x-forwarded-for"),
                "host": header("x-forwarded-host"),
                "proto": header("x-forwarded-proto"),
                "principal": meta.principal.map(|p| p.name().to_owned()),
                "trail": meta.trail.as_deref(),
            });
            let mut download = Download::from(ByteStream::full(seen.to_string()));
            download.status = http::StatusCode::ACCEPTED;
            Ok(Reply::Download(download))
        }))
    }
}

fn guarded(id: &str, route: &str) -> ApiDescriptor {
    ApiDescriptor {
        guarded: true,
        ..bridged(id, route)
    }
}

fn bridged(id: &str, route: &str) -> ApiDescriptor {
    ApiDescriptor {
        bridged: true,
        ..api(id, route)
    }
}

#[tokio::test]
async fn what_needs_a_key_is_published_under_a_rule_only() {
    log::keep();
    let bus = Others::new(&[]);
    bus.describe([
        guarded("proxy.up.secret_data", "GET /api/v1/secret/data"),
        guarded("proxy.up.later", "GET /api/v1/later"),
    ]);
    let (edge, _) = edge(&bus);
    edge.update();
    let server = serve(&edge, 1);
    let get = async |path: &str| Ask::new(server.address(), "GET", path).send().await;
    assert_eq!(get("/api/v1/secret/data").await.status, 404);
    assert_eq!(get("/api/v1/later").await.status, 401);
    let document = String::from_utf8(edge.openapi().to_vec()).unwrap();
    assert!(document.contains("/api/v1/later"));
    assert!(!document.contains("/api/v1/secret/data"), "{document}");
    let told = log::lines_with("`proxy.up.secret_data` is held back");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("auth.rules"), "{told:?}");
    stop(server).await;
}

#[tokio::test]
async fn a_route_is_the_plugins_as_long_as_there_is_one() {
    log::keep();
    let bus = Others::new(&[]);
    let of_bridge = || bridged("a.up.x", "GET /api/v1/yields/{id}");
    bus.describe([of_bridge()]);
    let (edge, _) = edge(&bus);
    let server = serve(&edge, 1);
    let served_by = async || {
        let answer = Ask::new(server.address(), "GET", "/api/v1/yields/1")
            .send()
            .await;
        answer.json()["message"].to_string()
    };
    assert!(served_by().await.contains("a.up.x"));
    bus.describe([of_bridge(), api("b.B.x", "GET /api/v1/yields/{key}")]);
    edge.update();
    assert!(served_by().await.contains("b.B.x"));
    assert!(log::lines_with("/api/v1/yields").is_empty());
    bus.describe([of_bridge()]);
    edge.update();
    assert!(served_by().await.contains("a.up.x"));
    stop(server).await;
}

#[tokio::test]
async fn a_path_that_is_written_oddly_opens_nothing() {
    let bus = Others::new(&[]);
    bus.describe([
        bridged("a.up.users", "GET /admin/users"),
        bridged("a.up.section", "GET /{section}/users"),
    ]);
    let mut options = options();
    let settings = [("/admin/*".to_owned(), vec!["k".into()])].into();
    options.rules = framex::edge::Rules::new(&settings);
    let shared: Arc<dyn Bus> = Arc::clone(&bus) as _;
    let edge = Edge::new(shared, Arc::new(Status::new("1.0.0")), options).unwrap();
    let server = serve(&edge, 1);
    let get = async |path: &str| Ask::new(server.address(), "GET", path).send().await;
    assert_eq!(get("/admin/users").await.status, 401);
    let odd = get("/%61dmin/users").await;
    assert_eq!(
        (odd.status, &odd.json()["code"]),
        (400, &"ambiguous_path".into())
    );
    // No template has the rule, and the path does.
    bus.describe([bridged("a.up.section", "GET /{section}/users")]);
    edge.update();
    for path in ["/admin/users", "/%61dmin/users", "/admin;x/users"] {
        assert_eq!(get(path).await.status, 401, "{path}");
    }
    assert_eq!(get("/other/users").await.status, 503);
    stop(server).await;
}

/// What another service has may be asked by browsers of other origins: that is for it to say.
#[tokio::test]
async fn what_browsers_ask_beforehand_is_the_services() {
    let bus = Others::new(&[]);
    bus.describe([
        bridged("a.up.x", "GET /bridged"),
        api("b.B.x", "GET /own"),
        bridged("a.up.both", "POST /own"),
    ]);
    let (edge, _) = edge(&bus);
    let server = serve(&edge, 1);
    let options = async |path: &str| Ask::new(server.address(), "OPTIONS", path).send().await;
    let answer = options("/bridged").await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.text().contains("a.up.x"),
        "it was called: {}",
        answer.text()
    );
    assert_eq!(
        options("/own").await.header("allow"),
        Some("GET, HEAD, OPTIONS, POST")
    );
    let other = Ask::new(server.address(), "PUT", "/bridged").send().await;
    assert_eq!(other.status, 405);
    let document = String::from_utf8(edge.openapi().to_vec()).unwrap();
    assert!(document.contains("/bridged"));
    stop(server).await;
}

#[tokio::test]
async fn what_nobody_answers_is_passed_on_as_it_came() {
    let bus = Others::new(&[("a.A.x", "GET /api/v1/x")]);
    let mut options = options();
    let settings = [("/below/*".to_owned(), vec!["k".into()])].into();
    options.rules = framex::edge::Rules::new(&settings);
    let status = Arc::new(Status::new("1.0.0"));
    let shared: Arc<dyn Bus> = Arc::clone(&bus) as _;
    let edge = Edge::new(shared, status, options).unwrap();
    let server = serve(&edge, 1);
    let ask = |method: &str, path: &str| Ask::new(server.address(), method, path);
    assert_eq!(ask("GET", "/legacy").send().await.status, 404, "no bridge");

    bus.set_fallback(Arc::new(Bridge));
    let answer = ask("PATCH", "/legacy/%20a?x='1'&x=2")
        .header("x-forwarded-for", "1.2.3.4")
        .header("x-forwarded-host", "evil")
        .header("forwarded", "for=evil")
        .header("x-framex-trail", "one, two")
        .header("content-type", "text/odd")
        .body("hello")
        .send()
        .await;
    assert_eq!(answer.status, 202);
    let seen = answer.json();
    assert_eq!(seen["target"], "PATCH /legacy/%20a");
    assert_eq!(seen["line"], "PATCH /legacy/%20a?x='1'&x=2");
    assert_eq!(
        (&seen["body"], &seen["type"]),
        (&"hello".into(), &"text/odd".into())
    );
    assert_eq!(
        (&seen["for"], &seen["proto"]),
        (&"127.0.0.1".into(), &"http".into())
    );
    assert_eq!(seen["host"], server.address().to_string());
    assert_eq!(seen["trail"], "one, two");
    assert!(seen["principal"].is_null());

    // A rule counts, however the path is written.
    for path in ["/below/x", "/%62elow/x"] {
        assert_eq!(ask("GET", path).send().await.status, 401, "{path}");
        let answer = ask("GET", path).header("authorization", "k").send().await;
        let principal = answer.json()["principal"].to_string();
        assert!(principal.contains("of /below/*"), "{principal}");
    }
    // Nor does what the client says of its connection touch what the edge says.
    let answer = ask("GET", "/legacy")
        .header("connection", "x-forwarded-for, x-own")
        .header("x-own", "1")
        .send()
        .await;
    assert_eq!(answer.json()["for"], "127.0.0.1");
    let head = ask("HEAD", "/legacy").start().await.answer_to_head().await;
    assert_eq!(head.status, 202);
    // What is the edge's own, and what plugins have, is not passed on.
    assert_eq!(ask("GET", "/docs/none").send().await.status, 404);
    assert_eq!(ask("GET", "/health").send().await.text(), "\"ok\"");
    assert_eq!(ask("POST", "/api/v1/x").send().await.status, 405);
    assert_eq!(ask("GET", "/nobody").send().await.status, 404);
    stop(server).await;
}
