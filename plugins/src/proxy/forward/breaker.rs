//! The circuit breaker of an upstream.

/// Whether calls go to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Circuit {
    /// They do.
    Closed,
    /// None does for a while: too many in a row brought no answer.
    Open,
    /// One does, to see whether the others may.
    HalfOpen,
}
