//! One plugin on the broker, from its first subscription to its last.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;

use super::answer::Service;
use super::log::Seldom;
use super::run::Receiver;
use super::{Offer, OfferState, OfferedApi};
use crate::nats::large::server::{Dock, listen};
use crate::nats::link::Link;
use crate::nats::{Shared, discovery};

/// The round trip after subscribing.
const FENCE_LIMIT: Duration = Duration::from_secs(2);
/// Between two attempts to have the broker confirm.
const PAUSE: Duration = Duration::from_millis(100);
/// What the broker refuses is told beside the messages, a little later.
const REFUSALS_COME: Duration = Duration::from_millis(20);
/// Between the news that the plugin leaves and its leaving: in a cluster, callers
/// of other nodes hear it before those nodes do.
const NEWS_TRAVEL: Duration = Duration::from_millis(50);
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
    for api in &offer.apis {
        if let Err(error) = subscribe(shared, offer, link, api, &serving).await {
            let api = &api.descriptor.id;
            tracing::error!(%api, error, "the broker's client takes no subscription");
            return;
        }
    }
    drop(serving);
    loop {
        let now = phase.borrow_and_update().clone();
        if now.up && link.fence(FENCE_LIMIT).await.is_ok() {
            tokio::time::sleep(REFUSALS_COME).await;
            let refused = refused(shared, offer, link);
            let state = match refused.is_empty() {
                true => OfferState::Ready,
                false => OfferState::Starting,
            };
            shared.report(finder, refused);
            let same = phase.has_changed().is_ok_and(|changed| !changed);
            // Withdrawn in the meantime, it stays so.
            if same && !offer.leaves() {
                offer.set(shared, state);
            }
        } else if now.up {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        if phase.changed().await.is_err() {
            return;
        }
        if !offer.leaves() {
            offer.set(shared, OfferState::Starting);
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

async fn subscribe(
    shared: &Arc<Shared>,
    offer: &Arc<Offer>,
    link: &Arc<Link>,
    api: &Arc<OfferedApi>,
    serving: &mpsc::Sender<()>,
) -> Result<(), String> {
    let Some(client) = link.client() else {
        return Err("there is no connection".into());
    };
    let id = api.descriptor.id.as_str();
    let group = offer.plugin.name.clone();
    let text = |error: async_nats::client::SubscribeError| error.to_string();
    let public = client.queue_subscribe(shared.names.api(id), group).await;
    let own = client.subscribe(shared.names.api_at(id, &shared.id)).await;
    let subscribers = vec![public.map_err(text)?, own.map_err(text)?];
    let service = Arc::new(Service {
        shared: Arc::clone(shared),
        api: Arc::clone(api),
        client: client.clone(),
        dock: Dock {
            link: Arc::clone(link),
            subject: shared.names.bodies(&offer.plugin.name, &shared.id).into(),
        },
        threads: Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread,
        silent: Seldom::default(),
    });
    let token = offer.leave.clone();
    let leave = async move {
        token.cancelled().await;
        tokio::time::sleep(NEWS_TRAVEL).await;
    };
    let receiver = Receiver::new(
        service,
        Arc::clone(link),
        subscribers,
        Box::pin(leave),
        serving.clone(),
    );
    tokio::spawn(
        shared
            .stop
            .clone()
            .run_until_cancelled_owned(receiver.run()),
    );
    Ok(())
}

/// What the broker does not let this process subscribe to, in words for the operator.
fn refused(shared: &Shared, offer: &Offer, link: &Link) -> Vec<String> {
    let plugin = &offer.plugin.name;
    let mut refused = Vec::new();
    let bodies = format!("{}.*", shared.names.bodies(plugin, &shared.id));
    if link.may_not_subscribe(&bodies) {
        refused.push(format!(
            "`{plugin}` cannot get what is larger than a message: its user may not subscribe to `{bodies}`"
        ));
    }
    for api in &offer.apis {
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
