//! The ways a call may take: this process, or the broker.

use std::sync::Arc;
use std::time::Duration;

use framex::PluginDefinition;
use framex::args::Args;
use framex::bus::nats::NatsBus;
use framex::bus::{Bus, LocalBus};
use framex::{CallError, Reply};
use framex_core::context::{CallMeta, Request};
use framex_test_support::nats::NatsServer;
use framex_test_support::{patiently, until};
use serde_json::{Value, json};

use crate::nats::{connect, options};
use crate::no_settings;
use crate::plugins::{Callee, Narrow, seen};

const LONG: Duration = Duration::from_secs(30);
const ECHO: &str = "callee.Callee.echo";

fn request(args: Value) -> Request {
    Request {
        args: Args::from_json(args.to_string().into()),
        meta: CallMeta::default(),
    }
}

async fn echo(bus: &Arc<NatsBus>) -> Result<Reply, CallError> {
    patiently(
        "an answer",
        bus.call_target(ECHO, request(json!({"value": 1}))),
    )
    .await
}

async fn serve(bus: &Arc<NatsBus>, plugin: PluginDefinition) {
    let instance = plugin.build(&no_settings()).expect("a plugin");
    bus.serve(&instance).expect("it is free");
    bus.offer(&plugin.metadata().name);
    bus.ready(LONG).await.expect("it is ready");
}

/// How many know of how many that serve.
async fn know(buses: &[&Arc<NatsBus>], api: &str, count: usize) {
    let all = || {
        let known = |bus: &&Arc<NatsBus>| {
            let api = bus.catalog().get(api).cloned();
            api.is_some_and(|api| api.instances() == count)
        };
        buses.iter().all(known)
    };
    until("all know each other", all).await;
}

#[tokio::test]
async fn own_plugins_need_no_broker_unless_told() {
    let server = NatsServer::start().await;
    let direct = connect(server.url(), LONG);
    let mut roundabout = options(server.url(), LONG);
    roundabout.prefer_local = false;
    let roundabout = NatsBus::start(roundabout, LocalBus::new(LONG)).expect("options that work");
    let callee = PluginDefinition::of::<Callee>();
    serve(&direct, callee).await;
    serve(&roundabout, callee).await;
    know(&[&direct, &roundabout], ECHO, 2).await;
    assert!(matches!(echo(&direct).await, Ok(Reply::Value(_))));
    assert!(matches!(echo(&roundabout).await, Ok(Reply::Value(_))));

    server.kill();
    let gone = || !direct.state().borrow().connected;
    until("the broker is missed", gone).await;
    assert!(matches!(echo(&direct).await, Ok(Reply::Value(_))));
    let failed = echo(&roundabout).await.expect_err("no broker").into_error();
    // As far as the connection knows of it yet.
    assert!(
        ["disconnected", "call_lost"].contains(&failed.code()),
        "{failed:?}"
    );
}

#[tokio::test]
async fn what_is_too_much_here_goes_elsewhere() {
    let server = NatsServer::start().await;
    let (here, there) = (connect(server.url(), LONG), connect(server.url(), LONG));
    let narrow = PluginDefinition::of::<Narrow>();
    serve(&here, narrow).await;
    let target = "narrow.Narrow.a";
    let call = || tokio::spawn(here.call_target(target, request(json!({"key": "spill"}))));
    let _full = [call(), call()];
    until("two run", || seen("spill").begun == 2).await;
    let refused = here
        .call_target(target, request(json!({"key": "spill"})))
        .await;
    assert!(
        matches!(refused, Err(CallError::Overloaded { .. })),
        "{refused:?}"
    );
    serve(&there, narrow).await;
    know(&[&here], target, 2).await;
    let _elsewhere = [call(), call()];
    until("four run", || seen("spill").begun == 4).await;
    let refused = here
        .call_target(target, request(json!({"key": "spill"})))
        .await;
    assert!(
        matches!(refused, Err(CallError::Overloaded { .. })),
        "{refused:?}"
    );
}
