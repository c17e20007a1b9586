//! `impl Plugin for Type`

use proc_macro2::TokenStream;
use quote::quote_spanned;
use syn::ext::IdentExt;

use super::{Support, at, cfgs, describe, run};
use crate::model::{Handler, Plugin};
use crate::types;

/// The whole `impl`.
pub(super) fn implementation(plugin: &Plugin) -> TokenStream {
    let support = Support::of(&plugin.options.krate);
    let private = &support.private;
    let self_ty = &plugin.self_ty;
    let config = config(plugin, &support);
    let metadata = metadata(plugin, &support);
    let apis = apis(plugin, &support);
    let create = create(plugin, &support);
    let on_start = on_start(plugin, &support);
    let on_stop = on_stop(plugin, &support);
    quote_spanned! {at(self_ty)=>
        #[automatically_derived]
        #[allow(
            clippy::all,
            clippy::pedantic,
            clippy::nursery,
            unused_qualifications,
            single_use_lifetimes
        )]
        impl #private::Plugin for #self_ty {
            type Config = #config;
            #metadata
            #apis
            #create
            #on_start
            #on_stop
        }
    }
}

fn config(plugin: &Plugin, support: &Support) -> TokenStream {
    let private = &support.private;
    let taken = plugin
        .lifecycle
        .new
        .as_ref()
        .and_then(|new| new.config.as_ref());
    match (taken, &plugin.options.config) {
        // Where both are there they have to agree, which the call of `new` shows.
        (_, Some(config)) | (Some(config), None) => types::without_self(config, &plugin.self_ty),
        (None, None) => code!(#private::NoConfig),
    }
}

fn metadata(plugin: &Plugin, support: &Support) -> TokenStream {
    let private = &support.private;
    let options = &plugin.options;
    let name = name(plugin);
    let owned = |text: TokenStream| code!(#private::text(#text));
    let or = |expr: &Option<syn::Expr>, default: TokenStream| match expr {
        Some(expr) => owned(code!(#expr)),
        None => owned(default),
    };
    let version = or(
        &options.version,
        code!(#private::core::env!("CARGO_PKG_VERSION")),
    );
    let docs = &plugin.docs;
    let description = or(&options.description, code!(#docs));
    let author = or(&options.author, code!(""));
    let url = or(&options.url, code!(""));
    let required = &options.required_remote_apis;
    let priority = options.priority;
    let tags = &options.tags;
    let limit = match options.max_ongoing_requests {
        Some(limit) => code!(#private::core::option::Option::Some(#limit)),
        None => code!(#private::core::option::Option::None),
    };
    code! {
        fn metadata() -> &'static #private::PluginMetadata {
            static METADATA: #private::OnceLock<#private::PluginMetadata> =
                #private::OnceLock::new();
            METADATA.get_or_init(|| #private::PluginMetadata {
                name: #private::text(#name),
                version: #version,
                description: #description,
                author: #author,
                url: #url,
                required_remote_apis: #private::texts(&[#(#required),*]),
                priority: #priority,
                tags: #private::texts(&[#(#tags),*]),
                max_ongoing_requests: #limit,
            })
        }
    }
}

fn apis(plugin: &Plugin, support: &Support) -> TokenStream {
    let private = &support.private;
    let apis = plugin
        .handlers
        .iter()
        .map(|handler| api(plugin, handler, support));
    let questions = support.questions();
    code! {
        #[allow(unused_imports)]
        fn apis() -> #private::Vec<#private::Api<Self>> {
            #questions
            let mut apis = #private::Vec::new();
            #(#apis)*
            apis
        }
    }
}

fn api(plugin: &Plugin, handler: &Handler, support: &Support) -> TokenStream {
    let private = &support.private;
    let cfgs = cfgs(&handler.cfgs);
    let descriptor = describe::descriptor(plugin, handler, support);
    let run = run::function(plugin, handler, support);
    code! {
        #cfgs
        {
            static __FRAMEX_DESCRIPTOR: #private::OnceLock<#private::ApiDescriptor> =
                #private::OnceLock::new();
            #run
            apis.push(#private::Api {
                descriptor: __FRAMEX_DESCRIPTOR.get_or_init(|| #descriptor),
                run: __framex_run,
            });
        }
    }
}

fn create(plugin: &Plugin, support: &Support) -> TokenStream {
    let private = &support.private;
    let self_ty = &plugin.self_ty;
    let span = at(self_ty);
    let questions = support.questions();
    let body = match &plugin.lifecycle.new {
        None => quote_spanned! {span=>
            let _ = config;
            #private::core::result::Result::Ok(<#self_ty as #private::DefaultPlugin>::make())
        },
        Some(new) if !new.usable => code!(#private::core::unreachable!()),
        Some(new) => {
            let argument = new.config.as_ref().map(|_| code!(config));
            quote_spanned! {span=>
                #questions
                let _ = &config;
                let outcome = <#self_ty>::new(#argument);
                (&&&&#private::Probe::of(&outcome)).outcome().open(outcome)
            }
        }
    };
    code! {
        #[allow(unused_imports)]
        fn create(config: Self::Config) -> #private::Result<Self> {
            #body
        }
    }
}

fn on_start(plugin: &Plugin, support: &Support) -> Option<TokenStream> {
    let private = &support.private;
    let self_ty = &plugin.self_ty;
    let hook = plugin.lifecycle.on_start.as_ref()?;
    let questions = support.questions();
    let argument = hook.context.then(|| code!(, context));
    Some(code! {
        #[allow(unused_imports, unused_variables)]
        async fn on_start(&self, context: &#private::Context) -> #private::Result<()> {
            #questions
            let outcome = <#self_ty>::on_start(self #argument).await;
            (&&&&#private::Probe::of(&outcome)).outcome().open(outcome)
        }
    })
}

fn on_stop(plugin: &Plugin, support: &Support) -> Option<TokenStream> {
    let private = &support.private;
    let self_ty = &plugin.self_ty;
    let questions = support.questions();
    plugin.lifecycle.on_stop.then(|| {
        code! {
            #[allow(unused_imports)]
            async fn on_stop(&self) -> #private::Result<()> {
                #questions
                let outcome = <#self_ty>::on_stop(self).await;
                (&&&&#private::Probe::of(&outcome)).outcome().open(outcome)
            }
        }
    })
}

/// The plugin's name; a valid one even where the author's is not.
pub(super) fn name(plugin: &Plugin) -> String {
    match &plugin.options.name {
        Some(name) => name.value(),
        None => "unnamed".to_owned(),
    }
}

/// `<plugin>.<Type>.<method>`
pub(super) fn api_id(plugin: &Plugin, handler: &Handler) -> String {
    format!(
        "{}.{}.{}",
        name(plugin),
        plugin.type_name,
        handler.ident.unraw()
    )
}
