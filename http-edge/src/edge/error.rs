//! Why an edge cannot be made, or a route not be served.

use tracing::Level;

use crate::auth::AuthError;

/// Why an edge cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The rules are wrong.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Two paths differ, and yet no request could say which of them it means.
    #[error(
        "`{first}` at `{first_path}` and `{second}` at `{second_path}` claim the same requests; give one of them another path"
    )]
    Collision {
        /// One API.
        first: String,
        /// Where it is.
        first_path: String,
        /// The other.
        second: String,
        /// Where that is.
        second_path: String,
    },
    /// A plugin claims one of the edge's own paths.
    #[error("`{api}` claims `{path}`, which the edge answers itself; give it another path")]
    ReservedPath {
        /// The API.
        api: String,
        /// The path.
        path: String,
        /// Whether it is another service's operation, which has it for good reason.
        bridged: bool,
    },
    /// An operation of another service that needs a key, and no rule asks for one.
    #[error(
        "`{api}` is held back: its upstream asks for a key, and no rule in `auth.rules` protects `{path}`; add a rule for the path, or let the bridge publish it (`public` of the upstream in `[plugins.proxy]`)"
    )]
    HeldBack {
        /// The API.
        api: String,
        /// The path.
        path: String,
    },
    /// A route of a plugin's that is only there under a rule, and there is none.
    #[error("`{api}` is not published: no rule in `auth.rules` protects `{path}`")]
    Guarded {
        /// The API.
        api: String,
        /// The path.
        path: String,
    },
    /// A path that no request can have.
    #[error("`{api}` claims `{path}`, which is no valid path template")]
    InvalidPath {
        /// The API.
        api: String,
        /// The path.
        path: String,
    },
}

impl EdgeError {
    /// How much it matters where it does not keep the edge from being made.
    pub(super) fn level(&self) -> Level {
        match self {
            Self::HeldBack { .. } => Level::WARN,
            Self::Guarded { .. } | Self::ReservedPath { bridged: true, .. } => Level::DEBUG,
            _ => Level::ERROR,
        }
    }
}
