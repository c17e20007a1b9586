//! Two versions side by side, and two plugins with one route.

use framex::PluginDefinition;
use framex::bus::Bus as _;
use framex::prelude::*;
use framex_test_support::nats::NatsServer;
use framex_test_support::until;
use serde_json::json;

use super::{Fake, caller, instances, problem, worker};

const HELLO: &str = "greeter.Greeter.hello";

mod old {
    use super::*;

    #[derive(Default)]
    pub(super) struct Greeter;

    #[on_register(plugin = "greeter", version = "1.9.0")]
    impl Greeter {
        /// Old.
        #[on_request(get, "/hello")]
        async fn hello(&self, name: String) -> String {
            name
        }
    }
}

mod new {
    use super::*;

    #[derive(Default)]
    pub(super) struct Greeter;

    #[on_register(plugin = "greeter", version = "1.10.0")]
    impl Greeter {
        /// New.
        #[on_request(get, "/hello")]
        async fn hello(&self, name: String) -> Vec<String> {
            vec![name]
        }
    }
}

mod other {
    use super::*;

    #[derive(Default)]
    pub(super) struct Greeter;

    #[on_register(plugin = "greeter", version = "2.0.0")]
    impl Greeter {
        #[on_request(get, "/hello")]
        async fn hello(&self, name: String, tone: String) -> String {
            format!("{name}{tone}")
        }
    }
}

/// The version that the catalog shows, and how many serve it.
fn shown(bus: &framex::bus::nats::NatsBus) -> (String, usize) {
    let catalog = bus.catalog();
    catalog.get(HELLO).map_or_else(Default::default, |api| {
        (api.plugin.version.clone(), api.instances())
    })
}

#[tokio::test]
async fn the_later_version_is_shown_and_both_are_called() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let old = worker(&server, &[PluginDefinition::of::<old::Greeter>()]).await;
    until("the old", || shown(&caller) == ("1.9.0".into(), 1)).await;
    let new = worker(&server, &[PluginDefinition::of::<new::Greeter>()]).await;
    until("both", || shown(&caller) == ("1.10.0".into(), 2)).await;
    let catalog = caller.catalog();
    assert_eq!(catalog.get(HELLO).expect("it").descriptor.summary, "New");
    assert_eq!(caller.state().borrow().problems, [""; 0]);
    new.withdraw("greeter").await;
    until("back to the old", || shown(&caller) == ("1.9.0".into(), 1)).await;
    drop(old);
}

#[tokio::test]
async fn versions_that_do_not_fit_are_reported_and_not_mixed() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let old = worker(&server, &[PluginDefinition::of::<old::Greeter>()]).await;
    let other = worker(&server, &[PluginDefinition::of::<other::Greeter>()]).await;
    until("the other", || shown(&caller) == ("2.0.0".into(), 1)).await;
    let told = problem(&caller, &[HELLO, "1.9.0", "2.0.0", old.id(), "tone"]).await;
    other.withdraw("greeter").await;
    until("the old gets calls", || {
        shown(&caller) == ("1.9.0".into(), 1)
    })
    .await;
    until("all is well", || {
        !caller.state().borrow().problems.contains(&told)
    })
    .await;
}

#[tokio::test]
async fn what_this_process_serves_counts_more_than_what_others_say() {
    let server = NatsServer::start().await;
    let here = worker(&server, &[PluginDefinition::of::<old::Greeter>()]).await;
    let _there = worker(&server, &[PluginDefinition::of::<other::Greeter>()]).await;
    problem(&here, &[HELLO, "2.0.0", "the version of this process"]).await;
    assert_eq!(shown(&here), ("1.9.0".into(), 1));
    let _same = worker(&server, &[PluginDefinition::of::<old::Greeter>()]).await;
    until("another one", || shown(&here) == ("1.9.0".into(), 2)).await;
}

#[tokio::test]
async fn a_route_belongs_to_whoever_had_it() {
    let server = NatsServer::start().await;
    let caller = caller(&server).await;
    let route = json!({"routes": ["GET /api/v1/mine/{id}"],
        "parameters": [{"name": "id", "location": "path", "required": true}]});
    let first = Fake::foreign(&server, "a1", "owner.Owner.mine", &route).await;
    until("the first", || {
        instances(&caller, "owner.Owner.mine") == Some(1)
    })
    .await;
    let other = json!({"routes": ["GET /api/v1/mine/{key}"],
        "parameters": [{"name": "key", "location": "path", "required": true}]});
    let _second = Fake::foreign(&server, "b1", "another.Thief.mine", &other).await;
    let told = [
        "another.Thief.mine",
        "`b1`",
        "GET /api/v1/mine/{key}",
        "owner.Owner.mine",
    ];
    problem(&caller, &told).await;
    assert_eq!(instances(&caller, "another.Thief.mine"), None);
    first.announce("1.0.0", "", "stopped").await;
    drop(first);
    until("it is free", || {
        instances(&caller, "another.Thief.mine") == Some(1)
    })
    .await;
}
