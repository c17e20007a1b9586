//! `#[on_proxy]`: a function that runs here or on another system, by configuration.
//!
//! `heavy` gains `heavy::proxy` in the way in which `#[remote]` gives it `heavy::remote`: a
//! type without values carries it. What runs it for other systems is handed to the linker
//! (`inventory`), so that whatever a binary contains can be found by its name.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Error, FnArg, ItemFn, LitStr, Path, Type};

use crate::errors::Errors;
use crate::expand::{Support, at, local};
use crate::keys::{self, Entry};
use crate::signature::{self, Argument, Returned};
use crate::{argument, types};

/// What these functions are called in messages.
const PROXY: &str = "a proxy function";
/// What is wrong with a method.
pub(crate) const FREE: &str =
    "`#[on_proxy]` goes on a free function: another system has no `self` to call it with";

/// What the attribute says.
struct Options {
    krate: Path,
    name: Option<LitStr>,
}

/// A function that can run on another system.
struct Function<'a> {
    item: &'a ItemFn,
    /// On the wire, and in settings.
    name: String,
    takes_context: bool,
    arguments: Vec<Argument>,
    returned: Returned,
}

/// The whole of `#[on_proxy]`.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = Options::read(options, &mut errors);
    let Ok(function) = syn::parse2::<ItemFn>(item.clone()) else {
        let message = "`#[on_proxy]` goes on a free function with a body; other systems know it by its name alone";
        let error = Error::new(Span::call_site(), message).into_compile_error();
        return quote!(#item #error);
    };
    let proxy = Function::read(&function, &options, &mut errors).map(|function| {
        let support = Support::of(&options.krate);
        let (carrier, registered) = (function.carrier(&support), function.registered(&support));
        quote!(#carrier #registered)
    });
    let errors = errors.into_tokens();
    quote! {
        #[allow(clippy::too_many_arguments, clippy::unused_async)]
        #function
        #proxy
        #errors
    }
}

impl Options {
    fn read(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self {
            krate: crate::root::root(),
            name: None,
        };
        for entry in keys::entries(tokens, errors) {
            let result = match entry {
                Entry::Text(text) => Err(Error::new_spanned(
                    &text,
                    format!("a text without a key: write `name = \"{}\"`", text.value()),
                )),
                Entry::Key(key) => match key.name().as_str() {
                    "name" => key
                        .text()
                        .and_then(|name| check_name(name.value(), name.span()).map(|_| name))
                        .map(|name| options.name = Some(name)),
                    "crate" => key.path().map(|path| options.krate = path),
                    _ => Err(key.unknown("key", &["name", "crate"])),
                },
            };
            errors.take(result);
        }
        options
    }
}

/// That `name` can be written in settings, logs and messages.
fn check_name(name: String, place: Span) -> syn::Result<String> {
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    if !name.is_empty() && name.chars().all(usual) {
        return Ok(name);
    }
    let message = format!(
        "`{name}` cannot be a function's name on another system: use ASCII letters, digits, `_`, `-`, `.` and `:`, e.g. `#[on_proxy(name = \"maths.heavy\")]`"
    );
    Err(Error::new(place, message))
}

impl<'a> Function<'a> {
    fn read(item: &'a ItemFn, options: &Options, errors: &mut Errors) -> Option<Self> {
        let before = errors.len();
        let sig = &item.sig;
        let ident = &sig.ident;
        signature::check(PROXY, sig, errors);
        if sig.asyncness.is_none() {
            let message = format!(
                "`{ident}` must be async, since it may run on another system: write `async fn {ident}`; what blocks goes into a `#[remote]` function that it awaits"
            );
            errors.at(sig.fn_token, message);
        }
        let name = match &options.name {
            Some(name) => Some(name.value()),
            None => errors.take(check_name(ident.unraw().to_string(), ident.span())),
        };
        let mut takes_context = false;
        let mut arguments = Vec::new();
        for (index, input) in sig.inputs.iter().enumerate() {
            match input {
                FnArg::Receiver(receiver) => errors.at(receiver, FREE),
                FnArg::Typed(taken) if argument::is_context(&taken.ty) => {
                    if index > 0 {
                        errors.at(taken, "the context comes first: `ctx: &Context`");
                    }
                    takes_context = true;
                }
                FnArg::Typed(taken) => {
                    arguments.extend(errors.take(signature::argument(PROXY, taken)));
                }
            }
        }
        let returned = errors.take(signature::result(PROXY, &sig.output, &options.krate))?;
        if errors.len() > before {
            return None;
        }
        Some(Self {
            item,
            name: name?,
            takes_context,
            arguments,
            returned,
        })
    }

    /// `enum heavy {}` with `heavy::proxy`.
    fn carrier(&self, support: &Support) -> TokenStream {
        let private = &support.private;
        let (item, name) = (self.item, &self.name);
        let ident = &item.sig.ident;
        let span = at(ident);
        let cfgs = signature::cfgs(&item.attrs);
        let vis = &item.vis;
        let docs = item.attrs.iter().filter(|a| a.path().is_ident("doc"));
        let about = format!("Carries the proxy form of the function [`{ident}`](fn@{ident}).");
        let inputs = self.arguments.iter().map(|a| {
            let (ident, ty) = (&a.ident, &a.ty);
            quote!(#ident: #ty)
        });
        let given = self.arguments.iter().map(|argument| &argument.ident);
        let sent = self.arguments.iter().map(|Argument { ident, ty }| {
            let name = ident.unraw().to_string();
            let with = quote_spanned!(at(ty)=> with::<#ty>(#name, &#ident)?);
            quote_spanned!(span=> let away = away.#with;)
        });
        let value = &self.returned.value;
        let received = quote_spanned!(at(value)=> read::<#value>());
        let context = self.takes_context.then(|| quote_spanned!(span=> ctx,));
        let here = self.opened(
            &quote_spanned!(span=> #ident(#context #(#given),*)),
            support,
        );
        quote_spanned! {span=>
            #(#cfgs)*
            #[doc = #about]
            #[allow(non_camel_case_types, dead_code, clippy::empty_enum, clippy::empty_enums)]
            #vis enum #ident {}

            #(#cfgs)*
            #[allow(dead_code)]
            impl #ident {
                #(#docs)*
                #[doc = ""]
                #[doc = "The proxy form: runs where `[plugins.proxy] proxy_functions` says, here if it says nothing."]
                #[allow(
                    unused_imports,
                    clippy::large_types_passed_by_value,
                    clippy::let_unit_value,
                    clippy::needless_pass_by_value,
                    clippy::too_many_arguments
                )]
                #vis async fn proxy(
                    ctx: &#private::Context,
                    #(#inputs),*
                ) -> #private::Result<#value> {
                    match #private::Away::find(ctx, #name)? {
                        #private::core::option::Option::Some(away) => {
                            #(#sent)*
                            away.call(ctx).await?.#received
                        }
                        #private::core::option::Option::None => #here,
                    }
                }
            }
        }
    }

    /// What runs it for other systems, where the linker finds it.
    fn registered(&self, support: &Support) -> TokenStream {
        let private = &support.private;
        let (item, name) = (self.item, &self.name);
        let ident = &item.sig.ident;
        let span = at(ident);
        let cfgs = signature::cfgs(&item.attrs);
        let some = quote_spanned!(span=> #private::core::option::Option::Some);
        let locals: Vec<Ident> = (0..self.arguments.len()).map(local).collect();
        let reads = self.arguments.iter().zip(&locals).map(|(argument, local)| {
            let name = argument.ident.unraw().to_string();
            let read = read(&argument.ty, &name);
            quote_spanned!(span=> let #local = received.#read;)
        });
        let context = self.takes_context.then(|| quote_spanned!(span=> &context,));
        let outcome = self.opened(
            &quote_spanned!(span=> #ident(#context #(#locals),*)),
            support,
        );
        let value = &self.returned.value;
        let there = support.at(at(value));
        let written = quote_spanned!(at(value)=> #there::written::<#value>);
        let path = format!("::{}", ident.unraw());
        quote_spanned! {span=>
            #(#cfgs)*
            const _: () = {
                #[allow(unused_mut, unused_variables, unused_imports, clippy::let_unit_value)]
                fn __framex_run(
                    context: #private::Context,
                    arguments: #private::RawJson,
                ) -> #private::BoxFuture<'static, #private::Result<#private::RawJson>> {
                    let mut received = #private::Received::new(&arguments);
                    #(#reads)*
                    match (#(#locals,)* received.finish(),) {
                        (#(#some(#locals),)* #private::core::option::Option::None,) => {
                            #private::Box::pin(async move {
                                let outcome: #private::Result<#value> = #outcome;
                                match outcome {
                                    #private::core::result::Result::Ok(value) => #written(&value),
                                    #private::core::result::Result::Err(error) => {
                                        #private::core::result::Result::Err(error)
                                    }
                                }
                            })
                        }
                        (.., problem) => #private::refuse(problem),
                    }
                }

                #private::inventory::submit! {
                    #private::Function::new(
                        #name,
                        #private::core::concat!(
                            #private::core::module_path!(), #path,
                            " (", #private::core::file!(), ":", #private::core::line!(), ")"
                        ),
                        __framex_run,
                    )
                }
            };
        }
    }

    /// The outcome of `call`, with its error as ours.
    fn opened(&self, call: &TokenStream, support: &Support) -> TokenStream {
        let private = &support.private;
        let span = at(&self.item.sig.ident);
        if !self.returned.fallible {
            return quote_spanned!(span=> #private::core::result::Result::Ok(#call.await));
        }
        let questions = support.questions();
        quote_spanned! {span=> {
            #questions
            let outcome = #call.await;
            (&&&&#private::Probe::of(&outcome)).outcome().open(outcome)
        }}
    }
}

/// `required::<u64>("x")`
fn read(ty: &Type, name: &str) -> TokenStream {
    let span = at(ty);
    match types::argument_of(ty, "Option") {
        Some(inner) => quote_spanned!(span=> optional::<#inner>(#name)),
        None => quote_spanned!(span=> required::<#ty>(#name)),
    }
}
