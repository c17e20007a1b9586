//! The same as FrameX plugins: the one place in this bench that knows FrameX.

pub(crate) mod instances;

use std::env;
use std::process::{Command, ExitCode};
use std::time::Duration;

use framex::PluginDefinition;
use framex::cli::Binary;
use framex::prelude::*;
use futures_util::stream::{self, StreamExt as _};

use crate::calls::{MESSAGE, Window};
use crate::common::child;
use crate::common::workload::CHUNK;
use crate::disk;
use crate::spec::Spec;

#[derive(Default)]
struct Bench;

/// What the benches ask for.
#[on_register(plugin = "bench")]
impl Bench {
    #[on_request(all, get, "/echo")]
    async fn echo(&self, message: String) -> String {
        message
    }

    #[on_request(get, "/live", stream = live)]
    fn live(&self, n: usize) -> impl Stream<Item = Event> {
        stream::iter((0..n).map(|_| Event::text(CHUNK)))
    }

    #[on_request(get, "/kept", stream)]
    fn kept(&self, n: usize) -> impl Stream<Item = Event> {
        stream::iter((0..n).map(|_| Event::text(CHUNK)))
    }

    #[on_request(put, "/upload", max_body_size = "1GiB")]
    async fn upload(&self, #[body] file: Upload) -> Result<u64> {
        disk::store(file).await
    }

    /// A chunk each 5 ms.
    #[on_request(get, "/paced", stream)]
    fn paced(&self, n: usize) -> impl Stream<Item = Event> {
        stream::iter(0..n).then(|_| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Event::text(CHUNK)
        })
    }

    /// One chunk, and then nothing.
    #[on_request(get, "/idle", stream = live)]
    fn idle(&self) -> impl Stream<Item = Event> {
        stream::iter([Event::text(CHUNK)]).chain(stream::pending())
    }

    #[on_request(get, "/idle_kept", stream)]
    fn idle_kept(&self) -> impl Stream<Item = Event> {
        self.idle()
    }

    #[on_request(post, "/raw")]
    async fn raw(&self, #[body] document: RawJson) -> RawJson {
        document
    }
}

#[derive(Default)]
struct Caller;

/// Calls another plugin in a loop.
#[on_register(plugin = "caller", required_remote_apis = ["bench.Bench.echo"])]
impl Caller {
    #[on_request(func)]
    async fn drive(&self, ctx: &Context, begin: u64, end: u64) -> Result<u64> {
        let window = Window { begin, end };
        let mut calls = 0;
        while let Some(counts) = window.counts() {
            let args = args! { message: MESSAGE };
            let text: String = ctx.call_plugin_api("bench.Bench.echo", args).await?;
            assert_eq!(text, MESSAGE);
            calls += counts;
        }
        Ok(calls)
    }
}

/// Runs the command line of a user's binary, if this process is to be one.
pub(crate) fn child() -> Option<ExitCode> {
    let command = env::args().nth(1)?;
    if !["worker", "edge", "run"].contains(&&*command) {
        return None;
    }
    child::exit_with_parent();
    let plugins = [
        PluginDefinition::of::<Bench>(),
        PluginDefinition::of::<Caller>(),
    ];
    Some(framex::cli::main(Binary::new(Some("bus"), None), plugins))
}

/// The binary without the variables of this process that are meant for the bench.
fn user(spec: &Spec) -> Command {
    let mut command = spec.command();
    command.env_remove("NATS_SERVER_BIN");
    command
}

/// The command of a worker with `plugin`.
pub(crate) fn worker(spec: &Spec, plugin: &str, url: &str) -> Command {
    let mut command = user(spec);
    command.args(["worker", "--load-plugins", plugin, "--nats-url", url]);
    command
}

/// The command of an edge and the plugin in one process, without a broker.
pub(crate) fn whole(spec: &Spec) -> Command {
    let mut command = user(spec);
    command.args(["run", "--load-plugins", "bench"]);
    command.args(["--port", "0", "--dashboard-port", "0"]);
    command
}

/// The command of an edge.
pub(crate) fn edge(spec: &Spec, url: &str) -> Command {
    let mut command = user(spec);
    command.args(["edge", "--nats-url", url]);
    command.args(["--port", "0", "--dashboard-port", "0"]);
    if let Some(threads) = spec.threads.count {
        command.args(["--set", &format!("server.num_cpus={threads}")]);
    }
    command
}
