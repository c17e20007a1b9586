//! `run`: plugins, bus, edge and dashboard in one process.

use std::time::Instant;

use framex_core::settings::{Loaded, Overrides};

use super::broker::Choice;
use super::failure::Failure;
use super::listen::Listen;
use super::options::Common;
use super::{nothing_loaded, output, runtime, signals, worker};
use crate::app;
use crate::log;
use crate::start::{Definitions, Role};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  framex run --load-builtin-plugins echo
  framex run --host 0.0.0.0 --port 80 --config production.toml
  framex run --set server.request_timeout=5s --set log.format=json
  framex run --load-builtin-plugins echo --nats-url nats://127.0.0.1:4222

Each option is also a key of config.toml (server.port) and an environment variable (SERVER__PORT);
the command line beats both. `framex config` shows what counts.

Exit codes: 0 stopped by SIGINT or SIGTERM, 1 wrong settings or plugins, 2 wrong options,
3 a port is in use.")]
pub(crate) struct Run {
    #[command(flatten)]
    listen: Listen,
    /// Give what no plugin answers to the bridge (the built-in plugin `proxy`)
    #[arg(long, overrides_with = "no_enable_proxy")]
    enable_proxy: bool,
    /// Answer 404 to what no plugin here serves [default]
    #[arg(long, overrides_with = "enable_proxy")]
    no_enable_proxy: bool,
    #[command(flatten)]
    broker: Choice,
    /// Start without the plugins that fail to
    #[arg(long, help_heading = "Plugins")]
    allow_failed_plugins: bool,
    #[command(flatten)]
    common: Common,
}

impl Run {
    fn overrides(&self, overrides: &mut Overrides) {
        self.listen.overrides(overrides);
        self.broker.overrides(overrides);
        let (on, off) = (self.enable_proxy, self.no_enable_proxy);
        overrides
            .set(
                if on {
                    "--enable-proxy"
                } else {
                    "--no-enable-proxy"
                },
                "server.enable_proxy",
                (on || off).then_some(on),
            )
            .set(
                "--allow-failed-plugins",
                "allow_failed_plugins",
                self.allow_failed_plugins.then_some(true),
            );
    }
}

pub(crate) fn run(options: &Run, definitions: &Definitions, begun: Instant) -> Result<(), Failure> {
    let settings = options
        .common
        .load(|overrides| options.overrides(overrides))?;
    log::start(&settings, log::Default::OfSettings)?;
    // Calls from the broker are answered by this runtime's threads.
    let threads = match settings.settings.server.use_nats {
        true => worker::threads(&settings).max(2),
        false => 1,
    };
    serve(definitions, settings, Role::Whole, threads, begun)
}

/// Serves HTTP until a signal comes.
pub(super) fn serve(
    definitions: &Definitions,
    settings: Loaded,
    role: Role,
    threads: usize,
    begun: Instant,
) -> Result<(), Failure> {
    let runtime = runtime(threads)?;
    let done = runtime.block_on(listen(definitions, settings, role, begun));
    // A thread that somebody's code blocks must not hold up the end.
    runtime.shutdown_background();
    done
}

async fn listen(
    definitions: &Definitions,
    settings: Loaded,
    role: Role,
    begun: Instant,
) -> Result<(), Failure> {
    let app = app::start(definitions, settings, role, begun).await?;
    // Before the ports: who sees one open may send a signal.
    let signal = match signals::watch() {
        Ok(signal) => signal,
        Err(failure) => {
            app.stop().await;
            return Err(failure);
        }
    };
    let listening = app.listen_or_stop().await?;
    let app = listening.app();
    if role == Role::Whole && app.serving().plugins().next().is_none() {
        tracing::warn!("{}", nothing_loaded(definitions));
    }
    // Who reads the report may leave; the server stays.
    let told = match output::print(listening.report()) {
        Err(Failure::Closed) => Ok(()),
        told => told,
    };
    if told.is_ok() {
        signals::serve_until(signal, app).await;
    }
    listening.stop().await;
    told
}
