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

use super::{Follow, Keeping, Options, StreamStore};

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
}

/// What is known before the broker was asked.
pub(super) fn first_state(options: &Options) -> Keeping {
    match Durable::new(options).is_wanted() {
        true => Keeping::Unknown,
        false => Keeping::InProcess,
    }
}
