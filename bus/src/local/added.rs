//! The APIs that plugins serve beside those of their methods, for as long as they say.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use framex_core::args::Args;
use framex_core::context::Context;
use framex_core::descriptor::ApiDescriptor;
use framex_core::error::Error;
use framex_core::expand;
use framex_core::id::ApiId;
use framex_core::plugin::{AddedApi, Handler, Refused};
use framex_core::reply::Reply;
use futures_core::future::BoxFuture;

use super::{LocalBus, Place};
use crate::catalog::{Api, Catalog};
use crate::claims::Claims;

/// The handler that an added API has now. Its entry in the catalog stays while what it
/// says of itself does.
pub(super) struct Latest(ArcSwap<Arc<dyn Handler>>);

impl Handler for Latest {
    fn call(&self, ctx: Context, args: Args) -> BoxFuture<'static, Result<Reply, Error>> {
        self.0.load().call(ctx, args)
    }
}

impl LocalBus {
    /// Serves `apis` in place of those that the plugin at `place` added before.
    pub(super) fn replace_added(&self, place: &Place, apis: Vec<AddedApi>) -> Vec<Refused> {
        let catalog = self.catalog.load();
        let name = &place.plugin.name;
        let mut stay: Vec<Arc<Api>> = Vec::new();
        let mut before: HashMap<&ApiId, &Arc<Api>> = HashMap::new();
        for api in catalog.apis() {
            match latest(api).filter(|_| api.plugin.name == *name) {
                Some(_) => drop(before.insert(&api.descriptor.id, api)),
                None => stay.push(Arc::clone(api)),
            }
        }
        let verdicts = judge(name, &stay, &apis);
        let mut refused = Vec::new();
        let mut changed = false;
        let mut served = stay.clone();
        for (
            AddedApi {
                descriptor,
                handler,
            },
            verdict,
        ) in apis.into_iter().zip(verdicts)
        {
            if let Some(reason) = verdict {
                let api = descriptor.id.clone();
                refused.push(Refused { api, reason });
                continue;
            }
            let known = before.remove(&descriptor.id);
            let same = known.filter(|api| same(&api.descriptor, &descriptor));
            match same.and_then(|api| Some((api, latest(api)?))) {
                Some((api, latest)) => {
                    latest.0.store(Arc::new(handler));
                    served.push(Arc::clone(api));
                }
                None => {
                    changed = true;
                    let latest = Arc::new(Latest(ArcSwap::from_pointee(handler)));
                    let handler = Arc::clone(&latest) as _;
                    served.push(self.api(place, descriptor, handler, Some(latest)));
                }
            }
        }
        if changed || !before.is_empty() {
            self.publish(Catalog::new(served));
        }
        refused
    }
}

/// What is wrong with each of `apis`, beside those that `stay`.
fn judge(plugin: &str, stay: &[Arc<Api>], apis: &[AddedApi]) -> Vec<Option<String>> {
    let mut claims = Claims::default();
    // Within one plugin nothing yields: it could have given one of them another path.
    let mut own = Claims::default();
    let mut ids = BTreeSet::new();
    for api in stay {
        // They agree already.
        let _ = claims.take(&api.descriptor);
        if api.plugin.name == plugin {
            let _ = own.take_as(&api.descriptor, false);
            ids.insert(&api.descriptor.id);
        }
    }
    let mut verdicts = Vec::with_capacity(apis.len());
    for AddedApi { descriptor, .. } in apis {
        let verdict = fault(plugin, descriptor, &ids).or_else(|| {
            let taken = claims
                .take(descriptor)
                .and_then(|()| own.take_as(descriptor, false));
            let taken = taken.err()?;
            Some(format!(
                "its route `{}` is the one of `{}`",
                taken.route, taken.first
            ))
        });
        if verdict.is_none() {
            ids.insert(&descriptor.id);
        }
        verdicts.push(verdict);
    }
    verdicts
}

/// What is wrong with an API by itself.
fn fault(plugin: &str, api: &ApiDescriptor, taken: &BTreeSet<&ApiId>) -> Option<String> {
    if api.id.plugin() != plugin {
        return Some(format!("its id does not begin with `{plugin}.`"));
    }
    if taken.contains(&api.id) {
        return Some("its id is that of another one".to_owned());
    }
    expand::check(api).err()
}

fn same(a: &Arc<ApiDescriptor>, b: &Arc<ApiDescriptor>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn latest(api: &Api) -> Option<&Latest> {
    api.local.as_ref()?.added.as_deref()
}
