//! One nats-server process.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Tls, nats_server};
use crate::port::Port;
use crate::process::{Guarded, signal};
use crate::raw::{Answer, Connection};

/// How long a server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines of the log that a failed test shows.
const TAIL: usize = 40;

/// A real nats-server on 127.0.0.1, with ports and a JetStream directory of its
/// own that it keeps when it is restarted. Dropping it kills it and removes them.
///
/// It needs no runtime once it is started: tests without one start it with `block_on`.
pub struct NatsServer {
    arguments: Vec<OsString>,
    environment: Vec<(String, Option<String>)>,
    /// Whether it has to answer that everything of JetStream is there.
    health: &'static str,
    scheme: &'static str,
    client: Port,
    monitor: Port,
    process: Mutex<Option<Guarded>>,
    /// After the process: it writes there.
    home: TempDir,
}

/// Collects what a [`NatsServer`] is made of.
pub struct NatsServerBuilder {
    config: Option<Config>,
    environment: Vec<(String, Option<String>)>,
    jetstream: bool,
    tls: Option<Tls>,
}

enum Config {
    Text(String),
    File(PathBuf),
}

impl NatsServerBuilder {
    /// A configuration. Host and ports are chosen here, whatever it says. A
    /// `store_dir` in it should be relative, so that it is below [`NatsServer::dir`].
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config = Some(Config::Text(text.to_owned()));
        self
    }

    /// As [`Self::config`], of a file.
    #[must_use]
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config = Some(Config::File(path.into()));
        self
    }

    /// Sets an environment variable of the server.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment
            .push((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// Hides an environment variable of this process from the server.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.push((name.to_owned(), None));
        self
    }

    /// A server without JetStream.
    #[must_use]
    pub fn without_jetstream(mut self) -> Self {
        self.jetstream = false;
        self
    }

    /// A server that speaks TLS only.
    #[must_use]
    pub fn tls(mut self, tls: &Tls) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it does not serve in time, with what it said.
    pub async fn start(self) -> NatsServer {
        self.try_start()
            .await
            .unwrap_or_else(|said| panic!("nats-server does not start: {said}"))
    }

    /// Starts it, or tells what it said instead.
    ///
    /// # Errors
    ///
    /// Its log, if it ended by itself.
    ///
    /// # Panics
    ///
    /// If it neither serves in time nor ends.
    pub async fn try_start(self) -> Result<NatsServer, String> {
        let server = self.prepare(Port::reserve(), &[], "/healthz");
        server.spawn();
        server.serves().await?;
        Ok(server)
    }

    /// Everything but the process.
    pub(super) fn prepare(self, client: Port, more: &[String], health: &'static str) -> NatsServer {
        let home = tempfile::Builder::new()
            .prefix("framex-nats-")
            .tempdir()
            .expect("a temporary directory");
        let monitor = Port::reserve();
        // On the command line, where they count more than what a file says.
        let mut arguments: Vec<OsString> = vec![
            "--addr".into(),
            "127.0.0.1".into(),
            "--port".into(),
            client.number().to_string().into(),
            "--http_port".into(),
            monitor.number().to_string().into(),
            "--log".into(),
            home.path().join("log").into(),
        ];
        if let Some(tls) = &self.tls {
            arguments.extend(tls.server_arguments());
        }
        let config = self.config.map(|config| match config {
            Config::File(path) => path,
            Config::Text(text) => {
                let path = home.path().join("nats.conf");
                std::fs::write(&path, text).expect("a file in a directory of our own");
                path
            }
        });
        let mut text = String::new();
        if let Some(path) = config {
            let path = std::path::absolute(path).expect("a path");
            text = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            arguments.push("--config".into());
            arguments.push(path.into());
        }
        // The one thing that the command line may not say once more.
        if self.jetstream && !text.contains("store_dir") {
            arguments.push("--jetstream".into());
            arguments.push("--store_dir".into());
            arguments.push("store".into());
        }
        arguments.extend(more.iter().map(Into::into));
        NatsServer {
            arguments,
            environment: self.environment,
            health,
            scheme: if self.tls.is_some() { "tls" } else { "nats" },
            client,
            monitor,
            process: Mutex::new(None),
            home,
        }
    }
}

impl NatsServer {
    /// Collects what a server is made of.
    #[must_use]
    pub fn builder() -> NatsServerBuilder {
        NatsServerBuilder {
            config: None,
            environment: Vec::new(),
            jetstream: true,
            tls: None,
        }
    }

    /// A server as it comes, with JetStream.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A server with this configuration.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn with_config(text: &str) -> Self {
        Self::builder().config(text).start().await
    }

    /// Where clients connect: `nats://127.0.0.1:40123`, or `tls://`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.client.address())
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.client.address()
    }

    /// Where it tells about itself: `http://127.0.0.1:40124`.
    #[must_use]
    pub fn monitor_url(&self) -> String {
        format!("http://{}", self.monitor.address())
    }

    /// What it tells at `path`: `/varz`, `/connz?subs=1`.
    ///
    /// # Panics
    ///
    /// If it does not answer with JSON.
    pub async fn monitor(&self, path: &str) -> Value {
        let answer = get(self.monitor.address(), path).await;
        let answer = answer.unwrap_or_else(|| panic!("nobody answers at {}", self.monitor_url()));
        answer.json()
    }

    /// Its process id.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.with_process(|process| process.id())
    }

    /// Its working directory, with all that it stores; goes when it does.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// What it logged so far, restarts included.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(self.home.path())
    }

    /// Kills it (SIGKILL). Its ports stay reserved, and refuse connections.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// Stops it in the middle of whatever it does (SIGSTOP): connections stay
    /// open and nothing moves.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn freeze(&self) {
        self.with_process(|process| process.freeze());
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn thaw(&self) {
        self.with_process(|process| process.thaw());
    }

    /// Makes it leave in lame duck mode (SIGUSR2): it asks its clients to go
    /// elsewhere, and closes their connections some seconds later.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn lame_duck(&self) {
        signal(self.id(), "USR2");
    }

    /// Starts it again, on the same ports and with what it had stored; kills it first if it runs.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn restart(&self) {
        self.kill();
        self.spawn();
        self.serves()
            .await
            .unwrap_or_else(|said| panic!("nats-server does not start again: {said}"));
    }

    pub(super) fn spawn(&self) {
        let mut command = Command::new(nats_server());
        command
            .args(&self.arguments)
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.home.path().join("stderr")).expect("a file"));
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let process = Guarded::spawn(&mut command, Some(self.home.path()));
        *self.process() = Some(process);
    }

    /// Waits until it takes connections and JetStream is there.
    pub(super) async fn serves(&self) -> Result<(), String> {
        self.healthy(self.health).await
    }

    /// Waits until `path` of the monitoring answers 200.
    pub(super) async fn healthy(&self, path: &str) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        let mut last = "nothing".to_owned();
        loop {
            if let Some(answer) = get(self.monitor.address(), path).await {
                // The monitoring is there before the port for clients.
                if answer.status == 200 && Connection::try_open(self.address()).await.is_ok() {
                    return Ok(());
                }
                last = answer.lossy();
            }
            if let Some(status) = self.with_process(Guarded::ended) {
                return Err(format!("{status}\n{}", self.log()));
            }
            assert!(
                Instant::now() < end,
                "waited {PATIENCE:?} for nats-server, which answered {last}; it logged\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn with_process<R>(&self, act: impl FnOnce(&mut Guarded) -> R) -> R {
        let mut process = self.process();
        act(process.as_mut().expect("the nats-server runs"))
    }

    fn process(&self) -> MutexGuard<'_, Option<Guarded>> {
        // A test that panicked with it still has to kill it.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
            #[allow(clippy::print_stderr, reason = "libtest shows it with the failed test")]
            {
                eprintln!("the log of {} ends with\n{tail}", self.url());
            }
        }
    }
}

fn read_log(home: &Path) -> String {
    // What it says before it has read its configuration goes to standard error.
    ["stderr", "log"]
        .map(|name| std::fs::read(home.join(name)).unwrap_or_default())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat()
}

async fn get(address: SocketAddr, path: &str) -> Option<Answer> {
    let mut connection = Connection::try_open(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    connection.try_send(request).await.ok()?;
    Some(connection.answer().await)
}
