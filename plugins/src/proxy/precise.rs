//! Templates stand for paths that are other operations' too, where nobody asked for a key or
//! where they are written otherwise: such an operation is not reached through a template.

use std::sync::{Arc, Weak};

use framex_core::args::{Aim, Args};
use framex_core::context::Context;
use framex_core::error::{Error, Result};
use framex_core::plugin::Handler;
use framex_core::reply::Reply;
use futures_core::future::BoxFuture;

use super::surface::Surface;
use super::unknown;
use super::watch::Served;

/// What runs `served`.
pub(crate) fn handler(surface: &Arc<Surface>, served: &Arc<Served>) -> Arc<dyn Handler> {
    if !served.shape.path.contains('{') {
        return Arc::clone(&served.handler);
    }
    Arc::new(Template {
        surface: Arc::downgrade(surface),
        served: Arc::clone(served),
    })
}

struct Template {
    surface: Weak<Surface>,
    served: Arc<Served>,
}

impl Template {
    /// An error if the upstream reads a request as one for another of its operations.
    fn check(&self, args: &Args) -> Result<(), Error> {
        // Plugins name an operation, and the values of its path.
        if !args.by_http() {
            return Ok(());
        }
        let (Aim::Request(method, path), Some(surface)) = (args.aim()?, self.surface.upgrade())
        else {
            return Ok(());
        };
        match surface.is_anothers(&self.served, &method, &path) {
            true => Err(unknown(&format!("{method} {path}"))),
            false => Ok(()),
        }
    }
}

impl Handler for Template {
    fn call(&self, ctx: Context, args: Args) -> BoxFuture<'static, Result<Reply>> {
        match self.check(&args) {
            Ok(()) => self.served.handler.call(ctx, args),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}
