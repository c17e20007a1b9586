//! How to reach the broker.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};

/// A dead connection is noticed after three of these.
const PING_EVERY: Duration = Duration::from_secs(1);
/// For one server of the list; the next has its turn after it.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The longest pause between two attempts to connect again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How a process takes part in a bus.
#[derive(Clone, Debug)]
pub struct Options {
    /// Brokers of one cluster; at least one.
    pub urls: Vec<String>,
    /// Who this process is.
    pub auth: Auth,
    /// How connections are encrypted.
    pub tls: Tls,
    /// First token of every subject.
    pub namespace: Option<String>,
    /// Calls of APIs that this process serves itself do not leave it.
    pub prefer_local: bool,
    /// First tokens of the subjects that replies come to.
    pub inbox_prefix: String,
    /// How long calls of APIs without a timeout of their own may take.
    pub default_timeout: Duration,
    /// Of whom this process wants to know.
    pub follow: Follow,
    /// Plugins that this process wants to know of besides: those that take what nobody
    /// answers.
    pub follow_also: Vec<String>,
    /// Where the streams are kept that this process starts: in JetStream, if the
    /// broker has it; else, and if none, in this process.
    pub streams: Option<StreamStore>,
    /// What the broker's monitoring calls this process' connections.
    pub name: String,
}

/// The JetStream stream in which kept streams are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamStore {
    /// Its name; with a namespace, `_<namespace>` follows.
    pub name: String,
    /// In the brokers' memory, not on their disks.
    pub in_memory: bool,
    /// How long messages are kept.
    pub max_age: Duration,
    /// How large it may grow; then the oldest messages go.
    pub max_bytes: u64,
    /// On how many brokers of a cluster it is.
    pub replicas: usize,
    /// How long a stream goes on with nobody following it.
    pub grace: Duration,
}

impl Default for StreamStore {
    fn default() -> Self {
        Self {
            name: "FRAMEX_STREAMS".into(),
            in_memory: false,
            max_age: Duration::from_secs(10 * 60),
            max_bytes: 1 << 30,
            replicas: 1,
            grace: Duration::from_secs(10),
        }
    }
}

/// Of whom a process wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    /// Of everybody: for edges, and for those who look around.
    #[default]
    All,
    /// Of those whose APIs its own plugins declare to call: for workers.
    Declared,
}

/// Who a process is to the broker. `Debug` tells no secret.
#[derive(Clone, Default)]
pub struct Auth {
    /// A credentials file, as `nsc` writes it.
    pub creds: Option<PathBuf>,
    /// A user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// A token.
    pub token: Option<String>,
    /// A file with an nkey seed.
    pub nkey: Option<PathBuf>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "********");
        f.debug_struct("Auth")
            .field("creds", &self.creds)
            .field("user", &self.user)
            .field("password", &hidden(&self.password))
            .field("token", &hidden(&self.token))
            .field("nkey", &self.nkey)
            .finish()
    }
}

/// How connections are encrypted.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates of authorities to trust besides the system's (PEM).
    pub ca: Option<PathBuf>,
    /// This process' certificate (PEM), where the broker asks for one.
    pub cert: Option<PathBuf>,
    /// The key of `cert` (PEM).
    pub key: Option<PathBuf>,
    /// Refuse a broker without TLS.
    pub required: bool,
    /// Start with TLS, before the broker's greeting.
    pub first: bool,
}

/// Why a bus cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A URL that nothing can be reached at.
    #[error("`nats.url`: `{url}` is no broker's address ({reason}); write nats://host:4222")]
    Url {
        /// As it was given, without a password.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of credentials, keys or certificates.
    #[error("`{key}`: {path} cannot be used: {reason}")]
    File {
        /// The setting.
        key: &'static str,
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Half a pair.
    #[error("`{given}` needs `{missing}` beside it")]
    Incomplete {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// The bus was not ready in time.
    #[error("{0}")]
    NotReady(String),
    /// The system refused a thread.
    #[error("a thread for the bus cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

impl Options {
    /// The servers' addresses.
    pub(super) fn servers(&self) -> Result<Vec<ServerAddr>, NatsError> {
        let parse = |url: &String| {
            url.parse::<ServerAddr>().map_err(|error| NatsError::Url {
                url: without_password(url),
                reason: error.to_string(),
            })
        };
        self.urls.iter().map(parse).collect()
    }

    /// The addresses as one may print them.
    pub(super) fn shown(&self) -> String {
        let urls: Vec<_> = self.urls.iter().map(|url| without_password(url)).collect();
        urls.join(", ")
    }

    /// Everything about a connection but its events.
    pub(super) fn connect_options(&self, name: String) -> Result<ConnectOptions, NatsError> {
        let mut options = ConnectOptions::new()
            .name(name)
            .ping_interval(PING_EVERY)
            .connection_timeout(CONNECT_LIMIT)
            .custom_inbox_prefix(&self.inbox_prefix)
            .skip_subject_validation(true)
            .max_reconnects(None)
            .reconnect_delay_callback(|attempt| match attempt {
                0 | 1 => Duration::ZERO,
                n => Duration::from_millis(1 << n.min(10)).min(LONGEST_PAUSE),
            })
            .require_tls(self.tls.required);
        let Auth {
            creds,
            user,
            password,
            token,
            nkey,
        } = &self.auth;
        if let Some(path) = creds {
            let text = read("nats.creds", path)?;
            options = options
                .credentials(&text)
                .map_err(|error| unusable("nats.creds", path, &error))?;
        }
        if let Some(path) = nkey {
            let seed = read("nats.nkey", path)?;
            options = options.nkey(seed.trim().to_owned());
        }
        match (user, password) {
            (Some(user), Some(password)) => {
                options = options.user_and_password(user.clone(), password.clone());
            }
            (Some(_), None) => {
                return Err(NatsError::Incomplete {
                    given: "nats.user",
                    missing: "nats.password",
                });
            }
            (None, Some(_)) => {
                return Err(NatsError::Incomplete {
                    given: "nats.password",
                    missing: "nats.user",
                });
            }
            (None, None) => {}
        }
        if let Some(token) = token {
            options = options.token(token.clone());
        }
        if let Some(ca) = &self.tls.ca {
            read("nats.tls.ca", ca)?;
            options = options.add_root_certificates(ca.clone());
        }
        match (&self.tls.cert, &self.tls.key) {
            (Some(cert), Some(key)) => {
                read("nats.tls.cert", cert)?;
                read("nats.tls.key", key)?;
                options = options.add_client_certificate(cert.clone(), key.clone());
            }
            (None, None) => {}
            (Some(_), None) => {
                return Err(NatsError::Incomplete {
                    given: "nats.tls.cert",
                    missing: "nats.tls.key",
                });
            }
            (None, Some(_)) => {
                return Err(NatsError::Incomplete {
                    given: "nats.tls.key",
                    missing: "nats.tls.cert",
                });
            }
        }
        if self.tls.first {
            options = options.tls_first();
        }
        Ok(options)
    }
}

fn read(key: &'static str, path: &PathBuf) -> Result<String, NatsError> {
    std::fs::read_to_string(path).map_err(|error| unusable(key, path, &error))
}

fn unusable(key: &'static str, path: &std::path::Path, error: &std::io::Error) -> NatsError {
    NatsError::File {
        key,
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

/// `nats://user:secret@host` without what is before the `@`.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://{}", &url[..scheme], &url[at + 1..])
        }
        (None, Some(at)) => url[at + 1..].to_owned(),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_secrets() {
        assert_eq!(without_password("nats://u:p@h:1"), "nats://h:1");
        assert_eq!(without_password("tls://h:1"), "tls://h:1");
        assert_eq!(without_password("token@h"), "h");
    }
}
