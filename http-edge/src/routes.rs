//! The route table: which API stands at a method and a path.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use framex_bus::{Api, Catalog};
use framex_core::args::PathValues;
use framex_core::descriptor::Location;
use framex_core::id::ApiId;
use framex_core::route::{Route, parameters, shape};
use http::{HeaderValue, Method};
use smallvec::SmallVec;

use crate::auth::{Keys, Rules};
use crate::edge::EdgeError;
use crate::service;

/// Every route, as of one moment.
#[derive(Default)]
pub(crate) struct Table {
    router: matchit::Router<Arc<Path>>,
    /// The routes of the APIs whose streams are kept.
    keeping: HashMap<ApiId, Vec<Arc<Entry>>>,
}

/// One path and what its methods do.
pub(crate) struct Path {
    methods: SmallVec<[(Method, Arc<Entry>); 2]>,
    allow: HeaderValue,
    /// Its parameters could stand for a path of the edge's own.
    wide: bool,
}

/// One route.
pub(crate) struct Entry {
    pub(crate) api: Arc<Api>,
    pub(crate) body: BodyKind,
    pub(crate) streams: bool,
    /// Whether its streams can be followed again.
    pub(crate) keeps: bool,
    pub(crate) raw: bool,
    pub(crate) keys: Option<Arc<Keys>>,
    /// After which a silent stream sends a comment.
    pub(crate) heartbeat: Duration,
    names: Arc<[String]>,
}

/// What a route reads of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    None,
    Json,
    Raw,
    /// A file that is read while it comes.
    Upload,
    Form,
    /// The request is passed on as it came, with its body if it has one.
    Passed,
}

/// The methods of one path.
type Methods = Vec<(Method, Arc<Entry>)>;

/// What stands at a method and a path.
pub(crate) enum Found {
    Route(Arc<Entry>, PathValues),
    /// The path is there, the method is not. If all it has is another service's, one of these.
    OtherMethods(HeaderValue, Option<Arc<Entry>>),
    Nothing,
}

impl Table {
    /// The routes of `catalog`, and why some are left out.
    pub(crate) fn new(
        catalog: &Catalog,
        rules: &Rules,
        heartbeat: Duration,
    ) -> (Self, Vec<EdgeError>) {
        let mut left_out = Vec::new();
        let mut keeping: HashMap<ApiId, Vec<Arc<Entry>>> = HashMap::new();
        // Templates that differ in names only are one path to the router.
        let mut shapes: BTreeMap<String, (&str, Methods)> = BTreeMap::new();
        let mut apis: Vec<&Arc<Api>> = catalog.apis().collect();
        apis.sort_by_key(|api| api.yields());
        for api in apis {
            for Route { method, path } in &api.descriptor.routes {
                let own = || api.descriptor.id.to_string();
                if service::reserved(path) {
                    left_out.push(EdgeError::ReservedPath {
                        api: own(),
                        path: path.clone(),
                        bridged: api.descriptor.bridged,
                    });
                    continue;
                }
                let Ok(names) = parameters(path) else {
                    left_out.push(EdgeError::InvalidPath {
                        api: own(),
                        path: path.clone(),
                    });
                    continue;
                };
                let keys = rules.of(path);
                if api.descriptor.guarded && keys.is_none() {
                    let (api, bridged, path) = (own(), api.descriptor.bridged, path.clone());
                    left_out.push(match bridged {
                        true => EdgeError::HeldBack { api, path },
                        false => EdgeError::Guarded { api, path },
                    });
                    continue;
                }
                let (first_path, methods) = shapes.entry(shape(path)).or_insert((path, Vec::new()));
                if let Some((_, first)) = methods.iter().find(|(m, _)| m == method) {
                    // A plugin's API and another service's stand in for each other.
                    if api.descriptor.bridged == first.api.descriptor.bridged {
                        left_out.push(EdgeError::Collision {
                            first: first.api.descriptor.id.to_string(),
                            first_path: (*first_path).to_owned(),
                            second: own(),
                            second_path: path.clone(),
                        });
                    }
                    continue;
                }
                let entry = Arc::new(Entry::new(api, names.into(), keys, heartbeat));
                if entry.keeps {
                    let routes = keeping.entry(api.descriptor.id.clone()).or_default();
                    routes.push(Arc::clone(&entry));
                }
                methods.push((method.clone(), entry));
            }
        }
        let mut table = Self {
            keeping,
            ..Self::default()
        };
        let mut inserted: BTreeMap<&str, String> = BTreeMap::new();
        let mut paths: Vec<(&str, Methods)> = shapes.into_values().collect();
        let yields = |methods: &Methods| methods.iter().all(|(_, e)| e.api.descriptor.bridged);
        paths.sort_by_key(|(_, methods)| yields(methods));
        for (path, methods) in paths {
            let allow = allow(&methods);
            let api = methods.first().map_or_else(String::new, |(_, entry)| {
                entry.api.descriptor.id.to_string()
            });
            let value = Path {
                methods: methods.into(),
                allow,
                wide: wide(path),
            };
            match table.router.insert(path, Arc::new(value)) {
                Ok(()) => {
                    inserted.insert(path, api);
                }
                Err(matchit::InsertError::Conflict { with }) => {
                    left_out.push(EdgeError::Collision {
                        first: inserted.get(&*with).cloned().unwrap_or_default(),
                        first_path: with,
                        second: api,
                        second_path: path.to_owned(),
                    });
                }
                Err(_) => left_out.push(EdgeError::InvalidPath {
                    api,
                    path: path.to_owned(),
                }),
            }
        }
        (table, left_out)
    }

    /// What stands at `method` and the undecoded `path`.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found {
        let Ok(found) = self.router.at(path) else {
            return Found::Nothing;
        };
        if found.value.wide && service::reserved(path) {
            return Found::Nothing;
        }
        let exact = |wanted: &Method| found.value.methods.iter().find(|(m, _)| m == wanted);
        let entry = match exact(method) {
            None if method == Method::HEAD => exact(&Method::GET),
            entry => entry,
        };
        let Some((_, entry)) = entry else {
            let methods = &found.value.methods;
            let bridged = methods.iter().all(|(_, e)| e.api.descriptor.bridged);
            let one = methods.first().filter(|_| bridged);
            let one = one.map(|(_, entry)| Arc::clone(entry));
            return Found::OtherMethods(found.value.allow.clone(), one);
        };
        let start = path.as_ptr() as usize;
        let spans = found
            .params
            .iter()
            .map(|(_, value)| {
                let at = value.as_ptr() as usize - start;
                (narrow(at), narrow(at + value.len()))
            })
            .collect();
        let names = Arc::clone(&entry.names);
        Found::Route(Arc::clone(entry), PathValues { names, spans })
    }

    /// The routes of `api`, if its streams are kept.
    pub(crate) fn keeping(&self, api: &ApiId) -> &[Arc<Entry>] {
        self.keeping.get(api).map_or(&[], Vec::as_slice)
    }

    /// Whether `route` is there, and leads to the API `id`.
    pub(crate) fn publishes(&self, id: &ApiId, route: &Route) -> bool {
        let methods = self
            .router
            .at(&route.path)
            .map(|found| &found.value.methods);
        methods.is_ok_and(|methods| {
            let mut methods = methods.iter();
            methods.any(|(method, entry)| *method == route.method && entry.api.descriptor.id == *id)
        })
    }

    /// Whether a route stands at `path`.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.router.at(path).is_ok()
    }
}

impl Entry {
    /// Of the API that takes what nobody answers.
    pub(crate) fn of_fallback(api: &Arc<Api>, heartbeat: Duration) -> Self {
        Self::new(api, Arc::default(), None, heartbeat)
    }

    fn new(
        api: &Arc<Api>,
        names: Arc<[String]>,
        keys: Option<Arc<Keys>>,
        heartbeat: Duration,
    ) -> Self {
        let descriptor = &api.descriptor;
        let reads = |wanted| descriptor.parameters.iter().any(|p| p.location == wanted);
        let body = if descriptor.bridged {
            BodyKind::Passed
        } else if descriptor.multipart() {
            BodyKind::Form
        } else if reads(Location::Body) {
            BodyKind::Json
        } else if reads(Location::Raw) {
            BodyKind::Raw
        } else if reads(Location::Upload) {
            BodyKind::Upload
        } else {
            BodyKind::None
        };
        Self {
            body,
            streams: descriptor.streams(),
            keeps: descriptor.streams() && !descriptor.live && !descriptor.bridged,
            raw: descriptor.raw,
            keys,
            heartbeat,
            names,
            api: Arc::clone(api),
        }
    }
}

/// Whether the template `path` covers one of the edge's own.
fn wide(path: &str) -> bool {
    let covers = |own: &str| {
        let mut own = own.split('/');
        for segment in path.split('/') {
            match (segment.strip_prefix('{'), own.next()) {
                (Some(rest), Some(_)) if rest.starts_with('*') => return true,
                (Some(_), Some(_)) => {}
                (None, Some(own)) if own == segment => {}
                _ => return false,
            }
        }
        own.next().is_none()
    };
    let pages = [
        "/docs/x",
        "/docs/x/x/x",
        "/docs/x/x",
        "/redoc/x",
        "/api/v1/streams/x",
        "/api/v1/streams/x/x",
    ];
    service::PATHS.into_iter().chain(pages).any(covers)
}

/// A path is no longer than the headers may be, far below 4 GiB.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

fn allow(methods: &[(Method, Arc<Entry>)]) -> HeaderValue {
    let mut names: Vec<&str> = methods.iter().map(|(method, _)| method.as_str()).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    names.sort_unstable();
    names.dedup();
    HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}
