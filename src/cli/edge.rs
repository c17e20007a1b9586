//! `edge`, and the binary `framex-edge`: HTTP for plugins on the broker.

use std::time::Instant;

use framex_core::settings::Overrides;

use super::broker::Broker;
use super::failure::Failure;
use super::listen::Listen;
use super::options::FromWhere;
use super::run;
use crate::log;
use crate::start::{Definitions, Role};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  framex edge
  framex edge --host 0.0.0.0 --port 80 --nats-url nats://a:4222 --nats-url nats://b:4222
  NATS__PASSWORD=.. framex edge --nats-user edge --nats-tls-ca ca.pem

It loads no plugins; those on the broker appear and go with their workers. Start as many copies as
you like behind a load balancer: they keep nothing. An edge starts without the broker; until that is
there, /ready answers 503.

Exit codes: 0 stopped by SIGINT or SIGTERM, 1 wrong settings, 2 wrong options, 3 a port is in use.")]
pub(crate) struct Edge {
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    broker: Broker,
    #[command(flatten)]
    from: FromWhere,
}

impl Edge {
    fn overrides(&self, overrides: &mut Overrides) {
        self.listen.overrides(overrides);
        self.broker.always("edge", overrides);
    }
}

pub(crate) fn run(options: &Edge, begun: Instant) -> Result<(), Failure> {
    let settings = options
        .from
        .load(|overrides| options.overrides(overrides))?;
    log::start(&settings, log::Default::OfSettings)?;
    let asked = &settings.settings;
    if !asked.load_plugins.is_empty() || !asked.load_builtin_plugins.is_empty() {
        tracing::info!("an edge loads no plugins: those in the settings are left to the workers");
    }
    run::serve(&Definitions::default(), settings, Role::Edge, 1, begun)
}
