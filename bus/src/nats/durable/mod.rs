//! Streams that JetStream keeps.
//!
//! The instance that runs a stream publishes each of its messages on a subject of its
//! own, which one JetStream stream captures. Whoever follows gets them as an
//! ordinary subscriber, and what came before from the store, by subject: no
//! consumer, no scan.
//!
//! | module | its secret |
//! |---|---|
//! | `store` | JetStream: the stream that there has to be, and messages out of it |
//! | `attach` | beginning to follow: at the start, later, elsewhere, again |
//! | `reader` | from messages to events: each once, in order, whatever happens on the way |
//! | `find` | a stream's id is all that is known |
//!
//! The other side is [`serve::kept`](super::serve).

mod attach;
mod find;
mod reader;
mod store;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use framex_core::context::Request;
use tokio::sync::Notify;

use super::peers::{Endpoint, Instance};
use super::serve::OfferState;
use super::{Follow, Keeping, Options, Remote, Shared, StreamStore};
use crate::Api;
use crate::kept::is_kept;

pub(super) use find::find;
pub(super) use reader::Reader;
pub(crate) use store::ApiError;
pub(super) use store::look_after;

/// The store, as far as this process has to do with it.
pub(crate) struct Durable {
    options: Option<StreamStore>,
    /// Its name.
    name: String,
    /// It is there.
    ready: AtomicBool,
    /// It did not answer.
    doubt: Notify,
    /// This process as the server of its own plugins.
    own: Mutex<Vec<Arc<Instance>>>,
}

impl Durable {
    pub(super) fn new(options: &Options) -> Self {
        let wanted = options.streams.clone();
        let wanted = wanted.filter(|_| options.follow == Follow::All);
        let name = wanted.as_ref().map_or("", |store| &store.name);
        let name = match &options.namespace {
            Some(namespace) => format!("{name}_{namespace}"),
            None => name.to_owned(),
        };
        Self {
            options: wanted,
            name,
            ready: AtomicBool::new(false),
            doubt: Notify::new(),
            own: Mutex::default(),
        }
    }

    /// Whether streams are to be kept in a store at all.
    pub(crate) fn is_wanted(&self) -> bool {
        self.options.is_some()
    }

    /// The store, if streams that start now can be kept there.
    pub(super) fn ready(&self) -> Option<&StreamStore> {
        let ready = self.ready.load(Ordering::Acquire);
        self.options.as_ref().filter(|_| ready)
    }

    /// This process as the server of `plugin`.
    fn own(&self, plugin: &str, id: &str) -> Arc<Instance> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = own.iter().find(|own| *own.plugin == *plugin) {
            return Arc::clone(instance);
        }
        let instance = Instance::new(plugin, id, "", true);
        own.push(Arc::clone(&instance));
        instance
    }
}

/// The way to an API of this process that leads through the broker, where that is
/// the way to keep the stream which `request` asks for.
pub(super) fn through_store(
    shared: &Shared,
    api: &Arc<Api>,
    request: &Request,
) -> Option<Arc<Api>> {
    let descriptor = &api.descriptor;
    if !request.meta.keep || !is_kept(descriptor) {
        return None;
    }
    shared.durable.ready()?;
    shared
        .link()
        .filter(|link| link.is_up() && link.starts_streams())?;
    let plugin = descriptor.id.plugin();
    let offers = shared.offers.list();
    let mut offered = offers.iter().filter(|o| o.state() == OfferState::Ready);
    offered.find(|offer| offer.plugin.name == plugin)?;
    let id = descriptor.id.as_str();
    let own = Endpoint {
        instance: shared.durable.own(plugin, &shared.id),
        own_subject: Some(shared.names.api_at(id, &shared.id).into()),
    };
    Some(Arc::new(Api {
        descriptor: Arc::clone(descriptor),
        plugin: Arc::clone(&api.plugin),
        local: None,
        remote: Some(Arc::new(Remote {
            subject: shared.names.api(id).into(),
            endpoints: ArcSwap::from_pointee(vec![own]),
            shut: AtomicBool::new(false),
        })),
    }))
}

/// What is known before the broker was asked.
pub(super) fn first_state(options: &Options) -> Keeping {
    match Durable::new(options).is_wanted() {
        true => Keeping::Unknown,
        false => Keeping::InProcess,
    }
}
