//! What a target means.

use std::sync::Arc;

use framex_bus::{Api, Catalog};
use framex_core::descriptor::{ApiDescriptor, ApiKind};
use framex_core::error::CallError;
use framex_core::id::ApiId;
use framex_core::settings::nearest;

use crate::cli::failure::Failure;

/// What is called.
pub(super) enum Called {
    Api(Arc<Api>),
    /// What nobody on the bus has, and how it looks; the bridge may know it. What else may have
    /// been meant.
    Elsewhere(Box<ApiDescriptor>, String),
}

impl Called {
    pub(super) fn descriptor(&self) -> &ApiDescriptor {
        match self {
            Self::Api(api) => &api.descriptor,
            Self::Elsewhere(descriptor, _) => descriptor,
        }
    }
}

/// What `target` means; `bridged`: somebody takes what nobody on the bus has.
pub(super) fn find(
    catalog: &Catalog,
    target: &str,
    bridged: bool,
    empty: impl FnOnce() -> String,
) -> Result<Called, Failure> {
    if catalog.apis().next().is_none() {
        return Err(Failure::Told(empty()));
    }
    let error = match catalog.resolve(target) {
        Ok(api) => return Ok(Called::Api(api)),
        Err(error) => error,
    };
    if !matches!(error, CallError::Unknown { .. }) {
        return Err(Failure::Told(error.to_string()));
    }
    let names: Vec<String> = catalog
        .apis()
        .flat_map(|api| {
            let routes = &api.descriptor.routes;
            let id = api.descriptor.id.to_string();
            let paths = routes.iter().map(|route| route.path.clone());
            paths
                .chain(routes.iter().map(ToString::to_string))
                .chain([id])
        })
        .collect();
    let hint = match nearest(target, names.iter().map(String::as_str)) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => "; the command `apis` lists all there are".to_owned(),
    };
    match ApiId::parse("bridge.Bridge.any") {
        Ok(id) if bridged => {
            let mut descriptor = ApiDescriptor::new(id, ApiKind::Func);
            descriptor.bridged = true;
            Ok(Called::Elsewhere(Box::new(descriptor), hint))
        }
        _ => Err(Failure::Told(format!("{error}{hint}"))),
    }
}
