//! A process: plugins, bus, edge and dashboard, from start to stop.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use framex_bus::Bus;
use framex_core::plugin::{Plugin, PluginDefinition};
use framex_core::settings::{Loaded, Overrides, Settings, Sources};
use framex_http_edge::dashboard::Dashboard;
use framex_http_edge::server::{self, Server};
use framex_http_edge::{Edge, Options};
use serde_json::Value;

use crate::follow::Following;
use crate::start::{Definitions, Role, Serving, StartError};
use crate::testing::TestBuilder;

/// A FrameX process, or the part of one inside another program.
pub struct App {
    serving: Serving,
    edge: Edge,
    following: Following,
    settings: Loaded,
    role: Role,
    begun: Instant,
}

impl App {
    /// Collects what an app is made of.
    #[must_use]
    pub fn builder() -> AppBuilder {
        AppBuilder {
            definitions: Definitions::with_builtin(),
            settings: None,
            overrides: serde_json::Map::new(),
        }
    }

    /// An app for tests: a client in the same process, no sockets, no files.
    #[must_use]
    pub fn test() -> TestBuilder {
        TestBuilder::new(Self::builder())
    }

    /// The edge, to be mounted inside another server (`tower::Service`).
    #[must_use]
    pub fn edge(&self) -> Edge {
        self.edge.clone()
    }

    /// The bus, for calls from outside of plugins.
    #[must_use]
    pub fn bus(&self) -> std::sync::Arc<dyn Bus> {
        std::sync::Arc::clone(self.edge.bus())
    }

    /// The settings it runs by.
    #[must_use]
    pub fn settings(&self) -> &Loaded {
        &self.settings
    }

    /// Waits until the broker is there, what others serve is known, and what
    /// this app offers can be called. On the local bus, at once.
    ///
    /// # Errors
    ///
    /// [`StartError::Nats`] says what is missing after `limit`.
    pub async fn ready(&self, limit: Duration) -> Result<(), StartError> {
        self.serving.ready(limit).await?;
        self.edge.update();
        Ok(())
    }

    pub(crate) fn serving(&self) -> &Serving {
        &self.serving
    }

    pub(crate) fn following(&self) -> &Following {
        &self.following
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// When the process began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Opens the edge's and the dashboard's ports.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`] names the port and how to change it.
    pub fn listen(self) -> Result<Listening, StartError> {
        let (server, dashboard) = self.open()?;
        Ok(Listening {
            server,
            dashboard,
            app: self,
        })
    }

    /// As [`App::listen`]; without the ports, the plugins are stopped.
    pub(crate) async fn listen_or_stop(self) -> Result<Listening, StartError> {
        match self.open() {
            Ok((server, dashboard)) => Ok(Listening {
                server,
                dashboard,
                app: self,
            }),
            Err(error) => {
                self.stop().await;
                Err(error)
            }
        }
    }

    fn open(&self) -> Result<(Server, Dashboard), StartError> {
        let options = &self.settings.settings.server;
        let socket = server::bind(&options.host, options.port, "--port", "server.port")?;
        let dashboard = self.open_dashboard()?;
        let server = Server::start(socket, self.edge.clone(), options.into()).map_err(threads)?;
        Ok((server, dashboard))
    }

    /// Opens the dashboard's port alone.
    pub(crate) fn open_dashboard(&self) -> Result<Dashboard, StartError> {
        let options = &self.settings.settings.server;
        let board = server::bind(
            &options.dashboard_host,
            options.dashboard_port,
            "--dashboard-port",
            "server.dashboard_port",
        )?;
        Dashboard::start(board, self.edge.clone()).map_err(threads)
    }

    /// Opens the ports, waits for SIGINT or SIGTERM, and stops: no new calls,
    /// up to `server.shutdown_grace` for those that run, then the plugins.
    ///
    /// # Errors
    ///
    /// As [`App::listen`].
    pub async fn run(self) -> Result<(), StartError> {
        let listening = self.listen_or_stop().await?;
        let mut signals = Signals::new()?;
        tracing::info!(
            edge = %listening.address(),
            dashboard = %listening.dashboard_address(),
            "listening"
        );
        signals.next().await;
        listening.stop().await;
        Ok(())
    }

    /// Stops without ever having listened.
    pub async fn stop(self) {
        let grace = self.settings.settings.server.shutdown_grace;
        self.serving.stop(grace).await;
    }
}

fn threads(source: std::io::Error) -> StartError {
    StartError::System {
        what: "a thread cannot be started",
        source,
    }
}

/// A signal that asks a process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// Of a process that it ended: 128 and its number.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// The signals that ask a process to stop.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, StartError> {
        use tokio::signal::unix::{SignalKind, signal};

        let system = |source| StartError::System {
            what: "signals cannot be received",
            source,
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(system)?,
            terminate: signal(SignalKind::terminate()).map_err(system)?,
        })
    }

    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// An app with open ports. Dropping it closes them without waiting.
pub struct Listening {
    server: Server,
    dashboard: Dashboard,
    app: App,
}

impl Listening {
    /// Where the edge listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where the dashboard listens.
    #[must_use]
    pub fn dashboard_address(&self) -> SocketAddr {
        self.dashboard.address()
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// What was loaded, every route and API of this process, where the documents
    /// are, and how long the start took.
    #[must_use]
    pub fn report(&self) -> String {
        let addresses = (self.address(), self.dashboard_address());
        crate::report::report(&self.app, Some(addresses.0), Some(addresses.1))
    }

    /// Takes no new requests, gives those that run up to `server.shutdown_grace`,
    /// then stops the plugins.
    pub async fn stop(self) {
        let Self {
            server,
            dashboard,
            app,
        } = self;
        app.serving.status.stopping();
        let grace = app.settings.settings.server.shutdown_grace;
        let begun = Instant::now();
        // It waits for threads, so it must not hold up this one.
        let stopped = tokio::task::spawn_blocking(move || server.stop()).await;
        match stopped {
            Ok(0) => {}
            Ok(cut) => tracing::warn!(connections = cut, "connections were cut"),
            Err(error) => tracing::error!(%error, "the edge did not stop well"),
        }
        let rest = grace
            .saturating_sub(begun.elapsed())
            .max(Duration::from_millis(100));
        app.serving.stop(rest).await;
        drop(dashboard);
    }
}

/// Collects what an [`App`] is made of.
pub struct AppBuilder {
    definitions: Definitions,
    settings: Option<Loaded>,
    overrides: serde_json::Map<String, Value>,
}

impl AppBuilder {
    /// Adds a plugin. All that are added are loaded, unless the settings name some.
    #[must_use]
    pub fn plugin<P: Plugin>(self) -> Self {
        self.definition(PluginDefinition::of::<P>())
    }

    /// Adds a plugin by its definition.
    #[must_use]
    pub fn definition(mut self, definition: PluginDefinition) -> Self {
        self.definitions.add_own(definition);
        self
    }

    /// Takes settings that were loaded elsewhere, instead of this process' own
    /// files and variables.
    #[must_use]
    pub fn settings(mut self, settings: Loaded) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Sets one value, e.g. `set("server.port", 9000)`: stronger than every file.
    /// Not for use together with [`AppBuilder::settings`], which are final.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let mut table = &mut self.overrides;
        let mut segments = key.split('.').peekable();
        while let Some(segment) = segments.next() {
            if segments.peek().is_none() {
                table.insert(segment.to_owned(), value.into());
                break;
            }
            let inner = table
                .entry(segment)
                .or_insert_with(|| Value::Object(serde_json::Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(serde_json::Map::new());
            }
            let Some(inner) = inner.as_object_mut() else {
                break;
            };
            table = inner;
        }
        self
    }

    /// The configuration of a plugin: its table in `[plugins]`.
    #[must_use]
    pub fn config(self, plugin: &str, config: Value) -> Self {
        self.set(&format!("plugins.{plugin}"), config)
    }

    /// Reads the settings, makes the plugins and starts them.
    ///
    /// # Errors
    ///
    /// [`StartError`]: what is wrong, where, and what would be right.
    pub async fn start(self) -> Result<App, StartError> {
        let begun = Instant::now();
        let settings = match self.settings {
            Some(settings) => settings,
            None => {
                let mut sources = Sources::of_process().map_err(|source| StartError::System {
                    what: "there is no working directory",
                    source,
                })?;
                sources.overrides = Overrides::from(self.overrides);
                Settings::load(&sources)?
            }
        };
        start(&self.definitions, settings, Role::Whole, begun).await
    }

    /// As [`AppBuilder::start`], with no files and no variables.
    pub(crate) async fn start_apart(self) -> Result<App, StartError> {
        let begun = Instant::now();
        let settings = match self.settings {
            Some(settings) => settings,
            None => Settings::load(&Sources {
                overrides: Overrides::from(self.overrides),
                ..Sources::default()
            })?,
        };
        start(&self.definitions, settings, Role::Whole, begun).await
    }
}

/// Makes the plugins, and the edge above them. None runs yet.
pub(crate) fn assemble(
    definitions: &Definitions,
    settings: &Loaded,
    role: Role,
) -> Result<(Serving, Edge), StartError> {
    let serving = Serving::load(definitions, settings, role)?;
    // Whatever others do, what this process brings has to be right.
    Edge::check(&serving.transport.own().catalog())?;
    let status = std::sync::Arc::clone(&serving.status);
    let options = Options {
        has_clients: role != Role::Worker,
        ..Options::from(&settings.settings)
    };
    let edge = Edge::new(serving.bus(), status, options)?;
    Ok((serving, edge))
}

/// `begun` is when the process did, for the report.
pub(crate) async fn start(
    definitions: &Definitions,
    settings: Loaded,
    role: Role,
    begun: Instant,
) -> Result<App, StartError> {
    // The edge before the plugins start: a mistake in the rules is told first.
    let (mut serving, edge) = assemble(definitions, &settings, role)?;
    serving
        .start(settings.settings.allow_failed_plugins)
        .await?;
    edge.update();
    let servers = settings.settings.nats.shown();
    let following = Following::start(&serving, &edge, role, servers);
    Ok(App {
        serving,
        edge,
        following,
        settings,
        role,
        begun,
    })
}
