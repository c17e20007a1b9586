//! Workers and edges around a broker.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use framex_test_support::nats::NatsServer;
use framex_test_support::process::example;
use tempfile::TempDir;

use crate::load::{Got, once};
use crate::process::Serving;

/// Where workers and edges of one test run, and the brokers that they know.
pub(crate) struct Site {
    urls: Vec<String>,
    dir: TempDir,
}

impl Site {
    pub(crate) fn at(urls: &[String]) -> Self {
        Self {
            urls: urls.to_vec(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn of(broker: &NatsServer) -> Self {
        Self::at(&[broker.url()])
    }

    /// A worker of the plugin `work`, whose answers are `name`.
    pub(crate) fn worker(&self, name: &str) -> Serving {
        self.start_worker(name, &[]).ready()
    }

    /// As [`Self::worker`], with more settings, and it may not be ready yet.
    pub(crate) fn start_worker(&self, name: &str, settings: &[(&str, &str)]) -> Serving {
        let name = [("PLUGINS__WORK__NAME", name)];
        self.start_plugin("work", &[&name, settings].concat())
    }

    /// A worker of one plugin, with these settings; it may not be ready yet.
    pub(crate) fn start_plugin(&self, plugin: &str, settings: &[(&str, &str)]) -> Serving {
        static PLUGINS: LazyLock<PathBuf> = LazyLock::new(|| {
            let built = Path::new(env!("CARGO_BIN_EXE_framex"));
            example("failures_plugins", built, env!("CARGO_MANIFEST_DIR"))
        });
        let mut command = Command::new(&*PLUGINS);
        command
            .args(["worker", "--load-plugins", plugin])
            .env("NOTES", self.dir.path().join("notes"));
        self.start(&mut command, settings)
    }

    /// A worker that takes and gives files.
    pub(crate) fn depot(&self) -> Serving {
        static DEPOT: LazyLock<PathBuf> = LazyLock::new(|| {
            let built = Path::new(env!("CARGO_BIN_EXE_framex"));
            example("files_depot", built, env!("CARGO_MANIFEST_DIR"))
        });
        let mut command = Command::new(&*DEPOT);
        command.args(["worker", "--load-plugins", "depot"]);
        self.start(&mut command, &[]).ready()
    }

    /// An edge that knows who is there.
    pub(crate) fn edge(&self) -> Serving {
        self.start_edge(&[]).ready()
    }

    /// An edge with these settings; it may not be ready yet.
    pub(crate) fn start_edge(&self, settings: &[(&str, &str)]) -> Serving {
        let mut command = Command::new(env!("CARGO_BIN_EXE_framex"));
        self.start(command.arg("edge"), settings)
    }

    fn start(&self, command: &mut Command, settings: &[(&str, &str)]) -> Serving {
        for url in &self.urls {
            command.args(["--nats-url", url]);
        }
        // Where a test says something else, that counts.
        command
            .env("LOG__FORMAT", "human")
            .envs(settings.iter().copied());
        Serving::start(command, self.dir.path())
    }

    /// What handlers wrote down.
    pub(crate) fn notes(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("notes")).unwrap_or_default()
    }
}

impl Serving {
    pub(crate) async fn get(&self, path: &str) -> Got {
        once(self.address(), &format!("GET {path}")).await
    }

    /// Where probes ask how it is.
    pub(crate) fn board(&self) -> SocketAddr {
        self.dashboard().expect("it was told to have a dashboard")
    }

    /// Whether the OpenAPI document of this edge has the path.
    pub(crate) async fn documents(&self, path: &str) -> bool {
        let document = self.get("/api/v1/openapi.json").await;
        assert_eq!(document.status, 200, "{document:?}");
        document.body["paths"].get(path).is_some()
    }
}
