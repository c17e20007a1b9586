//! `run`: plugins, bus, edge and dashboard in one process.

use std::time::Instant;

use framex_core::settings::{Loaded, Overrides};

use super::failure::Failure;
use super::options::Common;
use super::{nothing_loaded, output, runtime, signals};
use crate::app;
use crate::log;
use crate::start::Definitions;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  framex run --load-builtin-plugins echo
  framex run --host 0.0.0.0 --port 80 --config production.toml
  framex run --set server.request_timeout=5s --set log.format=json

Each option is also a key of config.toml (server.port) and an environment variable (SERVER__PORT);
the command line beats both. `framex config` shows what counts.

Exit codes: 0 stopped by SIGINT or SIGTERM, 1 wrong settings or plugins, 2 wrong options,
3 a port is in use.")]
pub(crate) struct Run {
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port to listen on; 0 takes a free one [default: 8080]
    #[arg(long)]
    port: Option<u16>,
    /// Address of the dashboard [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    dashboard_host: Option<String>,
    /// Port of the dashboard; 0 takes a free one [default: 8260]
    #[arg(long, value_name = "PORT")]
    dashboard_port: Option<u16>,
    /// Threads that serve requests [default: one for each CPU but one]
    #[arg(long, value_name = "N")]
    num_cpus: Option<usize>,
    /// Use the NATS broker; comes with a later version
    #[arg(long, overrides_with = "no_use_nats")]
    use_nats: bool,
    /// Use the bus inside this process [default]
    #[arg(long, overrides_with = "use_nats")]
    no_use_nats: bool,
    /// Forward what no plugin here serves; comes with a later version
    #[arg(long, overrides_with = "no_enable_proxy")]
    enable_proxy: bool,
    /// Answer 404 to what no plugin here serves [default]
    #[arg(long, overrides_with = "enable_proxy")]
    no_enable_proxy: bool,
    /// Start without the plugins that fail to
    #[arg(long, help_heading = "Plugins")]
    allow_failed_plugins: bool,
    #[command(flatten)]
    common: Common,
}

impl Run {
    fn overrides(&self, overrides: &mut Overrides) {
        let switch = |on: bool, off: bool| (on || off).then_some(on);
        overrides
            .set("--host", "server.host", self.host.clone())
            .set("--port", "server.port", self.port)
            .set(
                "--dashboard-host",
                "server.dashboard_host",
                self.dashboard_host.clone(),
            )
            .set(
                "--dashboard-port",
                "server.dashboard_port",
                self.dashboard_port,
            )
            .set("--num-cpus", "server.num_cpus", self.num_cpus)
            .set(
                if self.use_nats {
                    "--use-nats"
                } else {
                    "--no-use-nats"
                },
                "server.use_nats",
                switch(self.use_nats, self.no_use_nats),
            )
            .set(
                if self.enable_proxy {
                    "--enable-proxy"
                } else {
                    "--no-enable-proxy"
                },
                "server.enable_proxy",
                switch(self.enable_proxy, self.no_enable_proxy),
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
    let runtime = runtime()?;
    let done = runtime.block_on(serve(definitions, settings, begun));
    // A thread that somebody's code blocks must not hold up the end.
    runtime.shutdown_background();
    done
}

async fn serve(definitions: &Definitions, settings: Loaded, begun: Instant) -> Result<(), Failure> {
    let app = app::start(definitions, settings, begun).await?;
    let listening = app.listen_or_stop().await?;
    let signal = signals::watch()?;
    if listening.plugins().next().is_none() {
        tracing::warn!("{}", nothing_loaded(definitions));
    }
    // Who reads the report may leave; the server stays.
    match output::print(listening.report()) {
        Ok(()) | Err(Failure::Closed) => {}
        Err(failure) => {
            listening.stop().await;
            return Err(failure);
        }
    }
    if let Ok(signal) = signal.await {
        tracing::info!(
            signal = signal.name(),
            "stopping; a second signal ends the process at once"
        );
    }
    listening.stop().await;
    Ok(())
}
