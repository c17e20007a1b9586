//! Brokers that do what a test tells them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use framex_test_support::nats::{NatsCluster, NatsServer, Tls, Wire};
use framex_test_support::process::Guarded;
use framex_test_support::{patiently, until};

#[tokio::test]
async fn a_server_has_ports_of_its_own_and_leaves_nothing() {
    let (one, two) = (NatsServer::start().await, NatsServer::start().await);
    assert_ne!(one.url(), two.url());
    let mut wire = Wire::connect(&one).await;
    wire.subscribe("a", None).await;
    let mut elsewhere = Wire::connect(&two).await;
    elsewhere.publish("a", None, &[], b"elsewhere").await;
    assert_eq!(elsewhere.fence().await, [""; 0]);
    wire.publish("a", Some("b"), &["X: 1"], b"here").await;
    let message = wire.message().await;
    assert_eq!(message.reply.as_deref(), Some("b"));
    assert_eq!(message.headers, "NATS/1.0\r\nX: 1\r\n\r\n");
    assert_eq!(message.payload, b"here");
    assert_eq!(one.monitor("/connz").await["num_connections"], 1);

    let (dir, address, id) = (one.dir().to_owned(), one.address(), one.id());
    drop(one);
    assert!(!dir.exists());
    assert!(!alive(id));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn a_killed_server_comes_back_where_it_was_with_what_it_had() {
    let server = NatsServer::start().await;
    let (url, monitor) = (server.url(), server.monitor_url());
    let mut wire = Wire::connect(&server).await;
    wire.subscribe("_INBOX.a", None).await;
    let stream = br#"{"name":"KEPT","subjects":["kept"]}"#;
    let create = "$JS.API.STREAM.CREATE.KEPT";
    wire.publish(create, Some("_INBOX.a"), &[], stream).await;
    let created = String::from_utf8(wire.message().await.payload).unwrap();
    assert!(!created.contains("error"), "{created}");
    // Acknowledged, so on the disk's way.
    wire.publish("kept", Some("_INBOX.a"), &[], b"1").await;
    wire.message().await;

    server.kill();
    assert!(std::net::TcpStream::connect(server.address()).is_err());
    assert_eq!(wire.fence().await, ["the connection was closed"]);
    for _ in 0..2 {
        // The second time it runs.
        server.restart().await;
        assert_eq!(
            (server.url(), server.monitor_url()),
            (url.clone(), monitor.clone())
        );
        let told = server.monitor("/jsz").await;
        assert_eq!(
            (&told["streams"], &told["messages"]),
            (&1.into(), &1.into())
        );
    }
}

#[tokio::test]
async fn a_frozen_server_keeps_its_connections_and_says_nothing() {
    let server = NatsServer::start().await;
    let mut wire = Wire::connect(&server).await;
    server.freeze();
    let silence = tokio::time::timeout(Duration::from_millis(300), wire.fence()).await;
    assert!(silence.is_err(), "it answers: {silence:?}");
    server.thaw();
    assert_eq!(wire.fence().await, [""; 0]);
    // A frozen one is killed all the same.
    server.freeze();
    let id = server.id();
    server.kill();
    assert!(!alive(id));
}

#[tokio::test]
async fn a_configuration_is_the_servers_and_a_bad_one_is_told() {
    let server = NatsServer::with_config("max_payload: 1KB\nport: 4222").await;
    assert_ne!(server.address().port(), 4222);
    assert_eq!(server.monitor("/varz").await["max_payload"], 1024);

    let bad = NatsServer::builder()
        .config("max_paylaod: 1KB")
        .try_start()
        .await;
    let said = bad.err().expect("it starts");
    assert!(said.contains("max_paylaod"), "{said}");

    let plain = NatsServer::builder().without_jetstream().start().await;
    assert_eq!(plain.monitor("/jsz").await["disabled"], true);
}

#[tokio::test]
async fn three_nodes_are_one_broker_whose_nodes_come_and_go() {
    let cluster = NatsCluster::start(3).await;
    let mut wire = Wire::connect(cluster.node(0)).await;
    wire.subscribe("a", None).await;
    assert_eq!(wire.fence().await, [""; 0]);
    heard(&mut wire, cluster.node(2)).await;

    // Three copies: JetStream has found all three.
    wire.subscribe("_INBOX.a", None).await;
    let stream = br#"{"name":"THRICE","subjects":["thrice"],"num_replicas":3}"#;
    let create = "$JS.API.STREAM.CREATE.THRICE";
    wire.publish(create, Some("_INBOX.a"), &[], stream).await;
    let created = String::from_utf8(wire.message().await.payload).unwrap();
    assert!(!created.contains("error"), "{created}");

    cluster.node(2).kill();
    heard(&mut wire, cluster.node(1)).await;
    cluster.node(2).restart().await;
    cluster.settled().await;
    heard(&mut wire, cluster.node(2)).await;
    cluster.node(1).freeze();
    heard(&mut wire, cluster.node(2)).await;
    cluster.node(1).thaw();
}

/// What is said at `node` arrives at `wire`, in the time that interest needs to travel.
async fn heard(wire: &mut Wire, node: &NatsServer) {
    let mut there = Wire::connect(node).await;
    let wait = async {
        loop {
            there.publish("a", None, &[], b"").await;
            let _ = there.fence().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            if !wire.messages().await.is_empty() {
                return;
            }
        }
    };
    patiently("a message from another node", wait).await;
}

#[tokio::test]
async fn tls_is_spoken_and_foreign_authorities_are_not_trusted() {
    let (tls, other) = (Tls::generate(), Tls::generate());
    let server = NatsServer::builder().tls(&tls).start().await;
    assert!(server.url().starts_with("tls://"));
    let connect = async |ca: &Path| {
        let options = async_nats::ConnectOptions::new().add_root_certificates(ca.to_owned());
        options.connect(server.url()).await
    };
    let client = connect(&tls.ca()).await.unwrap();
    assert!(client.server_info().tls_required);
    assert!(connect(&other.ca()).await.is_err());

    let server = NatsServer::builder()
        .tls(&tls.clone().verify_clients())
        .start()
        .await;
    let options = || async_nats::ConnectOptions::new().add_root_certificates(tls.ca());
    assert!(options().connect(server.url()).await.is_err());
    let named = options().add_client_certificate(tls.client_cert(), tls.client_key());
    named.connect(server.url()).await.unwrap();
}

/// A test that is killed drops nothing; a shell in its place.
#[tokio::test]
async fn a_child_goes_with_a_test_that_is_killed() {
    let mut sleep = Guarded::spawn(Command::new("sleep").arg("60"), None);
    let id = sleep.id();
    sleep.freeze();
    until("it is frozen", || state(id) == Some('T')).await;
    sleep.thaw();
    until("it goes on", || state(id) == Some('S')).await;
    sleep.terminate();
    let ended = sleep.wait(Duration::from_secs(5)).expect("it ends");
    assert!(!ended.success());

    if let Some(address) = std::env::var_os(CHILD) {
        // This test again, as the one that is killed.
        let server = NatsServer::start().await;
        let story = format!("{} {}", server.id(), server.dir().display());
        std::fs::write(address, story).unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let mut again = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "servers::a_child_goes_with_a_test_that_is_killed",
        ])
        .env(CHILD, &told)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let story = loop {
        let story = std::fs::read_to_string(&told).unwrap_or_default();
        if let Some((id, dir)) = story.split_once(' ') {
            break (id.parse::<u32>().unwrap(), dir.to_owned());
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it starts no server"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let (id, dir) = story;
    assert!(alive(id));
    again.kill().unwrap();
    again.wait().unwrap();
    until("its server is gone", || !alive(id)).await;
    until("and what it stored", || !Path::new(&dir).exists()).await;
}

/// Set for the process that is to be killed: the file into which it tells of its server.
const CHILD: &str = "FRAMEX_TEST_TELLS";

fn alive(id: u32) -> bool {
    state(id).is_some_and(|state| state != 'Z')
}

/// The state of a process as the kernel names it.
fn state(id: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
