//! What goes on while handlers block.
//!
//! Runs on the bus' own thread: cancellations and credit come in, callers hear
//! that their calls still run, and handlers that block a thread are noticed.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::client::PublishErrorKind;
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use framex_core::id::ApiId;
use framex_core::watch::{Blocked, Watch};
use futures_core::Stream;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::jobs::Jobs;
use super::log::Seldom;
use crate::nats::Shared;
use crate::nats::link::Link;
use crate::nats::wire::{self, Control, Followed};

/// A handler that holds its thread so long runs apart from then on.
const HEAVY_AFTER: Duration = Duration::from_millis(20);
/// A handler that holds its thread so long is named in the log.
const BLOCKED_AFTER: Duration = Duration::from_millis(100);
/// How often threads are looked at, while anything runs.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often is looked whose caller has to hear that its call runs.
const BEATS_EVERY: Duration = Duration::from_millis(250);
/// A connection that takes no beat in this time has other troubles.
const BEAT_LIMIT: Duration = Duration::from_millis(250);

/// See the module; never ends. `link` is this thread's own connection.
pub(crate) async fn control(shared: &Arc<Shared>, link: &Arc<Link>) {
    super::tell_offered(shared);
    tokio::join!(listen_for_all(shared, link), beat(shared), watch(shared));
}

/// Takes what callers say to every plugin that is or was on offer: calls may run
/// for long after a plugin is withdrawn.
async fn listen_for_all(shared: &Arc<Shared>, link: &Arc<Link>) {
    let mut changes = shared.offers.changes.subscribe();
    let mut heard = HashSet::new();
    let mut listening = FuturesUnordered::new();
    loop {
        changes.mark_unchanged();
        for offer in shared.offers.list() {
            if heard.insert(offer.plugin.name.clone()) {
                listening.push(listen(shared, link, offer.plugin.name.clone()));
            }
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(()) = listening.next() => {}
        }
    }
}

async fn listen(shared: &Arc<Shared>, link: &Arc<Link>, plugin: String) {
    let Some(client) = link.wait_up().await else {
        return;
    };
    let own = shared.names.control(&plugin, Some(&shared.id));
    let all = shared.names.control(&plugin, None);
    let (Ok(mut own), Ok(mut all)) = (client.subscribe(own).await, client.subscribe(all).await)
    else {
        tracing::error!(
            plugin,
            "calls cannot be cancelled: the broker's client takes no subscription"
        );
        return;
    };
    let unread = Seldom::default();
    loop {
        let message = tokio::select! {
            message = next(&mut own) => message,
            message = next(&mut all) => message,
        };
        let Some(message) = message else {
            return;
        };
        match serde_json::from_slice::<Control>(&message.payload) {
            Ok(told) => {
                if let (Some(answer), Some(reply)) =
                    (obey(&shared.offers.jobs, &told), message.reply)
                {
                    // Whoever asked asks again.
                    let _ = client.publish(reply, answer).await;
                }
            }
            Err(error) => {
                if let Some(times) = unread.now() {
                    let subject = message.subject.as_str();
                    tracing::warn!(subject, %error, times, "a message to this instance cannot be read");
                }
            }
        }
    }
}

/// Gives the answer, if there is one.
fn obey(jobs: &Jobs, told: &Control) -> Option<Bytes> {
    if let Some(stream) = &told.follow {
        if !wire::is_subject(&told.call) {
            return Some(Followed::nothing().payload());
        }
        let followed = jobs.follow(stream, &told.call, told.window, told.instead.as_deref());
        return Some(followed.payload());
    }
    if let Some(stream) = &told.stop {
        let followed = Followed {
            unknown: !jobs.stop(stream),
            ..Followed::default()
        };
        return Some(followed.payload());
    }
    if told.leave {
        jobs.leave(&told.call);
    }
    if let Some(chunks) = told.credit {
        jobs.grant(&told.call, chunks);
    }
    if told.cancel {
        jobs.cancel(&told.call);
    }
    None
}

async fn next(subscriber: &mut Subscriber) -> Option<async_nats::Message> {
    poll_fn(|cx| Pin::new(&mut *subscriber).poll_next(cx)).await
}

/// Tells callers that their calls run. Each beat has a reply subject: where the
/// broker, or anybody, answers there, nobody waits for the call any more.
///
/// On the connection of the calls: elsewhere the broker may not let this process
/// publish to its callers.
async fn beat(shared: &Arc<Shared>) {
    let Some(data) = shared.data() else {
        return;
    };
    let Some(client) = data.wait_up().await else {
        return;
    };
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let inbox = format!("{}.{}", shared.options.inbox_prefix, &unique[..22]);
    let Ok(mut answers) = client.subscribe(format!("{inbox}.*")).await else {
        tracing::error!(
            "callers will not hear of long calls: the broker's client takes no subscription"
        );
        return;
    };
    let mut ticks = interval(BEATS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            answer = next(&mut answers) => {
                let Some(answer) = answer else {
                    return;
                };
                let token = answer.subject.as_str().get(inbox.len() + 1..);
                let mut numbers = token.unwrap_or_default().split('-');
                if let Some(number) = numbers.next().and_then(|number| number.parse().ok()) {
                    let follower = numbers.next().and_then(|number| number.parse().ok());
                    shared.offers.jobs.nobody(number, follower);
                }
            }
            _ = ticks.tick() => {
                if data.is_up() {
                    let beats = send_beats(shared, client, &inbox);
                    if timeout(BEAT_LIMIT, beats).await.is_err() {
                        tracing::warn!("the connection to the broker is too busy to tell callers that their calls run");
                    }
                }
            }
        }
    }
}

async fn send_beats(shared: &Shared, client: &Client, inbox: &str) {
    for due in shared.offers.jobs.due(Instant::now()) {
        let kept = due.kept.map(|(last, plugin)| {
            let control = shared.names.control(&plugin, Some(&shared.id));
            (last, control)
        });
        let beat = wire::beat(&shared.id, kept);
        let reply = match due.to {
            (number, None) => format!("{inbox}.{number}"),
            (number, Some(follower)) => format!("{inbox}.{number}-{follower}"),
        };
        let headers = beat.headers.unwrap_or_default();
        let sent = client.publish_with_reply_and_headers(due.reply, reply, headers, beat.payload);
        // What is wrong with one caller's subject is nothing to the others.
        if let Err(error) = sent.await
            && error.kind() == PublishErrorKind::Send
        {
            return;
        }
    }
}

/// Finds handlers that block, has them run apart and names them.
async fn watch(shared: &Arc<Shared>) {
    let mut looks = Watch::default();
    let mut reports = Watch::default();
    let mut reported: Vec<(ApiId, Seldom)> = Vec::new();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = shared.offers.changes.subscribe();
    loop {
        ticks.tick().await;
        if shared.offers.list().is_empty() && changes.changed().await.is_err() {
            return;
        }
        if shared.local.ongoing() == 0 {
            continue;
        }
        for blocked in looks.look(HEAVY_AFTER) {
            mark(shared, &blocked.api);
        }
        for blocked in reports.look(BLOCKED_AFTER) {
            // An edge in this process watches all threads.
            if !blocked.reported && !shared.links().iter().any(|link| link.is_edges()) {
                report(&mut reported, &blocked);
            }
        }
    }
}

fn mark(shared: &Shared, blocked: &ApiId) {
    for offer in shared.offers.list() {
        for api in offer.apis.borrow().iter() {
            if api.descriptor.id == *blocked {
                api.record.heavy.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn report(reported: &mut Vec<(ApiId, Seldom)>, blocked: &Blocked) {
    let known = reported.iter().position(|(api, _)| *api == blocked.api);
    let index = known.unwrap_or_else(|| {
        reported.push((blocked.api.clone(), Seldom::default()));
        reported.len() - 1
    });
    if reported[index].1.now().is_some() {
        tracing::warn!(
            api = %blocked.api,
            thread = blocked.thread,
            "a handler blocks its thread for more than {BLOCKED_AFTER:?}: move the blocking part into a `#[remote]` function"
        );
    }
}
