//! The bridge as a worker on a broker with nats.conf, edges and plugins elsewhere.

use std::path::Path;
use std::process::Command;

use framex_test_support::nats::NatsServer;
use framex_test_support::raw::Ask;
use framex_test_support::{Answer, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::caller::Caller;
use crate::process::Serving;
use crate::site::{clash, everything, imported, until, until_status};

/// A broker and processes on it.
struct Site {
    broker: NatsServer,
    guarded: bool,
    dir: TempDir,
}

impl Site {
    /// With nats.conf, where each process is a user of its own, or open to everybody.
    async fn new(guarded: bool) -> Self {
        let mut broker = NatsServer::builder();
        if guarded {
            broker = broker.config_file(Path::new(env!("CARGO_MANIFEST_DIR")).join("nats.conf"));
        }
        let dir = tempfile::tempdir().unwrap();
        let proxy = json!({ "proxy_urls": {
            everything().url(): { "name": "everything", "enable": ["/*"] },
            clash().url(): { "name": "clash", "enable": ["/orders", "/api/v1/echo"] },
        }});
        let config = format!("[plugins]\nproxy = {}\n", inline(&proxy));
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        Self {
            broker: broker.start().await,
            guarded,
            dir,
        }
    }

    fn start(&self, user: &str, words: &[&str]) -> Serving {
        let mut command = Command::new(env!("CARGO_BIN_EXE_framex"));
        command.args(words).args(["--nats-url", &self.broker.url()]);
        if self.guarded {
            command
                .args(["--nats-user", user])
                .env("NATS__PASSWORD", format!("{user}-dev"));
        }
        let home = match user {
            "bridge" => self.dir.path(),
            // Without the settings of the bridge.
            _ => Path::new("/"),
        };
        Serving::start_ready(&mut command, home)
    }

    fn bridge(&self) -> Serving {
        self.start("bridge", &["worker", "--load-builtin-plugins", "proxy"])
    }

    /// An edge in this process, with a plugin that calls what it is told to.
    async fn edge(&self) -> Server {
        let edge = Server::builder()
            .plugin::<Caller>()
            .server("use_nats", true)
            .server("enable_proxy", true)
            .set("nats", json!({ "url": self.broker.url() }));
        edge.start().await
    }
}

async fn call(edge: &Server, target: &str, values: Value) -> Answer {
    let target = target.replace(' ', "%20");
    let call = edge.post(&format!("/api/v1/call?target={target}"));
    call.json(values.to_string()).send().await
}

/// JSON as TOML writes it in a line.
fn inline(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(k, v)| format!("{k:?} = {}", inline(v)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Everything goes through the broker as it goes without one.
#[tokio::test]
async fn requests_of_every_kind() {
    let site = Site::new(true).await;
    let bridge = site.bridge();
    let edges = [0; 2].map(|_| site.start("edge", &["edge", "--set", "server.enable_proxy=true"]));
    for edge in &edges {
        let address = edge.address();
        let ask = |method: &str, target: &str| Ask::new(address, method, target);
        until("the edge knows them", async || {
            (ask("GET", "/text").send().await.status == 200).then_some(())
        })
        .await;
        for (target, status) in [
            ("/query?count_of=1&from=a%2F&tags=a&tags=b", 200),
            ("/bytes/binary", 200),
            ("/bytes/gzip", 200),
            ("/fail/409", 409),
            ("/redirect/302", 302),
            ("/sse", 200),
            ("/lines", 200),
            ("/many-headers", 200),
            ("/unchanged", 200),
            ("/items/x", 422),
        ] {
            let direct = everything().ask("GET", target).send().await;
            let bridged = ask("GET", target).send().await;
            assert_eq!(
                (bridged.status, direct.status),
                (status, status),
                "{target}: {}",
                bridged.lossy()
            );
            assert!(bridged.body == direct.body, "{target}: {}", bridged.lossy());
            let of = |name: &str| {
                (
                    bridged.header(name).map(str::to_owned),
                    direct.header(name).map(str::to_owned),
                )
            };
            for name in [
                "content-type",
                "content-encoding",
                "location",
                "etag",
                "x-why",
                "x-one",
                "retry-after",
            ] {
                let (bridged, direct) = of(name);
                assert_eq!(bridged, direct, "{target}: {name}");
            }
        }
        let mirror = ask("PATCH", "/mirror/a%20b?x='1'")
            .header("X-Two", "1")
            .header("X-Two", "2");
        let mirror = mirror
            .header("Content-Type", "text/odd")
            .body("hello")
            .send()
            .await
            .json();
        assert_eq!(
            (&mirror["method"], &mirror["path"], &mirror["query"]),
            (&json!("PATCH"), &json!("/mirror/a%20b"), &json!("x='1'"))
        );
        let headers = mirror["headers"].as_array().unwrap();
        for header in [
            ["content-type", "text/odd"],
            ["x-two", "1"],
            ["x-two", "2"],
            ["x-forwarded-for", "127.0.0.1"],
        ] {
            assert!(headers.contains(&json!(header)), "{header:?}: {mirror}");
        }
        // More than a message of the broker holds.
        let sent = ask("POST", "/raw")
            .header("Content-Encoding", "x-none")
            .body(vec![7; 3 << 20]);
        assert_eq!(sent.send().await.json()["size"], 3 << 20);
        let large = ask("GET", "/large?size=3000000").send().await;
        assert_eq!(large.body.len(), 3_000_000);
        assert_eq!(ask("GET", "/secure/data").send().await.status, 404);
        let hidden = ask("GET", "/hidden").send().await;
        assert_eq!(hidden.status, 200, "{}", hidden.lossy());
    }
    // Who has no clients says nothing of what they do not get.
    assert!(!bridge.log().contains("held back"), "{}", bridge.log());
    assert!(
        edges[0].log().contains("`/secure/data`"),
        "{}",
        edges[0].log()
    );
    // The routes go with the bridge.
    assert_eq!(bridge.stop(), Some(0));
    until("the operations are gone", async || {
        let answer = Ask::new(edges[0].address(), "GET", "/text").send().await;
        matches!(answer.status, 404 | 503).then_some(())
    })
    .await;
}

/// The upstream has what the plugin had, and takes the calls while it is gone.
#[tokio::test]
async fn a_plugin_that_is_killed_and_comes_back() {
    let site = Site::new(false).await;
    let edge = site.edge().await;
    let _bridge = site.bridge();
    let words = ["worker", "--load-builtin-plugins", "echo"];
    let mut echo = site.start("echo", &words);
    let from_plugin = async || {
        let answer = edge.get("/api/v1/echo?message=x").send().await;
        (answer.status == 200 && answer.json()["data"] == "x").then_some(())
    };
    let from_upstream = async || {
        let answer = edge.get("/api/v1/echo?message=x").send().await;
        (answer.status == 200 && answer.json() == "the upstream says x").then_some(())
    };
    let called = async || call(&edge, "GET /api/v1/echo", json!({"message": "y"})).await;
    until("the plugin answers", from_plugin).await;
    imported(&edge, "clash").await;
    assert!(
        from_plugin().await.is_some(),
        "the route stays the plugin's"
    );
    assert_eq!(called().await.data(), "y");
    // Calls of what only the upstreams have.
    let item = call(&edge, "GET /items/{item_id}", json!({"item_id": 4})).await;
    assert_eq!(item.data(), json!({"item": 4}));
    let orders = call(&edge, "proxy.clash.list", json!({})).await;
    assert_eq!(orders.data(), json!({"orders": ["tea"]}));
    let stream = edge
        .post("/api/v1/reply?target=/sse")
        .json("{}")
        .send()
        .await
        .data();
    assert_eq!(stream["stream"].as_array().unwrap().len(), 5, "{stream}");
    let failed = call(&edge, "/fail/{status}", json!({"status": 409})).await;
    assert_eq!(failed.status, 409);

    for _ in 0..2 {
        echo.process().kill();
        until("the upstream answers", from_upstream).await;
        assert_eq!(called().await.data(), "the upstream says y");
        // Not just anybody who takes every path.
        let model = edge
            .post("/api/v1/echo_model?message=x")
            .json(r#"{"id": 1}"#);
        let model = model.send().await;
        let called_model = call(&edge, "POST /api/v1/echo_model", json!({})).await;
        for answer in [model, called_model] {
            assert_eq!(answer.status, 503, "{}", answer.lossy());
            assert_eq!(answer.json()["code"], "no_responders");
        }
        echo = site.start("echo", &words);
        until("the plugin answers again", from_plugin).await;
        assert_eq!(called().await.data(), "y");
    }
    // An orderly stop: no request is lost between the two.
    let asking = async {
        let mut answers = Vec::new();
        for _ in 0..150 {
            answers.push(edge.get("/api/v1/echo?message=x").send().await);
        }
        answers
    };
    let stopping = tokio::task::spawn_blocking(move || echo.stop());
    let (answers, code) = tokio::join!(asking, stopping);
    assert_eq!(code.unwrap(), Some(0));
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.lossy());
    }
    assert!(from_upstream().await.is_some());
    edge.stop().await;
}

/// Two bridges share the work; one of them dies.
#[tokio::test]
async fn two_bridges() {
    let site = Site::new(false).await;
    let edge = site.edge().await;
    let _one = site.bridge();
    let mut two = site.bridge();
    imported(&edge, "everything").await;
    for _ in 0..20 {
        assert_eq!(edge.get("/text").send().await.status, 200);
    }
    two.process().kill();
    until_status(&edge, "/text", 200).await;
    for _ in 0..20 {
        let answer = edge.get("/text").send().await;
        assert!(
            matches!(answer.status, 200 | 502 | 503),
            "{}",
            answer.lossy()
        );
    }
    until("the dead one is forgotten", async || {
        for _ in 0..10 {
            if edge.get("/text").send().await.status != 200 {
                return None;
            }
        }
        Some(())
    })
    .await;
    edge.stop().await;
}
