//! The catalog: every API that can be called now.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use framex_core::context::Scope;
use framex_core::descriptor::{ApiDescriptor, PluginMetadata};
use framex_core::error::CallError;
use framex_core::id::ApiId;
use framex_core::route::Route;
use serde::Serialize;
use smallvec::SmallVec;

use crate::local::LocalApi;
use crate::nats::Remote;

/// One API of the catalog.
pub struct Api {
    /// What it is.
    pub descriptor: Arc<ApiDescriptor>,
    /// Whose it is.
    pub plugin: Arc<PluginMetadata>,
    /// The handler, where this process serves it itself.
    pub(crate) local: Option<Arc<LocalApi>>,
    /// Those who serve it elsewhere.
    pub(crate) remote: Option<Arc<Remote>>,
}

impl Api {
    /// How many processes serve it now, as far as this one knows.
    #[must_use]
    pub fn instances(&self) -> usize {
        let elsewhere = self.remote.as_ref().map_or(0, |r| r.endpoints.load().len());
        elsewhere + usize::from(self.local.is_some())
    }
}

impl Api {
    /// Who comes first where several have the same route: a plugin that is there, what
    /// another service has in its place, a plugin that is only remembered.
    #[must_use]
    pub fn yields(&self) -> u8 {
        match (self.descriptor.bridged, self.is_forsaken()) {
            (false, false) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (true, true) => 3,
        }
    }

    /// Whether it is remembered only: those who served it elsewhere are gone, or say
    /// nothing any more.
    #[must_use]
    pub fn is_forsaken(&self) -> bool {
        self.local.is_none() && self.remote.is_some() && self.instances() == 0
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Api({})", self.descriptor.id)
    }
}

/// A plugin of the catalog with its APIs' ids.
#[derive(Debug, Serialize)]
pub struct PluginEntry<'a> {
    /// What it says about itself.
    #[serde(flatten)]
    pub metadata: &'a PluginMetadata,
    /// Its APIs.
    pub apis: Vec<&'a ApiId>,
}

/// Everything that can be called, as of one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    apis: BTreeMap<ApiId, Arc<Api>>,
    by_path: HashMap<String, Vec<Arc<Api>>>,
}

impl Catalog {
    pub(crate) fn new(apis: impl IntoIterator<Item = Arc<Api>>) -> Self {
        let mut catalog = Self::default();
        for api in apis {
            let mut paths: Vec<&str> = api
                .descriptor
                .routes
                .iter()
                .map(|r| r.path.as_str())
                .collect();
            paths.dedup();
            for path in paths {
                catalog
                    .by_path
                    .entry(path.to_owned())
                    .or_default()
                    .push(Arc::clone(&api));
            }
            catalog.apis.insert(api.descriptor.id.clone(), api);
        }
        catalog
    }

    /// A catalog of what is described, served by nobody.
    ///
    /// For what needs a catalog but no bus: documents, checks. A later API
    /// replaces an earlier one of the same id.
    #[must_use]
    pub fn from_descriptors(
        described: impl IntoIterator<Item = (PluginMetadata, ApiDescriptor)>,
    ) -> Self {
        let apis: BTreeMap<ApiId, Arc<Api>> = described
            .into_iter()
            .map(|(plugin, descriptor)| {
                let api = Api {
                    plugin: Arc::new(plugin),
                    descriptor: Arc::new(descriptor),
                    local: None,
                    remote: None,
                };
                (api.descriptor.id.clone(), Arc::new(api))
            })
            .collect();
        Self::new(apis.into_values())
    }

    /// Every API, by id.
    pub fn apis(&self) -> impl Iterator<Item = &Arc<Api>> {
        self.apis.values()
    }

    /// The API called `id`.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Api>> {
        let id = ApiId::parse(id).ok()?;
        self.apis.get(&id)
    }

    /// Every plugin, by name.
    #[must_use]
    pub fn plugins(&self) -> Vec<PluginEntry<'_>> {
        let mut plugins: BTreeMap<&str, PluginEntry<'_>> = BTreeMap::new();
        for api in self.apis.values() {
            plugins
                .entry(&api.plugin.name)
                .or_insert_with(|| PluginEntry {
                    metadata: &api.plugin,
                    apis: Vec::new(),
                })
                .apis
                .push(&api.descriptor.id);
        }
        plugins.into_values().collect()
    }

    /// As [`Catalog::resolve`], for the plugin of `scope`.
    ///
    /// # Errors
    ///
    /// [`CallError::Undeclared`] if it has not declared `target`.
    pub(crate) fn resolve_for(&self, scope: &Scope, target: &str) -> Result<Arc<Api>, CallError> {
        let resolved = self.resolve(target);
        let known = resolved.as_ref().ok().map(|api| &*api.descriptor);
        if scope.may_call(target, known) {
            return resolved;
        }
        Err(CallError::Undeclared {
            plugin: scope.plugin().name.clone(),
            target: target.to_owned(),
        })
    }

    /// The API that `target` means: an id, a path template (`/api/v1/echo`), or a
    /// method and a path template (`GET /api/v1/echo`). Where several APIs have a path, one
    /// that somebody serves goes before one that is remembered only, and then one of a plugin
    /// before one that is bridged.
    ///
    /// # Errors
    ///
    /// [`CallError::Unknown`]; [`CallError::Ambiguous`] for a path with several APIs that
    /// are equal in that.
    pub fn resolve(&self, target: &str) -> Result<Arc<Api>, CallError> {
        let unknown = || CallError::Unknown {
            target: target.to_owned(),
        };
        let (method, path) = match target.split_once(' ') {
            Some((method, path)) => (Some(method), path),
            None => (None, target),
        };
        if !path.starts_with('/') {
            return self.get(target).cloned().ok_or_else(unknown);
        }
        let at_path = self.by_path.get(path).map_or(&[][..], Vec::as_slice);
        let route = |route: &Route| {
            route.path == path
                && method.is_none_or(|m| route.method.as_str().eq_ignore_ascii_case(m))
        };
        let found = at_path
            .iter()
            .filter(|api| api.descriptor.routes.iter().any(route));
        // Whoever is not there yields, and so does what is bridged.
        let rank = |api: &Arc<Api>| (api.is_forsaken(), api.descriptor.bridged);
        let mut best: SmallVec<[&Arc<Api>; 2]> = SmallVec::new();
        for api in found {
            match best.first().map(|first| rank(api).cmp(&rank(first))) {
                Some(Ordering::Greater) => continue,
                Some(Ordering::Less) => best.clear(),
                Some(Ordering::Equal) | None => {}
            }
            best.push(api);
        }
        match &best[..] {
            [] => Err(unknown()),
            [api] => Ok(Arc::clone(api)),
            several => Err(CallError::Ambiguous {
                target: target.to_owned(),
                candidates: several
                    .iter()
                    .flat_map(|api| &api.descriptor.routes)
                    .map(|route| format!("`{route}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use framex_core::descriptor::ApiKind;

    use super::*;

    #[test]
    fn a_catalog_is_made_of_descriptors() {
        let describe = |summary: &str| {
            let id = ApiId::parse("a.B.c").unwrap();
            let mut descriptor = ApiDescriptor::new(id, ApiKind::Http);
            descriptor.summary = summary.into();
            descriptor.routes.push(Route {
                method: "GET".parse().unwrap(),
                path: "/c".into(),
            });
            (PluginMetadata::default(), descriptor)
        };
        let catalog = Catalog::from_descriptors([describe("old"), describe("new")]);
        let api = catalog.resolve("/c").unwrap();
        assert_eq!((api.instances(), &*api.descriptor.summary), (0, "new"));
    }
}
