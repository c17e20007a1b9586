//! Addresses: where upstreams are stays out of what is published of any of them.

use http::uri::Authority;
use serde_json::Value;

use crate::proxy::upstream::{Site, Upstream};

/// The addresses that no text may have.
pub(super) struct Addresses<'a>(Vec<Address<'a>>);

/// One of them, to be found in texts.
struct Address<'a> {
    host: String,
    port: Option<u16>,
    /// Whether its host can be told from other words.
    telling: bool,
    /// What stands in its place.
    name: &'a str,
}

impl<'a> Addresses<'a> {
    /// That of `own`, whose document it is, and those of `sites`.
    pub(super) fn new(own: &'a Upstream, sites: &'a [Site]) -> Self {
        let others = sites
            .iter()
            .map(|place| Address::new(&place.authority, &place.name));
        let own = Address::new(&own.authority, &own.name);
        Self(std::iter::once(own).chain(others).collect())
    }

    /// Replaces them in every text of `value`: URLs become paths, hosts the name.
    pub(super) fn scrub(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(clean) = self.without(text) {
                    *text = clean;
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|item| self.scrub(item)),
            Value::Object(map) => {
                let told: Vec<(String, String)> = map
                    .keys()
                    .filter_map(|key| Some((key.clone(), self.without(key)?)))
                    .collect();
                for (key, clean) in told {
                    if let Some(value) = map.remove(&key) {
                        map.insert(clean, value);
                    }
                }
                map.values_mut().for_each(|value| self.scrub(value));
            }
            _ => {}
        }
    }

    /// `text` without them, if it has any.
    fn without(&self, text: &str) -> Option<String> {
        // As long as `text`, byte by byte.
        let mut low = text.to_ascii_lowercase();
        let mut clean: Option<String> = None;
        for address in &self.0 {
            if let Some(next) = address.without(clean.as_deref().unwrap_or(text), &low) {
                low = next.to_ascii_lowercase();
                clean = Some(next);
            }
        }
        clean
    }
}

impl<'a> Address<'a> {
    /// The address `authority`, to be replaced by `name`.
    fn new(authority: &Authority, name: &'a str) -> Self {
        let host = authority.host().to_ascii_lowercase();
        Self {
            telling: host.contains('.') || host.starts_with('['),
            host,
            port: authority.port_u16(),
            name,
        }
    }

    /// `text`, in lower case `low`, without the address, if it has it.
    fn without(&self, text: &str, low: &str) -> Option<String> {
        if text.len() < self.host.len() {
            return None;
        }
        let mut clean = String::new();
        let mut copied = 0;
        for (at, _) in low.match_indices(&self.host) {
            let Some((from, to, schemed)) = self.hit(low, at).filter(|(from, ..)| *from >= copied)
            else {
                continue;
            };
            clean.push_str(&text[copied..from]);
            match (schemed, text[to..].starts_with('/')) {
                (true, true) => {}
                (true, false) => clean.push('/'),
                (false, _) => clean.push_str(self.name),
            }
            copied = to;
        }
        (copied > 0).then(|| clean + &text[copied..])
    }

    /// From where to where the address reaches, whose host is at `at`, and whether it is a URL's.
    fn hit(&self, low: &str, at: usize) -> Option<(usize, usize, bool)> {
        let word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        let before = &low[..at];
        if before.ends_with(|c| word(c) || c == '.') {
            return None;
        }
        let mut to = at + self.host.len();
        let after = &low[to..];
        let goes_on = after
            .strip_prefix('.')
            .is_some_and(|rest| rest.starts_with(word));
        if after.starts_with(word) || goes_on {
            return None;
        }
        let digits = after.strip_prefix(':').map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit());
            &rest[..end.unwrap_or(rest.len())]
        });
        let port = digits.filter(|digits| !digits.is_empty());
        to += port.map_or(0, |port| 1 + port.len());
        let scheme = [
            "http://", "https://", "ws://", "wss://", "nats://", "tls://",
        ]
        .into_iter()
        .filter(|scheme| before.ends_with(scheme))
        .map(str::len)
        .max();
        let own_port = port.is_some_and(|port| port.parse() == Ok(self.port.unwrap_or_default()));
        match scheme {
            Some(length) => Some((at - length, to, true)),
            None => (self.telling || own_port).then_some((at, to, false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn clean(authority: &str, text: &str) -> String {
        let authority: Authority = authority.parse().unwrap();
        let mut value = json!(text);
        Addresses(vec![Address::new(&authority, "users")]).scrub(&mut value);
        value.as_str().unwrap().to_owned()
    }

    #[test]
    fn urls_become_paths_and_hosts_the_name() {
        for (authority, text, without) in [
            (
                "127.0.0.1:9000",
                "see http://127.0.0.1:9000/docs.",
                "see /docs.",
            ),
            ("127.0.0.1:9000", "HTTPS://127.0.0.1:9000", "/"),
            (
                "127.0.0.1:9000",
                "at 127.0.0.1:9000, 127.0.0.1:80 or 127.0.0.1",
                "at users, users or users",
            ),
            (
                "127.0.0.1:9000",
                "127.0.0.10:9000 and 1127.0.0.1",
                "127.0.0.10:9000 and 1127.0.0.1",
            ),
            (
                "api:8000",
                "the api at api:8000, [it](http://api:8000/x)",
                "the api at users, [it](/x)",
            ),
            (
                "api:8000",
                "http://api/x api:80 myapi:8000",
                "/x api:80 myapi:8000",
            ),
            (
                "api",
                "the api: http://api/x and http://api.example.com",
                "the api: /x and http://api.example.com",
            ),
            (
                "Users.Internal",
                "é users.internal. a@USERS.internal",
                "é users. a@users",
            ),
            (
                "users.internal",
                "users.internal.Order",
                "users.internal.Order",
            ),
            ("[::1]:80", "http://[::1]:80/x [::1]", "/x users"),
            ("a.b", "", ""),
            ("a.b", "a.b", "users"),
            ("a.b", "ws://a.b:1/x//a.b", "/x//users"),
        ] {
            assert_eq!(clean(authority, text), without, "{authority}: {text}");
        }
    }

    #[test]
    fn nothing_is_left_at_any_depth() {
        let authority: Authority = "10.0.0.7:80".parse().unwrap();
        let mut value = json!({"a": [{"10.0.0.7:80": "x", "b": "http://10.0.0.7/y"}], "c": 1});
        Addresses(vec![Address::new(&authority, "users")]).scrub(&mut value);
        assert_eq!(value, json!({"a": [{"users": "x", "b": "/y"}], "c": 1}));
    }

    #[test]
    fn each_address_has_its_own_name() {
        let [own, orders]: [Authority; 2] =
            ["10.0.0.7:80", "orders:81"].map(|a| a.parse().unwrap());
        let addresses = [Address::new(&own, "users"), Address::new(&orders, "shop")];
        let text = "ORDERS:81 and 10.0.0.7, http://orders:81/x, nats://10.0.0.7";
        let found = Addresses(addresses.into()).without(text);
        assert_eq!(found.as_deref(), Some("shop and users, /x, /"));
    }
}
