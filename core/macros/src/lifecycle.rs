//! `new`, `on_start` and `on_stop`.

use syn::{Error, FnArg, ImplItemFn, Result, ReturnType, Type};

use crate::argument::is_context;
use crate::errors::Errors;
use crate::plugin_options::PluginOptions;
use crate::types;

/// The methods that FrameX calls by their names.
pub(crate) const RESERVED: [&str; 3] = ["new", "on_start", "on_stop"];

/// What an `impl` says about making, starting and stopping its plugin.
#[derive(Default)]
pub(crate) struct Lifecycle {
    pub(crate) new: Option<New>,
    pub(crate) on_start: Option<OnStart>,
    /// Whether there is an `on_stop`.
    pub(crate) on_stop: bool,
}

/// A constructor.
pub(crate) struct New {
    /// The type of its only argument, if it has one.
    pub(crate) config: Option<Type>,
    /// Whether it can be called so; if not, that is noted.
    pub(crate) usable: bool,
}

/// An `on_start`.
pub(crate) struct OnStart {
    /// Whether it takes the context.
    pub(crate) context: bool,
}

/// Reads a method that is one of them.
pub(crate) fn read(method: &ImplItemFn, lifecycle: &mut Lifecycle, errors: &mut Errors) {
    if method.sig.ident == "new" {
        let unusable = New {
            config: None,
            usable: false,
        };
        lifecycle.new = Some(errors.take(new(method)).unwrap_or(unusable));
    } else if method.sig.ident == "on_start" {
        lifecycle.on_start = errors.take(on_start(method));
    } else if method.sig.ident == "on_stop" {
        lifecycle.on_stop = errors.take(on_stop(method)).is_some();
    }
}

/// Notes contradictions between the constructor and the attribute.
pub(crate) fn check(lifecycle: &Lifecycle, options: &PluginOptions, errors: &mut Errors) {
    let Some(config) = &options.config else {
        return;
    };
    let written = quote::quote!(#config).to_string().replace(' ', "");
    match &lifecycle.new {
        None => errors.at(
            config,
            format!("the configuration goes nowhere: add `fn new(config: {written}) -> Self` to the `impl`"),
        ),
        Some(New {
            config: None,
            usable: true,
        }) => errors.at(
            config,
            format!("`new` does not take the configuration: write `fn new(config: {written}) -> Self`"),
        ),
        Some(_) => {}
    }
}

fn new(method: &ImplItemFn) -> Result<New> {
    let sig = &method.sig;
    if let Some(token) = &sig.asyncness {
        let message = "`new` makes the plugin and waits for nothing: remove `async`, connect in `async fn on_start(&self)`";
        return Err(Error::new_spanned(token, message));
    }
    let usage = "`new` is the plugin's constructor: write `fn new(config: YourConfig) -> Self` or `fn new() -> Self`, or give it another name";
    if !sig.generics.params.is_empty() || matches!(sig.output, ReturnType::Default) {
        return Err(Error::new_spanned(&sig.ident, usage));
    }
    let mut inputs = sig.inputs.iter();
    let config = match (inputs.next(), inputs.next()) {
        (None, _) => None,
        (Some(FnArg::Typed(argument)), None) => {
            if !matches!(types::bare(&argument.ty), Type::Path(_) | Type::Tuple(_)) {
                let message = "`new` owns its configuration: write a type without `&` or `impl`";
                return Err(Error::new_spanned(&argument.ty, message));
            }
            Some((*argument.ty).clone())
        }
        _ => return Err(Error::new_spanned(&sig.ident, usage)),
    };
    Ok(New {
        config,
        usable: true,
    })
}

fn on_start(method: &ImplItemFn) -> Result<OnStart> {
    let arguments = hook(method, "async fn on_start(&self, ctx: &Context)")?;
    match &arguments[..] {
        [] => Ok(OnStart { context: false }),
        [ty] if is_context(ty) => Ok(OnStart { context: true }),
        [other, ..] => Err(Error::new_spanned(
            other,
            "`on_start` takes the context or nothing: write `async fn on_start(&self, ctx: &Context)`",
        )),
    }
}

fn on_stop(method: &ImplItemFn) -> Result<()> {
    match &hook(method, "async fn on_stop(&self)")?[..] {
        [] => Ok(()),
        [other, ..] => Err(Error::new_spanned(
            other,
            "`on_stop` takes nothing: write `async fn on_stop(&self)`",
        )),
    }
}

/// The types of the arguments after `&self`.
fn hook<'a>(method: &'a ImplItemFn, usage: &str) -> Result<Vec<&'a Type>> {
    let sig = &method.sig;
    let name = &sig.ident;
    let message = |what: &str| format!("`{name}` {what}: write `{usage}`");
    if sig.asyncness.is_none() {
        return Err(Error::new_spanned(sig.fn_token, message("must be async")));
    }
    let borrowed = sig.receiver().is_some_and(crate::read::is_plain_borrow);
    if !borrowed {
        return Err(Error::new_spanned(name, message("borrows its plugin")));
    }
    if !sig.generics.params.is_empty() {
        let message = message("cannot be generic");
        return Err(Error::new_spanned(&sig.generics, message));
    }
    let types = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(argument) => Some(&*argument.ty),
        FnArg::Receiver(_) => None,
    });
    Ok(types.collect())
}
