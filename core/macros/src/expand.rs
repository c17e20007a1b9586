//! Writes the code.
//!
//! Every local is `mixed_site`, so that no name of the author's can meet one of
//! ours; every path starts at `crate::__private`.

/// `quote!` for the code of the expansion, with our identifiers out of the
/// author's reach.
macro_rules! code {
    ($($tokens:tt)*) => {
        ::quote::quote_spanned!(::proc_macro2::Span::mixed_site()=> $($tokens)*)
    };
}

mod describe;
mod plugin;
mod run;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Attribute, Error, FnArg, Item, Path, Signature};

use crate::errors::Errors;
use crate::{argument, check, read};

/// The whole of `#[on_register]`.
pub(crate) fn register(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut item = match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Impl(item)) => item,
        Ok(other) => {
            let message = "`#[on_register]` goes on the `impl` block of the plugin's type: `impl YourPlugin { .. }`";
            let error = Error::new(first_line(&other), message).into_compile_error();
            return quote!(#other #error);
        }
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#item #error);
        }
    };
    let mut errors = Errors::default();
    let plugin = read::plugin(options, &mut item, &mut errors);
    Stray.visit_item_impl_mut(&mut item);
    let plugin = plugin.map(|plugin| {
        check::apis(&plugin, &mut errors);
        plugin::implementation(&plugin)
    });
    let errors = errors.into_tokens();
    quote! {
        #item
        #plugin
        #errors
    }
}

/// An `#[on_request]` that no `#[on_register]` has taken.
pub(crate) fn stray_request(item: TokenStream) -> TokenStream {
    let message =
        "`#[on_request]` belongs on a method of an `impl` with `#[on_register(plugin = \"..\")]`";
    let error = Error::new(Span::call_site(), message).into_compile_error();
    // Its arguments' attributes are ours and unknown to the compiler.
    let item = match syn::parse2::<syn::ImplItemFn>(item.clone()) {
        Ok(mut method) => {
            Stray.visit_signature_mut(&mut method.sig);
            quote!(#method)
        }
        Err(_) => item,
    };
    quote!(#item #error)
}

/// Takes off the attributes of arguments that nothing has read.
struct Stray;

impl VisitMut for Stray {
    fn visit_signature_mut(&mut self, sig: &mut Signature) {
        for input in &mut sig.inputs {
            if let FnArg::Typed(argument) = input {
                argument::strip(argument);
            }
        }
    }
}

fn first_line(item: &Item) -> Span {
    match item {
        Item::Struct(item) => item.ident.span(),
        Item::Enum(item) => item.ident.span(),
        Item::Fn(item) => item.sig.ident.span(),
        Item::Trait(item) => item.ident.span(),
        Item::Mod(item) => item.ident.span(),
        other => other.span(),
    }
}

/// Where the support code is.
pub(crate) struct Support {
    /// `framex::__private`
    pub(crate) private: TokenStream,
}

impl Support {
    /// In the crate that `crate = ..` says.
    pub(crate) fn of(krate: &Path) -> Self {
        Self {
            private: code!(#krate::__private),
        }
    }

    /// The same, for code that errors point to at `span`.
    pub(crate) fn at(&self, span: Span) -> TokenStream {
        let located = |mut token: TokenTree| {
            // Only the place: what the names mean stays as it is.
            token.set_span(token.span().located_at(span));
            token
        };
        self.private.clone().into_iter().map(located).collect()
    }

    /// Imports the questions to types, none of them under a name.
    pub(crate) fn questions(&self) -> TokenStream {
        let private = &self.private;
        code! {
            use #private::questions::{
                IsAnswer as _, IsDescribed as _, IsHidden as _, IsItem as _, IsItemValue as _,
                IsLeaf as _, IsBoxed as _, IsUnreturnable as _, IsPlain as _, IsResult as _, IsShown as _, IsUndescribed as _,
                IsValue as _,
            };
        }
    }
}

/// Our local for the argument at `index`.
pub(crate) fn local(index: usize) -> Ident {
    format_ident!("argument_{index}", span = Span::mixed_site())
}

/// Our identifiers where errors point to `place`.
pub(crate) fn at(place: impl Spanned) -> Span {
    Span::mixed_site().located_at(place.span())
}

/// For the attributes of what is made of a method.
fn cfgs(attrs: &[Attribute]) -> TokenStream {
    quote!(#(#attrs)*)
}
