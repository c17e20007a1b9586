//! Everything that all upstreams offer together.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use framex_core::context::Context;
use framex_core::descriptor::{ApiDescriptor, ApiKind};
use framex_core::error::Result;
use framex_core::id::ApiId;
use framex_core::plugin::AddedApi;
use framex_core::route::{Route, shape};
use http::Method;
use serde_json::Value;

use super::UpstreamReport;
use super::fall_back;
use super::forward::{Circuit, Forwarder};
use super::watch::{Served, Watched};

/// See the module.
pub(crate) struct Surface {
    upstreams: Vec<Arc<Watched>>,
    map: ArcSwap<Map>,
    /// Held while operations are published, so that the later ones stay.
    publishing: Mutex<()>,
}

/// The operations of one moment, by how they are called.
#[derive(Default)]
struct Map {
    router: matchit::Router<Vec<Arc<Served>>>,
    by_shape: HashMap<String, Vec<Arc<Served>>>,
    /// Where the upstream is a FrameX: by what the API is called there.
    by_api: HashMap<String, Arc<Served>>,
}

impl Surface {
    pub(crate) fn new(upstreams: Vec<Arc<Watched>>) -> Arc<Self> {
        Arc::new(Self {
            upstreams,
            map: ArcSwap::default(),
            publishing: Mutex::default(),
        })
    }

    /// The upstreams, in the order in which they are asked.
    pub(crate) fn upstreams(&self) -> &[Arc<Watched>] {
        &self.upstreams
    }

    /// Puts what the upstreams offer now on the bus. Of two with the same route, the first has it.
    ///
    /// # Errors
    ///
    /// 503 if the process is stopping.
    pub(crate) fn publish(self: &Arc<Self>, ctx: &Context) -> Result<()> {
        let _publishing = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let served: Vec<_> = self.upstreams.iter().flat_map(|u| u.served()).collect();
        self.map.store(Arc::new(Map::new(&served)));
        let mut routes = HashMap::new();
        let apis = served.iter().map(|served| AddedApi {
            descriptor: with_free_routes(&served.descriptor, &mut routes),
            handler: Arc::clone(&served.handler),
        });
        let own = fall_back::api(self);
        for refused in ctx.add_apis(std::iter::once(own).chain(apis).collect())? {
            tracing::warn!(api = %refused.api, "an operation is left out: {}", refused.reason);
        }
        Ok(())
    }

    /// The operation that a request is for; that of `GET` for `HEAD`, where it has none of its own.
    pub(crate) fn at(&self, method: &Method, path: &str) -> Option<Arc<Served>> {
        let map = self.map.load();
        let found = map.router.at(path).ok()?.value;
        let get = || (method == Method::HEAD).then(|| with(found, Some(&Method::GET)));
        with(found, Some(method)).or_else(|| get().flatten())
    }

    /// The operation that a plugin names: by a path template, whatever its parameters are called
    /// there, with a method or without, or by the id that it has at a FrameX behind the bridge.
    pub(crate) fn named(&self, target: &str) -> Option<Arc<Served>> {
        let map = self.map.load();
        let (method, path) = split(target);
        let method = method.and_then(|method| method.parse::<Method>().ok());
        match path.starts_with('/') {
            true => {
                let found = map.by_shape.get(&shape(path))?;
                let has = |served: &&Arc<Served>| served.has(method.as_ref());
                let mut exact = found.iter().filter(has);
                let exact = exact.find(|served| served.route().is_some_and(|r| r.path == path));
                exact.cloned().or_else(|| with(found, method.as_ref()))
            }
            false => map.by_api.get(path).cloned(),
        }
    }

    /// How the upstreams are.
    pub(crate) fn report(&self) -> Vec<UpstreamReport> {
        let report = |watched: &Arc<Watched>| {
            let (skipped, trouble) = watched.troubles();
            UpstreamReport {
                name: watched.upstream.name.clone(),
                circuit: circuit(&watched.forwarder),
                operations: watched.served().len(),
                skipped,
                trouble,
            }
        };
        self.upstreams.iter().map(report).collect()
    }
}

impl Map {
    fn new(all: &[Arc<Served>]) -> Self {
        let mut map = Self::default();
        // Templates that differ in names only are one path to the router.
        let mut shapes: BTreeMap<String, (&str, Vec<Arc<Served>>)> = BTreeMap::new();
        for served in all {
            let descriptor = &served.descriptor;
            for route in &descriptor.routes {
                let same = shapes.entry(shape(&route.path));
                let same = same.or_insert((&route.path, Vec::new()));
                same.1.push(Arc::clone(served));
                let same = map.by_shape.entry(shape(&route.path)).or_default();
                same.push(Arc::clone(served));
            }
            let operation = descriptor.operation.as_ref();
            if let Some(id) = operation
                .and_then(|operation| operation.get("x-framex-api"))
                .and_then(Value::as_str)
            {
                let first = map.by_api.entry(id.to_owned());
                first.or_insert_with(|| Arc::clone(served));
            }
        }
        for (path, same) in shapes.into_values() {
            // What does not go beside another one is reached by its template alone.
            if let Err(error) = map.router.insert(path, same) {
                tracing::debug!(path, %error, "a path is not passed on");
            }
        }
        map
    }
}

/// `api`, without its routes if one of `taken` has them: then it is called by its id.
fn with_free_routes(
    api: &Arc<ApiDescriptor>,
    taken: &mut HashMap<(Method, String), ApiId>,
) -> Arc<ApiDescriptor> {
    let route = |route: &Route| (route.method.clone(), shape(&route.path));
    let Some((route, first)) = api
        .routes
        .iter()
        .find_map(|r| Some((r, taken.get(&route(r))?)))
    else {
        taken.extend(api.routes.iter().map(|r| (route(r), api.id.clone())));
        return Arc::clone(api);
    };
    tracing::warn!(
        api = %api.id, "it has no route: `{route}` is that of `{first}`; a `prefix` keeps upstreams apart"
    );
    let mut func = ApiDescriptor::clone(api);
    func.kind = ApiKind::Func;
    func.routes.clear();
    Arc::new(func)
}

/// What the circuit breaker of an upstream is called in reports.
fn circuit(forwarder: &Forwarder) -> &'static str {
    match forwarder.state().circuit {
        Circuit::Closed => "closed",
        Circuit::Open => "open",
        Circuit::HalfOpen => "half-open",
    }
}

/// The first of `served` with the method, or the first of all.
fn with(served: &[Arc<Served>], method: Option<&Method>) -> Option<Arc<Served>> {
    served.iter().find(|s| s.has(method)).map(Arc::clone)
}

/// A target's method, if it has one, and the rest.
pub(crate) fn split(target: &str) -> (Option<&str>, &str) {
    match target.split_once(' ') {
        Some((method, path)) => (Some(method), path),
        None => (None, target),
    }
}
