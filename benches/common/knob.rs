//! Values of knobs on the command line: `threads=2`, `writev=off`.

use std::str::FromStr;

/// # Errors
///
/// A text that names the value.
pub(crate) fn number<N: FromStr>(value: &str) -> Result<N, String> {
    value
        .parse()
        .map_err(|_| format!("`{value}` is not such a number"))
}

/// # Errors
///
/// A text that names the value.
pub(crate) fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{value}` is neither `on` nor `off`")),
    }
}
