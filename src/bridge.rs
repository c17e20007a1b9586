//! The way from a call that nobody answers to the bridge.

use std::sync::{Arc, Weak};

use framex_bus::{Bus, Call, Catalog, Fallback};
use framex_core::context::Request;
use framex_core::descriptor::ApiDescriptor;
use framex_core::error::CallError;
use framex_core::route::{Route, same_shape};
use serde_json::Value;

/// The built-in plugin that takes such calls.
pub(crate) const PLUGIN: &str = "proxy";

/// The API of the built-in plugin `proxy` that takes such calls, wherever it runs.
const FALL_BACK: &str = "proxy.ProxyPlugin.fall_back";

/// See the module.
pub(crate) struct Bridge {
    bus: Weak<dyn Bus>,
}

impl Bridge {
    /// Gives what nobody on `bus` answers to the bridge on that bus.
    pub(crate) fn attach(bus: &Arc<dyn Bus>) {
        let bridge = Self {
            bus: Arc::downgrade(bus),
        };
        bus.set_fallback(Arc::new(bridge));
    }
}

impl Fallback for Bridge {
    fn call(&self, target: &str, known: Option<&ApiDescriptor>, request: Request) -> Call {
        let unknown = || CallError::Unknown {
            target: FALL_BACK.to_owned(),
        };
        let Some(bus) = self.bus.upgrade() else {
            return Call::failed(unknown());
        };
        let catalog = bus.catalog();
        let Some(api) = catalog.get(FALL_BACK).cloned() else {
            return Call::failed(unknown());
        };
        let Request { args, meta } = request;
        let target = match known.map(|known| stand_in(&catalog, known, args.by_http())) {
            None => target,
            Some(Some(StandIn::Route)) => target,
            Some(Some(StandIn::Id(id))) => id,
            Some(None) => return Call::failed(unknown()),
        };
        match args.aimed_at(target) {
            Ok(args) => bus.call(&api, Request { args, meta }),
            Err(error) => Call::failed(CallError::Handler(error)),
        }
    }
}

/// How an operation behind the bridge is the same as an API.
#[derive(Debug, PartialEq)]
enum StandIn<'a> {
    /// It has a route of the API.
    Route,
    /// It is the API, at a FrameX behind the bridge.
    Id(&'a str),
}

/// The operation of `catalog` that may take the calls of `known`, which nobody serves now: not
/// whatever answers the same path. A client's request needs the same route.
fn stand_in<'a>(catalog: &Catalog, known: &'a ApiDescriptor, by_http: bool) -> Option<StandIn<'a>> {
    let bridged = || {
        let apis = catalog.apis().map(|api| &*api.descriptor);
        apis.filter(|api| api.bridged)
    };
    let is_one = |route: &Route| {
        let same = |own: &Route| own.method == route.method && same_shape(&own.path, &route.path);
        known.routes.iter().any(same)
    };
    if bridged().any(|api| api.routes.iter().any(is_one)) {
        return Some(StandIn::Route);
    }
    let id = known.id.as_str();
    let is_it = |api: &ApiDescriptor| {
        let operation = api.operation.as_ref();
        let named = operation.and_then(|operation| operation.get("x-framex-api"));
        named.and_then(Value::as_str) == Some(id)
    };
    (!by_http && bridged().any(is_it)).then_some(StandIn::Id(id))
}

#[cfg(test)]
mod tests {
    use framex_core::descriptor::{ApiKind, PluginMetadata};
    use framex_core::id::ApiId;
    use serde_json::json;

    use super::*;

    fn api(id: &str, routes: &[&str]) -> ApiDescriptor {
        let mut api = ApiDescriptor::new(ApiId::parse(id).unwrap(), ApiKind::Http);
        let route = |text: &&str| {
            let (method, path) = text.split_once(' ').unwrap();
            Route {
                method: method.parse().unwrap(),
                path: path.to_owned(),
            }
        };
        api.routes = routes.iter().map(route).collect();
        api
    }

    #[test]
    fn only_the_same_api_stands_in() {
        let bridged = |id: &str, routes: &[&str], is: Option<&str>| {
            let mut api = api(id, routes);
            api.bridged = true;
            api.operation = is.map(|id| json!({ "x-framex-api": id }));
            (PluginMetadata::default(), api)
        };
        let catalog = Catalog::from_descriptors([
            bridged("proxy.one.items", &["GET /items/{item}"], None),
            bridged("proxy.two.echo", &["GET /two/echo"], Some("e.E.echo")),
            (PluginMetadata::default(), api("x.X.x", &["GET /x"])),
        ]);
        let id = StandIn::Id("e.E.echo");
        for (known, routes, by_http, found) in [
            (
                "i.I.items",
                &["GET /items/{id}"][..],
                true,
                Some(StandIn::Route),
            ),
            (
                "i.I.items",
                &["GET /items/{id}"],
                false,
                Some(StandIn::Route),
            ),
            ("i.I.items", &["POST /items/{id}"], false, None),
            ("i.I.items", &["GET /items/{id}/x"], false, None),
            ("e.E.echo", &["GET /echo"], false, Some(id)),
            ("e.E.echo", &["GET /echo"], true, None),
            ("y.Y.y", &["GET /x"], true, None),
            ("y.Y.y", &[], false, None),
        ] {
            let known = api(known, routes);
            assert_eq!(stand_in(&catalog, &known, by_http), found, "{known:?}");
        }
    }
}
