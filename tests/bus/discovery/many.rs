//! A plugin that adds more APIs than fit into a message, again and again.

use std::time::{Duration, Instant};

use framex::PluginDefinition;
use framex::bus::Bus as _;
use framex::bus::nats::NatsBus;
use framex_test_support::nats::NatsServer;
use framex_test_support::until;
use serde_json::{Value, json};

use super::{caller, request, worker};
use crate::adder::Adder;

/// More ids and digests than a broker takes in one message.
const MANY: usize = 4_000;

fn apis(changed: usize) -> Vec<Value> {
    let words = "an operation of an upstream with a document of some length ".repeat(5);
    let api = |n: usize| {
        let long =
            format!("an_operation_with_a_long_name_as_generators_make_them_api_v1_items_{n}");
        json!({"id": format!("adder.upstream.{long}"), "bridged": true, "description": words,
            "routes": [format!("GET /api/v1/many/{n}")],
            "summary": if n < changed { "changed" } else { "first" }})
    };
    (0..MANY).map(api).collect()
}

async fn set(bus: &NatsBus, apis: Vec<Value>) {
    let args = json!({"tag": "t", "apis": apis});
    let refused = bus.call_target("adder.Adder.set", request(args)).await;
    let framex::Reply::Value(refused) = refused.expect("an answer") else {
        panic!("no value");
    };
    assert_eq!(refused, "[]");
}

fn known(bus: &NatsBus, summary: &str) -> usize {
    let catalog = bus.catalog();
    let apis = catalog.apis().filter(|api| api.instances() == 1);
    apis.filter(|api| api.descriptor.summary == summary).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_apis_are_found_and_followed() {
    let server = NatsServer::start().await;
    let worker = worker(&server, &[PluginDefinition::of::<Adder>()]).await;
    let caller = caller(&server).await;
    set(&worker, apis(0)).await;
    until("all are known", || known(&caller, "first") == MANY).await;
    let last = format!("GET /api/v1/many/{}", MANY - 1);
    let entry = caller.catalog().resolve(&last).expect("its entry");
    // Changes in a row, the last of which counts.
    for changed in 1..=3 {
        set(&worker, apis(changed)).await;
    }
    let took = until("the changes are known", || known(&caller, "changed") == 3).await;
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(known(&caller, "first"), MANY - 3);
    let same = caller.catalog().resolve(&last).expect("its entry");
    assert!(std::sync::Arc::ptr_eq(&entry, &same));
    let mut half = apis(0);
    half.truncate(MANY / 2);
    set(&worker, half).await;
    until("half is left", || known(&caller, "first") == MANY / 2).await;
    let begun = Instant::now();
    worker.withdraw("adder").await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    until("none is left", || known(&caller, "first") == 0).await;
    assert_eq!(caller.state().borrow().problems, [""; 0]);
}
