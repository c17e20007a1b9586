//! The bus of one process.

mod added;
mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use framex_core::context::{Caller, Context, MAX_HOPS, Request, Scope};
use framex_core::descriptor::{ApiDescriptor, PluginMetadata};
use framex_core::error::CallError;
use framex_core::kept::{self, StreamId};
use framex_core::plugin::{AddedApi, Handler, PluginInstance, Refused};
use framex_core::process::Process;
use framex_core::reply::Reply;
use framex_core::watch::{self, ApiNumber};
use futures_core::future::BoxFuture;
use tokio::sync::watch as channel;

use crate::call::{Call, Keep, LocalCall, TimeLimit, panicked};
use crate::catalog::{Api, Catalog};
use crate::claims::{Claims, Taken};
use crate::kept::{KeepOptions, Keeper, KeptStream, is_kept};
use crate::{Bus, Fallback, fallback};
use added::Latest;
pub(crate) use limits::{Held, Permit};
use limits::{Limit, Load};

/// What a call that takes files may take, where nobody says anything.
const WITH_FILES: Duration = Duration::from_secs(60 * 60);

/// Calls plugins of this process.
pub struct LocalBus {
    me: Weak<Self>,
    default_timeout: Duration,
    catalog: ArcSwap<Catalog>,
    changes: channel::Sender<u64>,
    load: Arc<Load>,
    /// The streams that this process keeps.
    pub(crate) keeper: Arc<Keeper>,
    /// Every plugin that is served, by its name. Locked by whoever changes the catalog.
    places: Mutex<BTreeMap<String, Place>>,
    process: Arc<Process>,
    /// Takes the calls that nobody answers.
    fallback: OnceLock<Arc<dyn Fallback>>,
}

/// What the APIs of a plugin share.
struct Place {
    plugin: Arc<PluginMetadata>,
    scope: Arc<Scope>,
    limit: Option<Arc<Limit>>,
}

/// Why a plugin cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The name is taken.
    #[error("plugin `{plugin}` is loaded twice")]
    LoadedTwice {
        /// Its name.
        plugin: String,
    },
    /// An id is taken.
    #[error("plugins `{first}` and `{second}` both provide the API `{id}`")]
    SameId {
        /// The id.
        id: String,
        /// Who was there.
        first: String,
        /// Who came.
        second: String,
    },
    /// A route is taken.
    #[error(
        "`{first}` and `{second}` both claim the route `{route}`; give one of them another path"
    )]
    SameRoute {
        /// The method and the path.
        route: String,
        /// The API that was there.
        first: String,
        /// The API that came.
        second: String,
    },
}

/// An API that this process serves.
pub(crate) struct LocalApi {
    pub(crate) descriptor: Arc<ApiDescriptor>,
    pub(crate) number: ApiNumber,
    handler: Arc<dyn Handler>,
    /// The same, where the plugin has added it.
    added: Option<Arc<Latest>>,
    scope: Arc<Scope>,
    limit: Limit,
    plugin_limit: Option<Arc<Limit>>,
    load: Arc<Load>,
}

impl LocalApi {
    /// Whether it, or its plugin, says how many calls may run at once.
    pub(crate) fn is_bounded(&self) -> bool {
        self.limit.is_set() || self.plugin_limit.is_some()
    }

    /// Whether a call that starts now would be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.limit.is_full() || self.plugin_limit.as_ref().is_some_and(|l| l.is_full())
    }
}

impl LocalBus {
    /// An empty bus. Calls of APIs without a timeout of their own get `default_timeout`.
    #[must_use]
    pub fn new(default_timeout: Duration) -> Arc<Self> {
        Self::keeping(default_timeout, KeepOptions::default())
    }

    /// As [`LocalBus::new`], with streams kept as `options` say.
    #[must_use]
    pub fn keeping(default_timeout: Duration, options: KeepOptions) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            default_timeout,
            catalog: ArcSwap::from_pointee(Catalog::default()),
            changes: channel::Sender::new(0),
            load: Arc::default(),
            keeper: Keeper::new(options),
            places: Mutex::default(),
            process: Arc::default(),
            fallback: OnceLock::new(),
        })
    }

    /// Makes the APIs of `plugin` callable, and gives the plugin's own place on the bus.
    ///
    /// # Errors
    ///
    /// [`ServeError`] if its name, an id or a route is taken; then nothing changes.
    pub fn serve(&self, plugin: &PluginInstance) -> Result<Arc<Scope>, ServeError> {
        self.serve_for(plugin, Weak::clone(&self.me) as _)
    }

    /// As [`LocalBus::serve`]; the plugin's own calls go through `caller`.
    pub(crate) fn serve_for(
        &self,
        plugin: &PluginInstance,
        caller: Weak<dyn Caller>,
    ) -> Result<Arc<Scope>, ServeError> {
        let mut places = self.places();
        let catalog = self.catalog.load();
        let metadata = plugin.metadata();
        let name = &metadata.name;
        if places.contains_key(name) {
            return Err(ServeError::LoadedTwice {
                plugin: name.clone(),
            });
        }
        let mut claims = Claims::default();
        for api in catalog.apis() {
            // They agree already.
            let _ = claims.take(&api.descriptor);
        }
        let mut ids = BTreeSet::new();
        for (api, _) in plugin.apis() {
            let known = catalog.get(api.id.as_str());
            let first = known.map(|known| &known.plugin.name);
            if let Some(first) = first.or_else(|| (!ids.insert(&api.id)).then_some(name)) {
                return Err(ServeError::SameId {
                    id: api.id.to_string(),
                    first: first.clone(),
                    second: name.clone(),
                });
            }
            claims
                .take(api)
                .map_err(|Taken { route, first }| ServeError::SameRoute {
                    route,
                    first: first.to_string(),
                    second: api.id.to_string(),
                })?;
        }

        let scope = Arc::new(Scope::new(metadata, caller));
        let limit = metadata
            .max_ongoing_requests
            .map(|most| Arc::new(Limit::new(Some(most))));
        let place = Place {
            plugin: Arc::new(metadata.clone()),
            scope: Arc::clone(&scope),
            limit,
        };
        let own = plugin.apis().iter().map(|(descriptor, handler)| {
            let descriptor = Arc::new((*descriptor).clone());
            self.api(&place, descriptor, Arc::clone(handler), None)
        });
        let all = catalog.apis().cloned().chain(own);
        self.publish(Catalog::new(all));
        places.insert(name.clone(), place);
        Ok(scope)
    }

    /// The entry of an API of the plugin at `place`.
    fn api(
        &self,
        place: &Place,
        descriptor: Arc<ApiDescriptor>,
        handler: Arc<dyn Handler>,
        added: Option<Arc<Latest>>,
    ) -> Arc<Api> {
        Arc::new(Api {
            descriptor: Arc::clone(&descriptor),
            plugin: Arc::clone(&place.plugin),
            remote: None,
            local: Some(Arc::new(LocalApi {
                number: watch::register(&descriptor.id),
                handler,
                added,
                scope: Arc::clone(&place.scope),
                limit: Limit::new(descriptor.max_ongoing_requests),
                plugin_limit: place.limit.clone(),
                load: Arc::clone(&self.load),
                descriptor,
            })),
        })
    }

    /// Takes the APIs of `plugin` out of the catalog. Calls that run go on.
    pub fn withdraw(&self, plugin: &str) {
        let mut places = self.places();
        places.remove(plugin);
        let catalog = self.catalog.load();
        let rest = catalog
            .apis()
            .filter(|api| api.plugin.name != plugin)
            .cloned();
        self.publish(Catalog::new(rest));
    }

    /// Refuses new calls and waits up to `grace` for those that run. Streams that
    /// nobody follows end at once.
    ///
    /// Gives the number of calls that still run.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.load.stopping.store(true, Ordering::SeqCst);
        self.keeper.stop_waiting();
        let idle = async {
            loop {
                let notified = self.load.idle.notified();
                if self.ongoing() == 0 {
                    break;
                }
                notified.await;
            }
        };
        // A timeout is an answer too: the number says so.
        let _ = tokio::time::timeout(grace, idle).await;
        self.ongoing()
    }

    /// For as long as the result lives, a drain waits: an answer is on its way out.
    pub(crate) fn hold(&self) -> Held {
        self.load.ongoing.fetch_add(1, Ordering::SeqCst);
        Held(Arc::clone(&self.load))
    }

    /// Whether it drains.
    pub(crate) fn is_stopping(&self) -> bool {
        self.load.stopping.load(Ordering::SeqCst)
    }

    /// How many calls run now.
    #[must_use]
    pub fn ongoing(&self) -> usize {
        self.load.ongoing.load(Ordering::SeqCst)
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, catalog: Catalog) {
        self.catalog.store(Arc::new(catalog));
        self.changes.send_modify(|count| *count += 1);
    }

    /// Asks the handler for its future: the call runs once that is polled.
    pub(crate) fn start(
        &self,
        api: &Arc<LocalApi>,
        request: Request,
    ) -> Result<LocalCall, CallError> {
        let id = || api.descriptor.id.clone();
        let Request { args, mut meta } = request;
        if meta.hops > MAX_HOPS {
            return Err(CallError::Loop {
                api: id(),
                hops: meta.hops,
            });
        }
        let Some(permit) = Permit::take(api) else {
            return Err(CallError::Overloaded { api: id() });
        };
        // After the permit is taken: a drain sees the call, or the call sees the drain.
        // Calls from a handler that is finishing its work are part of that work.
        if meta.caller.is_none() && self.load.stopping.load(Ordering::SeqCst) {
            return Err(CallError::Stopping { api: id() });
        }
        let started = Instant::now();
        let (deadline, only_first_event) = deadline(
            &api.descriptor,
            meta.deadline,
            started,
            self.default_timeout,
        );
        if deadline <= started {
            return Err(CallError::TimedOut {
                api: id(),
                budget: Duration::ZERO,
            });
        }
        meta.deadline = if only_first_event {
            None
        } else {
            Some(deadline)
        };
        let kept = meta.keep && is_kept(&api.descriptor);
        let keep = kept.then(|| {
            Box::new(Keep {
                keeper: Arc::clone(&self.keeper),
                principal: meta.principal.clone(),
            })
        });
        let ctx = Context::new(Arc::clone(&api.scope), meta);
        // Lent to the closures: each would move what it owns once more.
        let mut given = Some((ctx, args));
        let handler = catch_unwind(AssertUnwindSafe(|| {
            watch::noted(api.number, || {
                let (ctx, args) = given.take()?;
                Some(api.handler.call(ctx, args))
            })
        }))
        .map_err(|panic| panicked(api, &*panic))?
        .ok_or_else(|| CallError::Stopping { api: id() })?;
        Ok(LocalCall {
            handler,
            limit: TimeLimit::new(started, Some(deadline), only_first_event),
            permit,
            keep,
        })
    }
}

impl Bus for LocalBus {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    fn changes(&self) -> channel::Receiver<u64> {
        self.changes.subscribe()
    }

    fn call(&self, api: &Arc<Api>, request: Request) -> Call {
        let Some(local) = &api.local else {
            return Call::failed(CallError::NoResponders {
                api: api.descriptor.id.clone(),
            });
        };
        match self.start(local, request) {
            Ok(call) => Call::local(call),
            Err(error) => Call::failed(error),
        }
    }

    fn find_stream(
        &self,
        id: &StreamId,
    ) -> BoxFuture<'static, Result<Arc<dyn KeptStream>, CallError>> {
        let found = self.keeper.find(id);
        let found = found.ok_or_else(|| CallError::Handler(kept::gone()));
        Box::pin(std::future::ready(found))
    }

    fn set_fallback(&self, fallback: Arc<dyn Fallback>) {
        let _ = self.fallback.set(fallback);
    }

    fn fallback(&self) -> Option<&Arc<dyn Fallback>> {
        self.fallback.get()
    }
}

impl Caller for LocalBus {
    fn add_apis(&self, scope: &Scope, apis: Vec<AddedApi>) -> Vec<Refused> {
        let places = self.places();
        match places.get(&scope.plugin().name) {
            Some(place) => self.replace_added(place, apis),
            None => {
                let refused = |api: AddedApi| Refused {
                    api: api.descriptor.id.clone(),
                    reason: "its plugin is not served".to_owned(),
                };
                apis.into_iter().map(refused).collect()
            }
        }
    }

    fn process(&self) -> &Arc<Process> {
        &self.process
    }

    fn call_from(
        &self,
        scope: &Scope,
        target: &str,
        request: Request,
    ) -> BoxFuture<'static, Result<Reply, CallError>> {
        Box::pin(match self.catalog.load().resolve_for(scope, target) {
            Ok(api) => self.call(&api, request),
            Err(error) => fallback::unresolved(self.fallback(), target, request, error, |e| e),
        })
    }
}

/// Until when a call that starts at `started` may take, and whether that holds
/// for a stream's first event only.
pub(crate) fn deadline(
    api: &ApiDescriptor,
    asked: Option<Instant>,
    started: Instant,
    default_timeout: Duration,
) -> (Instant, bool) {
    let own = api.timeout.map(|timeout| started + timeout);
    // How long its stream may take, another service decides: the time is for its answer.
    let only_first_event = asked.is_none() && (api.bridged || api.streams() && own.is_none());
    let asked = match (asked, own) {
        (Some(asked), Some(own)) => Some(asked.min(own)),
        (asked, own) => asked.or(own),
    };
    // A file takes as long as its client's line does; pauses have bounds of their own.
    let usual = match api.takes_files() {
        true => default_timeout.max(WITH_FILES),
        false => default_timeout,
    };
    (asked.unwrap_or(started + usual), only_first_event)
}
