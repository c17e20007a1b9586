//! Which requests are sent to an upstream at all, and with which key.

use framex_core::error::{Error, Result};
use framex_core::route;
use framex_core::settings::Secret;
use http::{HeaderValue, Method};
use percent_encoding::percent_decode_str;

use super::{Forwarder, target};
use crate::proxy::document::Meant;
use crate::proxy::operation::Shape;

/// Who asks for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Client,
    Plugin,
}

impl Forwarder {
    /// The key for a request to `path` of the upstream that is no operation's.
    ///
    /// # Errors
    ///
    /// 404 for what nobody may ask for.
    pub(super) fn admit_undescribed(&self, path: &str) -> Result<Option<HeaderValue>> {
        if target::is_between_systems(&format!("{}{path}", self.upstream.path)) {
            return Err(nothing());
        }
        self.key(self.upstream.keys.key_for_request(path))
    }

    /// The key for a request of the operation `shape` to `path`, as its document writes paths.
    ///
    /// A template stands for paths of other operations as well, or of what is not published.
    /// Clients ask for an operation by its own path; a plugin reaches another one only where
    /// anybody does. And what has encoded slashes may be read as another path: that has to be
    /// published as well, no other operation's, and no key of ours may open it.
    ///
    /// # Errors
    ///
    /// 404 for what is not published, 400 for what is not the same to everybody.
    pub(super) fn admit(
        &self,
        method: &Method,
        path: &str,
        shape: &Shape,
        by: By,
    ) -> Result<Option<HeaderValue>> {
        let published = &self.upstream.published;
        let whole = format!("{}{path}", shape.base);
        // Of a base of its own, what is disabled may be below the usual one.
        let usual = match shape.base == self.upstream.path {
            true => None,
            false => whole.strip_prefix(&*self.upstream.path),
        };
        let excluded = published.excludes(path) || usual.is_some_and(|own| published.excludes(own));
        if excluded || shape.path != path && target::is_between_systems(&whole) {
            return Err(nothing());
        }
        let other_reading = target::other_reading(path)?;
        let known = self.known();
        let meant = known.meant(method, &percent_decode_str(path).decode_utf8_lossy());
        // What no route can have, such as `/{name}.json`, has no path of its own here.
        let has_route = |path: &str| route::parameters(path).is_ok();
        let is_own = |path: &str| {
            path == shape.path || has_route(path) && route::shape(path) == route::shape(&shape.path)
        };
        let meant = meant.filter(|meant| !is_own(&meant.template));
        let template = meant.map_or(&shape.path, |meant| &meant.template);
        let key = self.key_for(template)?;
        if let Some(other) = other_reading {
            return match key.is_some() || meant.is_some() || !published.contains(&other) {
                true => Err(target::ambiguous("an encoded slash")),
                false => Ok(key),
            };
        }
        let anybodys = |meant: &Meant| {
            let may = by == By::Plugin || !has_route(&meant.template);
            may && meant.published && !meant.guarded
        };
        match meant.is_none_or(anybodys) {
            true => Ok(key),
            false => Err(nothing()),
        }
    }

    /// Our key for `path`, as the upstream's document has it.
    pub(super) fn key_for(&self, path: &str) -> Result<Option<HeaderValue>> {
        self.key(self.upstream.keys.key_for(path))
    }

    fn key(&self, key: Option<&Secret>) -> Result<Option<HeaderValue>> {
        let Some(key) = key else {
            return Ok(None);
        };
        let unusable = |_| {
            let name = &self.upstream.name;
            Error::internal(format!(
                "a key for the upstream `{name}` cannot be a header"
            ))
        };
        let mut value = HeaderValue::from_str(key.expose()).map_err(unusable)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn nothing() -> Error {
    Error::not_found("Not Found")
}
