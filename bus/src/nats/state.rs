//! What a bus can do now, for readiness.

/// How a [`NatsBus`](super::NatsBus) stands with its broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether the broker is there now.
    pub connected: bool,
    /// Why not, in words for the operator; without secrets.
    pub trouble: Option<String>,
    /// Name and version of the broker.
    pub broker: Option<String>,
    /// Whether those who serve have been asked for, once at least since the start.
    pub discovered: bool,
    /// Whether everything that this process offers is there for others: the
    /// broker has its subscriptions and refused none.
    pub offered: bool,
    /// What the operator should know: refused subscriptions, instances that
    /// lie, versions that do not fit together.
    pub problems: Vec<String>,
}
