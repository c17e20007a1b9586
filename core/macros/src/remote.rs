//! `#[remote]`: the form of a function that runs elsewhere than on the caller's
//! thread.
//!
//! A free function `heavy` gains `heavy::remote`: types and functions have
//! names of their own, so the function stays and a type without values, made to
//! carry `remote`, has the same name. (A module would do so too, but would not
//! see the types of the scope it stands in.) Methods and associated functions
//! gain a sibling, `heavy_remote`, since nothing else fits into an `impl`.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Attribute, Error, FnArg, ImplItemFn, Meta, Path, ReceiverKind, Result, Type, parse_quote,
};

use crate::errors::Errors;
use crate::expand::{Support, at};
use crate::keys::{self, Entry};
use crate::signature::{self, Argument, Returned};
use crate::{read, types};

/// What these functions are called in messages.
const REMOTE: &str = "a remote function";

/// What the attribute says.
struct Options {
    krate: Path,
    associated: bool,
}

/// A function that can have a remote form.
struct Function<'a> {
    item: &'a ImplItemFn,
    arguments: Vec<Argument>,
    receiver: Option<Receiver>,
    /// What the remote form gives, in a `Result`.
    value: TokenStream,
    /// Whether the function itself gives a `Result`.
    fallible: bool,
}

enum Receiver {
    /// `&self`, `self: &Arc<Self>`: the blocking pool needs a clone of this type.
    Borrowed(Type),
    /// `self`, `self: Arc<Self>`
    Owned,
}

/// The whole of `#[remote]`, outside of `#[on_register]`.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = Options::read(options, crate::root::root(), &mut errors);
    let mut function = match syn::parse2::<ImplItemFn>(item.clone()) {
        Ok(function) => function,
        Err(_) => {
            let error = Error::new(
                proc_macro2::Span::call_site(),
                "`#[remote]` goes on a function with a body",
            );
            let error = error.into_compile_error();
            return quote!(#item #error);
        }
    };
    let in_impl = options.associated
        || function.sig.receiver().is_some()
        || mentions_self(function.sig.to_token_stream())
        || mentions_self(function.block.to_token_stream());
    let remote = Function::read(&function, &options.krate, &mut errors).map(|function| {
        if in_impl {
            function.sibling(&options.krate).into_token_stream()
        } else {
            function.carrier(&options.krate)
        }
    });
    let errors = errors.into_tokens();
    read::allow(&mut function);
    quote!(#function #remote #errors)
}

/// The sibling of a method of a `#[on_register]` `impl`; `None` if it can have
/// none, which is noted.
pub(crate) fn of_method(
    attr: &Attribute,
    method: &ImplItemFn,
    krate: &Path,
    errors: &mut Errors,
) -> Option<ImplItemFn> {
    let tokens = match &attr.meta {
        Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    let options = Options::read(tokens, krate.clone(), errors);
    let function = Function::read(method, &options.krate, errors)?;
    Some(function.sibling(&options.krate))
}

impl Options {
    fn read(tokens: TokenStream, krate: Path, errors: &mut Errors) -> Self {
        let mut options = Self {
            krate,
            associated: false,
        };
        for entry in keys::entries(tokens, errors) {
            let result = match entry {
                Entry::Text(text) => Err(Error::new_spanned(
                    text,
                    "`#[remote]` takes no text: write `#[remote]`",
                )),
                Entry::Key(key) => match key.name().as_str() {
                    "associated" => key.switch().map(|on| options.associated = on),
                    "crate" => key.path().map(|path| options.krate = path),
                    _ => Err(key.unknown("key", &["associated", "crate"])),
                },
            };
            errors.take(result);
        }
        options
    }
}

impl<'a> Function<'a> {
    fn read(item: &'a ImplItemFn, krate: &Path, errors: &mut Errors) -> Option<Self> {
        let before = errors.len();
        let sig = &item.sig;
        signature::check(REMOTE, sig, errors);
        let receiver = sig
            .receiver()
            .and_then(|receiver| errors.take(read_receiver(receiver)));
        let arguments = sig
            .inputs
            .iter()
            .filter_map(|input| match input {
                FnArg::Typed(argument) => errors.take(signature::argument(REMOTE, argument)),
                FnArg::Receiver(_) => None,
            })
            .collect();
        let Returned { value, fallible } =
            errors.take(signature::result(REMOTE, &sig.output, krate))?;
        (errors.len() == before).then_some(Self {
            item,
            arguments,
            receiver,
            value,
            fallible,
        })
    }

    /// `enum heavy {}` with `heavy::remote`.
    fn carrier(&self, krate: &Path) -> TokenStream {
        let (item, name) = (self.item, &self.item.sig.ident);
        let cfgs = signature::cfgs(&item.attrs);
        let vis = &item.vis;
        let about = format!("Carries the remote form of the function [`{name}`](fn@{name}).");
        let remote = self.remote(Ident::new("remote", name.span()), &quote!(#name), krate);
        quote_spanned! {at(name)=>
            #(#cfgs)*
            #[doc = #about]
            #[allow(non_camel_case_types, dead_code, clippy::empty_enum, clippy::empty_enums)]
            #vis enum #name {}

            #(#cfgs)*
            #[allow(dead_code)]
            impl #name {
                #remote
            }
        }
    }

    /// `heavy_remote`
    fn sibling(&self, krate: &Path) -> ImplItemFn {
        let name = &self.item.sig.ident;
        let remote = format_ident!("{name}_remote", span = name.span());
        let remote = self.remote(remote, &quote!(Self::#name), krate);
        let cfgs = signature::cfgs(&self.item.attrs);
        parse_quote!(#(#cfgs)* #[allow(dead_code)] #remote)
    }

    /// `async fn name(..)`, which calls `target`.
    fn remote(&self, name: Ident, target: &TokenStream, krate: &Path) -> TokenStream {
        let support = Support::of(krate);
        let (private, questions) = (&support.private, support.questions());
        let item = self.item;
        let vis = &item.vis;
        let value = &self.value;
        let docs = item.attrs.iter().filter(|a| a.path().is_ident("doc"));
        let about = if item.sig.asyncness.is_some() {
            "The remote form: on the caller's runtime where the process has the function itself."
        } else {
            "The remote form: runs on the blocking pool, so that it stops no handler; calls run in parallel."
        };
        let receiver = item.sig.receiver();
        let taken = self
            .arguments
            .iter()
            .map(|Argument { ident, ty }| quote!(#ident: #ty));
        let inputs = receiver.map(|r| quote!(#r)).into_iter().chain(taken);
        let given = self.arguments.iter().map(|argument| &argument.ident);
        let span = at(&item.sig.ident);
        let sync = item.sig.asyncness.is_none();
        // A blocking function runs on another thread, which owns what it takes.
        let self_token = receiver.map(|receiver| &receiver.self_token);
        let (own, this) = match (&self.receiver, sync) {
            (None, _) => (None, None),
            (Some(Receiver::Owned), _) | (Some(Receiver::Borrowed(_)), false) => {
                (None, Some(quote!(#self_token,)))
            }
            (Some(Receiver::Borrowed(ty)), true) => (
                Some(quote_spanned!(span=> let this = #private::owned::<#ty>(#self_token);)),
                Some(quote_spanned!(span=> &this,)),
            ),
        };
        let call = quote_spanned!(span=> #target(#this #(#given),*));
        let outcome = if sync {
            quote_spanned!(span=> #private::run_blocking(move || #call).await?)
        } else {
            quote_spanned!(span=> #call.await)
        };
        let result = if self.fallible {
            quote_spanned! {span=>
                #questions
                (&&&&#private::Probe::of(&outcome)).outcome().open(outcome)
            }
        } else {
            quote_spanned!(span=> #private::core::result::Result::Ok(outcome))
        };
        quote_spanned! {span=>
            #(#docs)*
            #[doc = ""]
            #[doc = #about]
            #[allow(
                unused_imports,
                clippy::let_unit_value,
                clippy::needless_borrow,
                clippy::too_many_arguments
            )]
            #vis async fn #name(#(#inputs),*) -> #private::Result<#value> {
                #own
                let outcome = #outcome;
                #result
            }
        }
    }
}

fn read_receiver(receiver: &syn::Receiver) -> Result<Receiver> {
    let mutable = "a remote method shares its receiver: write `&self`, and keep what changes in a `Mutex` or an atomic";
    match &receiver.kind {
        ReceiverKind::Value => Ok(Receiver::Owned),
        ReceiverKind::Reference(_, _, None) => {
            let this = Ident::new("Self", receiver.self_token.span);
            Ok(Receiver::Borrowed(parse_quote!(#this)))
        }
        ReceiverKind::Typed(_, ty) => match types::bare(ty) {
            Type::Reference(reference) if reference.mutability.is_none() => {
                Ok(Receiver::Borrowed((*reference.elem).clone()))
            }
            Type::Reference(_) => Err(Error::new_spanned(receiver, mutable)),
            _ => Ok(Receiver::Owned),
        },
        _ => Err(Error::new_spanned(receiver, mutable)),
    }
}

/// Whether the code speaks of the type of an `impl` around it.
fn mentions_self(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "Self",
        TokenTree::Group(group) => mentions_self(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
