//! What this process tells others about its own plugins.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use framex_core::descriptor::PluginMetadata;
use futures_util::StreamExt;
use futures_util::stream::{FuturesUnordered, select_all};
use tokio::time::MissedTickBehavior;

use super::adr32::{ANNOUNCEMENT, Announcement, Stage};
use super::answer::{Question, Told};
use super::{FENCE_LIMIT, connects, say, version};
use crate::nats::Shared;
use crate::nats::link::Link;
use crate::nats::serve::{Offer, OfferState, tell_offered};
use crate::nats::wire::{Outgoing, is_poll};

/// How often an instance says that it is there.
const BEAT_EVERY: Duration = Duration::from_secs(2);

/// Speaks for every offer, from the moment it is ready until it has stopped.
pub(super) async fn run(shared: &Arc<Shared>, link: &Arc<Link>) {
    let mut changes = shared.offers.changes.subscribe();
    let mut attended: Vec<Arc<Offer>> = Vec::new();
    let mut attending = FuturesUnordered::new();
    loop {
        for offer in shared.offers.list() {
            let known = attended.iter().any(|known| Arc::ptr_eq(known, &offer));
            if known {
                continue;
            }
            if *offer.state.borrow() == OfferState::Stopped {
                // Nobody has heard of it, or everybody knows.
                offer.told.send_replace(OfferState::Stopped);
                continue;
            }
            attended.push(Arc::clone(&offer));
            attending.push(attend(shared, link, offer));
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            Some(over) = attending.next() => {
                attended.retain(|offer| !Arc::ptr_eq(offer, &over));
            }
        }
    }
}

/// Gives the offer back when it has stopped.
async fn attend(shared: &Arc<Shared>, link: &Arc<Link>, offer: Arc<Offer>) -> Arc<Offer> {
    let mut state = offer.state.subscribe();
    let begun = state
        .wait_for(|state| *state != OfferState::Starting)
        .await
        .is_ok_and(|state| *state != OfferState::Stopped);
    let (true, Some(client)) = (begun, link.wait_up().await) else {
        offer.told.send_replace(OfferState::Stopped);
        return offer;
    };
    let mut apis = offer.apis.subscribe();
    let mut told = Told::new(shared, &offer);
    let plugin = &offer.plugin.name;
    let subjects = told.subjects();
    let mut questions = Vec::new();
    for (subject, question) in &subjects {
        match client.subscribe(subject.clone()).await {
            Ok(asked) => questions.push(asked.map(move |message| (*question, message))),
            Err(error) => tracing::error!(%error, plugin, "nobody can ask at `{subject}`"),
        }
    }
    let mut questions = pin!(select_all(questions));
    // Whoever hears of it asks at once: by then the broker has the subscriptions.
    let _ = link.fence(FENCE_LIMIT).await;
    let topic = format!("discovery of {plugin}");
    let mut beat = tokio::time::interval(BEAT_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut phase = link.phase();
    loop {
        tokio::select! {
            Some((question, message)) = questions.next() => {
                let now = *offer.state.borrow();
                answer(link, &told, question, now, message).await;
                continue;
            }
            changed = state.changed() => if changed.is_err() { break },
            changed = apis.changed() => {
                if changed.is_err() {
                    break;
                }
                let now = Arc::clone(&apis.borrow_and_update());
                told.renew(now);
            }
            changed = phase.changed() => if changed.is_err() { break },
            _ = beat.tick() => {}
        }
        // The broker's word on that may come late.
        let refused = subjects.iter().find(|(at, _)| link.may_not_subscribe(at));
        let problem = refused.map(|(subject, _)| {
            format!("others may not find `{plugin}`: the user of this process may not subscribe to `{subject}`")
        });
        shared.report(&topic, problem.into_iter().collect());
        let now = *state.borrow_and_update();
        // While the broker does not have its subscriptions, nobody should come.
        if let Some(stage) = stage(now) {
            announce(shared, link, &told, stage).await;
        }
        if now == *offer.told.borrow() {
            continue;
        }
        // Nobody is told that it is ready, and no process ends, before others know.
        let known = link.fence(FENCE_LIMIT).await.is_ok();
        if now == OfferState::Stopped {
            break;
        }
        if known || now != OfferState::Ready {
            offer.told.send_replace(now);
            tell_offered(shared);
        }
    }
    offer.told.send_replace(OfferState::Stopped);
    shared.report(&topic, Vec::new());
    offer
}

/// What others are told; nothing of one that they cannot call now.
fn stage(state: OfferState) -> Option<Stage> {
    match state {
        OfferState::Starting => None,
        OfferState::Ready => Some(Stage::Ready),
        OfferState::Draining => Some(Stage::Draining),
        OfferState::Stopped => Some(Stage::Stopped),
    }
}

async fn announce(shared: &Shared, link: &Link, told: &Told, state: Stage) {
    let said = announcement(shared, &told.plugin, &told.digest, state);
    send(shared, link, &said).await;
}

/// The last word of an offer. It goes the way of the answers, so that whoever
/// waits until those have left has waited for it too.
pub(in crate::nats) async fn depart(shared: &Shared, plugin: &PluginMetadata) {
    if let Some(link) = shared.data() {
        let said = announcement(shared, plugin, "", Stage::Stopped);
        send(shared, link, &said).await;
    }
}

fn announcement(
    shared: &Shared,
    plugin: &PluginMetadata,
    digest: &str,
    state: Stage,
) -> Announcement {
    Announcement {
        kind: ANNOUNCEMENT.to_owned(),
        name: plugin.name.clone(),
        id: shared.id.to_string(),
        version: version(&plugin.version).to_string(),
        digest: digest.to_owned(),
        state,
        ongoing: u32::try_from(shared.local.ongoing()).unwrap_or(u32::MAX),
        connects: connects(shared.data()),
        beat: u32::try_from(BEAT_EVERY.as_millis()).unwrap_or(u32::MAX),
    }
}

async fn send(shared: &Shared, link: &Link, said: &Announcement) {
    let subject = shared.names.announce(&said.name, &said.id);
    let payload = serde_json::to_vec(said).unwrap_or_default();
    say(link, subject.into(), None, Outgoing::bare(payload)).await;
}

async fn answer(link: &Link, told: &Told, question: Question, state: OfferState, message: Message) {
    let there = stage(state).filter(|stage| *stage != Stage::Stopped);
    // Those who poll look for services that do not announce themselves.
    let polled = question == Question::Ping && is_poll(&message);
    let (Some(stage), Some(reply), false) = (there, message.reply, polled) else {
        return;
    };
    let most = link.client().map_or(0, async_nats::Client::max_payload);
    let out = told.answer(question, stage, &message.payload, most);
    say(link, reply, None, out).await;
}
