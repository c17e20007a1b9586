//! The bridge: existing HTTP services on the same surface, and what no plugin answers.
//!
//! | module | its secret |
//! |---|---|
//! | `config` | what `[plugins.proxy]` holds |
//! | `rules` | which paths a rule is about |
//! | `upstream` | a service behind the bridge, as its settings describe it |
//! | `watch` | when an upstream's document is read, and what becomes of it |
//! | `document` | from an OpenAPI document to operations |
//! | `operation` | an operation, as forwarding needs it |
//! | `surface` | everything that all upstreams offer together |
//! | `fall_back` | calls that nobody on the bus answers |
//! | `forward` | from a call to a request, and from its answer to a reply |
//! | `functions` | functions that run on another system |
//! | `meter` | what of all this is counted |

pub mod config;
mod document;
mod fall_back;
mod forward;
mod functions;
mod meter;
mod operation;
mod rules;
mod surface;
mod upstream;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use framex_core::context::Context;
use framex_core::error::{Error, Result};
use framex_core::function::Elsewhere;
use framex_core::reply::RawJson;
use framex_macros::on_register;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;

use config::ProxyConfig;
use functions::{Functions, RemoteCall};
use surface::Surface;
use upstream::{Site, Upstream};
use watch::Watched;

/// How long a start waits for the documents of upstreams that are there.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// How long somebody waits who asks for the documents to be read again.
const ASKED_LOOK: Duration = Duration::from_secs(35);

/// The built-in plugin `proxy`.
pub struct ProxyPlugin {
    surface: Arc<Surface>,
    functions: Arc<Functions>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// How an upstream is.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpstreamReport {
    /// Its name.
    pub name: String,
    /// `closed` where it is called, `open` where it is given a rest, `half-open` where it is tried.
    pub circuit: &'static str,
    /// How many of its operations are served.
    pub operations: usize,
    /// Operations that cannot be, each with the reason.
    pub skipped: Vec<String>,
    /// Why its document could not be read the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Makes existing HTTP services part of the same surface, and takes what no plugin answers.
// Dropped before the others: what they call while they stop may be an upstream's.
// `*`: the functions that it runs for other systems call what they need.
#[on_register(
    crate = crate::framex,
    plugin = "proxy",
    author = "the FrameX authors",
    config = ProxyConfig,
    required_remote_apis = ["*"],
    priority = 1000
)]
impl ProxyPlugin {
    fn new(config: ProxyConfig) -> Result<Self> {
        let upstreams = Upstream::all(&config)?;
        let others = &config.ingress_config.others;
        if !others.is_empty() {
            let names: Vec<String> = others.keys().map(|name| format!("`{name}`")).collect();
            tracing::warn!(
                "of `ingress_config`, {} means nothing here: as many processes share the work as load this plugin",
                names.join(", ")
            );
        }
        for upstream in &upstreams {
            if upstream.published.is_empty() {
                tracing::warn!(
                    upstream = upstream.name,
                    "nothing of it is published: name paths in its `enable`, or in `white_list` (`/*` for all)"
                );
            }
        }
        let id: Arc<str> = uuid::Uuid::new_v4().simple().to_string()[..16].into();
        let sites: Arc<[Site]> = Site::all(&upstreams, &config).into();
        let watched = upstreams
            .into_iter()
            .map(|upstream| Watched::new(upstream, &sites, &id, config.refresh));
        let watched = watched.collect::<Result<Vec<_>>>()?;
        let known = watched.iter().map(|one| Arc::clone(&one.forwarder));
        let functions = Functions::new(&config, &id, &known.collect::<Vec<_>>())?;
        Ok(Self {
            surface: Surface::new(watched),
            functions,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    async fn on_start(&self, ctx: &Context) -> Result<()> {
        let process = ctx.process()?;
        process.add_meter(Arc::clone(&self.surface) as _);
        self.functions.start()?;
        process.add_meter(Arc::clone(&self.functions) as _);
        let watch = Arc::clone(&self.functions).watch(Arc::clone(&process));
        let stop = self.stop.clone();
        self.tasks.spawn(stop.run_until_cancelled_owned(watch));
        process.set_elsewhere(Arc::clone(&self.functions) as Arc<dyn Elsewhere>);
        self.surface.publish(ctx)?;
        for watched in self.surface.upstreams() {
            let surface = Arc::clone(&self.surface);
            let watch = Arc::clone(watched).watch(surface, ctx.clone());
            let stop = self.stop.clone();
            self.tasks.spawn(stop.run_until_cancelled_owned(watch));
        }
        self.tasks.close();
        // Whoever is there is served from the first request on; the others come when they do.
        self.looked(FIRST_LOOK).await;
        Ok(())
    }

    async fn on_stop(&self) -> Result<()> {
        self.stop.cancel();
        self.tasks.wait().await;
        self.functions.stop().await;
        Ok(())
    }

    /// How the upstreams are, and what is served of them.
    #[on_request(func)]
    async fn upstreams(&self) -> Vec<UpstreamReport> {
        self.surface.report()
    }

    /// Reads the document of every upstream now, and tells what came of it.
    #[on_request(post, "/proxy/refresh", guarded, timeout = "40s")]
    async fn refresh(&self) -> Vec<UpstreamReport> {
        for watched in self.surface.upstreams() {
            watched.ask();
        }
        self.looked(ASKED_LOOK).await;
        self.surface.report()
    }

    /// Runs a function of this system for another one.
    // Whoever asks waits for as long as his own call may take, and hangs up then.
    #[on_request(post, "/proxy/remote", guarded, timeout = "1h")]
    async fn remote(&self, ctx: &Context, #[body] call: RemoteCall) -> Result<RawJson> {
        functions::run(ctx, call).await
    }

    /// Waits until every upstream was looked at since it was last asked for.
    async fn looked(&self, limit: Duration) {
        let all = async {
            for watched in self.surface.upstreams() {
                watched.looked().await;
            }
        };
        // Those that are slow are told apart in the report.
        let _ = tokio::time::timeout(limit, all).await;
    }
}

/// A path or an id that is nobody's, here and behind the bridge.
fn unknown(target: &str) -> Error {
    let text = format!("`{target}` is served by no plugin, and by no upstream of the bridge");
    Error::not_found(text).with_code("unknown_api")
}
