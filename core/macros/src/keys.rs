//! The lists inside attributes: words, texts and `key = value`.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitStr, Path, Result, Token, Type};

use crate::errors::Errors;

/// One element of an attribute's list.
pub(crate) enum Entry {
    /// `"/echo"`
    Text(LitStr),
    /// `stream`, or `priority = 10`
    Key(Key),
}

/// A word, with a value or without.
pub(crate) struct Key {
    /// The word.
    pub(crate) ident: Ident,
    value: Option<Value>,
}

enum Value {
    Expr(Expr),
    Type(Type),
    Path(Path),
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(LitStr) {
            return Ok(Self::Text(input.parse()?));
        }
        if !input.peek(Ident::peek_any) {
            return Err(input.error("expected a word, a text, or `key = value`"));
        }
        let ident = input.call(Ident::parse_any)?;
        let mut value = None;
        if input.parse::<Option<Token![=]>>()?.is_some() {
            // What is not what it should be is told by `of_type` and `path`.
            value = Some(
                if ident == "config" && input.fork().parse::<Type>().is_ok() {
                    Value::Type(input.parse()?)
                } else if ident == "crate" && input.fork().call(Path::parse_mod_style).is_ok() {
                    Value::Path(input.call(Path::parse_mod_style)?)
                } else {
                    Value::Expr(input.parse()?)
                },
            );
        }
        Ok(Self::Key(Key { ident, value }))
    }
}

/// Reads a list. What cannot be read is noted, and ends it.
pub(crate) fn entries(tokens: TokenStream, errors: &mut Errors) -> Vec<Entry> {
    let list = Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens);
    let list = errors.take(list).unwrap_or_default();
    let mut seen = HashSet::new();
    list.into_iter()
        .filter(|entry| match entry {
            Entry::Key(key) if !seen.insert(key.name()) => {
                errors.at(
                    &key.ident,
                    format!("`{}` is given twice: remove one", key.ident),
                );
                false
            }
            _ => true,
        })
        .collect()
}

impl Key {
    /// The word as text.
    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }

    /// A word of its own.
    pub(crate) fn word(&self) -> Result<()> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(self.wrong(format!("takes no value: write `{}`", self.ident))),
        }
    }

    /// A text, written out.
    pub(crate) fn text(&self) -> Result<LitStr> {
        match self.literal() {
            Some(Lit::Str(text)) => Ok(text.clone()),
            _ => Err(self.wants("a text", "\"..\"")),
        }
    }

    /// A text, written out or by a macro such as `env!`.
    pub(crate) fn text_or_macro(&self) -> Result<Expr> {
        match &self.value {
            Some(Value::Expr(expr @ Expr::Macro(_))) => Ok(expr.clone()),
            Some(Value::Expr(expr)) if matches!(self.literal(), Some(Lit::Str(_))) => {
                Ok(expr.clone())
            }
            _ => Err(self.wants("a text", "\"..\"")),
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&self) -> Result<Vec<LitStr>> {
        let wants = || self.wants("a list of texts", "[\"..\"]");
        let Some(Value::Expr(Expr::Array(array))) = &self.value else {
            return Err(wants());
        };
        let text = |expr: &Expr| match expr {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Ok(text.clone()),
            _ => Err(wants()),
        };
        array.elems.iter().map(text).collect()
    }

    /// A switch that may be one of `words` as well: on, unless it says `false`, and
    /// the word.
    pub(crate) fn switch_or(&self, words: &[&'static str]) -> Result<(bool, Option<&'static str>)> {
        let said = match &self.value {
            Some(Value::Expr(Expr::Path(path))) => path.path.get_ident(),
            _ => None,
        };
        match (
            said,
            words
                .iter()
                .find(|word| said.is_some_and(|said| said == *word)),
        ) {
            (None, _) if self.value.is_none() || matches!(self.literal(), Some(Lit::Bool(_))) => {
                Ok((self.switch()?, None))
            }
            (Some(_), Some(word)) => Ok((true, Some(word))),
            _ => {
                let what = format!("`{}`, `true` or `false`", words.join("`, `"));
                Err(self.wants(&what, words.first().unwrap_or(&"false")))
            }
        }
    }

    /// A switch: `raw`, `raw = true`, `raw = false`.
    pub(crate) fn switch(&self) -> Result<bool> {
        match (&self.value, self.literal()) {
            (None, _) => Ok(true),
            (_, Some(Lit::Bool(value))) => Ok(value.value),
            _ => Err(self.wants("`true` or `false`", "false")),
        }
    }

    /// A limit: a whole number from 1.
    pub(crate) fn limit(&self) -> Result<usize> {
        let limit = match self.literal() {
            Some(Lit::Int(number)) => number.base10_parse().ok(),
            _ => None,
        };
        limit
            .filter(|limit| *limit > 0)
            .ok_or_else(|| self.wants("a whole number from 1", "64"))
    }

    /// A whole number with a sign.
    pub(crate) fn number(&self) -> Result<i32> {
        let wants = || self.wants("a whole number", "10");
        let Some(Value::Expr(expr)) = &self.value else {
            return Err(wants());
        };
        let (minus, expr) = match expr {
            Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Neg(_)) => ("-", &*unary.expr),
            other => ("", other),
        };
        match expr {
            Expr::Lit(ExprLit {
                lit: Lit::Int(number),
                ..
            }) => format!("{minus}{}", number.base10_digits())
                .parse()
                .map_err(|_| wants()),
            _ => Err(wants()),
        }
    }

    /// A span of time in milliseconds.
    pub(crate) fn millis(&self) -> Result<u64> {
        let wants = || self.wants("a time such as \"500ms\", \"30s\" or \"2m\"", "\"30s\"");
        let Some(Lit::Str(text)) = self.literal() else {
            return Err(wants());
        };
        let value = text.value();
        let digits = value.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = value.split_at(digits);
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wants()),
        };
        let number: u64 = number.parse().map_err(|_| wants())?;
        let millis = number.checked_mul(factor).ok_or_else(wants)?;
        if millis == 0 {
            return Err(
                self.wrong("of zero would refuse every call: leave it out, or write e.g. \"30s\"")
            );
        }
        Ok(millis)
    }

    /// A number of bytes, written as a whole number or as in the settings.
    pub(crate) fn bytes(&self) -> Result<u64> {
        const UNITS: [(&str, u64); 7] = [
            ("gib", 1 << 30),
            ("mib", 1 << 20),
            ("kib", 1 << 10),
            ("gb", 1_000_000_000),
            ("mb", 1_000_000),
            ("kb", 1_000),
            ("b", 1),
        ];
        let read = match self.literal() {
            Some(Lit::Int(number)) => number.base10_parse().ok(),
            Some(Lit::Str(text)) => {
                let text = text.value().to_ascii_lowercase();
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                let (number, unit) = text.split_at(digits);
                let known = UNITS.iter().find(|(name, _)| *name == unit.trim());
                let number: Option<u64> = number.parse().ok();
                number
                    .zip(known)
                    .and_then(|(number, (_, factor))| number.checked_mul(*factor))
            }
            _ => None,
        };
        read.filter(|bytes| *bytes > 0).ok_or_else(|| {
            self.wants(
                "a size such as \"512KiB\", \"100 MB\" or \"1GiB\"",
                "\"1GiB\"",
            )
        })
    }

    /// Any expression.
    pub(crate) fn expression(&self) -> Result<Expr> {
        match &self.value {
            Some(Value::Expr(expr)) => Ok(expr.clone()),
            _ => Err(self.wants("a value", "..")),
        }
    }

    /// A type.
    pub(crate) fn of_type(&self) -> Result<Type> {
        match &self.value {
            Some(Value::Type(ty)) => Ok(ty.clone()),
            _ => Err(self.wants("a type", "YourConfig")),
        }
    }

    /// A path.
    pub(crate) fn path(&self) -> Result<Path> {
        match &self.value {
            Some(Value::Path(path)) => Ok(path.clone()),
            _ => Err(self.wants("a path", "::framex")),
        }
    }

    /// That nothing is called so.
    pub(crate) fn unknown(&self, what: &str, known: &[&str]) -> Error {
        let name = self.name();
        let message = match nearest(&name, known) {
            Some(near) => format!("unknown {what} `{name}`: did you mean `{near}`?"),
            None => format!(
                "unknown {what} `{name}`: known are `{}`",
                known.join("`, `")
            ),
        };
        Error::new_spanned(&self.ident, message)
    }

    fn literal(&self) -> Option<&Lit> {
        match &self.value {
            Some(Value::Expr(Expr::Lit(ExprLit { lit, .. }))) => Some(lit),
            _ => None,
        }
    }

    fn wants(&self, what: &str, example: &str) -> Error {
        let name = self.name();
        self.wrong(format!("takes {what}: write `{name} = {example}`"))
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        let message = format!("`{}` {what}", self.name());
        match &self.value {
            Some(Value::Expr(expr)) => Error::new_spanned(expr, message),
            Some(Value::Type(ty)) => Error::new_spanned(ty, message),
            Some(Value::Path(path)) => Error::new_spanned(path, message),
            None => Error::new_spanned(&self.ident, message),
        }
    }
}

/// The word that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let allowed = (word.len() / 3).max(1);
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&word, known), *known))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
