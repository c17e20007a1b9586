//! `worker`: plugins for callers on the broker, without HTTP.

use std::time::Instant;

use framex_core::settings::{Loaded, Overrides, Source};
use framex_http_edge::dashboard::Dashboard;

use super::broker::Broker;
use super::failure::Failure;
use super::options::Common;
use super::{nothing_loaded, output, runtime, signals};
use crate::app;
use crate::log;
use crate::report::report;
use crate::start::{Definitions, Role};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  framex worker --load-builtin-plugins echo
  framex worker --load-plugins foo --nats-url nats://a:4222 --nats-url nats://b:4222
  NATS__PASSWORD=.. framex worker --load-plugins foo --nats-user foo --nats-tls-ca ca.pem

Start as many as the load asks for: they share the calls. A worker starts without the broker, and
without the plugins that its own depend on; it serves as soon as they are there. A signal lets the
calls that run finish, for server.shutdown_grace at most, and sends new ones elsewhere.

Exit codes: 0 stopped by SIGINT or SIGTERM, 1 wrong settings or plugins, 2 wrong options,
3 a port is in use.")]
pub(crate) struct Worker {
    /// Threads that run plugins [default: one for each CPU, at least two]
    #[arg(long, value_name = "N")]
    num_cpus: Option<usize>,
    /// Address of the dashboard [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    dashboard_host: Option<String>,
    /// Open a port with /health, /ready and /catalog; 0 takes a free one [default: no port]
    #[arg(long, value_name = "PORT")]
    dashboard_port: Option<u16>,
    #[command(flatten)]
    broker: Broker,
    /// Start without the plugins that fail to
    #[arg(long, help_heading = "Plugins")]
    allow_failed_plugins: bool,
    #[command(flatten)]
    common: Common,
}

impl Worker {
    fn overrides(&self, overrides: &mut Overrides) {
        self.broker.always("worker", overrides);
        overrides
            .set("--num-cpus", "server.num_cpus", self.num_cpus)
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
            .set(
                "--allow-failed-plugins",
                "allow_failed_plugins",
                self.allow_failed_plugins.then_some(true),
            );
    }
}

pub(crate) fn run(
    options: &Worker,
    definitions: &Definitions,
    begun: Instant,
) -> Result<(), Failure> {
    let settings = options
        .common
        .load(|overrides| options.overrides(overrides))?;
    log::start(&settings, log::Default::OfSettings)?;
    if definitions.chosen(&settings)?.is_empty() {
        return Err(Failure::Told(nothing_loaded(definitions)));
    }
    let runtime = runtime(threads(&settings))?;
    let done = runtime.block_on(serve(definitions, settings, begun));
    // A thread that somebody's code blocks must not hold up the end.
    runtime.shutdown_background();
    done
}

/// Threads of a runtime that runs plugins: not one alone unless it is asked for,
/// since a handler that blocks it for the first time stops all others.
pub(super) fn threads(settings: &Loaded) -> usize {
    let cores = || std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
    settings.settings.server.num_cpus.unwrap_or_else(cores)
}

async fn serve(definitions: &Definitions, settings: Loaded, begun: Instant) -> Result<(), Failure> {
    let wants_dashboard = asks_for_dashboard(&settings);
    let app = app::start(definitions, settings, Role::Worker, begun).await?;
    let opened = || {
        // Before the port: who sees it open may send a signal.
        let signal = signals::watch()?;
        let dashboard = wants_dashboard.then(|| app.open_dashboard()).transpose()?;
        Ok((signal, dashboard))
    };
    let (signal, dashboard) = match opened() {
        Ok(opened) => opened,
        Err(failure) => {
            app.stop().await;
            return Err(failure);
        }
    };
    let board = dashboard.as_ref().map(Dashboard::address);
    let told = match output::print(report(&app, None, board)) {
        Err(Failure::Closed) => Ok(()),
        told => told,
    };
    if told.is_ok() {
        signals::serve_until(signal, &app).await;
    }
    app.stop().await;
    drop(dashboard);
    told
}

/// Whether somebody asks this very process for a dashboard. A file may be shared
/// with an edge, whose port it names.
fn asks_for_dashboard(settings: &Loaded) -> bool {
    let port = settings.origins.get("server.dashboard_port");
    port.is_some_and(|port| {
        matches!(
            port.source,
            Source::CommandLine { .. } | Source::Environment { .. }
        )
    })
}
