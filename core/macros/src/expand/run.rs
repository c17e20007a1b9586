//! The function that reads the arguments, runs the method and sends its result.
//!
//! It is on the way of every call: arguments are read before the future is
//! made, which holds only what the method needs.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{Expr, ExprLit, Lit};

use super::{Support, at, local};
use crate::model::{Argument, Form, Handler, Named, Plugin, Receiver};
use crate::result::Output;
use crate::types;

/// `fn __framex_run(..)`
pub(super) fn function(plugin: &Plugin, handler: &Handler, support: &Support) -> TokenStream {
    let private = &support.private;
    let self_ty = &plugin.self_ty;
    let some = code!(#private::core::option::Option::Some);
    let none = code!(#private::core::option::Option::None);
    let locals: Vec<Ident> = handler.named().enumerate().map(|(i, _)| local(i)).collect();
    let reads = handler
        .named()
        .enumerate()
        .map(|(index, named)| read(plugin, index, named, support));
    let answer = answer(plugin, handler, support);
    let span = at(&handler.ident);
    quote_spanned! {span=>
        #[allow(unused_mut, unused_variables, unused_imports)]
        fn __framex_run(
            plugin: #private::Arc<#self_ty>,
            api: &'static #private::ApiDescriptor,
            context: #private::Context,
            arguments: #private::Args,
        ) -> #private::BoxFuture<'static, #private::Result<#private::Reply>> {
            let mut decoder = #private::Decoder::new(api, &arguments);
            #(#reads)*
            match (#(#locals,)* decoder.finish(),) {
                (#(#some(#locals),)* #none,) => #answer,
                (.., problem) => #private::refuse(problem),
            }
        }
    }
}

/// `let argument_0 = decoder.required::<T>(0);`
fn read(plugin: &Plugin, index: usize, named: &Named, support: &Support) -> TokenStream {
    let local = local(index);
    let ty = types::without_self(&named.ty, &plugin.self_ty);
    let span = at(&named.ty);
    let private = &support.private;
    let value = match &named.form {
        Form::Required => quote_spanned!(span=> #private::required::<#ty>(&mut decoder, #index)),
        Form::Optional(inner) => {
            let inner = types::without_self(inner, &plugin.self_ty);
            quote_spanned!(span=> #private::optional::<#inner>(&mut decoder, #index))
        }
        Form::Default(_) => {
            let default = default(plugin, named, support);
            quote_spanned!(span=> #private::or_else::<#ty>(&mut decoder, #index, || #default))
        }
        Form::Bytes => quote_spanned!(span=> decoder.raw(#index)),
        Form::File => quote_spanned!(span=> decoder.file(#index)),
        Form::OptionalFile => quote_spanned!(span=> decoder.optional_file(#index)),
        Form::Files => quote_spanned!(span=> decoder.files(#index)),
    };
    code!(let #local = #value;)
}

/// The default of an argument as an expression of its type.
pub(super) fn default(plugin: &Plugin, named: &Named, support: &Support) -> TokenStream {
    let private = &support.private;
    let Form::Default(expr) = &named.form else {
        return TokenStream::new();
    };
    match expr {
        // So that `default = "text"` works for a `String`.
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => quote_spanned!(at(text)=> #private::core::convert::From::from(#text)),
        expr => types::without_self(expr, &plugin.self_ty),
    }
}

/// The future of a call whose arguments are there.
fn answer(plugin: &Plugin, handler: &Handler, support: &Support) -> TokenStream {
    let span = at(&handler.ident);
    let private = &support.at(span);
    let call = call(plugin, handler);
    let ok = code!(#private::core::result::Result::Ok);
    let err = code!(#private::core::result::Result::Err);
    match &handler.output {
        Output::Value(ty) => {
            // A value or an error that cannot be sent is a mistake of the type.
            let place = ty.as_ref().map_or(span, at);
            let outcome = Ident::new("outcome", place);
            let value = Ident::new("value", place);
            let open = quote_spanned!(place=> outcome().open(#outcome));
            let reply = quote_spanned!(place=> answer().reply(#value));
            quote_spanned! {span=>
                #private::Box::pin(async move {
                    let #outcome = #call;
                    match (&&&&#private::Probe::of(&#outcome)).#open {
                        #ok(#value) => (&&&&#private::Probe::of(&#value)).#reply,
                        #err(error) => #err(error),
                    }
                })
            }
        }
        Output::Events => quote_spanned! {span=>
            #private::Box::pin(async move {
                let outcome = #call;
                match (&&&&#private::Probe::of(&outcome)).outcome().open(outcome) {
                    #ok(events) => #ok(#private::Reply::Stream(events)),
                    #err(error) => #err(error),
                }
            })
        },
        // The stream borrows from the plugin and the context, which its future
        // owns. An error before the first event is the first item; the edge
        // looks at that before it answers.
        Output::Stream(_) => quote_spanned! {span=>
            #private::streaming(#private::EventStream::drive(move |sink| async move {
                let outcome = #call;
                let opened = (&&&&#private::Probe::of(&outcome)).outcome().open(outcome);
                match opened {
                    #ok(stream) => sink.forward(stream, |item| {
                        match (&&&&#private::Probe::of(&item)).outcome().open(item) {
                            #ok(item) => (&&&&#private::Probe::of(&item)).event().event(item),
                            #err(error) => #err(error),
                        }
                    }).await,
                    #err(error) => sink.fail(error),
                }
            }))
        },
    }
}

/// The call of the author's method.
fn call(plugin: &Plugin, handler: &Handler) -> TokenStream {
    let self_ty = &plugin.self_ty;
    let method = &handler.ident;
    let mut next = 0..;
    let arguments = handler.arguments.iter().map(|argument| match argument {
        Argument::Context => quote_spanned!(Span::mixed_site()=> &context),
        Argument::Named(_) => {
            let local = local(next.next().unwrap_or_default());
            code!(#local)
        }
    });
    let span = at(method);
    let receiver = match handler.receiver {
        Receiver::Borrowed => quote_spanned!(span=> &*plugin),
        Receiver::Shared => quote_spanned!(span=> plugin),
        Receiver::BorrowedShared => quote_spanned!(span=> &plugin),
    };
    let wait = handler.is_async.then(|| quote_spanned!(span=> .await));
    quote_spanned!(span=> <#self_ty>::#method(#receiver, #(#arguments),*) #wait)
}
