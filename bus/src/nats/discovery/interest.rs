//! Of whom a process wants to know.
//!
//! If each of many workers followed all the others, most of what a broker carries
//! would be signs of life.

use std::collections::BTreeSet;

use super::others::EVERYBODY;
use crate::Bus as _;
use crate::nats::wire::Names;
use crate::nats::{Follow, Shared};

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Interest {
    Everybody,
    /// Plugins by name.
    Plugins(BTreeSet<String>),
}

impl Interest {
    /// As the options say, and the plugins that this process serves now.
    pub(super) fn of(shared: &Shared) -> Self {
        if shared.options.follow == Follow::All {
            return Self::Everybody;
        }
        let mut names = BTreeSet::from_iter(shared.options.follow_also.iter().cloned());
        for plugin in shared.local.catalog().plugins() {
            if !shared.options.prefer_local {
                names.insert(plugin.metadata.name.clone());
            }
            for target in &plugin.metadata.required_remote_apis {
                // Whose a path is, only the whole catalog tells.
                if target == "*" || target.contains('/') {
                    return Self::Everybody;
                }
                names.extend(target.split('.').next().map(str::to_owned));
            }
        }
        Self::Plugins(names)
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::Plugins(names) if names.is_empty())
    }

    /// Where they announce themselves.
    pub(super) fn announcements(&self, names: &Names) -> Vec<String> {
        match self {
            Self::Everybody => vec![names.announcements()],
            Self::Plugins(plugins) => plugins.iter().map(|p| names.announce(p, "*")).collect(),
        }
    }

    /// Where they are asked whether they are there.
    pub(super) fn questions(&self) -> Vec<String> {
        match self {
            Self::Everybody => vec![EVERYBODY.to_owned()],
            Self::Plugins(plugins) => plugins.iter().map(|p| format!("{EVERYBODY}.{p}")).collect(),
        }
    }
}
