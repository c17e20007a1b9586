//! From settings and definitions to plugins that serve.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use framex_bus::{Bus, LocalBus, ServeError};
use framex_core::context::{CallMeta, Context, Scope};
use framex_core::plugin::{PluginDefinition, PluginError, PluginInstance};
use framex_core::settings::{Loaded, SettingsError, check_plugin_tables, nearest};
use framex_http_edge::{EdgeError, Status, server::ListenError};

/// How long `on_start` and `on_stop` of one plugin may take.
const LIFECYCLE_LIMIT: Duration = Duration::from_secs(60);

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings are wrong.
    #[error("{0}")]
    Settings(#[from] Box<SettingsError>),
    /// There is no plugin of this name.
    #[error("there is no {kind}plugin `{name}`{hint}")]
    UnknownPlugin {
        /// `built-in `, or nothing.
        kind: &'static str,
        /// The name.
        name: String,
        /// The nearest name, and all there are.
        hint: String,
    },
    /// A plugin is asked for twice.
    #[error("plugin `{0}` is loaded twice: {1}")]
    LoadedTwice(String, String),
    /// A plugin cannot be made or started.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A plugin's APIs describe themselves wrongly.
    #[error("plugin `{plugin}`: {reason}")]
    Descriptor {
        /// Its name.
        plugin: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A plugin's name, ids or routes are taken.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Declared dependencies are nowhere to be found.
    #[error("{}", missing(.0))]
    Missing(Vec<MissingApi>),
    /// The edge cannot be made.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// A port cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// `log.filter` cannot be read.
    #[error("`log.filter` ({place}): {reason}")]
    LogFilter {
        /// Where it is written.
        place: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// What was asked for is not there yet.
    #[error("{0}")]
    NotYet(&'static str),
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Its reason.
        source: std::io::Error,
    },
}

impl StartError {
    /// The exit code that says so: 3 for a port that cannot be had, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Listen(_) => 3,
            _ => 1,
        }
    }
}

impl From<SettingsError> for StartError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(Box::new(error))
    }
}

/// A declared dependency that nobody provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingApi {
    /// Who declares it.
    pub plugin: String,
    /// The id or path.
    pub target: String,
    /// The nearest that is there.
    pub nearest: Option<String>,
}

fn missing(apis: &[MissingApi]) -> String {
    let mut text = "APIs that plugins declare in `required_remote_apis` are missing:".to_owned();
    for MissingApi {
        plugin,
        target,
        nearest,
    } in apis
    {
        text.push_str(&format!("\n  - `{target}`, required by plugin `{plugin}`"));
        if let Some(nearest) = nearest {
            text.push_str(&format!(" (did you mean `{nearest}`?)"));
        }
    }
    text.push_str("\nload the plugins that provide them, or correct the names");
    text
}

/// The plugins that a binary holds, by name.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    pub(crate) own: BTreeMap<String, PluginDefinition>,
    pub(crate) builtin: BTreeMap<String, PluginDefinition>,
    /// Two definitions with one name.
    pub(crate) clash: Option<String>,
}

impl Definitions {
    pub(crate) fn add_own(&mut self, definition: PluginDefinition) {
        let name = definition.metadata().name.clone();
        if self.own.insert(name.clone(), definition).is_some() {
            self.clash.get_or_insert(name);
        }
    }

    pub(crate) fn with_builtin() -> Self {
        let echo = PluginDefinition::of::<framex_plugins::echo::EchoPlugin>();
        Self {
            builtin: BTreeMap::from([(echo.metadata().name.clone(), echo)]),
            ..Self::default()
        }
    }

    /// Whether `settings` ask for plugins that are there, and configure no others.
    pub(crate) fn check(&self, settings: &Loaded) -> Result<(), StartError> {
        let chosen = self.chosen(settings)?;
        let names: Vec<&str> = chosen.iter().map(|d| d.metadata().name.as_str()).collect();
        Ok(check_plugin_tables(settings, &names)?)
    }

    /// The definitions that `settings` ask for, in that order; all of the
    /// binary's own if they ask for none at all.
    fn chosen(&self, settings: &Loaded) -> Result<Vec<PluginDefinition>, StartError> {
        if let Some(name) = &self.clash {
            return Err(StartError::LoadedTwice(
                name.clone(),
                "two plugins of this binary have the name".into(),
            ));
        }
        let wanted = &settings.settings;
        if wanted.load_plugins.is_empty() && wanted.load_builtin_plugins.is_empty() {
            return Ok(self.own.values().copied().collect());
        }
        let mut chosen: Vec<PluginDefinition> = Vec::new();
        let lists = [
            (
                "built-in",
                "load_builtin_plugins",
                &wanted.load_builtin_plugins,
                &self.builtin,
            ),
            ("own", "load_plugins", &wanted.load_plugins, &self.own),
        ];
        for (kind, key, names, known) in lists {
            for name in names {
                let definition = known.get(name).ok_or_else(|| self.unknown(kind, name))?;
                if chosen.iter().any(|d| d.metadata().name == *name) {
                    return Err(StartError::LoadedTwice(
                        name.clone(),
                        format!("`{key}` names it, and so does another entry"),
                    ));
                }
                chosen.push(*definition);
            }
        }
        Ok(chosen)
    }

    fn unknown(&self, kind: &'static str, name: &str) -> StartError {
        let (known, other, option) = if kind == "built-in" {
            (&self.builtin, &self.own, "--load-plugins")
        } else {
            (&self.own, &self.builtin, "--load-builtin-plugins")
        };
        let names = || known.keys().map(String::as_str);
        let hint = if other.contains_key(name) {
            format!("; load it with {option} {name}")
        } else if kind == "built-in" && name == "proxy" {
            "; the bridge comes with a later version".to_owned()
        } else if let Some(nearest) = nearest(name, names()) {
            format!("; did you mean `{nearest}`?")
        } else if known.is_empty() {
            "; this binary has none of its own: build one with `framex::main!(YourPlugin)`"
                .to_owned()
        } else {
            format!(
                "; there are {}",
                names()
                    .map(|n| format!("`{n}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        };
        StartError::UnknownPlugin {
            kind: if kind == "built-in" { "built-in " } else { "" },
            name: name.to_owned(),
            hint,
        }
    }
}

/// Plugins that serve on a bus.
pub(crate) struct Serving {
    pub(crate) bus: Arc<LocalBus>,
    pub(crate) status: Arc<Status>,
    plugins: Vec<(PluginInstance, Arc<Scope>)>,
}

impl Serving {
    /// Makes the plugins that `settings` ask for and puts them on the bus. None runs yet.
    pub(crate) fn load(definitions: &Definitions, settings: &Loaded) -> Result<Self, StartError> {
        let server = &settings.settings.server;
        if server.use_nats {
            return Err(StartError::NotYet(
                "`server.use_nats` is on: the NATS bus comes with a later version; leave it out or pass --no-use-nats",
            ));
        }
        if server.enable_proxy {
            return Err(StartError::NotYet(
                "`server.enable_proxy` is on: the bridge comes with a later version; leave it out or pass --no-enable-proxy",
            ));
        }
        let chosen = definitions.chosen(settings)?;
        let names: Vec<&str> = chosen.iter().map(|d| d.metadata().name.as_str()).collect();
        check_plugin_tables(settings, &names)?;

        let status = Arc::new(Status::new(env!("CARGO_PKG_VERSION")));
        let bus = LocalBus::new(server.request_timeout);
        let mut plugins = Vec::new();
        let allow_failed = settings.settings.allow_failed_plugins;
        let go_on = |error: StartError| {
            if !allow_failed {
                return Err(error);
            }
            tracing::error!("{error}");
            status.degraded(error.to_string());
            Ok(())
        };
        for definition in chosen {
            match admit(definition, settings, &bus) {
                Ok(plugin) => plugins.push(plugin),
                Err(error) => go_on(error)?,
            }
        }
        plugins.sort_by_key(|(plugin, _)| std::cmp::Reverse(plugin.metadata().priority));
        if let Err(error) = check_dependencies(&bus, &plugins) {
            go_on(error)?;
        }
        Ok(Self {
            bus,
            status,
            plugins,
        })
    }

    /// Runs `on_start` of each plugin, by priority. If one fails, those that
    /// run are stopped again.
    pub(crate) async fn start(&mut self, allow_failed: bool) -> Result<(), StartError> {
        let mut started = Vec::new();
        for (plugin, scope) in std::mem::take(&mut self.plugins) {
            let ctx = Context::new(Arc::clone(&scope), CallMeta::default());
            let name = plugin.metadata().name.clone();
            let outcome = match tokio::time::timeout(LIFECYCLE_LIMIT, plugin.start(&ctx)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(PluginError::Start {
                    plugin: name.clone(),
                    reason: format!("`on_start` took longer than {LIFECYCLE_LIMIT:?}"),
                }),
            };
            match outcome {
                Ok(()) => started.push((plugin, scope)),
                Err(error) if allow_failed => {
                    tracing::error!("{error}");
                    self.bus.withdraw(&name);
                    self.status.degraded(error.to_string());
                }
                Err(error) => {
                    self.plugins = started;
                    self.stop_plugins().await;
                    return Err(error.into());
                }
            }
        }
        self.plugins = started;
        self.status.ready();
        Ok(())
    }

    /// The plugins that run, in the order they started.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &PluginInstance> {
        self.plugins.iter().map(|(plugin, _)| plugin)
    }

    /// Refuses new calls, gives those that run up to `grace`, stops the plugins.
    pub(crate) async fn stop(mut self, grace: Duration) {
        self.status.stopping();
        let unfinished = self.bus.drain(grace).await;
        if unfinished > 0 {
            tracing::warn!(unfinished, ?grace, "grace period over, calls still run");
        }
        self.stop_plugins().await;
    }

    async fn stop_plugins(&mut self) {
        for (plugin, _) in self.plugins.iter().rev() {
            let name = &plugin.metadata().name;
            match tokio::time::timeout(LIFECYCLE_LIMIT, plugin.stop()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(plugin = %name, ?error, "`on_stop` failed"),
                Err(_) => {
                    tracing::error!(plugin = %name, "`on_stop` took longer than {LIFECYCLE_LIMIT:?}");
                }
            }
        }
    }
}

/// Makes a plugin and puts it on `bus`.
fn admit(
    definition: PluginDefinition,
    settings: &Loaded,
    bus: &LocalBus,
) -> Result<(PluginInstance, Arc<Scope>), StartError> {
    let instance = definition.build(settings)?;
    for (descriptor, _) in instance.apis() {
        framex_core::expand::check(descriptor).map_err(|reason| StartError::Descriptor {
            plugin: instance.metadata().name.clone(),
            reason,
        })?;
    }
    let scope = bus.serve(&instance)?;
    Ok((instance, scope))
}

/// Every declared dependency is to be found on `bus`.
fn check_dependencies(
    bus: &LocalBus,
    plugins: &[(PluginInstance, Arc<Scope>)],
) -> Result<(), StartError> {
    let catalog = bus.catalog();
    let mut missing = Vec::new();
    for (plugin, _) in plugins {
        let metadata = plugin.metadata();
        for target in metadata.required_remote_apis.iter().filter(|t| *t != "*") {
            if let Err(framex_core::error::CallError::Unknown { .. }) = catalog.resolve(target) {
                let paths = catalog.apis().flat_map(|api| {
                    let routes = api.descriptor.routes.iter().map(|r| r.path.as_str());
                    routes.chain([api.descriptor.id.as_str()])
                });
                missing.push(MissingApi {
                    plugin: metadata.name.clone(),
                    target: target.clone(),
                    nearest: nearest(target, paths).map(str::to_owned),
                });
            }
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(StartError::Missing(missing))
    }
}
