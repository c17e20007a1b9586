//! The least that a gateway and a worker over NATS can do: hyper, async-nats and serde.
//!
//! They answer what FrameX answers, with the same checks of the request. There is no route table, no
//! discovery, no choice of instances, no deadline, no cancellation, no limit: what FrameX costs
//! beyond them is the price of those.

mod caller;
mod gateway;
mod stream;
mod worker;

use std::process::Command;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use clap::ValueEnum;

use crate::spec::Spec;

pub(crate) const ECHO: &str = "bench.Bench.echo";
pub(crate) const RAW: &str = "bench.Bench.raw";
pub(crate) const STREAM: &str = "bench.Bench.live";
/// See [`crate::calls`].
pub(crate) const DRIVE: &str = "caller.Caller.drive";

/// What a process is to be.
#[derive(clap::Args)]
pub(crate) struct Options {
    part: Part,
    url: String,
    spec: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    Gateway,
    Worker,
    Caller,
}

/// The command that [`run`] runs in.
pub(crate) fn command(spec: &Spec, part: &str, url: &str) -> Command {
    let mut command = spec.command();
    command.args(["baseline", part, url]).arg(spec.to_string());
    command
}

/// Serves until the process ends.
pub(crate) fn run(options: &Options) {
    let spec = Spec::parse(&options.spec.join(" ")).expect("the parent writes it well");
    match options.part {
        Part::Gateway => gateway::serve(&spec, &options.url),
        Part::Worker => worker::serve(&spec, &options.url),
        Part::Caller => caller::serve(&spec, &options.url),
    }
}

async fn connect(spec: &Spec, url: &str) -> Client {
    let limit = spec.timeout.then_some(Duration::from_secs(60));
    ConnectOptions::new()
        .request_timeout(limit)
        .connect(url)
        .await
        .expect("the broker takes connections")
}

/// Says that the subscriptions are in place, once the broker has answered what was sent after them.
async fn ready(client: &Client) {
    let unserved = client.request("bench._fence", "".into()).await;
    assert!(unserved.is_err(), "nobody serves it");
    println!("ready");
}

/// `{"message":".."}`
fn arguments(message: &str) -> Vec<u8> {
    let mut json = Vec::with_capacity(message.len() + 16);
    json.extend_from_slice(br#"{"message":"#);
    serde_json::to_writer(&mut json, message).expect("text is JSON");
    json.push(b'}');
    json
}
