//! Settings through their public interface: real files, no process state.

use std::path::{Path, PathBuf};
use std::time::Duration;

use framex_core::settings::{Loaded, Secret};
use framex_core::settings::{
    LogFormat, Overrides, Problem, Settings, SettingsError, Sources, check_plugin_tables, reference,
};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

/// A directory with files, variables and a command line of its own.
struct Case {
    dir: TempDir,
    sources: Sources,
}

impl Case {
    fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let sources = Sources {
            dir: dir.path().into(),
            ..Sources::default()
        };
        Self { dir, sources }
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.dir.path().join(name), content).expect("a new file");
        self
    }

    fn config(self, content: &str) -> Self {
        self.file("config.toml", content)
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.sources.env.push((name.into(), value.into()));
        self
    }

    fn cli(mut self, option: &str, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.sources.overrides.set(option, key, value);
        self
    }

    fn load(&self) -> Result<Loaded, SettingsError> {
        Settings::load(&self.sources)
    }

    #[track_caller]
    fn ok(&self) -> Loaded {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    /// One text per problem.
    #[track_caller]
    fn problems(&self) -> Vec<String> {
        let error = self.load().expect_err("these settings are wrong");
        error.problems().iter().map(Problem::to_string).collect()
    }

    #[track_caller]
    fn refused(&self, expected: &str) {
        assert_eq!(self.problems(), [expected]);
    }
}

fn source(loaded: &Loaded, key: &str) -> String {
    let origin = loaded.origins.get(key);
    origin.unwrap_or_else(|| panic!("{key}")).source.to_string()
}

#[test]
fn nothing_gives_the_defaults() {
    let loaded = Case::new().ok();
    assert_eq!(loaded.settings, Settings::default());
    assert_eq!(loaded.settings.server.port, 8080);
    assert_eq!(loaded.settings.server.max_body_size.bytes(), 4 << 20);
    assert_eq!(loaded.settings.nats.url, ["nats://127.0.0.1:4222"]);
    assert!(
        loaded
            .origins
            .iter()
            .all(|(_, origin)| origin.source.to_string() == "default")
    );
    // `plugins` and `auth.rules` are empty tables.
    assert_eq!(loaded.table().len(), reference().len() - 2);
}

#[test]
fn each_source_beats_the_next() {
    type Layer = (&'static str, fn(Case) -> Case);
    let layers: [Layer; 8] = [
        ("Cargo.toml [workspace.metadata.framex]", |case| {
            case.file(
                "Cargo.toml",
                "[workspace.metadata.framex.server]\nport = 1\n",
            )
        }),
        ("Cargo.toml [package.metadata.framex]", |case| {
            case.file(
                "Cargo.toml",
                "[workspace.metadata.framex.server]\nport = 1\n[package.metadata.framex]\nserver.port = 2\n",
            )
        }),
        ("pyproject.toml [tool.framex]", |case| {
            case.file(
                "pyproject.toml",
                "[tool.other]\nx = 1\n[tool.framex.server]\nport = 3\n",
            )
        }),
        ("config.toml", |case| case.config("[server]\nport = 4\n")),
        (".env", |case| case.file(".env", "SERVER__PORT=5\n")),
        (".env.prod", |case| {
            case.file(".env.prod", "SERVER__PORT=6\n")
        }),
        ("environment variable SERVER__PORT", |case| {
            case.var("SERVER__PORT", "7")
        }),
        ("command line --port", |case| {
            case.cli("--port", "server.port", 8)
        }),
    ];
    let mut case = Case::new();
    for (port, (name, add)) in (1..).zip(layers) {
        case = add(case);
        let loaded = case.ok();
        assert_eq!(loaded.settings.server.port, port, "{name}");
        assert_eq!(source(&loaded, "server.port"), name);
    }
}

#[test]
fn tables_merge_field_by_field() {
    let loaded = Case::new()
        .file("pyproject.toml", "[tool.framex.server]\nhost = '0.0.0.0'\n[tool.framex.plugins.echo]\na = 1\nb = {c = 1, d = 1}\n")
        .config("[server]\nport = 9000\n[plugins.echo]\nb = {c = 2}\n")
        .var("SERVER__USE_NATS", "yes")
        .var("PLUGINS__ECHO__B__E", "3")
        .ok();
    let server = &loaded.settings.server;
    assert_eq!(
        (server.host.as_str(), server.port, server.use_nats),
        ("0.0.0.0", 9000, true)
    );
    assert_eq!(
        loaded.settings.plugins["echo"],
        json!({"a": 1, "b": {"c": 2, "d": 1, "e": 3}})
    );
    assert_eq!(
        source(&loaded, "plugins.echo.a"),
        "pyproject.toml [tool.framex]"
    );
    assert_eq!(source(&loaded, "plugins.echo.b.c"), "config.toml");
    assert_eq!(
        source(&loaded, "plugins.echo.b.d"),
        "pyproject.toml [tool.framex]"
    );
    assert_eq!(
        source(&loaded, "plugins.echo.b.e"),
        "environment variable PLUGINS__ECHO__B__E"
    );
}

#[test]
fn the_command_line_adds_plugins() {
    let case = Case::new()
        .config("load_plugins = ['a', 'b']\n")
        .cli("--load-plugins", "load_plugins", json!(["b", "c"]))
        .cli("--load-plugins", "load_plugins", json!(["d"]))
        .cli(
            "--load-builtin-plugins",
            "load_builtin_plugins",
            json!(["echo"]),
        );
    let loaded = case.ok();
    assert_eq!(loaded.settings.load_plugins, ["a", "b", "c", "d"]);
    assert_eq!(
        source(&loaded, "load_plugins"),
        "config.toml + command line --load-plugins"
    );
    assert_eq!(loaded.settings.load_builtin_plugins, ["echo"]);
    assert_eq!(
        source(&loaded, "load_builtin_plugins"),
        "command line --load-builtin-plugins"
    );
    // Without a list to add to, and twice the same.
    let twice = Case::new().cli("--load-plugins", "load_plugins", json!(["a", "a"]));
    assert_eq!(twice.ok().settings.load_plugins, ["a"]);
    // Other sources replace.
    let loaded = case.var("LOAD_PLUGINS", "z").ok();
    assert_eq!(loaded.settings.load_plugins, ["z", "b", "c", "d"]);
}

#[test]
fn a_command_line_may_be_a_map() {
    let mut case = Case::new();
    let serde_json::Value::Object(map) = json!({"server": {"port": 9, "host": null}}) else {
        unreachable!()
    };
    case.sources.overrides = Overrides::from(map);
    case.sources
        .overrides
        .set("--host", "server.host", None::<String>);
    case.sources
        .overrides
        .set_text("--set", "server.use_nats", "on");
    let loaded = case.ok();
    assert_eq!(loaded.settings.server.port, 9);
    assert!(loaded.settings.server.use_nats);
    assert_eq!(source(&loaded, "server.port"), "command line");
    assert_eq!(source(&loaded, "server.host"), "default");
    assert_eq!(source(&loaded, "server.use_nats"), "command line --set");
}

#[test]
fn a_named_file_must_exist_and_replaces_the_default_one() {
    let mut case = Case::new()
        .config("[server]\nport = 1\n")
        .file("other.toml", "[server]\nhost = '::1'\n");
    case.sources.config_file = Some(PathBuf::from("other.toml"));
    let loaded = case.ok();
    assert_eq!(loaded.settings.server.port, 8080);
    assert_eq!(source(&loaded, "server.host"), "other.toml");

    case.sources.config_file = Some(PathBuf::from("absent.toml"));
    case.refused("absent.toml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn variables_take_the_type_of_their_key() {
    let loaded = Case::new()
        .var("Server__Port", " 9000 ")
        .var("SERVER__ENABLE_PROXY", "On")
        .var("SERVER__USE_NATS", "0")
        .var("SERVER__MAX_BODY_SIZE", "2MB")
        .var("SERVER__IDLE_TIMEOUT", "1m 30s")
        .var("SERVER__REQUEST_TIMEOUT", "0.5")
        .var("NATS__TOKEN", "1234")
        .var("NATS__URL", "nats://a:1")
        .var("NATS__TLS__CA", "ca.pem")
        .var("NATS__TLS__REQUIRED", "yes")
        .var("NATS__NKEY", "seed.nk")
        .var("NATS__INBOX_PREFIX", "_INBOX_edge")
        .var("LOG__FORMAT", "JSON")
        .var("ALLOW_FAILED_PLUGINS", "true")
        .var("LOAD_PLUGINS", r#"["a", "b"]"#)
        .var("AUTH__RULES", r#"{"/api/v1/*": ["k"]}"#)
        .var("AUTH__RULES__/Api/x", "k2")
        .var("PLUGINS__ECHO__SIZE", "3")
        .var("PLUGINS__ECHO__NAME", "three")
        .var("PLUGINS__ECHO__LIST", "[1, 2]")
        .var("PLUGINS__ECHO__ID", "123456789012345678901234567890")
        .var("PLUGINS__OTHER", r#"{"A": {"b": null, "c": 1}}"#)
        .ok();
    let Settings {
        server,
        nats,
        log,
        auth,
        plugins,
        ..
    } = &loaded.settings;
    assert_eq!(server.port, 9000);
    assert!(server.enable_proxy && !server.use_nats);
    assert_eq!(server.max_body_size.bytes(), 2_000_000);
    assert_eq!(server.idle_timeout, Duration::from_secs(90));
    assert_eq!(server.request_timeout, Duration::from_millis(500));
    assert_eq!(nats.token, Some(Secret::new("1234")));
    assert_eq!(nats.url, ["nats://a:1"]);
    assert_eq!(nats.tls.ca.as_deref(), Some(Path::new("ca.pem")));
    assert!(nats.tls.required && !nats.tls.first);
    assert_eq!(nats.nkey.as_deref(), Some(Path::new("seed.nk")));
    assert_eq!(nats.inbox_prefix.as_deref(), Some("_INBOX_edge"));
    assert_eq!(log.format, LogFormat::Json);
    assert!(loaded.settings.allow_failed_plugins);
    assert_eq!(loaded.settings.load_plugins, ["a", "b"]);
    assert_eq!(auth.rules["/api/v1/*"], [Secret::new("k")]);
    assert_eq!(auth.rules["/Api/x"], [Secret::new("k2")]);
    assert_eq!(
        plugins["echo"],
        json!({"size": 3, "name": "three", "list": [1, 2], "id": "123456789012345678901234567890"})
    );
    assert_eq!(plugins["other"], json!({"A": {"c": 1}}));
    assert_eq!(
        source(&loaded, r#"auth.rules."/api/v1/*""#),
        "environment variable AUTH__RULES"
    );
}

#[test]
fn the_prefix_wins_and_env_files_know_it() {
    let loaded = Case::new()
        .var("FRAMEX_SERVER__PORT", "1")
        .var("SERVER__PORT", "2")
        .file(".env", "FRAMEX_NATS__NAMESPACE=team-a\nNATS__NAMESPACE=team-b\nload_plugins=[\"x\",\"y\"] # two\n")
        .ok();
    assert_eq!(loaded.settings.server.port, 1);
    assert_eq!(
        source(&loaded, "server.port"),
        "environment variable FRAMEX_SERVER__PORT"
    );
    assert_eq!(loaded.settings.nats.namespace.as_deref(), Some("team-a"));
    assert_eq!(loaded.settings.load_plugins, ["x", "y"]);
    assert_eq!(source(&loaded, "load_plugins"), ".env");
}

#[test]
fn foreign_variables_are_ignored() {
    let case = Case::new()
        .var("LOG", "debug")
        .var("TEST", "1")
        .var("SERVER", "foo")
        .var("SERVRE__PORT", "x")
        .var("FRAMEX_SERVICE_PORT", "80")
        .var("FRAMEX_PORT_8080_TCP_ADDR", "10.0.0.1")
        .file(".env", "LOG=debug\nDATABASE_URL=postgres://x y\nA__B=1\n");
    assert_eq!(case.ok().settings, Settings::default());
}

#[test]
fn unknown_variables_with_our_tables_or_prefix_are_refused() {
    Case::new().var("SERVER__POTR", "1").refused(
        "environment variable SERVER__POTR: unknown key `server.potr`, did you mean `server.port`?",
    );
    Case::new().var("FRAMEX_SERVRE__PORT", "1").refused(
        "environment variable FRAMEX_SERVRE__PORT: unknown key `servre`, did you mean `server`?",
    );
    Case::new().var("FRAMEX_LOG", "debug").refused(
        "environment variable FRAMEX_LOG: `log` is a string, allowed is a table (like FRAMEX_LOG__FILTER)",
    );
    Case::new()
        .file(".env", "\nSERVER__POTR=1\n")
        .refused(".env:2 (SERVER__POTR): unknown key `server.potr`, did you mean `server.port`?");
}

#[test]
fn all_unknown_keys_of_all_sources_are_named() {
    let problems = Case::new()
        .config("prot = 1\n\n[server]\nporrt = 1\nhost = 3\n[nats]\nurls = []\n[sevrer]\nx = 1\n[log]\nzzz = 1\n")
        .file("pyproject.toml", "[tool.framex]\nserver.hots = 'x'\n")
        .var("LOG__FILTRE", "info")
        .cli("--port", "server.port", 99_999)
        .problems();
    assert_eq!(
        problems,
        [
            "pyproject.toml:2: unknown key `server.hots`, did you mean `server.host`?",
            "config.toml:1: unknown key `prot`",
            "config.toml:4: unknown key `server.porrt`, did you mean `server.port`?",
            "config.toml:5: `server.host` is the number 3, allowed is an IP address or a host name, without a port",
            "config.toml:7: unknown key `nats.urls`, did you mean `nats.url`?",
            "config.toml:8: unknown key `sevrer`, did you mean `server`?",
            "config.toml:11: unknown key `log.zzz`",
            "environment variable LOG__FILTRE: unknown key `log.filtre`, did you mean `log.filter`?",
            "command line --port: `server.port` is the number 99999, allowed is an integer from 0 to 65535",
        ]
    );
}

#[test]
fn a_prefixed_variable_with_one_underscore_is_a_slip() {
    Case::new().var("FRAMEX_SERVER_PORT", "9000").refused(
        "environment variable FRAMEX_SERVER_PORT: unknown key `server_port`, did you mean `server.port`?",
    );
}

#[test]
fn a_value_that_is_wrong_is_no_conflict_too() {
    let case = Case::new().config("[server]\nport = 8260\ndashboard_port = 'x'\n");
    assert_eq!(case.problems().len(), 1);
}

#[test]
fn a_quoted_key_with_a_dot_is_not_a_path() {
    Case::new()
        .config("\"server.port\" = 1\n")
        .refused("config.toml:1: unknown key `\"server.port\"`, did you mean `server.port`?");
}

#[test]
fn impossible_values_are_refused() {
    for (toml, got) in [
        ("server.port = 99999", "the number 99999"),
        ("server.port = -1", "the number -1"),
        ("server.port = 1.5", "the number 1.5"),
        ("server.port = '80'", "a string"),
        ("server.port = {}", "a table"),
        ("server.num_cpus = 0", "the number 0"),
        ("server.num_cpus = 1025", "the number 1025"),
        ("server.host = 'localhost:80'", "a string of another form"),
        ("server.host = ''", "an empty string"),
        ("server.use_nats = 1", "the number 1"),
        ("server.idle_timeout = 0", "the duration 0s"),
        ("server.idle_timeout = '0s'", "the duration 0s"),
        ("server.idle_timeout = '25h'", "the duration 1day 1h"),
        ("server.idle_timeout = -1", "the number -1"),
        ("server.idle_timeout = nan", "a string"),
        ("server.idle_timeout = 'soon'", "a string"),
        ("server.idle_timeout = true", "a boolean"),
        ("server.max_body_size = 0", "the size 0 B"),
        ("server.max_body_size = '1 TB'", "a string"),
        ("server.max_connections = 0", "the number 0"),
        ("nats.url = []", "an empty list"),
        ("nats.url = 'http://x'", "a string of another form"),
        ("nats.token = 1234", "an integer"),
        ("nats.password = ''", "an empty string"),
        ("nats.namespace = 'a.b'", "a string of another form"),
        ("nats.inbox_prefix = '_INBOX.>'", "a string of another form"),
        ("nats.inbox_prefix = 'a..b'", "a string of another form"),
        ("nats.tls = true", "a boolean"),
        ("nats.tls.required = 'yes'", "a string"),
        ("log.format = 'xml'", "a string"),
        ("server = 3", "an integer"),
        ("plugins = 3", "an integer"),
        ("plugins.echo = 3", "an integer"),
        ("auth.rules.'/x' = 'k'", "a string"),
        ("auth.rules.'/x*' = ['k']", "not a route"),
        ("auth.rules.x = ['k']", "not a route"),
    ] {
        let problems = Case::new().config(toml).problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        let expected = format!("is {got}, allowed is ");
        assert!(problems[0].starts_with("config.toml:1: `"), "{problems:?}");
        assert!(problems[0].contains(&expected), "{toml}: {problems:?}");
    }
    let loaded = Case::new()
        .config("server.port = 0\nserver.shutdown_grace = 0\nserver.idle_timeout = '24h'\n")
        .ok();
    assert_eq!(loaded.settings.server.shutdown_grace, Duration::ZERO);
}

#[test]
fn lists_say_how_they_are_written() {
    Case::new().var("LOAD_PLUGINS", "a,b").refused(
        "environment variable LOAD_PLUGINS: `load_plugins` is a text with commas, allowed is a list, \
         each a plugin name without spaces or commas (write a list as JSON: LOAD_PLUGINS='[\"a\",\"b\"]')",
    );
    let case = Case::new().cli("--load-plugins", "load_plugins", json!(["x", "a,b", ""]));
    assert_eq!(
        case.problems(),
        [
            "command line --load-plugins: `load_plugins[1]` is a string with commas, allowed is \
             a plugin name without spaces or commas (repeat the option: --load-plugins a --load-plugins b)",
            "command line --load-plugins: `load_plugins[2]` is an empty string, allowed is \
             a plugin name without spaces or commas",
        ]
    );
    Case::new().config("load_plugins = ['a,b']").refused(
        "config.toml:1: `load_plugins[0]` is a string with commas, allowed is a plugin name without \
         spaces or commas (write one string for each: [\"a\", \"b\"])",
    );
    let broken = Case::new().var("LOAD_PLUGINS", "[a]").problems();
    assert!(broken[0].contains("is text that is not JSON"), "{broken:?}");
}

#[test]
fn reserved_names_are_not_unknown() {
    let case = Case::new().config("[cache]\nx = 1\n[telemetry]\n[auth.oauth]\nid = 'x'\n");
    assert_eq!(
        case.problems(),
        [
            "config.toml:1: `cache` is not available yet, it comes with a later version",
            "config.toml:3: `telemetry` is not available yet, it comes with a later version",
            "config.toml:4: `auth.oauth` is not available yet, it comes with a later version",
        ]
    );
}

#[test]
fn keys_that_mean_nothing_here_are_told() {
    let case = Case::new().config("[server]\nport = 1\nlegal_proxy_code = [200, 201]\n");
    let loaded = case.ok();
    assert_eq!(loaded.settings.server.port, 1);
    let told: Vec<_> = loaded.ignored.iter().map(Problem::to_string).collect();
    assert_eq!(told.len(), 1);
    let start = "config.toml:3: `server.legal_proxy_code` is ignored: ";
    assert!(told[0].starts_with(start), "{told:?}");
}

#[test]
fn broken_files_are_named() {
    let problems = Case::new().config("[server]\nport = = 1\n").problems();
    assert!(problems[0].starts_with("config.toml:2:8: "), "{problems:?}");
    let problems = Case::new().config("a = 0xhijk\nb = = 1\n").problems();
    assert_eq!(problems.len(), 2, "one for each line: {problems:?}");

    Case::new()
        .file("config.toml", b"a = 1\n# \xff\n")
        .refused("config.toml:2: the file is not UTF-8");

    Case::new()
        .file(".env", "A=1\nNATS__TOKEN hunter2\n")
        .refused(".env:2:1: no `=`: a line is `NAME=value`");

    let case = Case::new();
    std::fs::create_dir(case.dir.path().join("config.toml")).unwrap();
    std::fs::create_dir(case.dir.path().join(".env")).unwrap();
    case.refused("config.toml: cannot be read: Is a directory (os error 21)");

    Case::new()
        .file("Cargo.toml", "[package.metadata]\nframex = 1\n")
        .refused("Cargo.toml:2: `package.metadata.framex` is an integer, allowed is a table");
}

#[test]
fn a_byte_order_mark_is_no_mistake() {
    let case = Case::new().config("\u{feff}[server]\nport = 1\n");
    assert_eq!(case.ok().settings.server.port, 1);
}

#[test]
fn one_port_cannot_serve_twice() {
    Case::new().config("[server]\nport = 8260\n").refused(
        "`server.port` (config.toml:2) and `server.dashboard_port` (default) are both 8260 on the same host",
    );
    let case = Case::new().config("[server]\nport = 1\ndashboard_port = 1\nhost = '0.0.0.0'\n");
    assert_eq!(case.problems().len(), 1);
    Case::new()
        .config("[server]\nport = 0\ndashboard_port = 0\n")
        .ok();
    Case::new()
        .config("[server]\nport = 1\ndashboard_port = 1\nhost = '10.0.0.1'\n")
        .ok();
}

#[test]
fn secrets_show_nowhere() {
    let case = Case::new().config(
        "[nats]\nurl = ['nats://user:hunter2@host:4222']\npassword = 'hunter2'\ntoken = 'hunter2'\n\
             [auth.rules]\n'/api/v1/*' = ['hunter2']\n\
             [plugins.echo]\napi_key = 'hunter2'\nlist = [{deep_token = 'hunter2', size = 1}]\n\
             url = 'https://a:hunter2@b/'\n",
    );
    let loaded = case.ok();
    let shown = [
        format!("{loaded:?}"),
        format!("{:#?}", loaded.settings),
        serde_json::to_string(&loaded.settings).unwrap(),
        serde_json::to_string(&loaded.table()).unwrap(),
    ];
    for shown in shown {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let value = |key: &str| {
        let row = loaded.table().into_iter().find(|row| row.key == key);
        row.unwrap().value
    };
    assert_eq!(value("nats.url"), r#"["nats://user:********@host:4222"]"#);
    assert_eq!(value("nats.token"), "********");
    assert_eq!(value("nats.user"), "not set");
    assert_eq!(value(r#"auth.rules."/api/v1/*""#), r#"["********"]"#);
    assert_eq!(value("plugins.echo.api_key"), "********");
    assert_eq!(
        value("plugins.echo.list"),
        r#"[{"deep_token":"********","size":1}]"#
    );
    assert_eq!(value("server.idle_timeout"), "1m 15s");
    // But they are there.
    assert_eq!(
        loaded.settings.nats.password.as_ref().unwrap().expose(),
        "hunter2"
    );
    assert_eq!(loaded.settings.plugins["echo"]["api_key"], "hunter2");
    let mut sorted = loaded.table();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(sorted, loaded.table());
}

#[test]
fn errors_hold_no_secrets() {
    for case in [
        Case::new()
            .config("[nats]\ntokn = 'hunter2'\npassword = ['hunter2']\nurl = 'x://u:hunter2@h'\n"),
        Case::new().config("[nats]\ntoken = 'hunter2\n"),
        Case::new().config("[nats]\ntoken = hunter2\n"),
        Case::new().var("AUTH__RULES__/x", "hunter2,hunter2"),
        Case::new().var("FRAMEX_NATS", "hunter2"),
        Case::new().file(".env", "NATS__TOKEN=\"hunter2\nhunter2"),
    ] {
        let problems = case.problems().join("\n");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Echo {
    color: String,
    size: u8,
    inner: Vec<Inner>,
}

impl Default for Echo {
    fn default() -> Self {
        let color = "red".into();
        Self {
            color,
            size: 1,
            inner: Vec::new(),
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    id: u8,
    kind: Option<Kind>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Large,
    Small,
}

#[track_caller]
fn plugin_problems(case: Case) -> Vec<String> {
    let error = case
        .ok()
        .plugin_config::<Echo>("echo")
        .expect_err("this is wrong");
    error.problems().iter().map(Problem::to_string).collect()
}

#[test]
fn a_plugin_gets_its_own_type() {
    let loaded = Case::new().ok();
    assert_eq!(
        loaded.plugin_config::<Echo>("echo").unwrap(),
        Echo::default()
    );
    let loaded = Case::new()
        .config("[plugins.echo]\nsize = 2\n[[plugins.echo.inner]]\nid = 1\nkind = 'large'\n")
        .var("PLUGINS__ECHO__COLOR", "blue")
        .ok();
    let echo: Echo = loaded.plugin_config("echo").unwrap();
    let inner = Inner {
        id: 1,
        kind: Some(Kind::Large),
    };
    assert_eq!(
        echo,
        Echo {
            color: "blue".into(),
            size: 2,
            inner: vec![inner]
        }
    );
    assert_eq!(loaded.settings.plugin_config::<Echo>("echo").unwrap(), echo);
}

#[test]
fn a_plugins_mistakes_look_like_ours() {
    assert_eq!(
        plugin_problems(
            Case::new()
                .config("[plugins.echo]\ncolour = 'x'\nzzz = 1\n[[plugins.echo.inner]]\nid = 1\nknid = 2\n")
                .var("PLUGINS__ECHO__SIZE", "300")
        ),
        [
            "config.toml:2: unknown key `plugins.echo.colour`, did you mean `plugins.echo.color`?",
            "config.toml:4: unknown key `plugins.echo.inner[0].knid`, did you mean `plugins.echo.inner[0].kind`?",
            "environment variable PLUGINS__ECHO__SIZE: `plugins.echo.size` is an integer, allowed is u8",
        ]
    );
    assert_eq!(
        plugin_problems(Case::new().config("[[plugins.echo.inner]]\nkind = 'large'\n")),
        ["config.toml:1: `plugins.echo.inner[0].id` is missing"]
    );
    assert_eq!(
        plugin_problems(Case::new().config("[plugins.echo]\ninner = [{id = 1, kind = 'larg'}]\n")),
        [
            "config.toml:2: `plugins.echo.inner[0].kind` is a string, allowed is one of large, small (did you mean `large`?)"
        ]
    );
    let variant = Case::new()
        .config("[plugins.echo]\ninner = [{id = 1, kind = 'x`hunter2`, expected `y'}]\n");
    assert_eq!(
        plugin_problems(variant),
        ["config.toml:2: `plugins.echo.inner[0].kind` is a string, allowed is one of large, small"]
    );
    assert_eq!(
        plugin_problems(Case::new().config("[plugins.echo]\nsize = 'hunter2'\n")),
        ["config.toml:2: `plugins.echo.size` is a string, allowed is u8"]
    );
    assert_eq!(
        plugin_problems(Case::new().var("PLUGINS__ECHO__COLOR", "1234")),
        [
            "environment variable PLUGINS__ECHO__COLOR: `plugins.echo.color` is an integer, allowed is a string \
          (for a text that looks like JSON add quotes: PLUGINS__ECHO__COLOR='\"...\"')"
        ]
    );
}

#[test]
fn a_plugins_own_words_lose_their_values() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "String")]
    struct Picky;
    impl TryFrom<String> for Picky {
        type Error = String;
        fn try_from(text: String) -> Result<Self, String> {
            Err(format!("{text:?} will not do"))
        }
    }
    #[derive(Debug, Deserialize)]
    struct Config {
        #[serde(rename = "key")]
        _key: Picky,
    }
    let loaded = Case::new().config("[plugins.p]\nkey = 'hunter\"2'\n").ok();
    assert_eq!(
        loaded.plugin_config::<Config>("p").unwrap_err().to_string(),
        "config.toml:2: `plugins.p.key` is refused: \"********\" will not do"
    );
    let settings = loaded.settings.plugin_config::<Config>("p");
    assert!(
        settings
            .unwrap_err()
            .to_string()
            .starts_with("`plugins.p.key` is refused")
    );
}

#[test]
fn tables_of_plugins_that_are_not_loaded_are_refused() {
    let loaded = Case::new()
        .config("[plugins.ehco]\n[plugins.echo]\nx = 1\n[plugins.weather]\n")
        .ok();
    assert_eq!(
        check_plugin_tables(&loaded, &["echo", "proxy"])
            .unwrap_err()
            .to_string(),
        "2 problems in the settings:\n  \
         - config.toml:1: `plugins.ehco` configures a plugin that is not loaded, did you mean `echo`?\n  \
         - config.toml:4: `plugins.weather` configures a plugin that is not loaded"
    );
    check_plugin_tables(&loaded, &["echo", "ehco", "weather"]).unwrap();
}

#[test]
fn a_plugin_that_is_lenient_itself_is_not() {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Lenient {
        colour: String,
        inner: Deep,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Deep {
        size: u8,
    }

    let loaded = Case::new()
        .config("[plugins.echo]\ncolor = 'x'\ninner = { size = 1, sise = 2 }\n")
        .ok();
    let error = loaded.plugin_config::<Lenient>("echo").unwrap_err();
    let problems: Vec<String> = error.problems().iter().map(Problem::to_string).collect();
    assert_eq!(
        problems,
        [
            "config.toml:2: unknown key `plugins.echo.color`, did you mean `plugins.echo.colour`?",
            "config.toml:3: unknown key `plugins.echo.inner.sise`",
        ]
    );
}
