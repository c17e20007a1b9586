//! Plugins: what the macros implement and a process runs.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use futures_core::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::args::Args;
use crate::context::Context;
use crate::descriptor::{ApiDescriptor, PluginMetadata};
use crate::error::{Error, Result};
use crate::id::ApiId;
use crate::reply::Reply;
use crate::settings::{Loaded, SettingsError};

/// A type whose annotated methods are APIs. `#[on_register]` implements it.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// What `[plugins.<name>]` holds.
    type Config: DeserializeOwned;

    /// The plugin's description.
    fn metadata() -> &'static PluginMetadata;

    /// Its APIs, with the functions that run them.
    fn apis() -> Vec<Api<Self>>;

    /// Makes the plugin.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from working; the process does not start.
    fn create(config: Self::Config) -> Result<Self>;

    /// Runs before the first call, when every plugin of the process is loaded.
    fn on_start(&self, ctx: &Context) -> impl Future<Output = Result<()>> + Send {
        let _ = ctx;
        async { Ok(()) }
    }

    /// Runs after the last call.
    fn on_stop(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

/// One API of a plugin.
pub struct Api<P> {
    /// What it is.
    pub descriptor: &'static ApiDescriptor,
    /// Reads the arguments, runs the method, encodes the result.
    pub run: RunFn<P>,
}

/// See [`Api::run`].
pub type RunFn<P> = fn(
    plugin: Arc<P>,
    api: &'static ApiDescriptor,
    ctx: Context,
    args: Args,
) -> BoxFuture<'static, Result<Reply>>;

/// A plugin that a process could load.
#[derive(Clone, Copy)]
pub struct PluginDefinition {
    metadata: fn() -> &'static PluginMetadata,
    build: fn(&Loaded) -> Result<PluginInstance, PluginError>,
}

impl PluginDefinition {
    /// The definition of `P`.
    #[must_use]
    pub fn of<P: Plugin>() -> Self {
        Self {
            metadata: P::metadata,
            build: build::<P>,
        }
    }

    /// The plugin's description.
    #[must_use]
    pub fn metadata(&self) -> &'static PluginMetadata {
        (self.metadata)()
    }

    /// Reads the plugin's configuration and makes it.
    ///
    /// # Errors
    ///
    /// [`PluginError`] with the plugin's name and the reason.
    pub fn build(&self, settings: &Loaded) -> Result<PluginInstance, PluginError> {
        (self.build)(settings)
    }
}

impl fmt::Debug for PluginDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PluginDefinition({})", self.metadata().name)
    }
}

/// Why a plugin is not there.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// Its table in the settings is wrong.
    #[error("plugin `{plugin}` cannot be configured: {source}")]
    Config {
        /// Its name.
        plugin: String,
        /// Key, source and reason.
        source: Box<SettingsError>,
    },
    /// `new` refused.
    #[error("plugin `{plugin}` cannot be made: {reason}")]
    Create {
        /// Its name.
        plugin: String,
        /// In its own words.
        reason: String,
    },
    /// `on_start` refused.
    #[error("plugin `{plugin}` cannot start: {reason}")]
    Start {
        /// Its name.
        plugin: String,
        /// In its own words.
        reason: String,
    },
}

/// A plugin that was made, with its APIs ready to be served.
pub struct PluginInstance {
    metadata: &'static PluginMetadata,
    apis: Vec<(&'static ApiDescriptor, Arc<dyn Handler>)>,
    lifecycle: Arc<dyn Lifecycle>,
}

impl PluginInstance {
    /// The plugin's description.
    #[must_use]
    pub fn metadata(&self) -> &'static PluginMetadata {
        self.metadata
    }

    /// Its APIs.
    #[must_use]
    pub fn apis(&self) -> &[(&'static ApiDescriptor, Arc<dyn Handler>)] {
        &self.apis
    }

    /// Runs `on_start`.
    ///
    /// # Errors
    ///
    /// [`PluginError::Start`].
    pub async fn start(&self, ctx: &Context) -> Result<(), PluginError> {
        let failed = |reason| PluginError::Start {
            plugin: self.metadata.name.clone(),
            reason,
        };
        match caught(self.lifecycle.start(ctx)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(in_full(&error))),
            Err(panic) => Err(failed(panic)),
        }
    }

    /// Runs `on_stop`.
    ///
    /// # Errors
    ///
    /// The plugin's own.
    pub async fn stop(&self) -> Result<()> {
        caught(self.lifecycle.stop())
            .await
            .unwrap_or_else(|panic| Err(Error::internal(panic)))
    }
}

impl fmt::Debug for PluginInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PluginInstance({})", self.metadata.name)
    }
}

/// Runs one API.
pub trait Handler: Send + Sync {
    /// Reads the arguments and runs the method.
    fn call(&self, ctx: Context, args: Args) -> BoxFuture<'static, Result<Reply>>;
}

/// An API that a plugin serves beside those of its own methods, for as long as it says
/// ([`Context::add_apis`]).
#[derive(Clone)]
pub struct AddedApi {
    /// What it is. Its id begins with the plugin's name.
    pub descriptor: Arc<ApiDescriptor>,
    /// What runs it.
    pub handler: Arc<dyn Handler>,
}

/// An API that could not be added, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its id.
    pub api: ApiId,
    /// What is wrong.
    pub reason: String,
}

trait Lifecycle: Send + Sync {
    fn start<'a>(&'a self, ctx: &'a Context) -> BoxFuture<'a, Result<()>>;
    fn stop(&self) -> BoxFuture<'_, Result<()>>;
}

impl<P: Plugin> Lifecycle for P {
    fn start<'a>(&'a self, ctx: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.on_start(ctx))
    }

    fn stop(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.on_stop())
    }
}

struct Method<P> {
    plugin: Arc<P>,
    descriptor: &'static ApiDescriptor,
    run: RunFn<P>,
}

impl<P: Plugin> Handler for Method<P> {
    fn call(&self, ctx: Context, args: Args) -> BoxFuture<'static, Result<Reply>> {
        (self.run)(Arc::clone(&self.plugin), self.descriptor, ctx, args)
    }
}

fn build<P: Plugin>(settings: &Loaded) -> Result<PluginInstance, PluginError> {
    let metadata = P::metadata();
    let config = settings
        .plugin_config(&metadata.name)
        .map_err(|source| PluginError::Config {
            plugin: metadata.name.clone(),
            source: Box::new(source),
        })?;
    let failed = |reason| PluginError::Create {
        plugin: metadata.name.clone(),
        reason,
    };
    let plugin = catch_unwind(AssertUnwindSafe(|| P::create(config)))
        .map_err(|panic| failed(panic_text(&*panic)))?
        .map_err(|error| failed(in_full(&error)))?;
    let plugin = Arc::new(plugin);
    let apis = P::apis()
        .into_iter()
        .map(|api| {
            let handler: Arc<dyn Handler> = Arc::new(Method {
                plugin: Arc::clone(&plugin),
                descriptor: api.descriptor,
                run: api.run,
            });
            (api.descriptor, handler)
        })
        .collect();
    Ok(PluginInstance {
        metadata,
        apis,
        lifecycle: plugin,
    })
}

/// Awaits `future`; a panic in it becomes its text.
async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic_text(&*panic))),
        },
    )
    .await
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("(no text)"))
}

/// An error with all its sources: for the operator, not for callers.
fn in_full(error: &Error) -> String {
    let mut text = match error.source() {
        Some(source) => source.to_string(),
        None => return error.to_string(),
    };
    let mut source = error.source().and_then(|s| s.source());
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
