//! Calls whose arguments or answers are no one message.

use std::sync::Arc;

use async_nats::{Client, Message, Subject};
use bytes::Bytes;
use framex_core::args::Args;
use framex_core::error::{CallError, Error, Part};
use framex_core::reply::{Download, Reply};
use http::StatusCode;

use super::{Attempt, Elsewhere, Journey, Keep};
use crate::Api;
use crate::nats::Shared;
use crate::nats::large::caller::{self, Feeder, collect};
use crate::nats::large::receive::Broken;
use crate::nats::link::publish;
use crate::nats::peers::Instance;
use crate::nats::pending::Pending;
use crate::nats::waiting::Lost;
use crate::nats::wire::{self, Announced, Answer};

/// A foreign service gets one message: files that are still coming have to be here.
pub(super) async fn gather(shared: &Shared, api: &Api, args: &Args) -> Result<(), CallError> {
    let link = shared.link();
    let client = link.as_ref().and_then(|link| link.client());
    let most = client.map_or(0, Client::max_payload);
    args.gather(most)
        .await
        .map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => CallError::TooLarge {
                api: api.descriptor.id.clone(),
                part: Part::Arguments,
                size: most + 1,
                most,
            },
            _ => CallError::Handler(error),
        })
}

impl Journey {
    /// What has been given away cannot be given to another one.
    pub(super) fn spent(&self, elsewhere: Elsewhere) -> Result<Elsewhere, CallError> {
        let id = &self.api.descriptor.id;
        match elsewhere {
            // The request was taken, so it is its bodies that may not go there.
            Elsewhere::Denied if self.luggage.is_asked_for() => Err(CallError::Refused {
                api: id.clone(),
                subject: self.shared.names.bodies(id.plugin(), "*"),
            }),
            Elsewhere::Full(error) | Elsewhere::Again(error) if self.luggage.is_touched() => {
                Err(error)
            }
            elsewhere => Ok(elsewhere),
        }
    }

    /// Sends the request without its payload, which is larger than the broker's
    /// messages: whoever takes it asks for that.
    pub(super) async fn announce(
        &self,
        client: &Client,
        subject: Subject,
        instance: Option<&Arc<Instance>>,
        keep: Option<&Keep>,
        pending: &mut Pending,
    ) -> Result<(), Attempt> {
        let api = &self.api.descriptor;
        let payload = self.luggage.payload();
        match self.takes_frames(instance) {
            Some(true) => {}
            Some(false) => return Err(self.too_large(client)),
            None => return Err(self.over(Lost::NoResponders)),
        }
        let headers = wire::request_headers(&self.meta, api, payload);
        let mut headers = headers.unwrap_or_default();
        if let Some(keep) = keep {
            keep.ask(&mut headers);
        }
        let announced = Announced {
            size: Some(payload.bytes().len() as u64),
            stream: false,
        };
        wire::announce(&mut headers, announced);
        pending.feeder = Some(Feeder::new(&self.luggage, client));
        let reply = Some(pending.waiter.reply.clone());
        let sent = publish(client, subject, reply, Some(headers), Bytes::new()).await;
        sent.map_err(|lost| match lost {
            Lost::TooLarge => self.unsendable("its headers are larger than the broker takes"),
            lost => self.over(lost),
        })
    }

    /// Whether those that a message reaches ask for what is not in it: others would
    /// take it for all there is. Nothing if nobody is known.
    pub(super) fn takes_frames(&self, instance: Option<&Arc<Instance>>) -> Option<bool> {
        if let Some(instance) = instance {
            return Some(instance.native);
        }
        let endpoints = self.api.remote.as_ref()?.endpoints.load();
        let native = endpoints.iter().all(|e| e.instance.native);
        (!endpoints.is_empty()).then_some(native)
    }

    /// The answer whose payload comes in frames.
    pub(super) async fn whole(
        &self,
        head: Message,
        announced: Announced,
        back: Subject,
        pending: &mut Pending,
    ) -> Result<Answer, Attempt> {
        let payload = match collect(pending, announced, back).await {
            Ok(payload) => payload,
            Err(Broken::Lost(lost)) => return Err(self.over(lost)),
            Err(Broken::Failed(error)) => return Err(Attempt::Over(CallError::Handler(error))),
            Err(Broken::TooLarge) => {
                return Err(self.unreadable("it is larger than memory should hold".into()));
            }
            Err(broken) => {
                let api = self.api.descriptor.id.clone();
                let why = caller::why(&broken, &api).unwrap_or_default();
                return Err(self.again(CallError::Lost { api, why }));
            }
        };
        self.read_head(head, payload)
    }

    /// The answer whose payload is given on as it comes.
    pub(super) fn download(
        &self,
        head: Message,
        announced: Announced,
        back: Subject,
        pending: Pending,
    ) -> Result<Reply, Attempt> {
        let Answer::Download(download) = self.read_head(head, Bytes::new())? else {
            return Err(self.unreadable("bytes that come in pieces and are no download".into()));
        };
        let api = self.api.descriptor.id.clone();
        let body = caller::download(pending, announced, back, api);
        Ok(Reply::Download(Download { body, ..download }))
    }

    /// What a message with this payload says.
    fn read_head(&self, head: Message, payload: Bytes) -> Result<Answer, Attempt> {
        let message = Message {
            payload,
            reply: None,
            ..head
        };
        wire::read_answer(message).map_err(|reason| self.unreadable(reason))
    }

    pub(super) fn too_large(&self, client: &Client) -> Attempt {
        Attempt::Over(CallError::TooLarge {
            api: self.api.descriptor.id.clone(),
            part: Part::Arguments,
            size: self.luggage.size(),
            most: client.max_payload(),
        })
    }

    fn unsendable(&self, reason: &str) -> Attempt {
        let text = format!("`{}` cannot be called: {reason}", self.api.descriptor.id);
        let error = Error::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text);
        Attempt::Over(CallError::Handler(error))
    }
}
