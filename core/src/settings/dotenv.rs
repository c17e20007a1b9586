//! `.env` files: `NAME=value`, one per line.
//!
//! Read here and not with a crate, because those at hand look into the
//! environment of the process (`${NAME}`), take the quotes out of
//! `["a","b"]`, and do not tell the line.
//!
//! - blank lines, lines that begin with `#`, and `export ` are skipped;
//! - `NAME=text # comment`: up to the comment, without the spaces around;
//! - `NAME='text'`: as it is; `NAME="text"`: with `\n`, `\t`, `\"`, `\\`; both
//!   may go on over several lines;
//! - `$` means nothing.

/// A variable and its line.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// A line that is no variable. Never holds text of the file.
#[derive(Debug, PartialEq)]
pub(crate) struct Wrong {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) reason: &'static str,
}

/// Reads a whole file. A wrong line does not hide those after it.
pub(crate) fn parse(text: &str) -> (Vec<Line>, Vec<Wrong>) {
    let (mut variables, mut wrong) = (Vec::new(), Vec::new());
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let (used, read) = entry(rest);
        match read {
            Ok(Some((name, text))) => variables.push(Line { name, text, line }),
            Ok(None) => {}
            Err(reason) => wrong.push(Wrong { line, reason }),
        }
        line += rest[..used].matches('\n').count();
        rest = &rest[used..];
    }
    (variables, wrong)
}

type Entry = Result<Option<(String, String)>, &'static str>;

/// Reads what `text` begins with, and tells how many bytes that was.
fn entry(text: &str) -> (usize, Entry) {
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    let line = text[..end].trim();
    if line.is_empty() || line.starts_with('#') {
        return (end, Ok(None));
    }
    let Some(equals) = text[..end].find('=') else {
        return (end, Err("no `=`: a line is `NAME=value`"));
    };
    let name = &text[..equals];
    let name = match name.trim().strip_prefix("export") {
        Some(exported) if exported.starts_with([' ', '\t']) => exported.trim(),
        _ => name.trim(),
    };
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '"' || c == '\'') {
        return (end, Err("no name in front of `=`"));
    }
    let value = text[equals + 1..end].trim_start();
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return (end, Ok(Some((name.into(), unquoted(value).into()))));
    };
    let start = end - value.len() + quote.len_utf8();
    let Some((content, length)) = quoted(&text[start..], quote) else {
        return (end, Err("a quote that is never closed"));
    };
    let after = start + length;
    let end = text[after..]
        .find('\n')
        .map_or(text.len(), |at| after + at + 1);
    let tail = text[after..end].trim();
    if !tail.is_empty() && !tail.starts_with('#') {
        return (end, Err("text after the closing quote"));
    }
    (end, Ok(Some((name.into(), content))))
}

fn unquoted(value: &str) -> &str {
    let comment = value
        .char_indices()
        .find(|(at, c)| *c == '#' && (*at == 0 || value[..*at].ends_with([' ', '\t'])))
        .map_or(value.len(), |(at, _)| at);
    value[..comment].trim()
}

/// The content up to the closing `quote`, and the bytes up to behind it.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((content, at + 1)),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => content.push('\n'),
                't' => content.push('\t'),
                'r' => content.push('\r'),
                c @ ('"' | '\\' | '$' | '\'') => content.push(c),
                c => content.extend(['\\', c]),
            },
            c => content.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let (variables, wrong) = parse(concat!(
            "# comment\n\nA=1\r\n  export B = two words # comment\n",
            "C=[\"a\",\"b\"]\nD='it''s'\nD2='$x #y' # z\nE=\"a\\n\\\"b\\\"\nc\"\n",
            "F=\nG=a#b\nexported=x\nnothing\n=x\nH=\"open\nI=last",
        ));
        let read: Vec<_> = variables
            .iter()
            .map(|v| (v.name.as_str(), v.text.as_str(), v.line))
            .collect();
        assert_eq!(
            read,
            [
                ("A", "1", 3),
                ("B", "two words", 4),
                ("C", "[\"a\",\"b\"]", 5),
                ("D2", "$x #y", 7),
                ("E", "a\n\"b\"\nc", 8),
                ("F", "", 10),
                ("G", "a#b", 11),
                ("exported", "x", 12),
                ("I", "last", 16),
            ]
        );
        let lines: Vec<_> = wrong.iter().map(|wrong| wrong.line).collect();
        assert_eq!(lines, [6, 13, 14, 15]);
    }
}
