//! Options for the NATS broker, and what commands ask of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use framex_bus::Catalog;
use framex_core::settings::{Loaded, Overrides};
use serde_json::Value;

use super::failure::{Failure, say};
use super::options::Common;
use crate::log;
use crate::start::{Role, Serving};

/// How long a command that asks something waits for the broker.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it waits then for what it asks about.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Where the broker is, and who this process is to it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Broker")]
pub(crate) struct Broker {
    /// A NATS server; repeat it for more of one cluster [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL")]
    nats_url: Vec<String>,
    /// Credentials file, as nsc writes it
    #[arg(long, value_name = "FILE")]
    nats_creds: Option<PathBuf>,
    /// User; the password comes from NATS__PASSWORD or nats.password, a token from NATS__TOKEN
    #[arg(long, value_name = "NAME")]
    nats_user: Option<String>,
    /// File with an nkey seed
    #[arg(long, value_name = "FILE")]
    nats_nkey: Option<PathBuf>,
    /// First token of every subject, to keep teams on one broker apart
    #[arg(long, value_name = "NAME")]
    nats_namespace: Option<String>,
    /// Authorities to trust besides the system's, PEM
    #[arg(long, value_name = "FILE")]
    nats_tls_ca: Option<PathBuf>,
    /// This process' certificate, PEM
    #[arg(long, value_name = "FILE")]
    nats_tls_cert: Option<PathBuf>,
    /// Key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    nats_tls_key: Option<PathBuf>,
}

/// The broker or the bus inside this process.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Broker")]
pub(crate) struct Choice {
    /// Use the NATS broker; each option below says so too
    #[arg(long, overrides_with = "no_use_nats")]
    use_nats: bool,
    /// Use the bus inside this process [default]
    #[arg(long, overrides_with = "use_nats")]
    no_use_nats: bool,
    #[command(flatten)]
    broker: Broker,
}

impl Broker {
    /// Each option with its key and value; null where it was not given.
    fn values(&self) -> [(&'static str, &'static str, Value); 8] {
        let file = |path: &Option<PathBuf>| {
            let text = path.as_ref().map(|path| path.to_string_lossy());
            text.map_or(Value::Null, Value::from)
        };
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::from);
        let urls = match self.nats_url.is_empty() {
            true => Value::Null,
            false => Value::from(self.nats_url.clone()),
        };
        [
            ("--nats-url", "nats.url", urls),
            ("--nats-creds", "nats.creds", file(&self.nats_creds)),
            ("--nats-user", "nats.user", text(&self.nats_user)),
            ("--nats-nkey", "nats.nkey", file(&self.nats_nkey)),
            (
                "--nats-namespace",
                "nats.namespace",
                text(&self.nats_namespace),
            ),
            ("--nats-tls-ca", "nats.tls.ca", file(&self.nats_tls_ca)),
            (
                "--nats-tls-cert",
                "nats.tls.cert",
                file(&self.nats_tls_cert),
            ),
            ("--nats-tls-key", "nats.tls.key", file(&self.nats_tls_key)),
        ]
    }

    fn overrides(&self, overrides: &mut Overrides) {
        for (option, key, value) in self.values() {
            overrides.set(option, key, value);
        }
    }

    /// For `command`, which is nothing without a broker.
    pub(crate) fn always(&self, command: &str, overrides: &mut Overrides) {
        self.overrides(overrides);
        overrides.set(command, "server.use_nats", true);
    }
}

impl Choice {
    pub(crate) fn overrides(&self, overrides: &mut Overrides) {
        self.broker.overrides(overrides);
        let values = self.broker.values();
        let given = values.iter().find(|(_, _, value)| !value.is_null());
        match (self.use_nats, self.no_use_nats, given) {
            (true, ..) => overrides.set("--use-nats", "server.use_nats", true),
            (_, true, _) => overrides.set("--no-use-nats", "server.use_nats", false),
            (_, _, Some((option, ..))) => overrides.set(option, "server.use_nats", true),
            _ => overrides,
        };
    }
}

/// What a command asks: the plugins that it loads, or whatever is on the broker.
/// Starts the log that fits.
pub(crate) fn role(settings: &Loaded, common: &Common) -> Result<Role, Failure> {
    if !settings.settings.server.use_nats {
        log::start(settings, log::Default::Warnings)?;
        return Ok(Role::Whole);
    }
    log::start(settings, log::Default::Errors)?;
    if common.names_plugins() {
        say(
            "note",
            "no plugin is loaded: on NATS, those that run there are asked; --no-use-nats loads them",
        );
    }
    Ok(Role::Client)
}

/// Waits for the broker, but not for long.
pub(crate) async fn reach(serving: &Serving) -> Result<(), Failure> {
    let reached = serving.ready(PATIENCE).await;
    if let Some(nats) = serving.transport.nats() {
        for problem in &nats.state().borrow().problems {
            say("note", problem);
        }
    }
    if reached.is_err() {
        serving.transport.close().await;
    }
    Ok(reached?)
}

/// The catalog, as soon as it is `enough`, or as it is in the end. Who answers the
/// broker slowly is given a moment more than discovery does.
pub(crate) async fn catalog(serving: &Serving, enough: impl Fn(&Catalog) -> bool) -> Arc<Catalog> {
    let bus = serving.bus();
    let mut changes = bus.changes();
    if serving.transport.nats().is_some() {
        let seen = async { while !enough(&bus.catalog()) && changes.changed().await.is_ok() {} };
        // In time or not: what is there is the answer.
        let _ = tokio::time::timeout(A_MOMENT, seen).await;
    }
    bus.catalog()
}

/// What to do when nobody serves anything.
pub(crate) fn nobody_there(settings: &Loaded) -> String {
    format!(
        "no plugin is on NATS at {}; start one with the command `worker`",
        settings.settings.nats.shown()
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use framex_core::settings::{Settings, Sources};

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        choice: Choice,
    }

    fn uses_nats(args: &[&str]) -> (bool, String) {
        let line = Line::parse_from([&["x"], args].concat());
        let mut sources = Sources::default();
        line.choice.overrides(&mut sources.overrides);
        let loaded = Settings::load(&sources).unwrap();
        let source = loaded.origins.get("server.use_nats").unwrap();
        (
            loaded.settings.server.use_nats,
            source.source.to_string().replace("command line ", ""),
        )
    }

    #[test]
    fn an_option_of_the_broker_chooses_it() {
        for (args, uses, because) in [
            (&[][..], false, "default"),
            (&["--use-nats"], true, "--use-nats"),
            (&["--nats-url", "nats://a"], true, "--nats-url"),
            (&["--nats-tls-ca", "ca.pem"], true, "--nats-tls-ca"),
            (
                &["--no-use-nats", "--nats-url", "a"],
                false,
                "--no-use-nats",
            ),
            (&["--no-use-nats", "--use-nats"], true, "--use-nats"),
        ] {
            assert_eq!(uses_nats(args), (uses, because.into()), "{args:?}");
        }
    }
}
