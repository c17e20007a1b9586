//! From settings and definitions to plugins that serve.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use framex_bus::nats::NatsError;
use framex_bus::{Bus, Catalog, ServeError};
use framex_core::context::{CallMeta, Caller as _, Context, Scope};
use framex_core::error::CallError;
use framex_core::plugin::{PluginDefinition, PluginError, PluginInstance};
use framex_core::settings::{Loaded, SettingsError, check_plugin_tables, nearest};
use framex_http_edge::{EdgeError, Status, server::ListenError};

use crate::bridge::{self, Bridge};
use crate::transport::Transport;

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
    /// The broker cannot be used.
    #[error(transparent)]
    Nats(#[from] NatsError),
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

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Plugins and an edge.
    Whole,
    /// Plugins, for callers on the broker.
    Worker,
    /// An edge, for plugins on the broker.
    Edge,
    /// One question to what is on the broker.
    Client,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "run",
            Self::Worker => "worker",
            Self::Edge => "edge",
            Self::Client => "client",
        }
    }

    /// Whether it loads plugins.
    fn loads(self) -> bool {
        matches!(self, Self::Whole | Self::Worker)
    }
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
        let builtin = [
            PluginDefinition::of::<framex_plugins::echo::EchoPlugin>(),
            PluginDefinition::of::<framex_plugins::proxy::ProxyPlugin>(),
        ];
        let named = builtin.map(|plugin| (plugin.metadata().name.clone(), plugin));
        Self {
            builtin: named.into(),
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
    pub(crate) fn chosen(&self, settings: &Loaded) -> Result<Vec<PluginDefinition>, StartError> {
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
    pub(crate) transport: Transport,
    pub(crate) status: Arc<Status>,
    plugins: Vec<(PluginInstance, Arc<Scope>)>,
}

impl Serving {
    /// Makes the plugins that `settings` ask for and puts them on the bus. None runs yet.
    ///
    /// NATS needs the current runtime, and goes on connecting in it.
    pub(crate) fn load(
        definitions: &Definitions,
        settings: &Loaded,
        role: Role,
    ) -> Result<Self, StartError> {
        let server = &settings.settings.server;
        let mut chosen = Vec::new();
        if role.loads() {
            chosen = definitions.chosen(settings)?;
            let names: Vec<&str> = chosen.iter().map(|d| d.metadata().name.as_str()).collect();
            check_plugin_tables(settings, &names)?;
        }

        let transport = Transport::start(&settings.settings, role)?;
        let process = Arc::clone(transport.own().process());
        let status = Arc::new(Status::of(env!("CARGO_PKG_VERSION"), process));
        if server.enable_proxy {
            Bridge::attach(&transport.bus());
            let here = chosen
                .iter()
                .any(|plugin| plugin.metadata().name == bridge::PLUGIN);
            if role.loads() && !here && transport.nats().is_none() {
                tracing::warn!(
                    "`server.enable_proxy` is on, and there is no bridge: load it with --load-builtin-plugins {}",
                    bridge::PLUGIN
                );
            }
        }
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
            match admit(definition, settings, &transport) {
                Ok(plugin) => plugins.push(plugin),
                Err(error) => go_on(error)?,
            }
        }
        plugins.sort_by_key(|(plugin, _)| std::cmp::Reverse(plugin.metadata().priority));
        let serving = Self {
            transport,
            status: Arc::clone(&status),
            plugins,
        };
        // On NATS others may come later; until then `/ready` says who is missing. So may
        // upstreams of the bridge.
        if serving.transport.nats().is_none() && !server.enable_proxy {
            let missing = missing_apis(&serving.bus().catalog(), &serving.dependencies());
            if !missing.is_empty() {
                go_on(StartError::Missing(missing))?;
            }
        }
        Ok(serving)
    }

    /// Whether it holds the bridge, which adds APIs when it has started.
    pub(crate) fn bridges(&self) -> bool {
        self.plugins()
            .any(|plugin| plugin.metadata().name == bridge::PLUGIN)
    }

    /// For calls.
    pub(crate) fn bus(&self) -> Arc<dyn Bus> {
        self.transport.bus()
    }

    /// What plugins declare in `required_remote_apis`.
    pub(crate) fn dependencies(&self) -> Vec<Dependency> {
        let of_plugin = |plugin: &PluginInstance| {
            let metadata = plugin.metadata();
            let targets = metadata.required_remote_apis.iter().filter(|t| *t != "*");
            let dependency = |target: &String| Dependency {
                plugin: metadata.name.clone(),
                target: target.clone(),
            };
            targets.map(dependency).collect::<Vec<_>>()
        };
        self.plugins().flat_map(of_plugin).collect()
    }

    /// Waits until the broker is there, what others serve is known, and what
    /// this process offers can be called. At once without a broker.
    pub(crate) async fn ready(&self, limit: Duration) -> Result<(), StartError> {
        if let Some(nats) = self.transport.nats() {
            nats.ready(limit).await?;
        }
        Ok(())
    }

    /// Runs `on_start` of each plugin, by priority, and offers them to others. If
    /// one fails, those that run are stopped again.
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
                    self.transport.withdraw(&name).await;
                    self.status.degraded(error.to_string());
                }
                Err(error) => {
                    self.plugins = started;
                    self.stop_plugins().await;
                    self.transport.close().await;
                    return Err(error.into());
                }
            }
        }
        self.plugins = started;
        for plugin in self.plugins() {
            self.transport.offer(&plugin.metadata().name);
        }
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
        let unfinished = self.transport.drain(grace).await;
        if unfinished > 0 {
            tracing::warn!(unfinished, ?grace, "grace period over, calls still run");
        }
        self.stop_plugins().await;
        self.transport.close().await;
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

/// Makes a plugin and puts it on the bus.
fn admit(
    definition: PluginDefinition,
    settings: &Loaded,
    transport: &Transport,
) -> Result<(PluginInstance, Arc<Scope>), StartError> {
    let instance = definition.build(settings)?;
    for (descriptor, _) in instance.apis() {
        framex_core::expand::check(descriptor).map_err(|reason| StartError::Descriptor {
            plugin: instance.metadata().name.clone(),
            reason,
        })?;
    }
    let scope = transport.serve(&instance)?;
    Ok((instance, scope))
}

/// An API that a plugin declares to need.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) plugin: String,
    pub(crate) target: String,
}

/// Those of `dependencies` that are not in `catalog`.
pub(crate) fn missing_apis(catalog: &Catalog, dependencies: &[Dependency]) -> Vec<MissingApi> {
    let missing = |dependency: &&Dependency| {
        let found = catalog.resolve(&dependency.target);
        matches!(found, Err(CallError::Unknown { .. }))
    };
    let named = |Dependency { plugin, target }: &Dependency| {
        let names = catalog.apis().flat_map(|api| {
            let routes = api.descriptor.routes.iter().map(|r| r.path.as_str());
            routes.chain([api.descriptor.id.as_str()])
        });
        MissingApi {
            plugin: plugin.clone(),
            target: target.clone(),
            nearest: nearest(target, names).map(str::to_owned),
        }
    };
    dependencies.iter().filter(missing).map(named).collect()
}
