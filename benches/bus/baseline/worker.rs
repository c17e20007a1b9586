//! What answers at the other side of the broker.

use std::hint::black_box;
use std::thread;

use async_nats::{Client, HeaderMap, HeaderValue, Message};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::runtime::Builder;

use super::{ECHO, RAW, STREAM, connect, ready};
use crate::common::workload::CHUNK;
use crate::spec::Spec;

/// Serves until the process ends.
pub(super) fn serve(spec: &Spec, url: &str) {
    for _ in 1..spec.workers {
        let (spec, url) = (spec.clone(), url.to_owned());
        thread::spawn(move || run(&spec, &url));
    }
    run(spec, url);
}

fn run(spec: &Spec, url: &str) {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = connect(spec, url).await;
        tokio::join!(
            answer(&client, ECHO, echo),
            answer(&client, RAW, raw),
            stream(&client),
            ready(&client)
        );
    });
}

/// Answers one message after the other: there is nothing to wait for.
async fn answer(client: &Client, subject: &'static str, handler: fn(&[u8]) -> Bytes) {
    let group = "bench".to_owned();
    let requests = client.queue_subscribe(subject, group).await;
    let mut requests = requests.expect("the client is connected");
    while let Some(Message {
        reply,
        payload,
        headers,
        ..
    }) = requests.next().await
    {
        if let Some(headers) = &headers {
            look_at(headers);
        }
        let reply = reply.expect("it is a request");
        let published = client.publish(reply, handler(&payload)).await;
        published.expect("the client is connected");
    }
}

#[derive(Deserialize)]
struct Count {
    n: usize,
}

/// Answers each request with so many chunks, a message each, and an empty message.
async fn stream(client: &Client) {
    let group = "bench".to_owned();
    let requests = client.queue_subscribe(STREAM, group).await;
    let mut requests = requests.expect("the client is connected");
    while let Some(message) = requests.next().await {
        let client = client.clone();
        tokio::spawn(async move {
            let reply = message.reply.expect("it is a request");
            let Count { n } =
                serde_json::from_slice(&message.payload).expect("the gateway writes it");
            for _ in 0..n {
                let chunk = serde_json::to_vec(CHUNK).expect("text is JSON");
                let published = client.publish(reply.clone(), chunk.into()).await;
                published.expect("the client is connected");
            }
            let published = client.publish(reply, Bytes::new()).await;
            published.expect("the client is connected");
        });
    }
}

/// A worker reads what the call's header says before it begins.
fn look_at(headers: &HeaderMap) {
    let call = headers.get("Framex-Call").map(HeaderValue::as_str);
    let limit = call.and_then(|call| {
        let members = call.split(", ");
        members
            .filter_map(|member| member.strip_prefix("timeout="))
            .find_map(|limit| limit.parse::<u64>().ok())
    });
    black_box(limit);
}

#[derive(Deserialize)]
struct Arguments {
    message: String,
}

fn echo(arguments: &[u8]) -> Bytes {
    let arguments: Arguments = serde_json::from_slice(arguments).expect("the gateway writes it");
    serde_json::to_vec(&arguments.message)
        .expect("text is JSON")
        .into()
}

#[derive(Deserialize)]
struct Document {
    document: Box<RawValue>,
}

fn raw(arguments: &[u8]) -> Bytes {
    let arguments: Document = serde_json::from_slice(arguments).expect("the gateway writes it");
    String::from(Box::<str>::from(arguments.document)).into()
}
