//! `#[on_register(..)]`

use proc_macro2::{Span, TokenStream};
use syn::{Error, Expr, LitStr, Path, Type};

use crate::errors::Errors;
use crate::keys::{self, Entry, Key};

const KEYS: [&str; 11] = [
    "plugin",
    "version",
    "description",
    "author",
    "url",
    "required_remote_apis",
    "priority",
    "tags",
    "max_ongoing_requests",
    "config",
    "crate",
];

/// What the attribute says.
pub(crate) struct PluginOptions {
    /// Where FrameX is.
    pub(crate) krate: Path,
    /// The plugin's name, if it is valid.
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<Expr>,
    pub(crate) description: Option<Expr>,
    pub(crate) author: Option<Expr>,
    pub(crate) url: Option<Expr>,
    pub(crate) required_remote_apis: Vec<LitStr>,
    pub(crate) priority: i32,
    pub(crate) tags: Vec<LitStr>,
    pub(crate) max_ongoing_requests: Option<usize>,
    pub(crate) config: Option<Type>,
}

impl PluginOptions {
    /// Reads the attribute and notes what is wrong with it.
    pub(crate) fn read(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self {
            krate: crate::root::root(),
            name: None,
            version: None,
            description: None,
            author: None,
            url: None,
            required_remote_apis: Vec::new(),
            priority: 0,
            tags: Vec::new(),
            max_ongoing_requests: None,
            config: None,
        };
        let before = errors.len();
        let mut named = false;
        for entry in keys::entries(tokens, errors) {
            let result = match entry {
                Entry::Text(text) => Err(Error::new_spanned(
                    &text,
                    format!(
                        "a text without a key: write `plugin = \"{}\"`",
                        text.value()
                    ),
                )),
                Entry::Key(key) => {
                    named |= key.name() == "plugin";
                    options.set(&key)
                }
            };
            errors.take(result);
        }
        if !named && errors.len() == before {
            errors.push(Error::new(
                Span::call_site(),
                "the plugin has no name: write `#[on_register(plugin = \"your_name\")]`",
            ));
        }
        options
    }

    fn set(&mut self, key: &Key) -> syn::Result<()> {
        match key.name().as_str() {
            "plugin" => self.name = Some(name(key.text()?)?),
            "version" => self.version = Some(key.text_or_macro()?),
            "description" => self.description = Some(key.text_or_macro()?),
            "author" => self.author = Some(key.text_or_macro()?),
            "url" => self.url = Some(key.text_or_macro()?),
            "required_remote_apis" => self.required_remote_apis = key.texts()?,
            "priority" => self.priority = key.number()?,
            "tags" => self.tags = key.texts()?,
            "max_ongoing_requests" => self.max_ongoing_requests = Some(key.limit()?),
            "config" => self.config = Some(key.of_type()?),
            "crate" => self.krate = key.path()?,
            _ => return Err(key.unknown("key", &KEYS)),
        }
        Ok(())
    }
}

/// A name that can be the first token of an API id.
fn name(text: LitStr) -> syn::Result<LitStr> {
    let value = text.value();
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let reason = if value == "framex" {
        "the plugin name `framex` is reserved: choose another".to_owned()
    } else if value.starts_with(['_', '$']) {
        format!(
            "plugin names that start with `{}` are reserved: choose another",
            &value[..1]
        )
    } else if value.is_empty() || !value.chars().all(valid) {
        "a plugin name is made of ASCII letters, digits, `_` and `-`: write e.g. `plugin = \"echo\"`"
            .to_owned()
    } else {
        return Ok(text);
    };
    Err(Error::new_spanned(text, reason))
}
