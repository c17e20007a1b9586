//! Mistakes are collected, so that the author sees all of them at once.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Error;

/// Every mistake found so far.
#[derive(Default)]
pub(crate) struct Errors(Vec<Error>);

impl Errors {
    /// Notes a mistake at `place`.
    pub(crate) fn at(&mut self, place: impl ToTokens, message: impl std::fmt::Display) {
        self.0.push(Error::new_spanned(place, message));
    }

    /// Notes a mistake.
    pub(crate) fn push(&mut self, error: Error) {
        self.0.push(error);
    }

    /// The value, or `None` after noting what is wrong with it.
    pub(crate) fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The errors as code that reports them.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.0.into_iter().map(Error::into_compile_error).collect()
    }
}
