//! `nats.conf` itself: accepted, complete, and fit for other passwords.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use framex_test_support::nats::{NatsServer, Wire, nats_server};
use framex_test_support::python::run;

use crate::{configured, login, nats_conf};

/// The file without its passwords, and their names.
fn without_passwords() -> (String, Vec<String>) {
    let text = fs::read_to_string(nats_conf()).unwrap();
    let is_password = |line: &&str| line.starts_with("NATS_") && line.contains("_PASSWORD");
    let names = text
        .lines()
        .filter(is_password)
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    let rest = text.lines().filter(|line| !is_password(line));
    (rest.collect::<Vec<_>>().join("\n"), names)
}

#[test]
fn the_server_accepts_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(nats_server());
    let said = run(command
        .current_dir(dir.path())
        .arg("-t")
        .arg("-c")
        .arg(nats_conf()));
    assert!(said.contains("is valid"), "{said}");
}

#[tokio::test]
async fn what_the_file_sets_is_what_the_server_does() {
    let server = configured().await;
    let told = server.monitor("/varz").await;
    assert_eq!(told["host"], "127.0.0.1");
    assert_eq!(told["http_host"], "127.0.0.1");
    assert_eq!(told["max_payload"], 1 << 20);
    assert_eq!(told["ping_interval"], 2_000_000_000_u64);
    assert_eq!(told["ping_max"], 2);
    assert_eq!(told["write_deadline"], 5_000_000_000_u64);
    assert_eq!(told["jetstream"]["config"]["max_storage"], 4_u64 << 30);
    // What the command line says counts more: tests run beside each other.
    assert_eq!(told["port"], server.address().port());
    let told = server.monitor("/jsz?accounts=1").await;
    assert_eq!(told["account_details"][0]["name"], "FRAMEX");
}

#[tokio::test]
async fn a_client_that_hangs_is_given_up_in_seconds() {
    let server = configured().await;
    // It answers no pings: nobody reads.
    let hanging = login(&server, "hello").await;
    let begun = Instant::now();
    let connections = async || server.monitor("/connz").await["num_connections"].as_u64();
    assert_eq!(connections().await, Some(1));
    while connections().await != Some(0) {
        assert!(
            begun.elapsed() < Duration::from_secs(9),
            "it is still there"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(hanging);
}

#[tokio::test]
async fn passwords_may_come_from_the_environment() {
    let (text, names) = without_passwords();
    let mut builder = NatsServer::builder().config(&text);
    for name in &names {
        // Signs and digits in quotes, as the file says.
        builder = builder.env(name, &format!("\"7#{name} $x\""));
    }
    let server = builder.start().await;
    for name in &names {
        let user = name
            .strip_prefix("NATS_")
            .unwrap()
            .strip_suffix("_PASSWORD")
            .unwrap();
        let user = user.to_lowercase();
        let login = Wire::login(&server, &user, &format!("7#{name} $x")).await;
        assert_eq!(login.err(), None, "{user}");
        let default = Wire::login(&server, &user, &format!("{user}-dev")).await;
        assert!(default.is_err(), "{user}");
    }
}

#[tokio::test]
async fn a_hash_may_be_the_password() {
    let (text, names) = without_passwords();
    // Of `secret`.
    let hash = "$2a$04$rN7fIU.f/H8HaQBy9lLecOLJGA1.5tsKaj9Y5yaOYjwZIvmQkJnvG";
    let mut builder = NatsServer::builder().config(&text);
    for name in &names {
        builder = builder.env(name, hash);
    }
    let server = builder.start().await;
    let login = Wire::login(&server, "edge", "secret").await;
    assert_eq!(login.err(), None);
    let hash = Wire::login(&server, "edge", hash).await;
    assert!(hash.is_err(), "the hash itself opens nothing");
}

#[tokio::test]
async fn without_a_password_there_is_no_broker() {
    let (text, names) = without_passwords();
    let mut builder = NatsServer::builder().config(&text);
    for name in &names {
        builder = builder.without_env(name);
    }
    let said = builder
        .try_start()
        .await
        .err()
        .expect("it starts without passwords");
    assert!(said.contains(&names[0]), "{said}");
}

/// Every plugin of the examples has its user: `plugin = "name"` in their sources.
#[test]
fn every_example_can_run_as_a_worker() {
    let (text, _) = without_passwords();
    let mut plugins = BTreeSet::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(source) = fs::read_to_string(&path) {
                let names = source.split("plugin = \"").skip(1);
                plugins.extend(names.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    assert!(plugins.len() > 5, "{plugins:?}");
    for plugin in plugins {
        assert!(
            text.contains(&format!("user: {plugin}\n")),
            "nats.conf lacks `{plugin}`"
        );
    }
}
