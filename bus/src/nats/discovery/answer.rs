//! The answers to those who ask for the plugins of this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use framex_core::descriptor::{ApiDescriptor, PluginMetadata, ReplyShape};
use framex_core::error::Error;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::adr32::{self, Identity, Info, InfoEndpoint, Stage, StatsEndpoint, key};
use super::{connects, digest, version};
use crate::nats::Shared;
use crate::nats::link::Link;
use crate::nats::serve::{Offer, OfferedApi};
use crate::nats::wire::{self, Names, Outgoing};

/// What of a broker's limit is left for headers and subjects.
const MARGIN: usize = 4096;

/// What others may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Ping,
    Info,
    Stats,
    Describe,
}

/// A question for descriptions.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Describe {
    api: Option<String>,
    /// The list of all APIs, from this one on.
    apis: Option<usize>,
    plugin: bool,
}

/// One plugin of this process, as others are told about it.
pub(super) struct Told {
    apis: Arc<[Arc<OfferedApi>]>,
    data: Option<Arc<Link>>,
    names: Names,
    namespace: Option<String>,
    id: Arc<str>,
    pub(super) plugin: Arc<PluginMetadata>,
    /// A semantic version in any case.
    pub(super) version: String,
    /// Of everything that is told.
    pub(super) digest: String,
    started: String,
    started_ms: u128,
    metadata: Bytes,
}

impl Told {
    pub(super) fn new(shared: &Shared, offer: &Arc<Offer>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut told = Self {
            names: shared.names.clone(),
            namespace: shared.options.namespace.clone(),
            id: Arc::clone(&shared.id),
            plugin: Arc::clone(&offer.plugin),
            version: version(&offer.plugin.version).to_string(),
            digest: String::new(),
            started: Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            started_ms: since.unwrap_or_default().as_millis(),
            metadata: json(&*offer.plugin),
            data: shared.data().map(Arc::clone),
            apis: Arc::default(),
        };
        told.renew(Arc::clone(&offer.apis.borrow()));
        told
    }

    /// From now on it serves `apis`.
    pub(super) fn renew(&mut self, apis: Arc<[Arc<OfferedApi>]>) {
        let mut all = self.metadata.to_vec();
        for api in apis.iter() {
            all.extend_from_slice(api.digest.as_bytes());
        }
        self.digest = digest(&all);
        self.apis = apis;
    }

    /// Where questions come in.
    pub(super) fn subjects(&self) -> Vec<(String, Question)> {
        let (name, id) = (&self.plugin.name, &self.id);
        let mut subjects = vec![(self.names.describe(name, id), Question::Describe)];
        for (verb, question) in [
            ("PING", Question::Ping),
            ("INFO", Question::Info),
            ("STATS", Question::Stats),
        ] {
            subjects.push((format!("$SRV.{verb}"), question));
            subjects.push((format!("$SRV.{verb}.{name}"), question));
            subjects.push((format!("$SRV.{verb}.{name}.{id}"), question));
        }
        subjects
    }

    /// The answer to `question`; `most` bytes are what the broker takes.
    pub(super) fn answer(
        &self,
        question: Question,
        state: Stage,
        payload: &[u8],
        most: usize,
    ) -> Outgoing {
        let limit = most.saturating_sub(MARGIN);
        let out = match question {
            Question::Ping => Outgoing::bare(json(&self.identity(adr32::PING, state))),
            Question::Info => self.info(state, limit),
            Question::Stats => Outgoing::bare(self.stats(state, limit)),
            Question::Describe => self.describe(payload, limit),
        };
        if out.payload.len() <= limit {
            return out;
        }
        let what = match question {
            Question::Describe => format!("the description `{}`", String::from_utf8_lossy(payload)),
            question => format!("the answer to {question:?}"),
        };
        let reason = format!(
            "{what} of `{}` has {} bytes, more than the broker takes ({most})",
            self.plugin.name,
            out.payload.len()
        );
        tracing::error!("{reason}");
        let error = Error::new(StatusCode::BAD_GATEWAY, reason).with_code("too_large");
        wire::error(&error, false)
    }

    fn identity(&self, kind: &'static str, state: Stage) -> Identity<'_> {
        let describe = self.names.describe(&self.plugin.name, &self.id);
        let mut metadata = BTreeMap::from([
            (key::PROTOCOL, adr32::PROTOCOL.to_owned()),
            (key::STATE, state.as_str().to_owned()),
            (key::DIGEST, self.digest.clone()),
            (key::DESCRIBE, describe),
            (key::STARTED, self.started_ms.to_string()),
            (key::CONNECTS, connects(self.data.as_ref()).to_string()),
        ]);
        if let Some(namespace) = &self.namespace {
            metadata.insert(key::NAMESPACE, namespace.clone());
        }
        Identity {
            kind,
            name: &self.plugin.name,
            id: &self.id,
            version: &self.version,
            metadata,
        }
    }

    fn info(&self, state: Stage, limit: usize) -> Outgoing {
        let full = json(&self.info_with(state, Some(true)));
        if full.len() <= limit {
            return Outgoing::bare(full);
        }
        tracing::debug!(
            plugin = self.plugin.name,
            "its APIs are too many for one message of the broker's: tools see less of them"
        );
        let short = json(&self.info_with(state, Some(false)));
        match short.len() <= limit {
            true => Outgoing::bare(short),
            false => Outgoing::bare(json(&self.info_with(state, None))),
        }
    }

    /// With all that is shown of its APIs, with their digests alone, or without them.
    fn info_with(&self, state: Stage, shown_of_apis: Option<bool>) -> Info<'_> {
        let everything = shown_of_apis == Some(true);
        let endpoint = |api: &Arc<OfferedApi>| {
            let mut metadata = BTreeMap::from([(key::DIGEST, api.digest.clone())]);
            if everything {
                metadata.extend(shown(&api.descriptor));
            }
            InfoEndpoint {
                name: endpoint_name(&api.descriptor),
                subject: self.names.api(api.descriptor.id.as_str()),
                queue_group: &self.plugin.name,
                metadata,
            }
        };
        let mut identity = self.identity(adr32::INFO, state);
        let endpoints = match shown_of_apis {
            Some(_) => self.apis.iter().map(endpoint).collect(),
            None => {
                let count = self.apis.len().to_string();
                identity.metadata.insert(key::APIS, count);
                Vec::new()
            }
        };
        Info {
            identity,
            // The whole text is in the plugin's description, for those who ask.
            description: match everything {
                true => self.plugin.description.lines().next().unwrap_or_default(),
                false => "",
            },
            endpoints,
        }
    }

    fn stats(&self, state: Stage, limit: usize) -> Bytes {
        let endpoint = |api: &Arc<OfferedApi>| {
            let requests = api.record.stats.requests.load(Ordering::Relaxed);
            let time = api.record.stats.time.load(Ordering::Relaxed);
            let last_error = api.record.stats.last_error.lock();
            StatsEndpoint {
                name: endpoint_name(&api.descriptor),
                subject: self.names.api(api.descriptor.id.as_str()),
                queue_group: &self.plugin.name,
                num_requests: requests,
                num_errors: api.record.stats.errors.load(Ordering::Relaxed),
                last_error: last_error.map(|text| text.clone()).unwrap_or_default(),
                processing_time: time,
                average_processing_time: time.checked_div(requests).unwrap_or_default(),
                data: None,
            }
        };
        let stats = |endpoints| {
            json(&adr32::Stats {
                identity: self.identity(adr32::STATS, state),
                started: &self.started,
                endpoints,
            })
        };
        let full = stats(self.apis.iter().map(endpoint).collect());
        match full.len() <= limit {
            true => full,
            false => stats(Vec::new()),
        }
    }

    fn find(&self, id: &str) -> Option<&Arc<OfferedApi>> {
        // As the catalog has them: by their ids.
        let found = self
            .apis
            .binary_search_by(|api| api.descriptor.id.as_str().cmp(id));
        found.ok().and_then(|index| self.apis.get(index))
    }

    /// As many ids and digests as fit into one answer, from the one at `from` on.
    fn page(&self, from: usize, limit: usize) -> adr32::Page {
        /// What an entry takes besides its texts, and a page besides its entries.
        const SIGNS: usize = 8;
        const REST: usize = 256;
        let mut page = adr32::Page {
            digest: self.digest.clone(),
            ..adr32::Page::default()
        };
        let mut size = REST;
        for (index, api) in self.apis.iter().enumerate().skip(from) {
            let id = api.descriptor.id.to_string();
            size += id.len() + api.digest.len() + SIGNS;
            if size > limit {
                page.next = Some(index);
                break;
            }
            page.apis.insert(id, api.digest.clone());
        }
        page
    }

    fn describe(&self, payload: &[u8], limit: usize) -> Outgoing {
        const HOW: &str = r#"write {"api": "<id>"}, {"plugin": true} or {"apis": 0}"#;
        let refuse = |error: Error| wire::error(&error, false);
        match serde_json::from_slice(payload) {
            Ok(Describe { api: Some(api), .. }) => match self.find(&api) {
                Some(api) => Outgoing::bare(api.text.clone()),
                None => {
                    let plugin = &self.plugin.name;
                    refuse(Error::not_found(format!("`{plugin}` has no such API")))
                }
            },
            Ok(Describe {
                apis: Some(from), ..
            }) => Outgoing::bare(json(&self.page(from, limit))),
            Ok(Describe { plugin: true, .. }) => Outgoing::bare(self.metadata.clone()),
            Ok(_) => refuse(Error::bad_request(HOW)),
            Err(error) => refuse(Error::bad_request(format!("{HOW}: {error}"))),
        }
    }
}

/// `EchoPlugin-confess`: names of endpoints have no dots.
fn endpoint_name(api: &ApiDescriptor) -> String {
    let (_, name) = api.id.as_str().split_once('.').unwrap_or_default();
    name.replace('.', "-")
}

/// What tools show of an API.
fn shown(api: &ApiDescriptor) -> Vec<(&'static str, String)> {
    let flags = [
        ("stream", api.streams()),
        ("response", matches!(api.reply, ReplyShape::Response)),
        ("raw", api.raw),
        ("idempotent", api.idempotent),
        ("deprecated", api.deprecated),
        ("hidden", !api.include_in_schema),
        ("headers", api.headers),
        ("bridged", api.bridged),
    ];
    let flags = flags.iter().filter(|(_, set)| *set).map(|(name, _)| *name);
    let flags: Vec<&str> = flags.collect();
    let routes: Vec<String> = api.routes.iter().map(ToString::to_string).collect();
    let mut shown = vec![(key::KIND, api.kind.as_str().to_owned())];
    if !routes.is_empty() {
        shown.push((key::ROUTE, routes.join(",")));
    }
    if !flags.is_empty() {
        shown.push((key::FLAGS, flags.join(",")));
    }
    shown
}

fn json(value: &impl Serialize) -> Bytes {
    // Plain data with text keys: it can always be written.
    serde_json::to_vec(value).unwrap_or_default().into()
}
