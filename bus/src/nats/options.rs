//! How to reach the broker.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

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
    /// What the broker's monitoring calls this process' connections.
    pub name: String,
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

/// `nats://user:secret@host` without what is before the `@`.
pub(super) fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://{}", &url[..scheme], &url[at + 1..])
        }
        (None, Some(at)) => url[at + 1..].to_owned(),
        _ => url.to_owned(),
    }
}
