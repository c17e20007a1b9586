//! Starts that must fail, and what they say.

use std::sync::atomic::{AtomicUsize, Ordering};

use framex::prelude::*;
use framex_test_support::{Server, ServerBuilder};

use crate::zoo::Zoo;

macro_rules! plugin_with_route {
    ($type:ident, $name:tt, $path:tt $(, $parameter:ident)?) => {
        #[derive(Default)]
        struct $type;

        #[on_register(plugin = $name)]
        impl $type {
            #[on_request(get, $path, api_prefix = false)]
            async fn at(&self $(, $parameter: String)?) -> &'static str {
                $(let _ = $parameter;)?
                $name
            }
        }
    };
}

plugin_with_route!(First, "first", "/taken");
plugin_with_route!(Second, "second", "/taken");
plugin_with_route!(ById, "by_id", "/things/{id}/x", id);
plugin_with_route!(ByName, "by_name", "/things/{name}/x", name);
plugin_with_route!(Rest, "rest", "/things/{*rest}", rest);
plugin_with_route!(OneThing, "one_thing", "/things/{id}", id);
plugin_with_route!(Everything, "everything", "/{*rest}", rest);
plugin_with_route!(OneLevel, "one_level", "/api/v1/{name}", name);
plugin_with_route!(Health, "healthy", "/health");
plugin_with_route!(Documents, "documents", "/docs/mine");

async fn refused(builder: ServerBuilder) -> String {
    match builder.try_start().await {
        Ok(_) => panic!("it starts"),
        Err(error) => error.to_string(),
    }
}

fn assert_names(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[tokio::test]
async fn one_route_claimed_twice() {
    let text = refused(Server::builder().plugin::<First>().plugin::<Second>()).await;
    assert_names(&text, &["first.First.at", "second.Second.at", "GET /taken"]);
    let text = refused(Server::builder().plugin::<ById>().plugin::<ByName>()).await;
    assert_names(&text, &["by_id.ById.at", "by_name.ByName.at", "/things/{"]);
    // These two may live together: the more exact one wins.
    let builder = Server::builder()
        .plugin::<Rest>()
        .plugin::<OneThing>()
        .plugin::<ById>();
    match builder.try_start().await {
        Ok(server) => {
            for (path, plugin) in [("1", "one_thing"), ("1/x", "by_id"), ("1/y", "rest")] {
                let answer = server.get(&format!("/things/{path}")).send().await;
                assert_eq!(answer.data(), plugin, "{path}");
            }
        }
        Err(error) => assert_names(
            &error.to_string(),
            &["rest.Rest.at", "one_thing.OneThing.at"],
        ),
    }
}

#[tokio::test]
async fn one_plugin_twice() {
    let text = refused(Server::builder().plugin::<First>().plugin::<First>()).await;
    assert_names(&text, &["`first`", "twice"]);
    let builder = Server::builder().plugin::<First>();
    // A name that sources repeat is one plugin.
    let builder = builder.set("load_plugins", vec!["first", "first"]);
    assert_eq!(
        builder.start().await.get("/taken").send().await.data(),
        "first"
    );
    let text = refused(
        Server::builder()
            .set("load_plugins", vec!["frist"])
            .plugin::<First>(),
    )
    .await;
    assert_names(&text, &["`frist`", "`first`"]);
}

#[tokio::test]
async fn paths_of_the_edge() {
    let text = refused(Server::builder().plugin::<Health>()).await;
    assert_names(&text, &["healthy.Health.at", "/health"]);
    let text = refused(Server::builder().plugin::<Documents>()).await;
    assert_names(&text, &["documents.Documents.at", "/docs/mine"]);
}

/// A template that is wide enough to cover them does not take them away.
#[tokio::test]
async fn paths_of_the_edge_below_a_wide_template() {
    let server = Server::builder()
        .plugin::<Everything>()
        .plugin::<OneLevel>()
        .start()
        .await;
    let get = async |path: &str| server.get(path).send().await;
    assert_eq!(get("/health").await.text(), "\"ok\"");
    assert_eq!(
        get("/docs").await.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(get("/docs/nothing").await.status, 404);
    assert!(get("/api/v1/openapi.json").await.json()["openapi"].is_string());
    assert_eq!(server.post("/health").send().await.status, 405);
    assert_eq!(get("/api/v1/other").await.data(), "one_level");
    assert_eq!(get("/healthy").await.data(), "everything");
    assert_eq!(get("/health/x").await.data(), "everything");
}

static STOPPED: AtomicUsize = AtomicUsize::new(0);

#[derive(Default)]
struct Fine;

#[on_register(plugin = "fine", priority = 10)]
impl Fine {
    async fn on_stop(&self) -> Result<()> {
        STOPPED.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    #[on_request(get, "/fine")]
    async fn fine(&self) -> u8 {
        1
    }
}

#[derive(Default)]
struct Failing;

#[on_register(plugin = "failing")]
impl Failing {
    async fn on_start(&self) -> Result<()> {
        Err(std::io::Error::other("the database is away"))?;
        Ok(())
    }

    #[on_request(get, "/failing")]
    async fn failing(&self) -> u8 {
        1
    }
}

#[tokio::test]
async fn a_plugin_that_fails_to_start() {
    let text = refused(Server::builder().plugin::<Fine>().plugin::<Failing>()).await;
    assert_names(&text, &["`failing`", "the database is away"]);
    // What had started was stopped again.
    assert_eq!(STOPPED.load(Ordering::SeqCst), 1);

    let server = Server::builder()
        .plugin::<Fine>()
        .plugin::<Failing>()
        .set("allow_failed_plugins", true)
        .start()
        .await;
    assert_eq!(server.get("/api/v1/fine").send().await.data(), 1);
    assert_eq!(server.get("/api/v1/failing").send().await.status, 404);
    let ready = server.get("/ready").send().await.json();
    assert_eq!(ready["status"], "degraded");
    assert_names(
        &ready["reasons"].to_string(),
        &["failing", "the database is away"],
    );
}

#[tokio::test]
async fn who_needs_what_is_missing_may_start_too() {
    let server = Server::builder()
        .plugin::<Dependent>()
        .plugin::<Fine>()
        .set("allow_failed_plugins", true)
        .start()
        .await;
    assert_eq!(server.get("/api/v1/fine").send().await.data(), 1);
    let ready = server.get("/ready").send().await.json();
    assert_eq!(ready["status"], "degraded");
    assert_names(&ready["reasons"].to_string(), &["required by plugin"]);
}

#[derive(Default)]
struct Panicking;

#[on_register(plugin = "panicking")]
impl Panicking {
    async fn on_start(&self) -> Result<()> {
        panic!("no such luck")
    }

    #[on_request(get, "/panicking")]
    async fn panicking(&self) -> u8 {
        1
    }
}

#[tokio::test]
async fn a_plugin_that_panics_at_the_start() {
    let text = refused(Server::builder().plugin::<Panicking>()).await;
    assert_names(&text, &["`panicking`", "no such luck"]);
}

#[derive(Default)]
struct Dependent;

#[on_register(plugin = "dependent", required_remote_apis = ["/api/v1/eccho", "zoo.Zoo.hidden", "nobody.No.thing"])]
impl Dependent {
    #[on_request(get, "/dependent")]
    async fn dependent(&self) -> u8 {
        1
    }
}

#[tokio::test]
async fn dependencies_that_are_nowhere() {
    let text = refused(Server::builder().plugin::<Zoo>().plugin::<Dependent>()).await;
    assert_names(
        &text,
        &[
            "`/api/v1/eccho`",
            "`/api/v1/echo`",
            "`nobody.No.thing`",
            "`dependent`",
        ],
    );
    assert!(!text.contains("`zoo.Zoo.hidden`, required"), "{text}");
}

#[tokio::test]
async fn a_port_in_use() {
    let server = Server::of::<Zoo>().await;
    let builder = Server::builder().plugin::<Zoo>();
    let text = refused(builder.server("port", server.address().port())).await;
    assert_names(
        &text,
        &[
            &server.address().port().to_string(),
            "in use",
            "--port",
            "server.port",
        ],
    );
    let builder = Server::builder().plugin::<Zoo>();
    let text = refused(builder.server("dashboard_port", server.dashboard().port())).await;
    assert_names(&text, &["--dashboard-port", "server.dashboard_port"]);
}
