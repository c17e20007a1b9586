//! The attributes that make a Rust type a FrameX plugin.
//!
//! They are used through the facade crate, `framex`. The code they write names
//! everything through `framex::__private` (`core/src/expand.rs`), so that it
//! depends on nothing in the author's scope.
//!
//! The way of an `impl`: `read` makes a `model` of it and notes every
//! mistake at its place, `check` looks for contradictions, `expand` writes
//! the code. The author's own code is emitted whatever happens.

#![expect(
    clippy::large_enum_variant,
    reason = "what a macro reads is little and lives shortly"
)]

mod api_options;
mod argument;
mod check;
mod docs;
mod errors;
mod expand;
mod keys;
mod lifecycle;
mod model;
mod plugin_options;
mod proxy;
mod read;
mod remote;
mod result;
mod root;
mod signature;
mod template;
mod types;

use proc_macro::TokenStream;

/// Makes an `impl` a plugin, and its `#[on_request]` methods its APIs.
///
/// ```text
/// #[on_register(plugin = "shop", author = "me", config = ShopConfig)]
/// impl Shop { .. }
/// ```
///
/// | key | meaning |
/// |---|---|
/// | `plugin = ".."` | required: the plugin's name, of ASCII letters, digits, `_` and `-` |
/// | `version = ".."` | the version of the crate it is in, if not given |
/// | `description = ".."` | the doc comment of the `impl`, if not given |
/// | `author = ".."`, `url = ".."` | who answers for it, where it lives |
/// | `required_remote_apis = [".."]` | what it may call: API ids, paths, or `"*"` |
/// | `priority = 10` | plugins start in descending priority |
/// | `tags = [".."]` | OpenAPI tags of APIs that name none |
/// | `max_ongoing_requests = 64` | how many calls it runs at once |
/// | `config = Type` | what `[plugins.<name>]` holds; the type of `new`'s argument, if not given |
/// | `crate = ::fx` | where FrameX is, if the manifest does not say it: a re-export |
///
/// These methods are called by their names:
///
/// - `fn new(config: Config) -> Self`, `fn new() -> Self`, or either with a
///   `Result<Self, E>`. Without it the type must be `Default`.
/// - `async fn on_start(&self, ctx: &Context)` or without `ctx`, before the first call;
/// - `async fn on_stop(&self)`, after the last. Both may return a `Result<(), E>`.
#[proc_macro_attribute]
pub fn on_register(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::register(options.into(), item.into()).into()
}

/// Makes a method of a `#[on_register]` `impl` an API.
///
/// ```text
/// #[on_request(get, "/items/{id}", timeout = "5s")]
/// async fn item(&self, id: u64, #[arg(default = 10)] limit: u32) -> Result<Item> { .. }
/// ```
///
/// How it is reached: a path with one or more of `get`, `post`, `put`, `patch`,
/// `delete`, `head`, `options`; or `func`, on the bus only; or `all` with a path,
/// both. `echo`, `/echo` and `/api/v1/echo` are the same path. `{id}` is a
/// parameter, `{rest:path}` or `{*rest}` takes the rest of the path.
///
/// | word | meaning |
/// |---|---|
/// | `stream` | it returns a stream; a client that loses it may go on where it was |
/// | `stream = live` | it returns a stream that ends with its client |
/// | `raw` | its answer goes out without the envelope |
/// | `guarded` | its routes are published only where a rule of `auth.rules` protects them |
/// | `idempotent` | running it twice does no harm |
/// | `deprecated`, `include_in_schema = false` | in the OpenAPI document |
/// | `api_prefix = false` | the path is taken as it is |
/// | `timeout = "30s"` | `ms`, `s`, `m` or `h` |
/// | `max_ongoing_requests = 8` | how many calls of it run at once |
/// | `max_body_size = "1GiB"` | the largest body it takes, if not `server.max_body_size`; `B`, `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB` |
/// | `tags = [".."]`, `summary = ".."`, `description = ".."` | instead of the plugin's tags and the doc comment |
///
/// # Arguments
///
/// `&self`, `self: Arc<Self>` or `self: &Arc<Self>` first. `&Context` anywhere.
/// All others are named values that the call brings:
///
/// - in the path, if the path names them; `#[path]` makes sure of it;
/// - the whole body, if marked `#[body]`: anything with `Deserialize` and
///   `ToSchema`, `RawJson`, `serde_json::Value`, `Bytes`, or `Upload` to read it while it
///   comes;
/// - files, if of type `Upload`, `Option<Upload>` or `Vec<Upload>`; then the
///   others are fields of the same form;
/// - else in the query. `Vec<T>` takes repeated keys.
///
/// `Option<T>` may be left out. `#[arg(default = 10, name = "per-page",
/// description = "..")]` says more; a doc comment on the argument describes it too.
///
/// # Results
///
/// Anything with `Serialize` and `ToSchema`, nothing, `RawJson`, `Response`,
/// `Bytes`, `Download`, or a `Result` of these whose error is `framex::Error` or becomes one.
///
/// With `stream`: `fn` or `async fn`, returning `impl Stream<Item = T>`,
/// `EventStream`, or a `Result` of these. `T` is an `Event`, a text or anything
/// that can be a result, or a `Result` of it. It may borrow from `self` and the context.
#[proc_macro_attribute]
pub fn on_request(_: TokenStream, item: TokenStream) -> TokenStream {
    // `#[on_register]` takes the attributes of its methods away before they run.
    expand::stray_request(item.into()).into()
}

/// Gives a function a form that runs elsewhere than on the caller's thread.
///
/// `#[remote] fn heavy(x: u64) -> u64` stays what it is and gains
/// `heavy::remote(21).await`, a `framex::Result<u64>`. A method or associated
/// function gains a sibling: `self.heavy_remote(21).await`.
///
/// A blocking function runs on the blocking pool, an `async` one is awaited. If
/// the function returns a `Result<T, E>`, the remote form returns
/// `framex::Result<T>`. Arguments and results are owned; `&self` of a blocking
/// method must be `Clone`.
///
/// `#[remote(associated)]` is for an associated function outside of
/// `#[on_register]` that does not mention `Self`: nothing else tells it from a
/// free one. `#[remote(crate = ::fx)]` is as in `#[on_register]`.
#[proc_macro_attribute]
pub fn remote(options: TokenStream, item: TokenStream) -> TokenStream {
    remote::expand(options.into(), item.into()).into()
}

/// Lets a function run here or on another system, by configuration.
///
/// `#[on_proxy] async fn heavy(x: u64) -> Result<u64>` stays what it is and gains
/// `heavy::proxy(ctx, 21).await`, a `framex::Result<u64>`. That runs where
/// `[plugins.proxy] proxy_functions` of this process says, here if it says nothing. Other
/// systems may run it here, by its name.
///
/// | key | meaning |
/// |---|---|
/// | `name = ".."` | its name on other systems and in settings; the function's, if not given |
/// | `crate = ::fx` | as in `#[on_register]` |
///
/// It is a free `async` function. The first argument may be `&Context`; where another system
/// asks, that is the context of the plugin `proxy`. All others, and the result, are
/// owned, with `Serialize` and `Deserialize`: they travel as JSON, by name. `Option<T>` may be
/// left out. If the function returns a `Result<T, E>`, the proxy form returns
/// `framex::Result<T>`.
#[proc_macro_attribute]
pub fn on_proxy(options: TokenStream, item: TokenStream) -> TokenStream {
    proxy::expand(options.into(), item.into()).into()
}
