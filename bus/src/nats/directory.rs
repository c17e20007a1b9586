//! The catalog of a process on a broker: its own APIs and those of others.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use async_nats::Subject;
use framex_core::descriptor::{ApiDescriptor, PluginMetadata};
use framex_core::id::ApiId;
use tokio::sync::watch;

use super::peers::{Endpoint, Remote};
use crate::claims::{Claims, Taken};
use crate::local::LocalApi;
use crate::{Api, Bus as _, Catalog, LocalBus};

/// See the module. An entry stays the same one for as long as what it says is
/// the same: instances come and go inside of it.
pub(crate) struct Directory {
    catalog: ArcSwap<Catalog>,
    changes: watch::Sender<u64>,
    remote: Mutex<Vec<RemoteApi>>,
    prefer_local: bool,
    /// Which entries somebody served when the last change was told.
    served: Mutex<Vec<bool>>,
}

/// An API that others serve.
#[derive(Clone, Debug)]
pub(crate) struct RemoteApi {
    pub(crate) descriptor: Arc<ApiDescriptor>,
    pub(crate) plugin: Arc<PluginMetadata>,
    /// The public way in.
    pub(crate) subject: Subject,
    pub(crate) endpoints: Vec<Endpoint>,
    /// See [`Remote::shut`].
    pub(crate) shut: bool,
}

impl Directory {
    /// Without `prefer_local`, what this process serves is reached through the
    /// broker as soon as somebody serves it there, this process among others.
    pub(crate) fn new(local: Arc<Catalog>, prefer_local: bool) -> Self {
        Self {
            prefer_local,
            catalog: ArcSwap::new(local),
            changes: watch::Sender::new(0),
            remote: Mutex::default(),
            served: Mutex::default(),
        }
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Takes over what this process serves now.
    pub(crate) fn merge(&self, local: &LocalBus) {
        let remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        self.publish(&local.catalog(), &remote);
    }

    /// Takes over what others serve now. Gives what cannot stand beside something
    /// else, and why.
    pub(crate) fn set_remote(&self, apis: Vec<RemoteApi>, local: &LocalBus) -> Vec<String> {
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        *remote = apis;
        self.publish(&local.catalog(), &remote)
    }

    fn publish(&self, local: &Catalog, remote: &[RemoteApi]) -> Vec<String> {
        let before = self.catalog.load();
        let (remote, refused) = admitted(&before, local, remote);
        let mut apis: Vec<Arc<Api>> = Vec::new();
        for api in local.apis() {
            let elsewhere = remote.get(&api.descriptor.id);
            match elsewhere.filter(|remote| !remote.endpoints.is_empty()) {
                None => apis.push(Arc::clone(api)),
                Some(remote) => {
                    let own = (&api.descriptor, &api.plugin);
                    let handler = api.local.as_ref().filter(|_| self.prefer_local);
                    apis.push(entry(&before, own, handler, remote));
                }
            }
        }
        for (id, remote) in &remote {
            if local.get(id.as_str()).is_none() {
                let theirs = (&remote.descriptor, &remote.plugin);
                apis.push(entry(&before, theirs, None, remote));
            }
        }
        let known = |api: &Arc<Api>| {
            let old = before.get(api.descriptor.id.as_str());
            old.is_some_and(|old| Arc::ptr_eq(old, api))
        };
        let served: Vec<bool> = apis.iter().map(|api| !api.is_forsaken()).collect();
        let mut told = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let same_entries = apis.len() == before.apis().count() && apis.iter().all(known);
        // Documents leave out what nobody serves now, so its end is a change too.
        if !same_entries || *told != served {
            *told = served;
            self.catalog.store(Arc::new(Catalog::new(apis)));
            self.changes.send_modify(|count| *count += 1);
        }
        refused
    }
}

/// The APIs of others whose routes are free; bridged ones yield. What has a route keeps it; of those
/// that come together, the plugin with the lower name has it.
fn admitted<'a>(
    before: &Catalog,
    local: &'a Catalog,
    remote: &'a [RemoteApi],
) -> (BTreeMap<&'a ApiId, &'a RemoteApi>, Vec<String>) {
    let mut claims = Claims::default();
    for api in local.apis() {
        // Of one process, so they agree.
        let _ = claims.take(&api.descriptor);
    }
    let mut order: Vec<&RemoteApi> = remote.iter().collect();
    order.sort_by_cached_key(|api| {
        let id = &api.descriptor.id;
        let stays = before.get(id.as_str()).is_some_and(|old| {
            let had = &old.descriptor.routes;
            api.descriptor
                .routes
                .iter()
                .all(|route| had.contains(route))
        });
        (!stays, id.plugin().to_owned(), id.clone())
    });
    let mut admitted = BTreeMap::new();
    let mut refused = Vec::new();
    for api in order {
        let id = &api.descriptor.id;
        // Where this process serves it too, its own description counts.
        let taken = match local.get(id.as_str()) {
            Some(_) => Ok(()),
            None => claims.take(&api.descriptor),
        };
        match taken {
            Ok(()) => {
                admitted.insert(id, api);
            }
            // Who has left is remembered, and not to blame.
            Err(_) if api.endpoints.is_empty() => {}
            Err(Taken { route, first }) => {
                let who = super::discovery::instances(api.endpoints.iter().map(|e| &e.instance));
                refused.push(format!(
                    "`{id}` ({who}) is refused: its route `{route}` is the one of `{first}`"
                ));
            }
        }
    }
    (admitted, refused)
}

/// The entry of an API: the one that is there, if it says the same.
fn entry(
    before: &Catalog,
    (descriptor, plugin): (&Arc<ApiDescriptor>, &Arc<PluginMetadata>),
    handler: Option<&Arc<LocalApi>>,
    remote: &RemoteApi,
) -> Arc<Api> {
    if let Some(old) = before.get(remote.descriptor.id.as_str())
        && let Some(known) = &old.remote
        && same(&old.descriptor, descriptor)
        && same(&old.plugin, plugin)
        && known.subject == remote.subject
        && old.local.as_ref().map(Arc::as_ptr) == handler.map(Arc::as_ptr)
    {
        known.shut.store(remote.shut, Ordering::Relaxed);
        known.endpoints.store(Arc::new(remote.endpoints.clone()));
        return Arc::clone(old);
    }
    Arc::new(Api {
        descriptor: Arc::clone(descriptor),
        plugin: Arc::clone(plugin),
        local: handler.cloned(),
        remote: Some(Arc::new(Remote {
            subject: remote.subject.clone(),
            endpoints: ArcSwap::from_pointee(remote.endpoints.clone()),
            shut: remote.shut.into(),
        })),
    })
}

fn same<T: PartialEq>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::nats::peers::Instance;

    /// An API with `route`, or none, served by `instances`.
    fn api(id: &str, route: &str, instances: &[&str]) -> RemoteApi {
        let json = match route {
            "" => "{}".to_owned(),
            route => format!(r#"{{"routes": ["{route}"]}}"#),
        };
        let id = ApiId::parse(id).unwrap();
        let endpoint = |name: &&str| Endpoint {
            instance: Instance::new(id.plugin(), name, "1.0.0", true),
            own_subject: None,
        };
        RemoteApi {
            descriptor: Arc::new(ApiDescriptor::read(&id, json.as_bytes()).unwrap()),
            plugin: Arc::default(),
            subject: id.as_str().into(),
            endpoints: instances.iter().map(endpoint).collect(),
            shut: false,
        }
    }

    fn ids(directory: &Directory) -> Vec<String> {
        let catalog = directory.catalog();
        catalog
            .apis()
            .map(|api| api.descriptor.id.to_string())
            .collect()
    }

    #[test]
    fn entries_stay_while_instances_come_and_go() {
        let local = LocalBus::new(Duration::from_secs(1));
        let directory = Directory::new(local.catalog(), true);
        let changes = directory.changes();
        directory.set_remote(vec![api("a.A.x", "GET /api/v1/x", &["1"])], &local);
        let entry = directory.catalog().get("a.A.x").cloned().unwrap();
        assert_eq!((*changes.borrow(), entry.instances()), (1, 1));
        directory.set_remote(vec![api("a.A.x", "GET /api/v1/x", &["1", "2"])], &local);
        assert_eq!((*changes.borrow(), entry.instances()), (1, 2));
        directory.set_remote(vec![api("a.A.x", "GET /api/v1/x", &[])], &local);
        assert_eq!(
            (*changes.borrow(), entry.instances()),
            (2, 0),
            "nobody left"
        );
        let same = directory.catalog().get("a.A.x").cloned().unwrap();
        assert!(Arc::ptr_eq(&entry, &same));
        directory.set_remote(vec![api("a.A.x", "GET /api/v1/y", &[])], &local);
        assert_eq!(*changes.borrow(), 3);
        directory.set_remote(Vec::new(), &local);
        assert_eq!((*changes.borrow(), ids(&directory).len()), (4, 0));
    }

    #[test]
    fn bridged_ones_yield_and_are_there() {
        let local = LocalBus::new(Duration::from_secs(1));
        let directory = Directory::new(local.catalog(), true);
        let bridged = |id: &str| {
            let mut api = api(id, "GET /api/v1/x/{key}", &["1"]);
            Arc::make_mut(&mut api.descriptor).bridged = true;
            api
        };
        let plain = |instances: &[&str]| api("z.Z.x", "GET /api/v1/x/{id}", instances);
        let first = || directory.catalog().resolve("/api/v1/x/{key}");
        let refused = directory.set_remote(vec![bridged("b.B.x"), bridged("a.A.x")], &local);
        assert_eq!(refused.len(), 1, "among themselves one has it: {refused:?}");
        assert_eq!(ids(&directory), ["a.A.x"]);
        let apis = || vec![bridged("a.A.x"), plain(&["2"])];
        assert!(directory.set_remote(apis(), &local).is_empty());
        assert_eq!(ids(&directory), ["a.A.x", "z.Z.x"]);
        assert_eq!(first().unwrap().descriptor.id.as_str(), "a.A.x");
        // The one that is known by that path.
        let mut same = plain(&["2"]);
        Arc::make_mut(&mut same.descriptor).routes = bridged("a.A.x").descriptor.routes.clone();
        directory.set_remote(vec![bridged("a.A.x"), same.clone()], &local);
        assert_eq!(first().unwrap().descriptor.id.as_str(), "z.Z.x");
        same.endpoints.clear();
        directory.set_remote(vec![bridged("a.A.x"), same.clone()], &local);
        assert_eq!(first().unwrap().descriptor.id.as_str(), "a.A.x", "its turn");
        let mut gone = bridged("a.A.x");
        gone.endpoints.clear();
        directory.set_remote(vec![gone, same], &local);
        assert_eq!(first().unwrap().descriptor.id.as_str(), "z.Z.x", "both are");
    }

    #[test]
    fn a_route_has_one_owner() {
        let local = LocalBus::new(Duration::from_secs(1));
        let directory = Directory::new(local.catalog(), true);
        let b = || api("b.B.x", "GET /api/v1/x/{id}", &["1"]);
        let c = || api("c.C.x", "GET /api/v1/x/{key}", &["2"]);
        let refused = directory.set_remote(vec![c(), b()], &local);
        assert_eq!(ids(&directory), ["b.B.x"], "the lower name");
        assert_eq!(
            refused,
            [
                "`c.C.x` (instance `2`) is refused: its route `GET /api/v1/x/{key}` is the one of `b.B.x`"
            ]
        );
        let a = api("a.A.x", "GET /api/v1/x/{a}", &["3"]);
        directory.set_remote(vec![a, b(), c()], &local);
        assert_eq!(ids(&directory), ["b.B.x"], "who has it keeps it");
        assert!(directory.set_remote(vec![c()], &local).is_empty());
        assert_eq!(
            ids(&directory),
            ["c.C.x"],
            "when it is free, the next has it"
        );
    }
}
