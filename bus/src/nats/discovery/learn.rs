//! Asking an instance what it serves.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use framex_core::descriptor::PluginMetadata;
use framex_core::id::ApiId;
use futures_util::StreamExt;
use semver::Version;

use super::adr32::{self, Metadata, Page, Said, SaidEndpoint, key};
use super::check::{self, Described, Extra, LONGEST_NAME, MOST_APIS, Shelf};
use super::{digest, version};
use crate::nats::link::Link;
use crate::nats::waiting::Lost;
use crate::nats::wire::{self, Answer, Names};

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_millis(700);
/// Questions to one instance that are on their way at once.
const AT_ONCE: usize = 32;
/// How often one thing is asked for before it is given up for now.
const TRIES: usize = 2;

/// What one instance serves; instances of one build share it.
#[derive(Debug)]
pub(super) struct Service {
    /// Whether it has anything to do with us.
    pub(super) ours: bool,
    /// Of everything below.
    pub(super) digest: String,
    pub(super) version: Version,
    pub(super) plugin: Arc<PluginMetadata>,
    pub(super) apis: Vec<Served>,
    /// What is not believed, and why.
    pub(super) refused: Vec<String>,
    /// Everything that was asked for was answered.
    pub(super) complete: bool,
}

/// One API of a service.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) api: Rc<Described>,
    /// Each queue group gets every call at the public subject once.
    pub(super) queue_group: Option<String>,
}

/// Why nothing was learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unlearnt {
    /// The broker knows nobody of this id.
    Nobody,
    /// No answer.
    Silent,
    /// An answer that makes no sense.
    Nonsense(String),
}

impl From<Lost> for Unlearnt {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NoResponders => Self::Nobody,
            _ => Self::Silent,
        }
    }
}

/// Asks the instance `id` of the plugin `name` what it serves.
pub(super) async fn learn(
    link: &Arc<Link>,
    names: &Names,
    namespace: Option<&str>,
    shelf: &Shelf,
    (name, id): (Arc<str>, Arc<str>),
) -> Result<Service, Unlearnt> {
    let said = info(link, &name, &id).await?;
    let student = Student {
        link,
        names,
        shelf,
        name: &name,
        id: &id,
        said: &said,
    };
    let service = student.learn(namespace).await?;
    if said.is_native() && !service.refused.is_empty() {
        // It may serve something else by now, and be asked again.
        let now = info(link, &name, &id).await?;
        if now.metadata.get(key::DIGEST) != said.metadata.get(key::DIGEST) {
            return Err(Unlearnt::Silent);
        }
    }
    Ok(service)
}

async fn info(link: &Arc<Link>, name: &str, id: &str) -> Result<Said, Unlearnt> {
    let subject = format!("$SRV.INFO.{name}.{id}");
    let message = link.request(subject.into(), Bytes::new(), PATIENCE).await?;
    let nonsense = || Unlearnt::Nonsense("its answer to INFO cannot be read".to_owned());
    let said = Said::read(adr32::INFO, &message.payload).ok_or_else(nonsense)?;
    if said.name != name || said.id != id {
        return Err(Unlearnt::Nonsense("it answers for somebody else".into()));
    }
    Ok(said)
}

struct Student<'a> {
    link: &'a Arc<Link>,
    names: &'a Names,
    shelf: &'a Shelf,
    name: &'a str,
    id: &'a str,
    said: &'a Said,
}

/// One answer about one API.
enum About {
    Learnt(Served),
    Refused(String),
    Unanswered(String),
}

impl Student<'_> {
    async fn learn(&self, namespace: Option<&str>) -> Result<Service, Unlearnt> {
        let said = self.said;
        let ours = said.metadata.is_ours() || said.endpoints.iter().any(|e| e.metadata.is_ours());
        let elsewhere = said.metadata.get(key::NAMESPACE) != namespace
            && (said.is_native() || said.metadata.get(key::NAMESPACE).is_some());
        let mut service = Service {
            ours: ours && !elsewhere,
            digest: said
                .metadata
                .get(key::DIGEST)
                .unwrap_or_default()
                .to_owned(),
            version: version(&said.version),
            plugin: Arc::new(self.metadata()),
            apis: Vec::new(),
            refused: Vec::new(),
            complete: true,
        };
        if !service.ours {
            return Ok(service);
        }
        if let Some(spoken) = said.metadata.get(key::PROTOCOL)
            && spoken != adr32::PROTOCOL
        {
            return Err(Unlearnt::Nonsense(format!(
                "it speaks version `{}` of the protocol, and this process {}",
                cut(spoken),
                adr32::PROTOCOL
            )));
        }
        let paged = match said.metadata.get(key::APIS).filter(|_| said.is_native()) {
            Some(_) => self.pages(&service.digest).await?,
            None => Vec::new(),
        };
        let endpoints = said.endpoints.iter().chain(&paged);
        let count = said.endpoints.len() + paged.len();
        if count > MOST_APIS {
            return Err(Unlearnt::Nonsense(format!(
                "it has {count} APIs, more than {MOST_APIS}"
            )));
        }
        if said.is_native() {
            match self.describe(r#"{"plugin":true}"#.into()).await? {
                Ok(json) => match check::plugin(self.name, &json) {
                    Ok(plugin) => service.plugin = Arc::new(plugin),
                    Err(reason) => return Err(Unlearnt::Nonsense(reason)),
                },
                Err(reason) => return Err(Unlearnt::Nonsense(reason)),
            }
        }
        let endpoints = endpoints.filter(|e| e.metadata.is_ours());
        let mut answers = futures_util::stream::iter(endpoints)
            .map(|endpoint| self.about(endpoint))
            .buffered(AT_ONCE);
        while let Some(about) = answers.next().await {
            match about {
                About::Learnt(served) => service.apis.push(served),
                About::Refused(reason) => service.refused.push(reason),
                About::Unanswered(reason) => {
                    service.refused.push(reason);
                    service.complete = false;
                }
            }
        }
        if !said.is_native() {
            service.digest = summary(&service);
        }
        Ok(service)
    }

    /// The APIs of a service that has too many for an INFO.
    async fn pages(&self, digest: &str) -> Result<Vec<SaidEndpoint>, Unlearnt> {
        let nonsense = |reason: &str| Unlearnt::Nonsense(reason.to_owned());
        let mut endpoints = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next {
            let question = serde_json::json!({ "apis": from });
            let answer = self.describe(question.to_string().into()).await?;
            let answer = answer.map_err(Unlearnt::Nonsense)?;
            let page: Page = serde_json::from_slice(&answer)
                .map_err(|_| nonsense("the list of its APIs cannot be read"))?;
            if page.digest != digest {
                return Err(Unlearnt::Silent);
            }
            if page.next.is_some_and(|next| next <= from) {
                return Err(nonsense("the list of its APIs has no end"));
            }
            endpoints.extend(page.apis.into_iter().map(|(id, digest)| SaidEndpoint {
                subject: self.names.api(&id),
                queue_group: Some(self.name.to_owned()),
                metadata: Metadata::only(key::DIGEST, digest),
            }));
            next = page.next.filter(|_| endpoints.len() <= MOST_APIS);
        }
        Ok(endpoints)
    }

    /// As far as an INFO tells.
    fn metadata(&self) -> PluginMetadata {
        PluginMetadata {
            name: self.name.to_owned(),
            version: cut(&self.said.version),
            description: self.said.description.clone(),
            ..PluginMetadata::default()
        }
    }

    async fn about(&self, endpoint: &SaidEndpoint) -> About {
        let subject = &endpoint.subject;
        let refused = |reason: String| {
            About::Refused(format!("its API `{}` is refused: {reason}", cut(subject)))
        };
        let api = self.names.api_of(subject);
        let Some(api) = api.filter(|_| subject.len() <= 4 * LONGEST_NAME) else {
            return refused("its subject is not in this namespace".into());
        };
        let api = match ApiId::parse(api) {
            Ok(api) => api,
            Err(invalid) => return refused(invalid.to_string()),
        };
        if api.plugin() != self.name {
            return refused(format!("it belongs to the plugin `{}`", api.plugin()));
        }
        let extra = Extra {
            native: self.said.is_native(),
            routes: endpoint.metadata.get(key::ROUTE),
            kind: endpoint.metadata.get(key::KIND),
        };
        let inline = endpoint.metadata.get(key::DESCRIPTOR);
        let announced = endpoint.metadata.get(key::DIGEST);
        let described = match (inline, announced) {
            (Some(json), _) => self.shelf.put(&api, json.as_bytes(), None, &extra),
            (None, None) => self.shelf.put(&api, b"{}", None, &extra),
            (None, Some(announced)) => match self.shelf.get(&api, announced) {
                Some(known) => Ok(known),
                None => {
                    let question = serde_json::json!({ "api": api.as_str() });
                    match self.describe(question.to_string().into()).await {
                        Ok(Ok(json)) => {
                            // Of others a digest need not be the one that ours is.
                            let held = extra.native.then_some(announced);
                            self.shelf.put(&api, &json, held, &extra)
                        }
                        Ok(Err(reason)) => Err(reason),
                        Err(_) => {
                            return About::Unanswered(format!(
                                "it does not describe its API `{api}`"
                            ));
                        }
                    }
                }
            },
        };
        match described {
            Ok(api) => About::Learnt(Served {
                api,
                queue_group: endpoint.queue_group.as_deref().map(cut),
            }),
            Err(reason) => refused(reason),
        }
    }

    /// Asks for a description. The inner error is the instance's answer.
    async fn describe(&self, question: Bytes) -> Result<Result<Bytes, String>, Unlearnt> {
        let subject = self.names.describe(self.name, self.id);
        let mut tries = 0;
        let message = loop {
            tries += 1;
            let subject = subject.clone().into();
            match self.link.request(subject, question.clone(), PATIENCE).await {
                Ok(message) => break message,
                // Interest takes a moment to travel through a cluster.
                Err(_) if tries < TRIES => tokio::time::sleep(PATIENCE / 10).await,
                Err(lost) => return Err(lost.into()),
            }
        };
        Ok(match wire::read_answer(message) {
            Ok(Answer::Value(json)) => Ok(json),
            Ok(Answer::Failed { error, .. }) => Err(cut(error.message())),
            Ok(_) => Err("its description is none".into()),
            Err(reason) => Err(cut(&reason)),
        })
    }
}

/// Tells what a foreign service serves now from what it served before.
fn summary(service: &Service) -> String {
    let mut all = format!(
        "{} {}\n",
        service.plugin.version, service.plugin.description
    );
    for served in &service.apis {
        all.push_str(&served.api.digest);
        all.push_str(served.queue_group.as_deref().unwrap_or_default());
        all.push('\n');
    }
    for refused in &service.refused {
        all.push_str(refused);
    }
    digest(all.as_bytes())
}

/// A text of others in a text of ours.
pub(super) fn cut(text: &str) -> String {
    let printable = text.chars().filter(|c| !c.is_control());
    printable.take(LONGEST_NAME).collect()
}
