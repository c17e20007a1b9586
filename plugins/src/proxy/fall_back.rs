//! Calls that nobody on the bus answers.
//!
//! First the operations of the upstreams are looked through, also those whose routes plugins
//! have. What is none of them goes to the upstream with the longest `prefix` of those whose rules
//! allow its path, the first of equals.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::{Arc, LazyLock, Weak};

use framex_core::args::{Aim, Args, Named};
use framex_core::context::Context;
use framex_core::descriptor::{ApiDescriptor, ApiKind, ReplyShape};
use framex_core::error::{Error, Result};
use framex_core::id::ApiId;
use framex_core::plugin::{AddedApi, Handler};
use framex_core::reply::Reply;
use framex_core::route::parameters;
use futures_core::future::BoxFuture;
use http::Method;
use percent_encoding::percent_decode_str;

use super::rules::readings;
use super::surface::{Surface, split};
use super::unknown;
use super::watch::{Served, Watched};

/// Its id: what FrameX processes call that find nobody.
const ID: &str = "proxy.ProxyPlugin.fall_back";

static DESCRIPTOR: LazyLock<Arc<ApiDescriptor>> = LazyLock::new(|| {
    let id = ApiId::parse(ID).unwrap_or_else(|_| unreachable!("a valid id"));
    let mut api = ApiDescriptor::new(id, ApiKind::Func);
    api.summary = "Takes the calls that nobody on the bus answers.".to_owned();
    api.reply = ReplyShape::Response;
    api.bridged = true;
    api.raw = true;
    api.live = true;
    api.headers = true;
    api.max_body_size = Some(u64::MAX);
    // The upstream's own time limit counts.
    api.timeout = Some(std::time::Duration::from_secs(60 * 60));
    Arc::new(api)
});

/// The API that takes them.
pub(crate) fn api(surface: &Arc<Surface>) -> AddedApi {
    AddedApi {
        descriptor: Arc::clone(&DESCRIPTOR),
        handler: Arc::new(FallBack(Arc::downgrade(surface))),
    }
}

struct FallBack(Weak<Surface>);

impl Handler for FallBack {
    fn call(&self, ctx: Context, args: Args) -> BoxFuture<'static, Result<Reply>> {
        let surface = self.0.upgrade();
        Box::pin(async move {
            let stopping = || Error::unavailable("the bridge is stopping");
            surface.ok_or_else(stopping)?.fall_back(ctx, args).await
        })
    }
}

impl Surface {
    async fn fall_back(&self, ctx: Context, args: Args) -> Result<Reply> {
        match args.aim()? {
            Aim::Request(method, path) => self.request(ctx, args, &method, &path).await,
            // A client's request whose form was read: nothing that could be passed on.
            Aim::Named(target) if args.by_http() => Err(unknown(&target.unwrap_or_default())),
            Aim::Named(target) => self.call(ctx, args, &target.unwrap_or_default()).await,
        }
    }

    /// A client's request. It has passed the rules of the edge; the bridge's own keys are only
    /// for those whom the edge has asked for one, and for what is said to be public.
    async fn request(
        &self,
        ctx: Context,
        args: Args,
        method: &Method,
        path: &str,
    ) -> Result<Reply> {
        let target = || format!("{method} {path}");
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let readings = readings(path);
        let asked = ctx.principal().is_some();
        let held_back = |path: &Cow<'_, str>| {
            let served = self.at(method, path);
            !asked && served.is_some_and(|served| served.descriptor.guarded)
        };
        if is_the_edges(&decoded) || readings.iter().any(held_back) {
            return Err(unknown(&target()));
        }
        if let Some(served) = self.at(method, path) {
            return served.handler.call(ctx, args).await;
        }
        let allowed = |watched: &&Arc<Watched>| {
            let upstream = &watched.upstream;
            upstream.own_path(path).is_some_and(|own| {
                let known = watched.forwarder.known();
                let keyless = || upstream.keys.key_for_request(own).is_none();
                let open = || asked || upstream.public.contains_raw(own);
                // What the document has is passed as far as the document says.
                let read = percent_decode_str(own).decode_utf8_lossy();
                let meant = known.meant(method, &read);
                let fits = meant.is_none_or(|meant| meant.published && (asked || !meant.guarded));
                fits && upstream.published.contains_raw(own) && (open() || keyless())
            })
        };
        let watched = nearest(self.upstreams().iter().filter(allowed));
        match (watched, args.passed()?) {
            (Some(watched), Some(passed)) => watched.forwarder.pass(&ctx, passed).await,
            _ => Err(unknown(&target())),
        }
    }

    /// A plugin's call. Plugins are trusted with what they declare.
    async fn call(&self, ctx: Context, args: Args, target: &str) -> Result<Reply> {
        if let Some(served) = self.named(target) {
            let args = renamed(args, &served, target)?;
            return served.handler.call(ctx, args).await;
        }
        let (_, path) = split(target);
        let path = path.split('?').next().unwrap_or_default();
        if path.contains(['{', '}']) {
            // A template that no operation has: nobody could fill it.
            return Err(unknown(target));
        }
        let allowed = |watched: &&Arc<Watched>| {
            let own = watched.upstream.own_path(path);
            own.is_some_and(|own| watched.upstream.published.contains_raw(own))
        };
        let Some(watched) = nearest(self.upstreams().iter().filter(allowed)) else {
            return Err(unknown(target));
        };
        let named = args.named(&DESCRIPTOR)?;
        watched.forwarder.call(&ctx, target, named).await
    }
}

/// Of `all`, the first with the longest prefix.
fn nearest<'a>(all: impl Iterator<Item = &'a Arc<Watched>>) -> Option<&'a Arc<Watched>> {
    all.min_by_key(|watched| Reverse(watched.upstream.prefix.len()))
}

/// What every edge answers itself.
const PAGES: [&str; 8] = [
    "/health",
    "/ready",
    "/ping",
    "/version",
    "/metrics",
    "/docs",
    "/redoc",
    "/api/v1/openapi.json",
];
/// And what is below.
const BELOW: [&str; 3] = ["/docs/", "/redoc/", "/api/v1/streams/"];

/// Whether an edge would answer the decoded `path` itself, were it written so.
pub(crate) fn is_the_edges(path: &str) -> bool {
    PAGES.contains(&path) || BELOW.iter().any(|start| path.starts_with(start))
}

/// The arguments of a call of `target` with the names that `served` has for what stands in its
/// path: they are those of the template that was called.
fn renamed(args: Args, served: &Served, target: &str) -> Result<Args> {
    let (_, path) = split(target);
    let Some(route) = served.route().filter(|route| route.path != path) else {
        return Ok(args);
    };
    let names = |path: &str| parameters(path).unwrap_or_default();
    let (called, own) = (names(path), names(&route.path));
    if called == own || called.len() != own.len() {
        return Ok(args);
    }
    let Named {
        mut values, files, ..
    } = args.named(&served.descriptor)?;
    let given: Vec<_> = called.iter().map(|name| values.remove(name)).collect();
    for (name, value) in own.into_iter().zip(given) {
        values.extend(value.map(|value| (name, value)));
    }
    let args = Args::new(&values)?;
    Ok(files
        .into_iter()
        .fold(args, |args, (name, file)| args.with_file(name, file)))
}
