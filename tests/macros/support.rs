//! Calls the APIs of a plugin without a bus.

use std::sync::{Arc, Weak};

use framex::__private::{Api, Args};
use framex::{CallError, Context, Error, Plugin, Reply, Result};
use framex_core::args::{HttpArgs, HttpBody, PathValues};
use framex_core::context::{CallMeta, Caller, Request, Scope};
use framex_core::plugin::{AddedApi, Refused};
use framex_core::process::Process;
use futures_util::future::BoxFuture;
use serde_json::Value;

/// A bus that nobody answers on.
#[derive(Default)]
pub(crate) struct Silence(pub(crate) Arc<Process>);

impl Caller for Silence {
    fn call_from(
        &self,
        _: &Scope,
        target: &str,
        _: Request,
    ) -> BoxFuture<'static, Result<Reply, CallError>> {
        let target = target.to_owned();
        Box::pin(async move { Err(CallError::Unknown { target }) })
    }

    fn add_apis(&self, _: &Scope, _: Vec<AddedApi>) -> Vec<Refused> {
        Vec::new()
    }

    fn process(&self) -> &Arc<Process> {
        &self.0
    }
}

/// The context of a call to `P`.
pub(crate) fn context<P: Plugin>() -> Context {
    on::<P>(Weak::<Silence>::new())
}

/// The same, where there is a bus.
pub(crate) fn on<P: Plugin>(bus: Weak<Silence>) -> Context {
    let bus: Weak<dyn Caller> = bus;
    Context::new(
        Arc::new(Scope::new(P::metadata(), bus)),
        CallMeta::default(),
    )
}

/// The API of `P` called `method`.
pub(crate) fn api<P: Plugin>(method: &str) -> Api<P> {
    P::apis()
        .into_iter()
        .find(|api| api.descriptor.id.method() == method)
        .unwrap_or_else(|| panic!("no API `{method}`"))
}

/// Calls `method` with `args`.
pub(crate) async fn call<P: Plugin>(plugin: &Arc<P>, method: &str, args: Args) -> Result<Reply> {
    let api = api::<P>(method);
    (api.run)(Arc::clone(plugin), api.descriptor, context::<P>(), args).await
}

/// Calls `method` with named arguments; the result as JSON.
pub(crate) async fn value<P: Plugin>(
    plugin: &Arc<P>,
    method: &str,
    args: Value,
) -> Result<Value, Error> {
    let args = Args::from_json(args.to_string().into());
    match call(plugin, method, args).await? {
        Reply::Value(json) => Ok(serde_json::from_slice(&json).unwrap()),
        other => panic!("not a value: {other:?}"),
    }
}

/// The arguments of an HTTP request; `path` names each parameter and its value.
pub(crate) fn http(uri: &str, path: &[(&str, &str)], body: HttpBody) -> Args {
    let spans = path
        .iter()
        .map(|(_, value)| {
            let start = uri.find(value).unwrap();
            let end = start + value.len();
            (u32::try_from(start).unwrap(), u32::try_from(end).unwrap())
        })
        .collect();
    let names: Vec<String> = path.iter().map(|(name, _)| (*name).to_owned()).collect();
    Args::from_http(HttpArgs {
        method: http::Method::GET,
        uri: uri.parse().unwrap(),
        path: PathValues {
            names: names.into(),
            spans,
        },
        body,
    })
}
