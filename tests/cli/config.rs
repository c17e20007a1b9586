//! Settings: every source, their order, mistakes, secrets.

use crate::support::Place;

#[test]
fn the_order_of_the_sources() {
    let sources: [(&str, &str); 4] = [
        (
            "Cargo.toml",
            "[package.metadata.framex.server]\nport = 1001\n",
        ),
        ("pyproject.toml", "[tool.framex.server]\nport = 1002\n"),
        ("config.toml", "[server]\nport = 1003\n"),
        (".env", "SERVER__PORT=1004\n"),
    ];
    let mut place = Place::new();
    let port = |place: &Place, args: &[&str]| {
        let args = [&["config", "--json"], args].concat();
        let config = place.run(&args).json();
        let entry = &config["server.port"];
        format!("{} {}", entry["value"], entry["source"].as_str().unwrap())
    };
    assert_eq!(port(&place, &[]), "8080 default");
    for (index, (name, text)) in sources.iter().enumerate() {
        place = place.file(name, text);
        let found = port(&place, &[]);
        assert!(
            found.starts_with(&format!("{} {name}", 1001 + index)),
            "{found}"
        );
    }
    place = place.file(".env.prod", "SERVER__PORT=1005\n");
    assert_eq!(port(&place, &[]), "1005 .env.prod");
    place = place.env("SERVER__PORT", "1006");
    assert_eq!(port(&place, &[]), "1006 environment variable SERVER__PORT");
    place = place.env("FRAMEX_SERVER__PORT", "1007");
    assert_eq!(
        port(&place, &[]),
        "1007 environment variable FRAMEX_SERVER__PORT"
    );
    let set = ["--set", "server.port=1008"];
    assert_eq!(port(&place, &set), "1008 command line --set");
    place = place.file("other.toml", "[server]\nport = 1009\nhost = \"0.0.0.0\"\n");
    let other = place.run(&["config", "--config", "other.toml"]).ok();
    let host = other.lines().find(|line| line.starts_with("server.host"));
    assert!(host.unwrap().ends_with("other.toml"), "{other}");
}

#[test]
fn run_obeys_the_files_and_the_command_line_most() {
    let place = Place::new()
        .file(".env", "SERVER__DASHBOARD_PORT=70000\n")
        .file("config.toml", "load_builtin_plugins = [\"echo\"]\n");
    let text = place.run(&["run"]).fails(1);
    assert!(text.contains(".env:1 (SERVER__DASHBOARD_PORT)"), "{text}");

    let place = Place::new().file(
        ".env",
        "SERVER__HOST=127.0.0.2\nLOAD_BUILTIN_PLUGINS=echo\n",
    );
    let server = place.serve(&[]);
    assert!(server.address("edge").starts_with("127.0.0.2:"));
    assert!(server.get("/api/v1/echo?message=x").contains(" 200 "));
    let server = place.serve(&["--host", "127.0.0.3", "--set", "server.host=127.0.0.4"]);
    assert!(server.address("edge").starts_with("127.0.0.3:"));
}

#[test]
fn an_unknown_key_has_its_place_and_the_nearest() {
    let place = Place::new().file("config.toml", "[server]\n\nprot = 1\n");
    for command in ["run", "apis", "config", "openapi"] {
        let text = place.run(&[command]).fails(1);
        for part in ["config.toml:3", "`server.prot`", "`server.port`"] {
            assert!(text.contains(part), "{text}");
        }
    }
    let text = Place::new()
        .run(&["run", "--set", "server.prot=1"])
        .fails(1);
    assert!(
        text.contains("--set") && text.contains("`server.port`"),
        "{text}"
    );
    let text = Place::new()
        .run(&["config", "--config", "none.toml"])
        .fails(1);
    assert!(text.contains("none.toml"), "{text}");
}

#[test]
fn secrets_are_masked() {
    let place = Place::new().file(
        "config.toml",
        "[nats]\npassword = \"hunter2\"\nurl = \"nats://u:hunter2@h:4222\"\n\
         [auth.rules]\n\"/api/v1/*\" = [\"hunter2\"]\n\
         [plugins.echo]\napi_key = \"hunter2\"\n",
    );
    let args = ["config", "--load-builtin-plugins", "echo"];
    let table = place.run(&args).ok();
    let json = place.run(&[&args[..], &["--json"]].concat()).ok();
    for text in [table, json] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("********"), "{text}");
        assert!(text.contains("plugins.echo.api_key"), "{text}");
    }
}

#[test]
fn the_table_has_a_row_for_each_key() {
    let table = Place::new().run(&["config"]).ok();
    let first: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(first, ["KEY", "VALUE", "SOURCE"]);
    let port = table.lines().find(|line| line.starts_with("server.port"));
    let port: Vec<_> = port.unwrap().split_whitespace().collect();
    assert_eq!(port, ["server.port", "8080", "default"]);
    assert!(table.lines().all(|line| line == line.trim_end()));
}

#[test]
fn config_tells_what_would_stop_the_start() {
    let place = Place::new().file("config.toml", "[plugins.shop]\nsize = 1\n");
    let done = place.run(&["config"]);
    assert!(done.out.contains("plugins.shop.size"), "{done:?}");
    let text = done.fails(1);
    assert!(
        text.contains("`plugins.shop`") && text.contains("not loaded"),
        "{text}"
    );
}

#[test]
fn what_a_file_holds_does_not_speak_to_the_terminal() {
    let place = Place::new().file(
        "config.toml",
        "[nats]\nuser = \"a\\u001b[31m\\nserver.port  1  default\"\n",
    );
    let table = place.run(&["config"]).ok();
    assert!(!table.contains('\u{1b}'), "{table}");
    assert_eq!(table.matches("\nserver.port ").count(), 1, "{table}");
}
