//! Upstreams: the services behind the bridge, as their settings describe them.

use std::time::Duration;

use http::uri::{Authority, Scheme};

use super::rules::{KeyRules, PathRules};

/// One upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// In API ids, errors and logs; never its address.
    pub(crate) name: String,
    /// `http` or `https`.
    pub(crate) scheme: Scheme,
    /// Host and port.
    pub(crate) authority: Authority,
    /// The path of its URL, without a slash at the end; often empty.
    pub(crate) path: String,
    /// Where its document may be: paths below its URL, in the order in which they are tried.
    pub(crate) docs: Vec<String>,
    /// What is put before its paths where they are published; often empty.
    pub(crate) prefix: String,
    /// What is published of it.
    pub(crate) published: PathRules,
    /// What is published though it asks for a key.
    pub(crate) public: PathRules,
    /// What streams though its document does not say so.
    pub(crate) streams: PathRules,
    /// The keys that it is sent.
    pub(crate) keys: KeyRules,
    /// How long it may take to begin its answer.
    pub(crate) timeout: Duration,
    /// Whether its successes go into the envelope.
    pub(crate) envelope: bool,
    /// Whether the client's `Authorization` goes there.
    pub(crate) forward_authorization: bool,
    /// How many calls may wait for it at once.
    pub(crate) max_ongoing: usize,
}
