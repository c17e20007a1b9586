//! What the code written by the macros stands on.
//!
//! Hidden from the documentation: only `#[on_register]`, `#[on_request]`, `#[remote]` and
//! `#[on_proxy]` use it, and it changes with them.
//!
//! The macros see types as text. What depends on a type's traits is decided
//! here, by *autoref specialisation*: `(&&Probe::<T>::NEW).some_tag()` picks the
//! implementation that needs the fewest references and whose bounds hold, and
//! gives a tag whose methods do the work. The last choice has no bounds and its
//! tag asks for a trait that nothing implements, so that the compiler says in
//! our words what is missing.

use crate::remote::RemoteReceiver;

mod check;
mod describe;
mod function;
mod probe;
mod read;
mod schema;

pub use ::core;
pub use std::boxed::Box;
pub use std::sync::{Arc, OnceLock};
pub use std::vec::Vec;

pub use futures_core::Stream;
pub use futures_core::future::BoxFuture;
pub use inventory;

pub use crate::args::{Args, Decoder, Upload};
pub use crate::context::Context;
pub use crate::descriptor::{ApiDescriptor, ApiKind, Location, PluginMetadata, ReplyShape};
pub use crate::error::{Error, Result};
pub use crate::event::EventStream;
pub use crate::function::Function;
pub use crate::plugin::{Api, Plugin};
pub use crate::remote::run_blocking;
pub use crate::reply::{RawJson, Reply};

pub use check::check;
pub use describe::{Described, Named};
pub use function::{Away, Received, written};
pub use probe::{HandlerError, Outcome, Probe};
pub use read::{optional, or_else, required};
pub use schema::{Components, Leaf, anything, array, list, map, nullable, set, tuple};

/// The traits whose methods ask a [`Probe`].
pub mod questions {
    pub use super::probe::{
        IsAnswer, IsBoxed, IsDescribed, IsHidden, IsItem, IsItemValue, IsLeaf, IsPlain, IsResult,
        IsShown, IsUndescribed, IsUnreturnable, IsValue,
    };
}

/// The configuration of a plugin that has none: any key is one too many.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// A plugin that is made without a constructor of its own.
#[diagnostic::on_unimplemented(
    message = "the plugin `{Self}` has no constructor",
    label = "nothing makes a `{Self}`",
    note = "add `fn new(config: YourConfig) -> Self` or `fn new() -> Self` to the `impl`, or `#[derive(Default)]` to the type"
)]
pub trait DefaultPlugin: Sized {
    /// The plugin.
    fn make() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Default> DefaultPlugin for T {
    fn make() -> Self {
        Self::default()
    }
}

/// An owned text.
#[must_use]
pub fn text(text: &str) -> String {
    text.to_owned()
}

/// Owned texts.
#[must_use]
pub fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// The receiver of a blocking remote method, for the pool's thread to own.
#[must_use]
pub fn owned<T: RemoteReceiver>(receiver: &T) -> T {
    receiver.clone()
}

/// The answer to arguments that cannot be read.
#[must_use]
pub fn refuse<T: Send + 'static>(error: Option<Error>) -> BoxFuture<'static, Result<T>> {
    // A decoder that refuses an argument always notes why.
    let error = error.unwrap_or_else(|| Error::validation(Vec::new()));
    Box::pin(std::future::ready(Err(error)))
}

/// The answer of a handler that streams.
#[must_use]
pub fn streaming(events: EventStream) -> BoxFuture<'static, Result<Reply>> {
    Box::pin(std::future::ready(Ok(Reply::Stream(events))))
}
