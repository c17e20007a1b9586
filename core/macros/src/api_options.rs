//! `#[on_request(..)]`

use proc_macro2::{Ident, TokenStream};
use syn::{Error, LitStr};

use crate::errors::Errors;
use crate::keys::{self, Entry, Key};
use crate::template::{self, Template};

const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

const WORDS: [&str; 22] = [
    "func",
    "all",
    "get",
    "post",
    "put",
    "patch",
    "delete",
    "head",
    "options",
    "stream",
    "raw",
    "guarded",
    "idempotent",
    "deprecated",
    "include_in_schema",
    "api_prefix",
    "tags",
    "summary",
    "description",
    "timeout",
    "max_ongoing_requests",
    "max_body_size",
];

/// How an API is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    Func,
    All,
}

/// One path, one or more methods.
pub(crate) struct Routes {
    /// As written, lower case.
    pub(crate) methods: Vec<Ident>,
    pub(crate) path: LitStr,
    pub(crate) template: Template,
}

/// What the attribute says.
pub(crate) struct ApiOptions {
    pub(crate) kind: Kind,
    pub(crate) routes: Option<Routes>,
    /// The word `stream`, for messages.
    pub(crate) stream: Option<Ident>,
    /// The stream ends with its client.
    pub(crate) live: bool,
    pub(crate) raw: bool,
    /// Published only where a rule protects it.
    pub(crate) guarded: bool,
    pub(crate) idempotent: bool,
    pub(crate) deprecated: bool,
    pub(crate) include_in_schema: bool,
    pub(crate) api_prefix: bool,
    pub(crate) tags: Vec<LitStr>,
    pub(crate) summary: Option<LitStr>,
    pub(crate) description: Option<LitStr>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) max_ongoing_requests: Option<usize>,
    /// In bytes, with the word for messages.
    pub(crate) max_body_size: Option<(Ident, u64)>,
}

/// What was found, before it is put together.
#[derive(Default)]
struct Found {
    func: Option<Ident>,
    all: Option<Ident>,
    methods: Vec<Ident>,
    path: Option<LitStr>,
    raw: Option<Ident>,
    guarded: Option<Ident>,
}

impl ApiOptions {
    /// Reads the attribute of `method`; `None` if it does not say how the API is
    /// reached. What is wrong is noted.
    pub(crate) fn read(tokens: TokenStream, method: &Ident, errors: &mut Errors) -> Option<Self> {
        let mut options = Self {
            kind: Kind::Http,
            routes: None,
            stream: None,
            live: false,
            raw: false,
            guarded: false,
            idempotent: false,
            deprecated: false,
            include_in_schema: true,
            api_prefix: true,
            tags: Vec::new(),
            summary: None,
            description: None,
            timeout_ms: None,
            max_ongoing_requests: None,
            max_body_size: None,
        };
        let before = errors.len();
        let mut found = Found::default();
        for entry in keys::entries(tokens, errors) {
            let result = match entry {
                Entry::Text(path) => found.set_path(path),
                Entry::Key(key) => options.set(&key, &mut found),
            };
            errors.take(result);
        }
        if errors.len() > before {
            // What is missing may be in what could not be read.
            return None;
        }
        errors.take(found.into_options(options, method))
    }

    fn set(&mut self, key: &Key, found: &mut Found) -> syn::Result<()> {
        let ident = || key.ident.clone();
        match key.name().as_str() {
            "func" => {
                key.word()?;
                found.func = Some(ident());
            }
            "all" => {
                key.word()?;
                found.all = Some(ident());
            }
            method if METHODS.contains(&method) => {
                key.word()?;
                found.methods.push(ident());
            }
            "stream" => {
                let (on, word) = key.switch_or(&["live", "durable"])?;
                self.stream = on.then(ident);
                self.live = word == Some("live");
            }
            "raw" => {
                self.raw = key.switch()?;
                found.raw = self.raw.then(ident);
            }
            "guarded" => {
                self.guarded = key.switch()?;
                found.guarded = self.guarded.then(ident);
            }
            "idempotent" => self.idempotent = key.switch()?,
            "deprecated" => self.deprecated = key.switch()?,
            "include_in_schema" => self.include_in_schema = key.switch()?,
            "api_prefix" => self.api_prefix = key.switch()?,
            "tags" => self.tags = key.texts()?,
            "summary" => self.summary = Some(key.text()?),
            "description" => self.description = Some(key.text()?),
            "timeout" => self.timeout_ms = Some(key.millis()?),
            "max_ongoing_requests" => self.max_ongoing_requests = Some(key.limit()?),
            "max_body_size" => self.max_body_size = Some((ident(), key.bytes()?)),
            "trace" | "connect" => {
                return Err(Error::new_spanned(
                    &key.ident,
                    format!(
                        "the HTTP method `{}` is not for APIs: use one of `{}`",
                        key.name(),
                        METHODS.join("`, `")
                    ),
                ));
            }
            _ => return Err(key.unknown("word", &WORDS)),
        }
        Ok(())
    }
}

impl Found {
    fn set_path(&mut self, path: LitStr) -> syn::Result<()> {
        if let Some(first) = &self.path {
            return Err(Error::new_spanned(
                &path,
                format!(
                    "a second path beside `{}`: an API has one; give the other its own method",
                    first.value()
                ),
            ));
        }
        self.path = Some(path);
        Ok(())
    }

    fn into_options(self, mut options: ApiOptions, method: &Ident) -> syn::Result<ApiOptions> {
        if let Some(func) = self.func {
            if let Some(all) = self.all {
                let message = "`func` and `all` exclude each other: `func` is the bus only, `all` is route and bus";
                return Err(Error::new_spanned(all, message));
            }
            if !self.methods.is_empty() || self.path.is_some() {
                let message =
                    "`func` is reached on the bus only: remove the route, or write `all` for both";
                return Err(Error::new_spanned(func, message));
            }
            if let Some(raw) = self.raw {
                let message =
                    "`raw` leaves out the HTTP envelope, which a `func` API never has: remove it";
                return Err(Error::new_spanned(raw, message));
            }
            if let Some(guarded) = self.guarded {
                let message = "`guarded` is about routes, which a `func` API never has: remove it";
                return Err(Error::new_spanned(guarded, message));
            }
            options.kind = Kind::Func;
            return Ok(options);
        }
        let Some(path) = self.path else {
            if let Some(first) = self.methods.first() {
                let message =
                    format!("the API has no route: write `#[on_request({first}, \"/{method}\")]`");
                return Err(Error::new_spanned(first, message));
            }
            if let Some(all) = self.all {
                let message = format!(
                    "`all` needs a route: write `#[on_request(all, get, \"/{method}\")]`, or `func` for the bus only"
                );
                return Err(Error::new_spanned(all, message));
            }
            let message = format!(
                "how is `{method}` reached? Write `#[on_request(get, \"/{method}\")]`, or `#[on_request(func)]` for the bus only"
            );
            return Err(Error::new_spanned(method, message));
        };
        if self.methods.is_empty() {
            let all = if self.all.is_some() { "all, " } else { "" };
            let message = format!(
                "the route has no HTTP method: write `#[on_request({all}get, \"{}\")]`",
                path.value()
            );
            return Err(Error::new_spanned(path, message));
        }
        let template = template::read(&path.value(), options.api_prefix).map_err(|reason| {
            let message = format!("the route `{}` is not valid: {reason}", path.value());
            Error::new_spanned(&path, message)
        })?;
        options.kind = if self.all.is_some() {
            Kind::All
        } else {
            Kind::Http
        };
        options.routes = Some(Routes {
            methods: self.methods,
            path,
            template,
        });
        Ok(options)
    }
}
