//! A process: plugins, bus, edge and dashboard, from start to stop.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use framex_bus::Bus;
use framex_core::plugin::{Plugin, PluginDefinition, PluginInstance};
use framex_core::settings::{Loaded, Overrides, Settings, Sources};
use framex_http_edge::dashboard::Dashboard;
use framex_http_edge::server::{self, Server};
use framex_http_edge::{Edge, Options};
use serde_json::Value;

use crate::start::{Definitions, Serving, StartError};
use crate::testing::TestBuilder;

/// A FrameX process, or the part of one inside another program.
pub struct App {
    serving: Serving,
    edge: Edge,
    settings: Loaded,
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
        let board = server::bind(
            &options.dashboard_host,
            options.dashboard_port,
            "--dashboard-port",
            "server.dashboard_port",
        )?;
        let dashboard = Dashboard::start(board, self.edge.clone()).map_err(threads)?;
        let server = Server::start(socket, self.edge.clone(), options.into()).map_err(threads)?;
        Ok((server, dashboard))
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

    /// The plugins that run.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &PluginInstance> {
        self.app.serving.plugins()
    }

    /// What was loaded, every route and API, where the documents are, and how
    /// long the start took.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = String::new();
        let plugins: Vec<String> = self
            .plugins()
            .map(|p| format!("{} {}", p.metadata().name, p.metadata().version))
            .collect();
        let catalog = self.app.serving.bus.catalog();
        let mut rows = Vec::new();
        for api in catalog.apis() {
            let id = api.descriptor.id.as_str();
            let stream = if api.descriptor.streams() {
                "  (stream)"
            } else {
                ""
            };
            if api.descriptor.routes.is_empty() {
                rows.push((String::from("bus only"), format!("{id}{stream}")));
            }
            for route in &api.descriptor.routes {
                rows.push((route.to_string(), format!("{id}{stream}")));
            }
        }
        let width = rows.iter().map(|(route, _)| route.len()).max().unwrap_or(0);
        let address = self.address();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "FrameX {} (local bus)", env!("CARGO_PKG_VERSION"));
        let _ = writeln!(
            text,
            "  plugins    {}",
            if plugins.is_empty() {
                "none (load some with --load-plugins or --load-builtin-plugins)".to_owned()
            } else {
                plugins.join(", ")
            }
        );
        for reason in self.app.serving.status.readiness().1.reasons {
            let _ = writeln!(text, "  failed     {}", crate::cli::escaped(&reason));
        }
        if !rows.is_empty() {
            let _ = writeln!(text, "  apis");
        }
        for (route, id) in rows {
            let _ = writeln!(text, "    {route:width$}  {id}");
        }
        let _ = writeln!(text, "  edge       http://{address}");
        let _ = writeln!(
            text,
            "  docs       http://{address}/docs  http://{address}/redoc"
        );
        let _ = writeln!(text, "  openapi    http://{address}/api/v1/openapi.json");
        let _ = writeln!(
            text,
            "  dashboard  http://{}/catalog",
            self.dashboard_address()
        );
        let took = self.app.begun.elapsed();
        let _ = writeln!(
            text,
            "started in {:.1} ms, stop with Ctrl+C",
            took.as_secs_f64() * 1000.0
        );
        text
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
        start(&self.definitions, settings, begun).await
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
        start(&self.definitions, settings, begun).await
    }
}

/// Makes the plugins, and the edge above them. None runs yet.
pub(crate) fn assemble(
    definitions: &Definitions,
    settings: &Loaded,
) -> Result<(Serving, Edge), StartError> {
    let serving = Serving::load(definitions, settings)?;
    let bus: std::sync::Arc<dyn Bus> = std::sync::Arc::clone(&serving.bus) as _;
    let status = std::sync::Arc::clone(&serving.status);
    let edge = Edge::new(bus, status, Options::from(&settings.settings))?;
    Ok((serving, edge))
}

/// `begun` is when the process did, for the report.
pub(crate) async fn start(
    definitions: &Definitions,
    settings: Loaded,
    begun: Instant,
) -> Result<App, StartError> {
    // The edge before the plugins start: a mistake in the rules is told first.
    let (mut serving, edge) = assemble(definitions, &settings)?;
    serving
        .start(settings.settings.allow_failed_plugins)
        .await?;
    edge.update();
    Ok(App {
        serving,
        edge,
        settings,
        begun,
    })
}
