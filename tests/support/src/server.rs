//! A server of a test's own.

use std::net::SocketAddr;

use framex::edge::Edge;
use framex::settings::{Loaded, Overrides, Settings, Sources};
use framex::{App, Listening, Plugin, PluginDefinition, StartError};
use serde_json::{Map, Value, json};

use crate::raw::{Ask, Connection};

/// An app that listens on free ports, with settings of its own: no file and no
/// variable of the machine matters. Dropping it stops it.
pub struct Server {
    listening: Option<Listening>,
    edge: Edge,
    address: SocketAddr,
    dashboard: SocketAddr,
}

/// Collects what a [`Server`] is made of.
#[derive(Default)]
pub struct ServerBuilder {
    definitions: Vec<PluginDefinition>,
    settings: Map<String, Value>,
}

impl ServerBuilder {
    /// Adds a plugin.
    #[must_use]
    pub fn plugin<P: Plugin>(mut self) -> Self {
        self.definitions.push(PluginDefinition::of::<P>());
        self
    }

    /// Sets one value of `[server]`.
    #[must_use]
    pub fn server(self, key: &str, value: impl Into<Value>) -> Self {
        self.table("server", key, value.into())
    }

    /// Adds a rule: a route or a prefix, and the keys that open it.
    #[must_use]
    pub fn rule(mut self, route: &str, keys: &[&str]) -> Self {
        let auth = self.settings.entry("auth").or_insert_with(|| json!({}));
        auth["rules"][route] = json!(keys);
        self
    }

    /// Sets one value at the top.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(key.to_owned(), value.into());
        self
    }

    fn table(mut self, table: &str, key: &str, value: Value) -> Self {
        self.settings.entry(table).or_insert_with(|| json!({}))[key] = value;
        self
    }

    fn load(mut self) -> Result<(Vec<PluginDefinition>, Loaded), StartError> {
        for key in ["port", "dashboard_port"] {
            if self.settings.get("server").is_none_or(|s| s[key].is_null()) {
                self = self.table("server", key, 0.into());
            }
        }
        let loaded = Settings::load(&Sources {
            dir: "/nonexistent".into(),
            overrides: Overrides::from(self.settings),
            ..Sources::default()
        })?;
        Ok((self.definitions, loaded))
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start(self) -> Server {
        self.try_start()
            .await
            .unwrap_or_else(|error| panic!("the server does not start: {error}"))
    }

    /// Starts it, or says why it does not start.
    ///
    /// # Errors
    ///
    /// The app's own.
    pub async fn try_start(self) -> Result<Server, StartError> {
        let (definitions, loaded) = self.load()?;
        let mut builder = App::builder().settings(loaded);
        for definition in definitions {
            builder = builder.definition(definition);
        }
        let app = builder.start().await?;
        let edge = app.edge();
        let listening = app.listen()?;
        Ok(Server {
            address: listening.address(),
            dashboard: listening.dashboard_address(),
            edge,
            listening: Some(listening),
        })
    }
}

impl Server {
    /// Collects what a server is made of.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// A server of one plugin, everything else as it comes.
    pub async fn of<P: Plugin>() -> Self {
        Self::builder().plugin::<P>().start().await
    }

    /// Where the edge listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the dashboard listens.
    #[must_use]
    pub fn dashboard(&self) -> SocketAddr {
        self.dashboard
    }

    /// The edge itself.
    #[must_use]
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// A new connection to the edge.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// A request on a connection of its own.
    pub fn ask(&self, method: &str, target: &str) -> Ask {
        Ask::new(self.address, method, target)
    }

    /// GET on a connection of its own.
    pub fn get(&self, target: &str) -> Ask {
        self.ask("GET", target)
    }

    /// POST on a connection of its own.
    pub fn post(&self, target: &str) -> Ask {
        self.ask("POST", target)
    }

    /// Stops as a process would at SIGTERM, and waits for it.
    ///
    /// # Panics
    ///
    /// If it was stopped before.
    pub async fn stop(mut self) {
        let listening = self.listening.take().expect("a server stops once");
        listening.stop().await;
    }
}
