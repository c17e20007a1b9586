//! Options of commands that listen for HTTP.

use framex_core::settings::Overrides;

/// Where to listen.
#[derive(Debug, clap::Args)]
pub(crate) struct Listen {
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
}

impl Listen {
    pub(crate) fn overrides(&self, overrides: &mut Overrides) {
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
            .set("--num-cpus", "server.num_cpus", self.num_cpus);
    }
}
