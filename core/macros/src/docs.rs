//! Doc comments as texts of the API's documents.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The text of the doc comments among `attrs`.
pub(crate) fn text(attrs: &[Attribute]) -> String {
    let lines: Vec<String> = attrs.iter().filter_map(line).collect();
    let text = lines.join("\n");
    // One space after the slashes is custom, more is Markdown.
    let text: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    text.join("\n").trim_matches('\n').to_owned()
}

/// The first paragraph on one line without its full stop, and the rest.
pub(crate) fn summary_and_description(text: &str) -> (String, String) {
    let (first, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let summary = match line.strip_suffix('.') {
        Some(stripped) if !stripped.ends_with('.') => stripped.to_owned(),
        _ => line,
    };
    (summary, rest.trim_matches('\n').to_owned())
}

fn line(attr: &Attribute) -> Option<String> {
    match &attr.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_paragraph_is_the_summary() {
        let (summary, description) = summary_and_description("Adds\ntwo numbers.\n\nMore.\n\n- x");
        assert_eq!(summary, "Adds two numbers");
        assert_eq!(description, "More.\n\n- x");
        assert_eq!(summary_and_description("Waits ...").0, "Waits ...");
    }
}
