//! The bus over NATS.
//!
//! A [`NatsBus`] holds the [`LocalBus`] of its process for what the process
//! serves itself; everything else it knows from discovery and reaches through
//! the broker. docs/protocol.md is the contract of everything on the wire.

mod call;
mod directory;
mod discovery;
mod durable;
mod large;
mod link;
mod options;
mod peers;
mod pending;
mod serve;
mod state;
mod stream;
mod waiting;
mod wire;

use std::cell::RefCell;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use framex_core::context::{Caller, Request, Scope};
use framex_core::error::{CallError, Error};
use framex_core::id::ApiId;
use framex_core::kept::StreamId;
use framex_core::plugin::{AddedApi, PluginInstance, Refused};
use framex_core::process::Process;
use framex_core::reply::Reply;
use futures_core::future::BoxFuture;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Api, Bus, Call, Catalog, Fallback, KeptStream, LocalBus, ServeError, fallback};
pub use options::{Auth, Follow, NatsError, Options, StreamStore, Tls};
pub(crate) use peers::Remote;
pub use state::{Keeping, State};

use directory::Directory;
use link::Link;
use wire::Names;

/// How long a call waits for the first news of who serves what.
const DISCOVERY_PATIENCE: Duration = Duration::from_secs(2);

/// Calls plugins of this process and, through a broker, of others.
pub struct NatsBus {
    shared: Arc<Shared>,
}

/// What the parts of a bus share.
pub(crate) struct Shared {
    pub(crate) me: Weak<NatsBus>,
    pub(crate) options: Options,
    pub(crate) names: Names,
    /// This process among all: 16 characters of `[a-z0-9]`.
    pub(crate) id: Arc<str>,
    pub(crate) local: Arc<LocalBus>,
    pub(crate) directory: Directory,
    /// Every connection of this process.
    pub(crate) links: Mutex<Vec<Weak<Link>>>,
    /// The connection of the plugins' runtime: what they serve, and what they call.
    data: OnceLock<Arc<Link>>,
    pub(crate) state: watch::Sender<State>,
    found: state::Found,
    /// Where streams are kept.
    pub(crate) durable: durable::Durable,
    /// What this process serves on the broker.
    pub(crate) offers: serve::Offers,
    /// Answers that come in frames and are put together, all at the same time.
    answers: large::Room,
    /// Ends every task of the bus.
    pub(crate) stop: CancellationToken,
}

thread_local! {
    /// The links that run in this thread, by the bus they belong to.
    static HOME: RefCell<Vec<(usize, Arc<Link>)>> = const { RefCell::new(Vec::new()) };
}

impl Shared {
    /// Whoever is of interest is known.
    pub(crate) fn discovered(&self) {
        self.state
            .send_if_modified(|state| !std::mem::replace(&mut state.discovered, true));
    }

    /// This bus among those of the process.
    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The connection to use from this thread: its own, else the plugins'.
    fn link(&self) -> Option<Arc<Link>> {
        let own = HOME.with_borrow(|home| {
            let mut mine = home.iter().filter(|(bus, _)| *bus == self.key());
            mine.next().map(|(_, link)| Arc::clone(link))
        });
        match own {
            Some(link) if link.client().is_some() => Some(link),
            _ => self.data.get().cloned(),
        }
    }

    pub(crate) fn data(&self) -> Option<&Arc<Link>> {
        self.data.get()
    }

    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.iter().filter_map(Weak::upgrade).collect()
    }
}

/// A link that runs in this thread, for as long as this lives.
struct AtHome(usize);

impl AtHome {
    fn new(shared: &Shared, link: Arc<Link>) -> Self {
        let key = shared.key();
        HOME.with_borrow_mut(|home| home.push((key, link)));
        Self(key)
    }
}

impl Drop for AtHome {
    fn drop(&mut self) {
        HOME.with_borrow_mut(|home| home.retain(|(bus, _)| *bus != self.0));
    }
}

impl NatsBus {
    /// Starts connecting, and goes on trying. Discovery has a thread of its own;
    /// what plugins serve and call runs in the current runtime.
    ///
    /// # Errors
    ///
    /// [`NatsError`] for options that can never work. A broker that is not there
    /// is none: [`NatsBus::state`] tells.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(options: Options, local: Arc<LocalBus>) -> Result<Arc<Self>, NatsError> {
        options.servers()?;
        options.connect_options(String::new())?;
        let id: Arc<str> = new_id().into();
        let directory = Directory::new(local.catalog(), options.prefer_local);
        let bus = Arc::new_cyclic(|me| Self {
            shared: Arc::new(Shared {
                me: Weak::clone(me),
                names: Names::new(options.namespace.as_deref()),
                durable: durable::Durable::new(&options),
                state: watch::Sender::new(State {
                    streams: durable::first_state(&options),
                    ..State::default()
                }),
                options,
                id,
                directory,
                local,
                links: Mutex::default(),
                data: OnceLock::new(),
                found: state::Found::default(),
                offers: serve::Offers::default(),
                answers: large::Room::default(),
                stop: CancellationToken::new(),
            }),
        });
        let shared = &bus.shared;
        let data = Link::new(shared, "calls");
        let _ = shared.data.set(Arc::clone(&data));
        let run = data.run(shared.options.clone(), Arc::clone(&shared.id));
        tokio::spawn(shared.stop.clone().run_until_cancelled_owned(run));
        let control = Link::new(shared, link::CONTROL);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(NatsError::Thread)?;
        let shared = Arc::clone(shared);
        std::thread::Builder::new()
            .name("framex-bus".into())
            .spawn(move || runtime.block_on(control_thread(&shared, control)))
            .map_err(NatsError::Thread)?;
        Ok(bus)
    }

    /// This process among all: 16 characters of `[a-z0-9]`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// As [`LocalBus::ongoing`].
    #[must_use]
    pub fn ongoing(&self) -> usize {
        self.shared.local.ongoing()
    }

    /// How many calls, and bodies of calls, of this process wait for messages now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let links = self.shared.links();
        links.iter().map(|link| link.waiting.taken()).sum()
    }

    /// Makes the APIs of `plugin` callable in this process. Others see them after
    /// [`NatsBus::offer`].
    ///
    /// # Errors
    ///
    /// As [`LocalBus::serve`].
    pub fn serve(&self, plugin: &PluginInstance) -> Result<Arc<Scope>, ServeError> {
        let me: Weak<dyn Caller> = Weak::clone(&self.shared.me) as _;
        let scope = self.shared.local.serve_for(plugin, me)?;
        self.shared.directory.merge(&self.shared.local);
        Ok(scope)
    }

    /// Lets others call `plugin`, which this process serves, as soon as the
    /// broker is there. [`State::offered`] tells when.
    pub fn offer(&self, plugin: &str) {
        serve::offer(&self.shared, plugin);
    }

    /// Serves `plugin` no more: others are told, what is on its way is still
    /// taken, calls that run go on.
    pub async fn withdraw(&self, plugin: &str) {
        serve::withdraw(&self.shared, plugin).await;
        self.shared.local.withdraw(plugin);
        self.shared.directory.merge(&self.shared.local);
    }

    /// Leaves the catalog of others, takes what is on its way, and waits up to
    /// `grace` for calls that run. Gives how many still do.
    pub async fn drain(&self, grace: Duration) -> usize {
        let begun = Instant::now();
        serve::withdraw_all(&self.shared).await;
        let left = self
            .shared
            .local
            .drain(grace.saturating_sub(begun.elapsed()))
            .await;
        serve::flush(&self.shared).await;
        left
    }

    /// How this process stands with its broker.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Waits until the broker is there, who serves what is known, and what this
    /// process offers is there for others.
    ///
    /// # Errors
    ///
    /// [`NatsError::NotReady`] with what is missing after `limit`.
    pub async fn ready(&self, limit: Duration) -> Result<(), NatsError> {
        let mut state = self.state();
        let ready = state.wait_for(|s| {
            s.connected && s.discovered && s.offered && s.streams != Keeping::Unknown
        });
        if let Ok(Ok(_)) = tokio::time::timeout(limit, ready).await {
            return Ok(());
        }
        let state = state.borrow().clone();
        let shown = self.shared.options.shown();
        Err(NatsError::NotReady(match state {
            State {
                connected: false,
                trouble,
                ..
            } => trouble.map_or_else(
                || format!("the broker does not answer ({shown})"),
                |why| format!("no connection to the broker: {why}"),
            ),
            State {
                discovered: false, ..
            } => {
                format!(
                    "the broker did not answer the question for services ({shown}): its user needs the permissions of an observer"
                )
            }
            State { problems, .. } if !problems.is_empty() => problems.join("; "),
            State {
                streams: Keeping::Unknown,
                ..
            } => format!("the broker did not say whether it has JetStream ({shown})"),
            State { .. } => format!("the broker has not taken every subscription ({shown})"),
        }))
    }

    /// Ends everything that runs for this bus. Calls on their way fail.
    pub async fn close(&self) {
        serve::withdraw_all(&self.shared).await;
        serve::flush(&self.shared).await;
        self.shared.stop.cancel();
    }
}

impl NatsBus {
    /// A process serves before it has heard of all others.
    async fn call_once_discovered(
        self: Arc<Self>,
        scope: Scope,
        target: String,
        request: Request,
    ) -> Result<Reply, CallError> {
        let latest = Instant::now() + DISCOVERY_PATIENCE;
        let until = request.meta.deadline.map_or(latest, |end| end.min(latest));
        let mut state = self.state();
        let known = state.wait_for(|s| s.discovered || s.trouble.is_some());
        // Whatever the outcome, the catalog knows best.
        let _ = tokio::time::timeout_at(until.into(), known).await;
        match self.catalog().resolve_for(&scope, &target) {
            Ok(api) => self.call(&api, request).await,
            Err(unknown) => self.absent(&scope, &target, request, unknown).await,
        }
    }

    /// What becomes of a plugin's call that the catalog has no API for.
    fn absent(&self, scope: &Scope, target: &str, request: Request, error: CallError) -> Call {
        let shown = |error| not_there_yet(scope, target, error);
        fallback::unresolved(self.fallback(), target, request, error, shown)
    }
}

impl Drop for NatsBus {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// What must go on while handlers block: discovery, signs of life, cancellation.
async fn control_thread(shared: &Arc<Shared>, link: Arc<Link>) {
    let run = Arc::clone(&link).run(shared.options.clone(), Arc::clone(&shared.id));
    let work = async {
        tokio::join!(
            discovery::run(shared, &link),
            serve::control(shared, &link),
            durable::look_after(shared, &link),
        );
    };
    tokio::select! {
        () = run => {}
        () = work => {}
        () = shared.stop.cancelled() => {}
    }
}

fn new_id() -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut number = uuid::Uuid::new_v4().as_u128();
    let digit = |number: &mut u128| {
        let digit = usize::try_from(*number % 36).unwrap_or(0);
        *number /= 36;
        char::from(DIGITS[digit])
    };
    (0..16).map(|_| digit(&mut number)).collect()
}

impl Bus for NatsBus {
    fn catalog(&self) -> Arc<Catalog> {
        self.shared.directory.catalog()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.directory.changes()
    }

    fn call(&self, api: &Arc<Api>, request: Request) -> Call {
        let prefer_local = self.shared.options.prefer_local;
        if api.local.is_some()
            && let Some(through_store) = durable::through_store(&self.shared, api, &request)
        {
            let shared = Arc::clone(&self.shared);
            return Call::remote(Box::pin(call::call(shared, through_store, request)));
        }
        match (&api.local, &api.remote) {
            (Some(_), None) => self.shared.local.call(api, request),
            // Whoever has room elsewhere takes what is too much here.
            (Some(local), Some(remote))
                if prefer_local && (!local.is_full() || remote.endpoints.load().is_empty()) =>
            {
                self.shared.local.call(api, request)
            }
            _ => Call::remote(Box::pin(call::call(
                Arc::clone(&self.shared),
                Arc::clone(api),
                request,
            ))),
        }
    }

    fn find_stream(
        &self,
        id: &StreamId,
    ) -> BoxFuture<'static, Result<Arc<dyn KeptStream>, CallError>> {
        match wire::is_stream(id) {
            true => Box::pin(durable::find(Arc::clone(&self.shared), id.clone())),
            false => self.shared.local.find_stream(id),
        }
    }

    fn set_fallback(&self, fallback: Arc<dyn Fallback>) {
        self.shared.local.set_fallback(fallback);
    }

    fn fallback(&self) -> Option<&Arc<dyn Fallback>> {
        self.shared.local.fallback()
    }

    fn attend(&self) -> Option<BoxFuture<'static, ()>> {
        let shared = Arc::clone(&self.shared);
        Some(Box::pin(async move {
            let link = Link::new(&shared, link::EDGE);
            let _home = AtHome::new(&shared, Arc::clone(&link));
            let run = link.run(shared.options.clone(), Arc::clone(&shared.id));
            tokio::select! {
                () = run => {}
                () = shared.stop.cancelled() => {}
            }
        }))
    }
}

impl Caller for NatsBus {
    fn add_apis(&self, scope: &Scope, apis: Vec<AddedApi>) -> Vec<Refused> {
        let refused = self.shared.local.add_apis(scope, apis);
        self.shared.directory.merge(&self.shared.local);
        serve::renew(&self.shared, &scope.plugin().name);
        refused
    }

    fn process(&self) -> &Arc<Process> {
        self.shared.local.process()
    }

    fn call_from(
        &self,
        scope: &Scope,
        target: &str,
        request: Request,
    ) -> BoxFuture<'static, Result<Reply, CallError>> {
        let unknown = match self.catalog().resolve_for(scope, target) {
            Ok(api) => return Box::pin(self.call(&api, request)),
            Err(error) => error,
        };
        let early = !self.shared.state.borrow().discovered;
        match self.shared.me.upgrade() {
            Some(me) if early && matches!(unknown, CallError::Unknown { .. }) => {
                Box::pin(me.call_once_discovered(scope.clone(), target.to_owned(), request))
            }
            _ => Box::pin(self.absent(scope, target, request, unknown)),
        }
    }
}

/// What a plugin declares by its name is expected to be there, if not now.
fn not_there_yet(scope: &Scope, target: &str, error: CallError) -> CallError {
    let declared = &scope.plugin().required_remote_apis;
    if !matches!(error, CallError::Unknown { .. }) || !declared.iter().any(|name| name == target) {
        return error;
    }
    match ApiId::parse(target) {
        Ok(api) => CallError::NoResponders { api },
        // The same, of a path.
        Err(_) => CallError::Handler(
            Error::unavailable(format!("no instance serves `{target}` now"))
                .with_code("no_responders")
                .with_header(RETRY_AFTER, HeaderValue::from_static("1")),
        ),
    }
}
