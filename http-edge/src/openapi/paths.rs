//! Paths: route templates as OpenAPI writes them.
//!
//! OpenAPI takes `/items/{id}` and `/items/{key}` for the same path, whatever
//! their methods, and has no word for `{*rest}`.

use std::collections::BTreeMap;

use framex_core::route;
use http::Method;
use serde_json::map::{Entry, VacantEntry};
use serde_json::{Map, Value};

/// The document's paths, as far as they are known.
#[derive(Default)]
pub(super) struct Templates(BTreeMap<String, Template>);

/// One path, written as it was when it was first seen.
pub(super) struct Template {
    path: String,
    parameters: Vec<String>,
    /// Operations by method.
    item: Map<String, Value>,
}

/// A parameter of a path.
pub(super) struct PathParameter {
    /// What the API calls it.
    pub(super) own: String,
    /// What the document calls it.
    pub(super) shown: String,
    /// Whether it stands for the rest of the path.
    pub(super) rest: bool,
}

impl Templates {
    /// The entry for `path` with its parameters; none if `path` is no template.
    pub(super) fn entry(&mut self, path: &str) -> Option<(&mut Template, Vec<PathParameter>)> {
        let own = route::parameters(path)
            .ok()
            .filter(|_| path.starts_with('/'))?;
        let template = self
            .0
            .entry(with_parameters(path, |_| "{}".to_owned()))
            .or_insert_with(|| Template {
                path: with_parameters(path, |name| format!("{{{name}}}")),
                parameters: own.clone(),
                item: Map::new(),
            });
        let shown = template.parameters.iter().cloned();
        let parameters = own
            .into_iter()
            .zip(shown)
            .map(|(own, shown)| PathParameter {
                rest: path.ends_with(&format!("{{*{own}}}")),
                own,
                shown,
            })
            .collect();
        Some((template, parameters))
    }

    pub(super) fn into_paths(self) -> Map<String, Value> {
        self.0
            .into_values()
            .filter(|template| !template.item.is_empty())
            .map(|template| (template.path, Value::Object(template.item)))
            .collect()
    }
}

impl Template {
    /// The place of a method's operation; none for methods that OpenAPI has not,
    /// and for those that another route has already.
    pub(super) fn vacancy(&mut self, method: &Method) -> Option<VacantEntry<'_>> {
        let known = [
            Method::GET,
            Method::PUT,
            Method::POST,
            Method::DELETE,
            Method::OPTIONS,
            Method::HEAD,
            Method::PATCH,
            Method::TRACE,
        ];
        let name = known
            .contains(method)
            .then(|| method.as_str().to_lowercase())?;
        match self.item.entry(name) {
            Entry::Vacant(place) => Some(place),
            Entry::Occupied(_) => None,
        }
    }
}

/// `path` with each parameter, `{name}` or `{*name}`, written by `write`.
fn with_parameters(path: &str, write: impl Fn(&str) -> String) -> String {
    let segments = path.split('/').map(|segment| {
        match segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
        {
            Some(name) => write(name.trim_start_matches('*')),
            None => segment.to_owned(),
        }
    });
    segments.collect::<Vec<_>>().join("/")
}
