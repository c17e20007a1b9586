//! One plugin on the broker, from its first subscription to its last.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::places::{Places, Site};
use super::{Offer, OfferState, OfferedApi};
use crate::nats::large::server::listen;
use crate::nats::link::Link;
use crate::nats::{Shared, discovery};

/// The round trip after subscribing.
const FENCE_LIMIT: Duration = Duration::from_secs(2);
/// Between two attempts to have the broker confirm.
const PAUSE: Duration = Duration::from_millis(100);
/// What the broker refuses is told beside the messages, a little later.
const REFUSALS_COME: Duration = Duration::from_millis(20);
/// Between two changes of what the plugin serves.
const RENEW_EVERY: Duration = Duration::from_millis(250);
/// How long the last requests may take to come.
const LEAVE_LIMIT: Duration = Duration::from_secs(4);

/// Serves `offer` whenever the broker is there, until it is withdrawn.
pub(super) async fn attend(shared: Arc<Shared>, offer: Arc<Offer>) {
    let Some(link) = shared.data().cloned() else {
        return;
    };
    let (serving, mut served) = mpsc::channel::<()>(1);
    let finder = format!("offer of {}", offer.plugin.name);
    tokio::select! {
        () = serve(&shared, &offer, &link, serving, &finder) => {}
        () = offer.leave.cancelled() => {}
    }
    shared.report(&finder, Vec::new());
    // Each task of an API holds a sender for as long as requests may come.
    if tokio::time::timeout(LEAVE_LIMIT, served.recv())
        .await
        .is_err()
    {
        let plugin = offer.plugin.name.as_str();
        tracing::warn!(plugin, "requests still come, and will be lost");
    }
    discovery::depart(&shared, &offer.plugin).await;
    offer.set(&shared, OfferState::Stopped);
}

/// Subscribes, and says for each connect whether the broker has it all.
async fn serve(
    shared: &Arc<Shared>,
    offer: &Arc<Offer>,
    link: &Arc<Link>,
    serving: mpsc::Sender<()>,
    finder: &str,
) {
    let mut phase = link.phase();
    if link.wait_up().await.is_none() {
        return;
    }
    if let Err(error) = dock(shared, offer, link).await {
        let plugin = offer.plugin.name.as_str();
        tracing::error!(plugin, error, "the broker's client takes no subscription");
        return;
    }
    let site = Site {
        shared,
        offer,
        link,
        serving,
    };
    let mut places = Places::default();
    let mut renewals = offer.renewed.subscribe();
    loop {
        let now = phase.borrow_and_update().clone();
        renewals.mark_unchanged();
        let begun = Instant::now();
        if let Err((api, error)) = places.renew(&site).await {
            tracing::error!(%api, error, "the broker's client takes no subscription");
            return;
        }
        if now.up && link.fence(FENCE_LIMIT).await.is_ok() {
            tokio::time::sleep(REFUSALS_COME).await;
            let apis = places.apis();
            let refused = refused(shared, offer, &apis, link);
            let state = match refused.is_empty() {
                true => OfferState::Ready,
                false => OfferState::Starting,
            };
            shared.report(finder, refused);
            let same = phase.has_changed().is_ok_and(|changed| !changed);
            // Withdrawn in the meantime, it stays so.
            if same && !offer.leaves() {
                offer.list(apis);
                offer.set(shared, state);
                places.let_go(offer);
            }
        } else if now.up {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let renewed = async {
            let renewed = renewals.changed().await;
            tokio::time::sleep_until((begun + RENEW_EVERY).into()).await;
            renewed
        };
        tokio::select! {
            changed = phase.changed() => {
                if changed.is_err() {
                    return;
                }
                if !offer.leaves() {
                    offer.set(shared, OfferState::Starting);
                }
            }
            renewed = renewed => if renewed.is_err() { return },
        }
    }
}

/// Hears of bodies from now on, also those of calls that run when the plugin is
/// withdrawn.
async fn dock(shared: &Arc<Shared>, offer: &Offer, link: &Arc<Link>) -> Result<(), String> {
    let Some(client) = link.client() else {
        return Err("there is no connection".into());
    };
    let plugin = &offer.plugin.name;
    let docks = &shared.offers.docks;
    let new = docks
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(plugin.clone());
    if !new {
        return Ok(());
    }
    let subject = shared.names.bodies(plugin, &shared.id);
    let subscriber = client
        .subscribe(format!("{subject}.*"))
        .await
        .map_err(|error| error.to_string())?;
    let listen = listen(Arc::clone(link), subscriber);
    tokio::spawn(shared.stop.clone().run_until_cancelled_owned(listen));
    Ok(())
}

/// What the broker does not let this process subscribe to, in words for the operator.
fn refused(shared: &Shared, offer: &Offer, apis: &[Arc<OfferedApi>], link: &Link) -> Vec<String> {
    let plugin = &offer.plugin.name;
    let mut refused = Vec::new();
    let bodies = format!("{}.*", shared.names.bodies(plugin, &shared.id));
    if link.may_not_subscribe(&bodies) {
        refused.push(format!(
            "`{plugin}` cannot get what is larger than a message: its user may not subscribe to `{bodies}`"
        ));
    }
    for api in apis {
        let id = api.descriptor.id.as_str();
        for (subject, group) in [
            (shared.names.api(id), format!(" in queue group `{plugin}`")),
            (shared.names.api_at(id, &shared.id), String::new()),
        ] {
            if link.may_not_subscribe(&subject) {
                refused.push(format!(
                    "the broker does not let this process serve `{id}`: its user may not subscribe to `{subject}`{group}"
                ));
            }
        }
    }
    refused
}
