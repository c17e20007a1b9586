//! Brokers that do what a test tells them.

use std::path::Path;

use framex_test_support::nats::{NatsServer, Wire};

fn gone(path: &Path) -> bool {
    !path.exists()
}

#[tokio::test]
async fn a_server_has_ports_of_its_own_and_leaves_nothing() {
    let (one, two) = (NatsServer::start().await, NatsServer::start().await);
    assert_ne!(one.url(), two.url());
    let mut wire = Wire::connect(&one).await;
    wire.subscribe("a", None).await;
    Wire::connect(&two)
        .await
        .publish("a", None, &[], b"elsewhere")
        .await;
    wire.publish("a", Some("b"), &["X: 1"], b"here").await;
    let message = wire.message().await;
    assert_eq!(message.reply.as_deref(), Some("b"));
    assert_eq!(message.headers, "NATS/1.0\r\nX: 1\r\n\r\n");
    assert_eq!(message.payload, b"here");
    let connections = one.monitor("/connz").await;
    assert_eq!(connections["num_connections"], 1);

    let (store, address, id) = (one.store(), one.address(), one.id());
    drop(one);
    assert!(gone(store.parent().unwrap()));
    assert!(gone(Path::new(&format!("/proc/{id}"))));
    assert!(std::net::TcpStream::connect(address).is_err());
}
