//! Functions that run here or on another system, by configuration: what `#[on_proxy]`
//! registers, and who knows where each runs.
//!
//! Arguments and results are plain JSON, by name. What another system asks for is looked up
//! among the functions of this binary; nothing is ever made of a name from outside.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use futures_core::future::BoxFuture;

use crate::context::Context;
use crate::error::Result;

/// Knows which functions run on other systems, and calls them there.
pub trait Elsewhere: Send + Sync {
    /// Whether the function called `name` runs on another system.
    fn runs(&self, name: &str) -> bool;

    /// Calls it there, once, with a JSON object of named arguments, and gives its result as
    /// JSON. `ctx` is that of the call within which it is called.
    fn call(&self, ctx: &Context, name: &str, args: Bytes) -> BoxFuture<'static, Result<Bytes>>;
}

/// A function of this binary that other systems may have run here.
pub struct Function {
    name: &'static str,
    place: &'static str,
    run: Run,
}

/// Reads the arguments, runs the function, encodes its result.
pub type Run = fn(Context, Bytes) -> BoxFuture<'static, Result<Bytes>>;

inventory::collect!(Function);

/// Two functions have one name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "two functions are called `{name}`, in {first} and in {second}: give one another name, `#[on_proxy(name = \"..\")]`"
)]
pub struct Duplicate {
    /// What both are called.
    pub name: &'static str,
    /// Where one is.
    pub first: &'static str,
    /// Where the other is.
    pub second: &'static str,
}

impl Function {
    /// The function called `name`, which is written at `place`.
    #[must_use]
    pub const fn new(name: &'static str, place: &'static str, run: Run) -> Self {
        Self { name, place, run }
    }

    /// Its name on the wire and in settings.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it is written.
    #[must_use]
    pub fn place(&self) -> &'static str {
        self.place
    }

    /// Runs it in this process with a JSON object of named arguments; its result is JSON.
    /// Dropping the future stops it at its next `.await`.
    pub fn run(&self, ctx: Context, args: Bytes) -> BoxFuture<'static, Result<Bytes>> {
        (self.run)(ctx, args)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({}, {})", self.name, self.place)
    }
}

/// The functions of this binary, by name.
///
/// # Errors
///
/// Two with one name.
pub fn all() -> Result<BTreeMap<&'static str, &'static Function>, Duplicate> {
    by_name(inventory::iter::<Function>())
}

fn by_name(
    functions: impl IntoIterator<Item = &'static Function>,
) -> Result<BTreeMap<&'static str, &'static Function>, Duplicate> {
    let mut named: BTreeMap<_, &Function> = BTreeMap::new();
    for function in functions {
        if let Some(other) = named.insert(function.name, function) {
            // Whichever way they were linked, the message is the same.
            let (first, second) = (
                other.place.min(function.place),
                other.place.max(function.place),
            );
            return Err(Duplicate {
                name: function.name,
                first,
                second,
            });
        }
    }
    Ok(named)
}
