//! Subjects, and what is said on the control subjects.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a caller tells whoever runs its call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Control {
    /// The call's reply subject.
    pub(crate) call: String,
    /// The answer is no longer wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cancel: bool,
    /// So many chunks more may be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credit: Option<u32>,
}

impl Control {
    pub(crate) fn payload(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// Subjects, with the namespace in front where there is one.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn new(namespace: Option<&str>) -> Self {
        let prefix = namespace.map(|name| format!("{name}.")).unwrap_or_default();
        Self { prefix }
    }

    /// The public way in of an API.
    pub(crate) fn api(&self, api: &str) -> String {
        format!("{}{api}", self.prefix)
    }

    /// The API of a subject in this namespace.
    pub(crate) fn api_of<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.prefix)
    }

    /// An API of one instance.
    pub(crate) fn api_at(&self, api: &str, id: &str) -> String {
        format!("{}{api}.{id}", self.prefix)
    }

    /// Where an instance, or all of a plugin's, take cancellations and credit.
    pub(crate) fn control(&self, plugin: &str, id: Option<&str>) -> String {
        match id {
            Some(id) => format!("{}{plugin}._control.{id}", self.prefix),
            None => format!("{}{plugin}._control", self.prefix),
        }
    }

    /// Where an instance takes bodies, and the word that more of its own may come;
    /// a slot's token follows.
    pub(crate) fn bodies(&self, plugin: &str, id: &str) -> String {
        format!("{}{plugin}._body.{id}", self.prefix)
    }

    /// Where an instance describes its APIs.
    pub(crate) fn describe(&self, plugin: &str, id: &str) -> String {
        format!("{}{plugin}._describe.{id}", self.prefix)
    }

    /// Where an instance announces itself.
    pub(crate) fn announce(&self, plugin: &str, id: &str) -> String {
        format!("{}_framex.announce.{plugin}.{id}", self.prefix)
    }

    /// Every announcement.
    pub(crate) fn announcements(&self) -> String {
        format!("{}_framex.announce.>", self.prefix)
    }
}
