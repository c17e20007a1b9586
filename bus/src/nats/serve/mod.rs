//! What this process serves on the broker.
//!
//! | module | its secret |
//! |---|---|
//! | `offer` | from a plugin of this process to subscriptions that the broker has, and back |
//! | `places` | its APIs, while it adds some and removes some |
//! | `run` | one task for each API: it takes requests and polls what they start |
//! | `answer` | from a request to its answer |
//! | `batch` | the events that are ready together |
//! | `kept` | the events of a stream that is kept: sent, stored, sent again |
//! | `followers` | who follows such a stream, and how far it may go for them |
//! | `large` | requests whose arguments come after them, answers that are no one message |
//! | `stream` | many answers, no more at a time than were granted |
//! | `jobs` | the calls that take a while: who wants to hear of them, and their end |
//! | `control` | what goes on while handlers block: cancellation, credit, signs of life |
//! | `leave` | the end of subscriptions that loses no request |

mod answer;
mod batch;
mod control;
mod followers;
mod jobs;
mod kept;
mod large;
mod leave;
mod log;
mod offer;
mod places;
mod run;
mod stream;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use framex_core::descriptor::{ApiDescriptor, PluginMetadata};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::large::Room;
use crate::Bus;
use crate::local::LocalApi;

pub(crate) use control::control;

/// How long a withdrawal takes at most; a broker that is there needs far less.
const WITHDRAW_LIMIT: Duration = Duration::from_secs(5);
/// How long a process that leaves waits until others have been told.
const TELL_LIMIT: Duration = Duration::from_secs(1);
/// How long the answers of finished calls may take to leave.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The first calls of an API run where a handler that blocks stops nobody else.
/// Each takes a thread while it does not wait: not too many.
const PROBATION: u32 = 8;

/// A plugin that others may call.
pub(crate) struct Offer {
    pub(crate) plugin: Arc<PluginMetadata>,
    /// What others are to know of.
    pub(crate) apis: watch::Sender<Arc<[Arc<OfferedApi>]>>,
    /// Says that the plugin serves something else than before.
    renewed: watch::Sender<()>,
    /// Removed, and not answered for to the end.
    removed: Mutex<Vec<Weak<Record>>>,
    pub(crate) state: watch::Sender<OfferState>,
    /// What others have been told of it.
    pub(crate) told: watch::Sender<OfferState>,
    /// Says that it is to be withdrawn.
    leave: CancellationToken,
}

/// How far an offer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfferState {
    /// The broker does not have its subscriptions yet, or not now.
    Starting,
    /// Others may call it.
    Ready,
    /// It takes what is on its way, and nothing that starts now.
    Draining,
    /// It is gone.
    Stopped,
}

/// An API of an offer.
pub(crate) struct OfferedApi {
    pub(crate) descriptor: Arc<ApiDescriptor>,
    /// The descriptor as it is sent.
    pub(crate) text: Bytes,
    /// Of `text`.
    pub(crate) digest: String,
    pub(crate) local: Arc<LocalApi>,
    pub(crate) record: Arc<Record>,
}

/// What is known of an API's calls, whatever it says of itself.
pub(crate) struct Record {
    pub(crate) stats: Stats,
    /// Its handler has blocked a thread: it runs where it stops nobody else.
    heavy: AtomicBool,
    /// So many of its next calls run there too, until it is known better.
    probation: AtomicU32,
    /// Calls that did not finish at once.
    running: AtomicUsize,
    /// Whoever may hold answers that are not sent yet.
    answering: AtomicUsize,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            stats: Stats::default(),
            heavy: AtomicBool::new(false),
            probation: AtomicU32::new(PROBATION),
            running: AtomicUsize::new(0),
            answering: AtomicUsize::new(0),
        }
    }
}

/// What `$SRV.STATS` tells of an API.
#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) requests: AtomicU64,
    pub(crate) errors: AtomicU64,
    /// In nanoseconds, altogether.
    pub(crate) time: AtomicU64,
    /// As `<status>:<message>`; empty if there was none.
    pub(crate) last_error: Mutex<String>,
}

/// Everything this process offers.
pub(crate) struct Offers {
    all: Mutex<Vec<Arc<Offer>>>,
    /// Counts changes of offers and of their states.
    pub(crate) changes: watch::Sender<u64>,
    /// The plugins' runtime.
    runtime: Option<Handle>,
    jobs: Arc<jobs::Jobs>,
    /// Plugins of whose calls' bodies is heard.
    docks: Mutex<HashSet<String>>,
    /// Arguments that come in frames, all together.
    room: Room,
}

impl Default for Offers {
    /// No offers yet; what will be offered runs in the current runtime.
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            changes: watch::Sender::new(0),
            runtime: Handle::try_current().ok(),
            jobs: Arc::default(),
            docks: Mutex::default(),
            room: Room::default(),
        }
    }
}

impl Offers {
    /// Every plugin that is or was offered, as of now.
    pub(crate) fn list(&self) -> Vec<Arc<Offer>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Offer {
    pub(crate) fn state(&self) -> OfferState {
        *self.state.borrow()
    }

    /// Goes on to `state`, and tells those whom it concerns.
    fn set(&self, shared: &Shared, state: OfferState) {
        let news = self
            .state
            .send_if_modified(|now| std::mem::replace(now, state) != state);
        if news {
            shared.offers.changed();
            tell_offered(shared);
        }
    }

    /// Has others hear of `apis`, if they are others than before.
    fn list(&self, apis: Arc<[Arc<OfferedApi>]>) {
        let same = |a: &Arc<OfferedApi>, b: &Arc<OfferedApi>| Arc::ptr_eq(a, b);
        self.apis.send_if_modified(|now| {
            let news = now.len() != apis.len() || !now.iter().zip(&*apis).all(|(a, b)| same(a, b));
            *now = apis;
            news
        });
    }

    /// Those of its APIs that were removed have calls that run.
    fn still_answer(&self, removed: impl Iterator<Item = Arc<Record>>) {
        let mut all = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|record| record.strong_count() > 0);
        all.extend(removed.map(|record| Arc::downgrade(&record)));
    }

    /// Whether anybody may hold answers that are not sent yet.
    fn is_answering(&self) -> bool {
        let answers = |record: &Record| record.answering.load(Ordering::SeqCst) > 0;
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = removed.iter().filter_map(Weak::upgrade);
        self.apis.borrow().iter().any(|api| answers(&api.record))
            || removed.any(|record| answers(&record))
    }

    /// Whether it is on its way out, or gone.
    fn leaves(&self) -> bool {
        matches!(self.state(), OfferState::Draining | OfferState::Stopped)
    }
}

impl Stats {
    fn count(&self, began: Instant, now: Instant) {
        let took = now.saturating_duration_since(began).as_nanos();
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.time.fetch_add(took, Ordering::Relaxed);
    }

    fn count_error(&self, error: &framex_core::error::Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let text = format!("{}:{}", error.status().as_u16(), error.message());
        *self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// Lets others call `plugin`, which this process serves, as soon as the broker
/// is there. A plugin that is on offer already stays so.
pub(crate) fn offer(shared: &Arc<Shared>, plugin: &str) {
    let catalog = shared.local.catalog();
    let mut mine = catalog.apis().filter(|api| api.plugin.name == plugin);
    let Some(metadata) = mine.next().map(|api| Arc::clone(&api.plugin)) else {
        return;
    };
    let Some(runtime) = &shared.offers.runtime else {
        tracing::error!(
            plugin,
            "nothing can be offered: the bus was not started in a runtime"
        );
        return;
    };
    let offer = Arc::new(Offer {
        plugin: metadata,
        apis: watch::Sender::new(Arc::default()),
        renewed: watch::Sender::new(()),
        removed: Mutex::default(),
        state: watch::Sender::new(OfferState::Starting),
        told: watch::Sender::new(OfferState::Starting),
        leave: CancellationToken::new(),
    });
    {
        let offers = &shared.offers.all;
        let mut all = offers.lock().unwrap_or_else(PoisonError::into_inner);
        if all.iter().any(|o| o.plugin.name == plugin && !o.leaves()) {
            return;
        }
        // One that still leaves is finished by its own task.
        all.retain(|o| o.plugin.name != plugin);
        all.push(Arc::clone(&offer));
    }
    shared.offers.changed();
    tell_offered(shared);
    let attend = offer::attend(Arc::clone(shared), offer);
    runtime.spawn(shared.stop.clone().run_until_cancelled_owned(attend));
}

/// Has others told that `plugin`, if it is on offer, serves something else than before.
pub(crate) fn renew(shared: &Shared, plugin: &str) {
    let offers = shared.offers.list();
    for offer in offers.iter().filter(|offer| offer.plugin.name == plugin) {
        offer.renewed.send_replace(());
    }
}

/// Takes `plugin` out of the catalogs of others, and what is on its way to it.
/// Calls that run go on.
pub(crate) async fn withdraw(shared: &Arc<Shared>, plugin: &str) {
    withdraw_those(shared, |offer| offer.plugin.name == plugin).await;
}

/// [`withdraw`] for everything that is on offer, all at the same time.
pub(crate) async fn withdraw_all(shared: &Arc<Shared>) {
    withdraw_those(shared, |_| true).await;
}

async fn withdraw_those(shared: &Arc<Shared>, wanted: impl Fn(&Offer) -> bool) {
    let offers: Vec<_> = shared
        .offers
        .list()
        .into_iter()
        .filter(|offer| wanted(offer))
        .collect();
    for offer in &offers {
        if !offer.leaves() {
            offer.set(shared, OfferState::Draining);
        }
        offer.leave.cancel();
    }
    let gone = async {
        for offer in &offers {
            let mut state = offer.state.subscribe();
            // Its sender is in `offer`: this ends with the state alone.
            let _ = state.wait_for(|s| *s == OfferState::Stopped).await;
        }
    };
    tokio::select! {
        () = gone => {}
        () = shared.stop.cancelled() => {}
        () = tokio::time::sleep(WITHDRAW_LIMIT) => {
            tracing::warn!("the broker has not ended every subscription in time");
        }
    }
    for offer in &offers {
        offer.set(shared, OfferState::Stopped);
    }
    if !shared.data().is_some_and(|link| link.is_up()) {
        return;
    }
    let told = async {
        for offer in &offers {
            let mut told = offer.told.subscribe();
            // As above.
            let _ = told.wait_for(|told| *told == OfferState::Stopped).await;
        }
    };
    tokio::select! {
        () = told => {}
        () = shared.stop.cancelled() => {}
        // They will notice by themselves, later.
        () = tokio::time::sleep(TELL_LIMIT) => {}
    }
}

/// Waits until the answers of all calls that are finished have reached the broker.
pub(crate) async fn flush(shared: &Arc<Shared>) {
    let Some(link) = shared.data().filter(|link| link.is_up()) else {
        return;
    };
    let until = Instant::now() + FLUSH_LIMIT;
    let offers = shared.offers.list();
    while offers.iter().any(|offer| offer.is_answering()) && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let left = until.saturating_duration_since(Instant::now());
    if let Err(lost) = link.fence(left).await {
        tracing::warn!(?lost, "the last answers may not have reached the broker");
    }
}

/// Writes [`State::offered`](super::State::offered) anew.
pub(crate) fn tell_offered(shared: &Shared) {
    let offers = shared.offers.list();
    let offered = offers.iter().filter(|offer| !offer.leaves()).all(|offer| {
        let told = *offer.told.borrow();
        (offer.state(), told) == (OfferState::Ready, OfferState::Ready)
    });
    shared
        .state
        .send_if_modified(|state| std::mem::replace(&mut state.offered, offered) != offered);
}
