//! What other systems ask for.

use framex_core::context::Context;
use framex_core::error::{Error, Result};
use framex_core::function;
use framex_core::reply::RawJson;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::failure;

/// More of a name that is unknown is not repeated, in characters.
const MOST_SHOWN: usize = 100;

/// What one system asks another to run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoteCall {
    /// The function's name.
    pub(crate) func_name: String,
    /// Its arguments, by name.
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub(crate) data: RawJson,
}

impl RemoteCall {
    /// A call of `name` with a JSON object of arguments.
    pub(crate) fn new(name: &str, args: RawJson) -> Self {
        Self {
            func_name: name.to_owned(),
            data: args,
        }
    }
}

/// Runs a function of this binary for another system: here, or where this system's own
/// settings have it run.
///
/// # Errors
///
/// 404 `unknown_function`, 422 with everything that is wrong with the arguments, and the
/// function's own.
pub(crate) async fn run(ctx: &Context, call: RemoteCall) -> Result<RawJson> {
    let RemoteCall { func_name, data } = call;
    // The plugin has made sure at its start that no two have one name.
    let known = function::all()?;
    let Some(function) = known.get(func_name.as_str()) else {
        let name: String = func_name.chars().take(MOST_SHOWN).collect();
        let text = format!("no function `{name}` can be run here");
        return Err(Error::not_found(text).with_code(failure::UNKNOWN));
    };
    let process = ctx.process()?;
    let elsewhere = process.elsewhere().filter(|known| known.runs(&func_name));
    let call = match elsewhere {
        Some(elsewhere) => elsewhere.call(ctx, &func_name, data),
        None => function.run(ctx.clone(), data),
    };
    call.await.map_err(failure::of_function)
}
