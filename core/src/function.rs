//! Functions that run here or on another system, by configuration: what `#[on_proxy]`
//! registers, and who knows where each runs.
//!
//! Arguments and results are plain JSON, by name. What another system asks for is looked up
//! among the functions of this binary; nothing is ever made of a name from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use futures_core::future::BoxFuture;

use crate::context::Context;
use crate::error::Result;
use crate::reply::RawJson;

/// Knows which functions run on other systems, and calls them there.
pub trait Elsewhere: Send + Sync {
    /// Whether the function called `name` runs on another system.
    fn runs(&self, name: &str) -> bool;

    /// Calls it there, once, with a JSON object of named arguments. `ctx` is that of the call
    /// within which it is called.
    ///
    /// Dropping the future stops the function there.
    fn call(&self, ctx: &Context, name: &str, args: RawJson)
    -> BoxFuture<'static, Result<RawJson>>;
}

/// A function of this binary that other systems may have run here.
pub struct Function {
    name: &'static str,
    place: &'static str,
    run: Run,
}

/// Reads the arguments, runs the function, encodes its result.
pub type Run = fn(Context, RawJson) -> BoxFuture<'static, Result<RawJson>>;

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

    /// Runs it in this process with a JSON object of named arguments. Dropping the future stops
    /// it at its next `.await`.
    pub fn run(&self, ctx: Context, args: RawJson) -> BoxFuture<'static, Result<RawJson>> {
        (self.run)(ctx, args)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({}, {})", self.name, self.place)
    }
}

/// Functions by their names.
pub type Functions = BTreeMap<&'static str, &'static Function>;

/// The functions of this binary.
///
/// # Errors
///
/// Two with one name.
pub fn all() -> Result<&'static Functions, Duplicate> {
    static ALL: OnceLock<Result<Functions, Duplicate>> = OnceLock::new();
    ALL.get_or_init(|| by_name(inventory::iter::<Function>()))
        .as_ref()
        .map_err(Clone::clone)
}

fn by_name(functions: impl IntoIterator<Item = &'static Function>) -> Result<Functions, Duplicate> {
    let mut named = Functions::new();
    for function in functions {
        if let Some(other) = named.insert(function.name, function) {
            // The linker's order is no reason for another message.
            let mut places = [other.place, function.place];
            places.sort_unstable();
            let [first, second] = places;
            return Err(Duplicate {
                name: function.name,
                first,
                second,
            });
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: Context, args: RawJson) -> BoxFuture<'static, Result<RawJson>> {
        Box::pin(std::future::ready(Ok(args)))
    }

    #[test]
    fn two_of_one_name_are_both_told() {
        static FUNCTIONS: [Function; 3] = [
            Function::new("heavy", "b::heavy (b.rs:1)", nothing),
            Function::new("light", "a::light (a.rs:2)", nothing),
            Function::new("heavy", "a::heavy (a.rs:1)", nothing),
        ];
        assert_eq!(by_name(&FUNCTIONS[..2]).unwrap().len(), 2);
        let error = by_name(&FUNCTIONS).unwrap_err().to_string();
        let both = "`heavy`, in a::heavy (a.rs:1) and in b::heavy (b.rs:1)";
        assert!(error.contains(both), "{error}");
    }
}
