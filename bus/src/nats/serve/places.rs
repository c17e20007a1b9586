//! The APIs of a plugin that others may call, while it adds some and removes some.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use framex_core::id::ApiId;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use super::answer::Service;
use super::log::Seldom;
use super::run::{Orders, Receiver, Serving};
use super::{Offer, OfferedApi, Record};
use crate::Bus as _;
use crate::local::LocalApi;
use crate::nats::Shared;
use crate::nats::discovery::digest;
use crate::nats::large::server::Dock;
use crate::nats::link::Link;

/// Descriptors that are written before others have a turn.
const TOGETHER: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Places {
    now: BTreeMap<ApiId, Place>,
    /// The plugin has removed them, and others may not know yet.
    removed: BTreeMap<ApiId, Place>,
    /// They take what is on its way. Each says when it is subscribed no more.
    leaving: HashMap<ApiId, CancellationToken>,
}

/// The task of one API.
struct Place {
    api: watch::Sender<Arc<OfferedApi>>,
    leave: CancellationToken,
    left: CancellationToken,
}

impl Place {
    fn api(&self) -> Arc<OfferedApi> {
        Arc::clone(&self.api.borrow())
    }
}

/// Where subscriptions are made, and for whom.
pub(super) struct Site<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) offer: &'a Arc<Offer>,
    pub(super) link: &'a Arc<Link>,
    /// Each task holds one for as long as requests may come.
    pub(super) serving: mpsc::Sender<()>,
}

impl Places {
    /// Everything that is subscribed to and was not removed.
    pub(super) fn apis(&self) -> Arc<[Arc<OfferedApi>]> {
        self.now.values().map(Place::api).collect()
    }

    /// Serves what the plugin serves now. What was removed is still taken, until it is
    /// [let go](Places::let_go).
    pub(super) async fn renew(&mut self, site: &Site<'_>) -> Result<(), (ApiId, String)> {
        self.leaving.retain(|_, left| !left.is_cancelled());
        let catalog = site.shared.local.catalog();
        let name = &site.offer.plugin.name;
        let mine = catalog.apis().filter(|api| api.plugin.name == *name);
        let mut before = std::mem::take(&mut self.now);
        before.append(&mut self.removed);
        let mut made = 0;
        for api in mine {
            let (id, Some(local)) = (&api.descriptor.id, &api.local) else {
                continue;
            };
            let known = before.remove(id);
            if let Some(place) = known {
                let old = place.api();
                if !Arc::ptr_eq(&old.local, local) {
                    let new = OfferedApi::new(local, Arc::clone(&old.record));
                    place.api.send_replace(Arc::new(new));
                    made += 1;
                }
                self.now.insert(id.clone(), place);
            } else {
                if let Some(left) = self.leaving.remove(id) {
                    // Both would get each message to this instance.
                    left.cancelled().await;
                }
                let new = Arc::new(OfferedApi::new(local, Arc::default()));
                let place = subscribe(site, new).await;
                let place = place.map_err(|error| (id.clone(), error))?;
                self.now.insert(id.clone(), place);
                made += 1;
            }
            if made % TOGETHER == TOGETHER - 1 {
                yield_now().await;
            }
        }
        self.removed = before;
        Ok(())
    }

    /// Ends the subscriptions of what was removed, once the news have travelled.
    pub(super) fn let_go(&mut self, offer: &Offer) {
        let removed = std::mem::take(&mut self.removed);
        offer.still_answer(
            removed
                .values()
                .map(|place| Arc::clone(&place.api().record)),
        );
        for (id, place) in removed {
            place.leave.cancel();
            self.leaving.insert(id, place.left);
        }
    }
}

impl OfferedApi {
    fn new(local: &Arc<LocalApi>, record: Arc<Record>) -> Self {
        let descriptor = Arc::clone(&local.descriptor);
        // Plain data with text keys: it can always be written.
        let text = serde_json::to_vec(&*descriptor).unwrap_or_default();
        Self {
            digest: digest(&text),
            text: text.into(),
            descriptor,
            local: Arc::clone(local),
            record,
        }
    }
}

async fn subscribe(site: &Site<'_>, api: Arc<OfferedApi>) -> Result<Place, String> {
    let Site {
        shared,
        offer,
        link,
        serving,
    } = site;
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
        api: Arc::clone(&api),
        client: client.clone(),
        dock: Dock {
            link: Arc::clone(link),
            subject: shared.names.bodies(&offer.plugin.name, &shared.id).into(),
        },
        threads: Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread,
        silent: Seldom::default(),
    });
    let (api, changes) = watch::channel(api);
    let place = Place {
        api,
        leave: CancellationToken::new(),
        left: CancellationToken::new(),
    };
    let orders = Orders {
        changes,
        plugin: offer.leave.clone(),
        own: place.leave.clone(),
    };
    let serving = Serving::new(serving.clone(), place.left.clone());
    let receiver = Receiver::new(service, Arc::clone(link), subscribers, orders, serving);
    let stop = shared.stop.clone();
    tokio::spawn(stop.run_until_cancelled_owned(receiver.run()));
    Ok(place)
}
