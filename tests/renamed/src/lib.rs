//! A plugin in a crate where the framework has another name, where there is no
//! prelude, and where any warning is an error: the macros' code stands on
//! nothing but the name that the manifest gives the framework.

#![no_implicit_prelude]
#![deny(
    warnings,
    missing_docs,
    unused,
    unreachable_pub,
    unused_qualifications,
    rust_2018_idioms,
    clippy::all,
    clippy::pedantic,
    clippy::nursery
)]
#![forbid(unsafe_code)]
#![deny(missing_debug_implementations, missing_copy_implementations)]
#![allow(clippy::missing_errors_doc, reason = "the authors' own functions")]

/// The plugin.
#[derive(::core::fmt::Debug)]
pub struct Renamed {
    greeting: ::std::string::String,
}

/// Greets.
#[::fx::on_register(plugin = "renamed")]
impl Renamed {
    /// Makes it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            greeting: ::core::convert::From::from("hello"),
        }
    }

    /// Nothing to start.
    pub async fn on_start(&self, _ctx: &::fx::Context) {}

    /// Greets `name`.
    #[::fx::on_request(all, get, "/greet/{name}")]
    pub async fn greet(
        &self,
        ctx: &::fx::Context,
        name: ::std::string::String,
        /// How often.
        #[arg(default = 1)]
        times: usize,
        title: ::core::option::Option<::std::string::String>,
    ) -> ::fx::Result<::std::string::String> {
        let title = title.unwrap_or_default();
        let plugin = &ctx.plugin().name;
        ::core::result::Result::Ok(::std::format!(
            "{plugin}: {}{title}{name}",
            self.greeting.repeat(times)
        ))
    }

    /// Streams the greeting.
    #[::fx::on_request(get, "/spell", stream)]
    pub fn spell(&self) -> impl ::fx::prelude::Stream<Item = &str> {
        Letters(&self.greeting)
    }

    /// Keeps nothing.
    #[::fx::on_request(post, "/keep")]
    pub async fn keep(&self, file: ::fx::prelude::Upload) {
        ::core::mem::drop(file);
    }

    /// Counts on another thread.
    #[remote]
    #[must_use]
    pub fn count(text: ::std::string::String) -> usize {
        text.len()
    }
}

impl ::core::default::Default for Renamed {
    fn default() -> Self {
        Self::new()
    }
}

/// Doubles on another thread.
#[::fx::remote]
#[must_use]
pub const fn double(x: u64) -> u64 {
    x * 2
}

/// Halves here or elsewhere.
#[::fx::on_proxy(name = "renamed.half")]
pub async fn half(
    ctx: &::fx::Context,
    x: ::core::option::Option<u64>,
    text: ::std::string::String,
) -> ::fx::Result<::std::string::String> {
    let plugin = &ctx.plugin().name;
    let x = x.unwrap_or_default() / 2;
    ::core::result::Result::Ok(::std::format!("{plugin}: {x}{text}"))
}

/// Nothing, here or elsewhere.
#[::fx::on_proxy]
pub async fn none() {}

struct Letters<'a>(&'a str);

impl<'a> ::fx::prelude::Stream for Letters<'a> {
    type Item = &'a str;

    fn poll_next(
        mut self: ::core::pin::Pin<&mut Self>,
        _: &mut ::core::task::Context<'_>,
    ) -> ::core::task::Poll<::core::option::Option<&'a str>> {
        let next = self.0.split_at_checked(1);
        self.0 = next.map_or("", |(_, rest)| rest);
        ::core::task::Poll::Ready(next.map(|(letter, _)| letter))
    }
}
