//! Who has which route.

use std::collections::HashMap;

use framex_core::descriptor::ApiDescriptor;
use framex_core::id::ApiId;
use framex_core::route::shape;

/// Routes and the APIs that have them. Those of bridged APIs are apart: they yield to
/// others, and keep none from having theirs.
#[derive(Default)]
pub(crate) struct Claims<'a>(HashMap<(bool, String), &'a ApiId>);

/// A route that another API has.
pub(crate) struct Taken<'a> {
    pub(crate) route: String,
    pub(crate) first: &'a ApiId,
}

impl<'a> Claims<'a> {
    /// Takes all routes of an API, or none of them.
    pub(crate) fn take(&mut self, api: &'a ApiDescriptor) -> Result<(), Taken<'a>> {
        self.take_as(api, api.bridged)
    }

    /// As [`Claims::take`], for an API that counts as bridged, or as none.
    pub(crate) fn take_as(
        &mut self,
        api: &'a ApiDescriptor,
        bridged: bool,
    ) -> Result<(), Taken<'a>> {
        let key = |route: &framex_core::route::Route| {
            (bridged, format!("{} {}", route.method, shape(&route.path)))
        };
        for route in &api.routes {
            if let Some(first) = self.0.get(&key(route)).filter(|id| **id != &api.id) {
                let route = route.to_string();
                return Err(Taken { route, first });
            }
        }
        self.0
            .extend(api.routes.iter().map(|route| (key(route), &api.id)));
        Ok(())
    }
}
