//! The command line with a configuration as FrameX has it, and the example.

use std::path::Path;
use std::process::Command;

use framex_test_support::process::example;
use framex_test_support::raw::Ask;
use framex_test_support::upstream::Upstream;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{PATIENCE, Serving, run};
use crate::site::{KEY, application, clash, everything, programs};

/// A directory with this `config.toml`.
fn place(config: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.toml"), config).unwrap();
    dir
}

fn framex(dir: &TempDir, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framex"));
    run(command.args(words), dir.path(), PATIENCE)
}

#[tokio::test]
async fn a_configuration_of_the_earlier_framework() {
    let dir = place(&format!(
        r#"
load_builtin_plugins = ["proxy"]

[server]
enable_proxy = true
legal_proxy_code = [200]

[plugins.proxy]
timeout = 600
force_stream_apis = ["/sse-unsaid"]

[plugins.proxy.ingress_config]
max_ongoing_requests = 60
num_replicas = 2

[plugins.proxy.proxy_urls."{}"]
enable = ["/*"]
disable = ["/json/*"]
docs_path = "/openapi.json"

[plugins.proxy.proxy_urls."{}"]
enable = ["/orders"]

[plugins.proxy.auth.rules]
"/secure/data" = ["{KEY}"]

[auth.rules]
"/secure/data" = ["ours"]
"#,
        everything().url(),
        clash().url(),
    ));
    let server = Serving::start(
        Command::new(env!("CARGO_BIN_EXE_framex")).arg("run"),
        dir.path(),
    );
    let ask = |method: &str, target: &str| Ask::new(server.address(), method, target);
    // Whoever is there at the start is served from the first request on.
    assert_eq!(
        ask("GET", "/items/3").send().await.json(),
        json!({"item": 3})
    );
    assert_eq!(ask("GET", "/orders").send().await.status, 200);
    assert_eq!(ask("POST", "/json/any").json("1").send().await.status, 404);
    assert_eq!(ask("GET", "/secure/data").send().await.status, 401);
    let data = ask("GET", "/secure/data").header("Authorization", "ours");
    assert_eq!(data.send().await.json(), json!({"secret": "data"}));
    assert!(server.log().contains("/secure/other"), "{}", server.log());
    assert!(server.log().contains("held back"));
    for ignored in ["server.legal_proxy_code", "num_replicas"] {
        assert!(server.log().contains(ignored), "{}", server.log());
    }
    let document = ask("GET", "/api/v1/openapi.json").send().await.json();
    let id = document["paths"]["/text"]["get"]["x-framex-api"]
        .as_str()
        .unwrap();
    assert!(id.starts_with("proxy.upstream_1."), "{id}");
    let (log, address) = (server.log(), everything().address().to_string());
    assert!(!log.contains(KEY), "{log}");
    assert!(!document.to_string().contains(&address));
    assert_eq!(server.stop(), Some(0));

    let (code, shown, _) = framex(&dir, &["config"]);
    assert_eq!(code, Some(0));
    assert!(!shown.contains(KEY), "{shown}");
    // Without a server too.
    let (code, out, said) = framex(&dir, &["call", "GET /items/{item_id}", "item_id=4"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap(),
        json!({"item": 4})
    );
}

/// What another service takes, it checks itself; what nobody has, the bridge is asked for.
#[test]
fn calls_from_a_shell() {
    let dir = place(&format!(
        "load_builtin_plugins = [\"proxy\"]\n[server]\nenable_proxy = true\n\
         [plugins.proxy.proxy_urls.\"{}\"]\nname = \"up\"\nenable = [\"/*\"]\n",
        everything().url()
    ));
    let call = |words: &[&str]| {
        let (code, out, said) = framex(&dir, &[&["call"], words].concat());
        assert_eq!(code, Some(0), "{words:?}: {said}");
        serde_json::from_str::<Value>(&out).unwrap_or_else(|_| json!(out))
    };
    assert_eq!(call(&["/traced", "x-trace=t"])["x-trace"], "t");
    assert_eq!(call(&["/cookies", "session=mine"]), "mine");
    let set = call(&["/json/object", "item={\"id\": 1}"]);
    assert_eq!(set["set"], json!(["id"]));
    assert_eq!(call(&["/json/scalar", "body=7"]), 7);
    assert_eq!(call(&["/raw", "body=some text"])["size"], 9);
    let hidden = call(&["GET", "/hidden", "x=5"]);
    assert_eq!(
        (&hidden["path"], &hidden["query"]),
        (&json!("/hidden"), &json!("x=5"))
    );
    let (code, _, said) = framex(&dir, &["call", "POST /itemz/{item_id}", "item_id=5"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("/itemz/{item_id}"), "{said}");
    assert!(said.contains("did you mean"), "{said}");
}

/// X15: in FrameX the list registers nothing; here it takes `white_list`.
#[tokio::test]
async fn a_list_of_urls() {
    let dir = place(&format!(
        "load_builtin_plugins = [\"proxy\"]\n[plugins.proxy]\nproxy_urls = [\"{}\"]\nwhite_list = [\"/text\"]\n",
        everything().url()
    ));
    let server = Serving::start(
        Command::new(env!("CARGO_BIN_EXE_framex")).arg("run"),
        dir.path(),
    );
    let get = async |target: &str| {
        Ask::new(server.address(), "GET", target)
            .send()
            .await
            .status
    };
    assert_eq!((get("/text").await, get("/html").await), (200, 404));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn settings_that_are_wrong() {
    for (lines, named) in [
        (
            "proxy_urls.\"http://127.0.0.1:9\".enable = [\"/x*\"]",
            "/x*",
        ),
        (
            "proxy_urls.\"http://127.0.0.1:9\".docs_pth = \"/x\"",
            "docs_pth",
        ),
        ("proxy_urls = [\"127.0.0.1:9\"]", "127.0.0.1:9"),
        ("proxy_ursl = []", "proxy_ursl"),
    ] {
        let dir = place(&format!(
            "load_builtin_plugins = [\"proxy\"]\n[plugins.proxy]\n{lines}\n"
        ));
        let (code, _, said) = framex(&dir, &["run"]);
        assert_eq!(code, Some(1), "{lines}: {said}");
        assert!(said.contains(named) && said.contains("proxy"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

/// examples/bridge, as its readers would run it but for the ports.
#[tokio::test]
async fn the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let users = Upstream::asgi(programs(), &root.join("examples/bridge"), "users:app").started();
    let config = std::fs::read_to_string(root.join("examples/bridge/config.toml")).unwrap();
    let dir = place(&config.replace("http://127.0.0.1:9000", &users.url()));
    let built = Path::new(env!("CARGO_BIN_EXE_framex"));
    let binary = example("bridge", built, env!("CARGO_MANIFEST_DIR"));
    let server = Serving::start(Command::new(binary).arg("run"), dir.path());
    let ask = |method: &str, target: &str| Ask::new(server.address(), method, target);

    let all = ask("GET", "/users").send().await.json();
    assert_eq!(all[0]["name"], "Ann");
    let greeting = ask("GET", "/api/v1/greeting?user_id=1").send().await;
    assert_eq!(greeting.data(), "Hello, Ann!");
    let nobody = ask("GET", "/api/v1/greeting?user_id=9").send().await;
    assert_eq!(nobody.status, 404, "{}", nobody.lossy());
    let story = ask("GET", "/users/2/story").send().await;
    assert_eq!(
        story.text(),
        "data: Once\n\ndata: there\n\ndata: was\n\ndata: Bob\n\n"
    );
    let picture = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"bob.png\"\r\n\r\nx\r\n--b--\r\n";
    let picture = ask("PUT", "/users/2/picture")
        .header("Content-Type", "multipart/form-data; boundary=b")
        .body(picture);
    assert_eq!(picture.send().await.json()["picture"], "bob.png");
    // Our key opens it here; the upstream gets its own.
    let delete = |key: &'static str| {
        ask("DELETE", "/admin/users/2")
            .header("Authorization", key)
            .send()
    };
    assert_eq!(delete("users-key").await.status, 401);
    assert_eq!(delete("our-key").await.status, 204);
    let gone = ask("GET", "/users/2").send().await;
    assert_eq!(gone.json(), json!({"detail": "there is no user 2"}));

    let document: Value = ask("GET", "/api/v1/openapi.json").send().await.json();
    assert!(document["paths"]["/users/{user_id}"]["get"].is_object());
    assert!(document["paths"]["/api/v1/greeting"]["get"].is_object());
    assert_eq!(server.stop(), Some(0));
}

/// It starts without its upstream, and says what is missing.
#[tokio::test]
async fn the_example_without_its_service() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = std::fs::read_to_string(root.join("examples/bridge/config.toml")).unwrap();
    let nobody = application("nobody");
    let dir = place(&config.replace("http://127.0.0.1:9000", &nobody.url()));
    let built = Path::new(env!("CARGO_BIN_EXE_framex"));
    let binary = example("bridge", built, env!("CARGO_MANIFEST_DIR"));
    let server = Serving::start(Command::new(binary).arg("run"), dir.path());
    let ask = |target: &str| Ask::new(server.address(), "GET", target).send();
    let greeting = ask("/api/v1/greeting?user_id=1").await;
    assert!(
        matches!(greeting.status, 404 | 502 | 503),
        "{}",
        greeting.lossy()
    );
    let ready = ask("/ready").await;
    assert_eq!(ready.json()["status"], "degraded", "{}", ready.lossy());
    assert!(ready.lossy().contains("users"), "{}", ready.lossy());
    assert_eq!(server.stop(), Some(0));
}
