//! The servers that a document starts, each as if in a terminal of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use framex_test_support::nats::NatsServer;
use framex_test_support::python::python_tool;
use tokio::runtime::Runtime;

use crate::markdown::blocks;
use crate::process::Serving;
use crate::root;

/// Where a broker listens if nobody says otherwise, and where it tells about itself.
const BROKER: [&str; 2] = ["127.0.0.1:4222", "127.0.0.1:8222"];
/// What a worker in Python is written with.
const NATS_PY: &str = "nats-py==2.16.0";
/// What opens ports, and the options for them.
const EDGE: [(&str, &str); 2] = [("--port", "8080"), ("--dashboard-port", "8260")];

/// All of them, on ports that are free; where a document names the usual ones,
/// [`Terminals::real`] puts those.
pub(crate) struct Terminals {
    dir: PathBuf,
    broker: Option<Broker>,
    open: Vec<Terminal>,
}

struct Terminal {
    /// Runs for as long as this.
    _serving: Serving,
    /// The usual address of each port, and the real one.
    ports: Vec<(String, SocketAddr)>,
}

/// The broker that the document starts, now or later: until then its port is
/// known and nobody listens there.
struct Broker {
    server: NatsServer,
    runtime: Runtime,
    up: bool,
}

impl Terminals {
    /// Those of `document`, whose servers run in `dir`.
    pub(crate) fn of(document: &str, dir: &Path) -> Self {
        let starts = blocks(document)
            .into_iter()
            .filter(|block| block.kind == "sh")
            .flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| line.starts_with("nats-server"))
            .collect::<Vec<_>>();
        let broker = match &starts[..] {
            [] => None,
            [command] => Some(Broker::prepare(command)),
            _ => panic!("a document starts one broker: {starts:?}"),
        };
        Self {
            dir: dir.to_owned(),
            broker,
            open: Vec::new(),
        }
    }

    /// Starts what `command` says if it is a server: `binary`, called `framex` or
    /// `cargo run --`, or the broker. Waits until it can do what it is for.
    pub(crate) fn start(&mut self, command: &str, binary: &Path) -> bool {
        if command.starts_with("nats-server") {
            self.broker.as_mut().expect("it is prepared").start();
            return true;
        }
        if let Some(script) = command.strip_prefix("python ") {
            self.start_python(script);
            return true;
        }
        let words: Vec<&str> = command.split(' ').collect();
        let variables = words.iter().take_while(|word| is_variable(word)).count();
        let (variables, words) = words.split_at(variables);
        let arguments = match words {
            ["cargo", "run", "--", rest @ ..] | ["framex", rest @ ..] => rest,
            _ => return false,
        };
        let mut options: Vec<&str> = arguments.to_vec();
        let ports: Vec<(&str, String)> = match options.first() {
            Some(&"run" | &"edge") => EDGE
                .into_iter()
                .map(|(option, usual)| {
                    let usual = take(&mut options, option).unwrap_or(usual);
                    (option, format!("127.0.0.1:{usual}"))
                })
                .collect(),
            Some(&"worker") => take(&mut options, "--dashboard-port")
                .map(|port| ("--dashboard-port", format!("127.0.0.1:{port}")))
                .into_iter()
                .collect(),
            _ => return false,
        };
        // Who starts another one on the same port has stopped the first.
        self.open.retain(|terminal| {
            let taken = |usual: &String| ports.iter().any(|(_, port)| port == usual);
            !terminal.ports.iter().any(|(usual, _)| taken(usual))
        });
        let mut command = Command::new(binary);
        command.args(&options);
        command.args(ports.iter().flat_map(|(option, _)| [*option, "0"]));
        command.envs(self.variables());
        command.envs(variables.iter().filter_map(|word| word.split_once('=')));
        let mut serving = Serving::spawn(&mut command, &self.dir);
        serving.wait_until_it_serves();
        if options[0] != "run" && self.broker.as_ref().is_some_and(|broker| broker.up) {
            serving.wait_until_ready();
        }
        let ports = ports
            .into_iter()
            .map(|(option, usual)| match option {
                "--port" => (usual, serving.address()),
                _ => (usual, serving.dashboard().expect("a dashboard")),
            })
            .collect();
        self.open.push(Terminal {
            _serving: serving,
            ports,
        });
        true
    }

    /// A worker in Python, which says a line when it serves.
    fn start_python(&mut self, script: &str) {
        let broker = self.broker.as_ref().expect("a broker to serve on");
        let mut command = Command::new(python_tool(NATS_PY).join("python"));
        command.arg(root().join(script)).arg(broker.server.url());
        let mut serving = Serving::spawn(&mut command, &self.dir);
        serving.wait_until("it serves", |line, _| line.starts_with("serving"));
        self.open.push(Terminal {
            _serving: serving,
            ports: Vec::new(),
        });
    }

    /// Whether what a command prints may take a moment to be so.
    pub(crate) fn may_settle(&self) -> bool {
        self.broker.is_some()
    }

    /// What leads commands to the broker.
    pub(crate) fn variables(&self) -> Option<(&'static str, String)> {
        let broker = self.broker.as_ref()?;
        Some(("NATS__URL", broker.server.url()))
    }

    /// `text` with the addresses that are real.
    pub(crate) fn real(&self, text: &str) -> String {
        self.addresses()
            .fold(text.to_owned(), |text, (usual, real)| {
                text.replace(&usual, &real)
            })
    }

    /// `text` with the usual addresses.
    pub(crate) fn usual(&self, text: &str) -> String {
        self.addresses()
            .fold(text.to_owned(), |text, (usual, real)| {
                text.replace(&real, &usual)
            })
    }

    fn addresses(&self) -> impl Iterator<Item = (String, String)> {
        let broker = self.broker.iter().flat_map(|broker| {
            let monitor = broker.server.monitor_url();
            let monitor = monitor.trim_start_matches("http://").to_owned();
            let real = [broker.server.address().to_string(), monitor];
            BROKER.map(str::to_owned).into_iter().zip(real)
        });
        let ports = self.open.iter().flat_map(|terminal| &terminal.ports);
        broker.chain(ports.map(|(usual, real)| (usual.clone(), real.to_string())))
    }
}

impl Broker {
    fn prepare(command: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let mut builder = NatsServer::builder();
        match &command.split(' ').collect::<Vec<_>>()[..] {
            [_] => {}
            [_, "-c", file] => builder = builder.config_file(root().join(file)),
            _ => panic!("`{command}`: only `-c FILE` is known here"),
        }
        let server = runtime.block_on(builder.start());
        server.kill();
        Self {
            server,
            runtime,
            up: false,
        }
    }

    fn start(&mut self) {
        self.runtime.block_on(self.server.restart());
        self.up = true;
    }
}

/// `NAME=value` in front of a command.
pub(crate) fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    })
}

/// Takes an option with its value out of `options`: gives the value.
fn take<'a>(options: &mut Vec<&'a str>, option: &str) -> Option<&'a str> {
    let at = options.iter().position(|word| *word == option)?;
    options.remove(at);
    (at < options.len()).then(|| options.remove(at))
}
