//! What a command prints: text, tables, JSON.

use std::borrow::Cow;
use std::io::{self, Write as _};

use comfy_table::{Table, presets};

use super::failure::Failure;

/// Prints `text` and flushes it.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}

/// Prints `text` and ends its last line.
pub(crate) fn print_line(mut text: String) -> Result<(), Failure> {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    print(text)
}

/// Prints rows below headings, a line each.
pub(crate) fn print_table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings);
    for row in rows {
        table.add_row(row.map(|cell| escaped(&cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    print_line(table.trim_fmt())
}

/// `text` with its control characters written out: it may be anybody's, and
/// must not speak to the terminal.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    escaped_but(text, |_| false)
}

/// As [`escaped`], line breaks stay.
pub(crate) fn lines_escaped(text: &str) -> Cow<'_, str> {
    escaped_but(text, |c| c == '\n')
}

fn escaped_but(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let speaks = |c: char| c.is_control() && !keep(c);
    if !text.contains(speaks) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match speaks(c) {
            true => safe.extend(c.escape_default()),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(escaped("plain ä"), "plain ä");
        assert_eq!(escaped("a\u{1b}[31m\nb\u{9b}"), "a\\u{1b}[31m\\nb\\u{9b}");
        assert_eq!(lines_escaped("a\nb\r"), "a\nb\\r");
    }
}
