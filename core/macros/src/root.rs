//! Where FrameX is in the crate that is being compiled.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::Span;
use syn::{Ident, Path, parse_quote};

/// `::framex`, or `::fx` where the manifest says `fx = { package = "framex", .. }`,
/// there or in the workspace it belongs to.
///
/// What is no dependency of the manifest (a re-export) is for `crate = ..` to say.
pub(crate) fn root() -> Path {
    match crate_name("framex") {
        Ok(FoundCrate::Name(name)) => {
            let name = Ident::new(&name, Span::call_site());
            parse_quote!(::#name)
        }
        Ok(FoundCrate::Itself) | Err(_) => parse_quote!(::framex),
    }
}
