//! `#[remote]`

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, ImplItemFn, Path, Result};

pub(crate) fn expand(_: TokenStream, item: TokenStream) -> TokenStream {
    quote!(#item)
}

pub(crate) fn of_method(_: &Attribute, method: &ImplItemFn, _: &Path) -> Result<ImplItemFn> {
    Ok(method.clone())
}
