//! Subjects, and what is said on the control subjects.

use bytes::Bytes;
use framex_core::kept::StreamId;
use serde::{Deserialize, Serialize};

use super::kept::split;

/// What a caller tells whoever runs its call.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Control {
    /// The call's reply subject; of a kept stream, that of a follower.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) call: String,
    /// The answer is no longer wanted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cancel: bool,
    /// The follower goes; the stream need not end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) leave: bool,
    /// So many chunks more may be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credit: Option<u32>,
    /// The kept stream with this id is to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop: Option<String>,
    /// Somebody more follows the kept stream with this id, as `call`. Answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) follow: Option<String>,
    /// How many chunks the new follower takes before it grants more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<u32>,
    /// The reply subject that the new follower had until now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instead: Option<String>,
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

    /// Where the messages of a kept stream go, without their numbers.
    pub(crate) fn stream(&self, id: &StreamId) -> String {
        let (token, rest) = split(id);
        format!("{}_framex.stream.{token}.{rest}", self.prefix)
    }

    /// Before the streams that the connection with this token has started.
    pub(crate) fn streams_of(&self, token: &str) -> String {
        format!("{}_framex.stream.{token}.", self.prefix)
    }

    /// Every kept stream.
    pub(crate) fn streams(&self) -> String {
        format!("{}_framex.stream.>", self.prefix)
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
