//! Several nats-server processes that are routed together.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::NatsServer;
use crate::port::Port;

/// How long the nodes may take to find each other on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes of one cluster, each of which can be killed, frozen and restarted.
pub struct NatsCluster {
    nodes: Vec<NatsServer>,
    /// Kept for as long as the nodes may be restarted.
    _routes: Vec<Port>,
}

impl NatsCluster {
    /// Starts a cluster, and waits until every node has routes to all others and
    /// JetStream has a leader.
    ///
    /// # Panics
    ///
    /// If that does not come.
    pub async fn start(nodes: usize) -> Self {
        Self::with_config(nodes, "").await
    }

    /// As [`Self::start`], with a configuration for each node.
    ///
    /// # Panics
    ///
    /// As there.
    pub async fn with_config(nodes: usize, text: &str) -> Self {
        let routes: Vec<Port> = (0..nodes).map(|_| Port::reserve()).collect();
        let all: Vec<String> = routes
            .iter()
            .map(|port| format!("nats://{}", port.address()))
            .collect();
        let nodes: Vec<NatsServer> = all
            .iter()
            .enumerate()
            .map(|(at, own)| {
                let arguments = [
                    "--server_name".to_owned(),
                    format!("n{at}"),
                    "--cluster_name".to_owned(),
                    "framex-test".to_owned(),
                    "--cluster".to_owned(),
                    own.clone(),
                    "--routes".to_owned(),
                    all.join(","),
                ];
                let node = NatsServer::builder().config(text);
                // A node that comes back waits for no other: those may be down.
                node.prepare(Port::reserve(), &arguments, "/healthz?js-enabled-only=true")
            })
            .collect();
        let cluster = Self {
            nodes,
            _routes: routes,
        };
        cluster.nodes.iter().for_each(NatsServer::spawn);
        cluster.settled().await;
        cluster
    }

    /// The nodes, in an order that stays.
    #[must_use]
    pub fn nodes(&self) -> &[NatsServer] {
        &self.nodes
    }

    /// One node.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    #[must_use]
    pub fn node(&self, at: usize) -> &NatsServer {
        &self.nodes[at]
    }

    /// Where clients connect, node by node.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(NatsServer::url).collect()
    }

    /// Waits until every node runs, has routes to all others and is a healthy part of JetStream.
    ///
    /// # Panics
    ///
    /// If that does not come.
    pub async fn settled(&self) {
        let end = Instant::now() + PATIENCE;
        for node in &self.nodes {
            let healthy = node.healthy("/healthz").await;
            healthy.unwrap_or_else(|said| panic!("a node of the cluster ended: {said}"));
            loop {
                let routes = node.monitor("/routez").await;
                // There are several routes to each other node.
                let others: BTreeSet<&str> = routes["routes"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|route| route["remote_id"].as_str())
                    .collect();
                if others.len() + 1 == self.nodes.len() {
                    break;
                }
                assert!(Instant::now() < end, "the nodes have no routes: {routes}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
