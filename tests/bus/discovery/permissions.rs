//! Finding others with less than everything allowed.

use std::sync::Arc;
use std::time::Duration;

use framex::PluginDefinition;
use framex::bus::LocalBus;
use framex::bus::nats::NatsBus;
use framex_test_support::nats::NatsServer;
use framex_test_support::until;

use super::{SOON, instances, offer, options, problem};
use crate::plugins::Callee;

const ECHO: &str = "callee.Callee.echo";

const USERS: &str = r#"
authorization {
  users: [
    { user: all, password: p }
    { user: mute, password: p, permissions: { publish: { deny: ["$SRV.>"] } } }
    { user: deaf, password: p, permissions: { subscribe: { deny: ["_framex.announce.>"] } } }
    { user: hidden, password: p, permissions: { subscribe: { deny: ["$SRV.>"] } } }
  ]
}
"#;

fn as_user(server: &NatsServer, user: &str) -> Arc<NatsBus> {
    let mut options = options(server);
    options.auth.user = Some(user.into());
    options.auth.password = Some("p".into());
    NatsBus::start(options, LocalBus::new(SOON)).expect("valid options")
}

#[tokio::test]
async fn whoever_may_not_ask_says_so() {
    let server = NatsServer::with_config(USERS).await;
    let mute = as_user(&server, "mute");
    problem(&mute, &["$SRV.PING", "publish"]).await;
    let failed = mute.ready(Duration::from_millis(100)).await;
    let failed = failed.expect_err("it knows nobody").to_string();
    assert!(failed.contains("permissions"), "{failed}");
}

#[tokio::test]
async fn whoever_may_not_listen_asks_and_says_so() {
    let server = NatsServer::with_config(USERS).await;
    let deaf = as_user(&server, "deaf");
    problem(&deaf, &["_framex.announce.>", "subscribe"]).await;
    deaf.ready(SOON).await.expect("it can ask");
    let worker = as_user(&server, "all");
    offer(&worker, &[PluginDefinition::of::<Callee>()]).await;
    until("it is found", || instances(&deaf, ECHO) == Some(1)).await;
    worker.withdraw("callee").await;
    let gone = || instances(&deaf, ECHO) != Some(1);
    let took = until("it gets no calls", gone).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn whoever_may_not_answer_says_so() {
    let server = NatsServer::with_config(USERS).await;
    let hidden = as_user(&server, "hidden");
    offer(&hidden, &[PluginDefinition::of::<Callee>()]).await;
    problem(&hidden, &["`callee`", "$SRV.", "subscribe"]).await;
}
