//! The attributes that make a Rust type a FrameX plugin.
//!
//! They are used through the facade crate, `framex`. The code they write names
//! everything through `framex::__private` (`core/src/expand.rs`), so that it
//! depends on nothing in the author's scope.
//!
//! The way of an `impl`: [`read`] makes a [`model`] of it and notes every
//! mistake at its place, [`check`] looks for contradictions, [`expand`] writes
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
mod read;
mod remote;
mod result;
mod template;
mod types;

use proc_macro::TokenStream;

/// Makes an `impl` a plugin, and its `#[on_request]` methods its APIs.
#[proc_macro_attribute]
pub fn on_register(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::register(options.into(), item.into()).into()
}

/// Makes a method of a `#[on_register]` `impl` an API.
#[proc_macro_attribute]
pub fn on_request(_: TokenStream, item: TokenStream) -> TokenStream {
    // `#[on_register]` takes the attributes of its methods away before they run.
    expand::stray_request(item.into()).into()
}

/// Gives a function a form that runs elsewhere than on the caller's thread.
#[proc_macro_attribute]
pub fn remote(options: TokenStream, item: TokenStream) -> TokenStream {
    remote::expand(options.into(), item.into()).into()
}
