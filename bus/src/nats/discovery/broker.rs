//! How this process stands with its broker.

use std::sync::Arc;

use semver::Version;

use super::version;
use crate::nats::Shared;
use crate::nats::link::Link;

/// The first version of nats-server that has everything.
const OLDEST: Version = Version::new(2, 11, 0);

/// Keeps the state true while the connection comes and goes.
pub(super) async fn follow(shared: &Arc<Shared>, link: &Arc<Link>) {
    let mut phases = link.phase();
    let mut connects = 0;
    loop {
        let phase = phases.borrow_and_update().clone();
        let server = link.client().map(async_nats::Client::server_info);
        let name = server
            .as_ref()
            .map(|server| format!("nats-server {} ({})", server.version, server.server_name));
        shared.state.send_if_modified(|state| {
            let news = (state.connected, &state.trouble) != (phase.up, &phase.trouble)
                || name.is_some() && state.broker != name;
            state.connected = phase.up;
            state.trouble.clone_from(&phase.trouble);
            if name.is_some() {
                state.broker.clone_from(&name);
            }
            news
        });
        if let Some(server) = server.filter(|_| phase.up && phase.connects != connects) {
            let old = version(&server.version) < OLDEST;
            let problem = old.then(|| {
                format!(
                    "the broker is nats-server {}, which is too old: use {OLDEST} or later",
                    server.version
                )
            });
            shared.report("broker", problem.into_iter().collect());
            connects = phase.connects;
        }
        if phases.changed().await.is_err() {
            return;
        }
    }
}
