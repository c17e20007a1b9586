//! Variables, of the process or of a file: which are ours, and what key each
//! one sets.

use super::keys;
use super::source::Place;
use super::tree::{Body, Node, Table};

const PREFIX: &str = "framex_";

/// The path of the key that a variable called `name` sets, and whether it has
/// the prefix; `None` for a variable that is not ours.
///
/// A name with `FRAMEX_` in front is ours, but for those that Kubernetes makes
/// up for a Service called `framex…`. A bare name is ours if it has a `__` and
/// begins with one of our tables, or is one of our values at the top.
pub(crate) fn path_of(name: &str, text: &str) -> Option<(Vec<String>, bool)> {
    let lower = name.to_lowercase();
    let rest = lower.strip_prefix(PREFIX).filter(|rest| !rest.is_empty());
    // Lowercasing may change the length of what is not ASCII, never of a prefix.
    let spelled = &name[if rest.is_some() { PREFIX.len() } else { 0 }..];
    let ours = match rest {
        Some(rest) => !is_from_kubernetes(rest, text),
        None => match lower.split_once("__") {
            Some((first, _)) => keys::is_top_table(first),
            None => keys::is_top_value(&lower),
        },
    };
    ours.then(|| (segments(spelled), rest.is_some()))
}

/// `SERVER__PORT` as `server`, `port`. Routes keep their case and their `__`.
fn segments(name: &str) -> Vec<String> {
    let lower = name.to_lowercase();
    if lower.starts_with("auth__rules__") {
        let route = name.splitn(3, "__").last().unwrap_or_default();
        return vec!["auth".into(), "rules".into(), route.into()];
    }
    lower.split("__").map(str::to_owned).collect()
}

/// Kubernetes gives every pod variables for every Service of its namespace:
/// for a Service `framex-edge`, `FRAMEX_EDGE_SERVICE_HOST`,
/// `FRAMEX_EDGE_PORT_8080_TCP_ADDR` and others; for `framex`, `FRAMEX_PORT`.
/// None has a `__`. `FRAMEX_SERVER_PORT=9000` is a slip, not one of these: theirs
/// is a URL.
fn is_from_kubernetes(rest: &str, text: &str) -> bool {
    let rest = &format!("_{rest}");
    !rest.contains("__")
        && (rest.ends_with("_service_host")
            || rest.ends_with("_port") && text.contains("://")
            || rest.contains("_service_port")
            || ["_tcp", "_udp", "_sctp"].iter().any(|protocol| {
                rest.contains("_port_")
                    && ["", "_addr", "_port", "_proto"]
                        .iter()
                        .any(|what| rest.ends_with(&format!("{protocol}{what}")))
            }))
}

/// One layer per variable that is ours, weakest first: bare names before names
/// with the prefix, else in the order given.
pub(crate) fn layers(variables: impl IntoIterator<Item = (String, String, Place)>) -> Vec<Table> {
    let mut ours: Vec<_> = variables
        .into_iter()
        .filter_map(|(name, text, place)| Some((path_of(&name, &text)?, text, place)))
        .collect();
    ours.sort_by_key(|((_, prefixed), ..)| *prefixed);
    ours.into_iter()
        .filter_map(|((path, _), text, place)| {
            let body = Body::Text(text);
            Node { place, body }.nested(&path).into_table()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> Option<String> {
        path_of(name, "tcp://10.0.0.1:80").map(|(path, _)| path.join("."))
    }

    #[test]
    fn ours() {
        for (name, key) in [
            ("SERVER__PORT", "server.port"),
            ("server__Port", "server.port"),
            ("SERVER__POTR", "server.potr"),
            ("FRAMEX_SERVER__PORT", "server.port"),
            ("framex_load_plugins", "load_plugins"),
            ("FRAMEX_SERVRE__PORT", "servre.port"),
            ("FRAMEX_LOG", "log"),
            ("FRAMEX__SERVER__PORT", "_server.port"),
            ("LOAD_PLUGINS", "load_plugins"),
            ("CACHE__KIND", "cache.kind"),
            ("PLUGINS__ECHO__Max_Len", "plugins.echo.max_len"),
            ("AUTH__RULES__/api/V1/a__b", "auth.rules./api/V1/a__b"),
        ] {
            assert_eq!(path(name).as_deref(), Some(key), "{name}");
        }
    }

    #[test]
    fn not_ours() {
        for name in [
            "",
            "LOG",
            "TEST",
            "SERVER",
            "CACHE",
            "PLUGINS",
            "PATH",
            "SERVRE__PORT",
            "__CF",
            "SERVER_PORT",
            "FRAMEX_",
            "FRAMEX",
            "ß__ß",
            "FRAMEX_SERVICE_HOST",
            "FRAMEX_SERVICE_PORT",
            "FRAMEX_SERVICE_PORT_HTTP",
            "FRAMEX_PORT",
            "FRAMEX_PORT_8080_TCP",
            "FRAMEX_EDGE_PORT_8080_TCP_ADDR",
            "FRAMEX_EDGE_PORT",
            "FRAMEX_EDGE_PORT_53_UDP_PROTO",
        ] {
            assert_eq!(path(name), None, "{name}");
        }
    }
}
