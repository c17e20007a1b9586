//! A process that calls the worker in a loop, when it is told to.

use async_nats::{Client, Message, Request};
use futures_util::StreamExt as _;

use super::{DRIVE, ECHO, arguments, connect, ready};
use crate::calls::{MESSAGE, Window};
use crate::spec::Spec;

/// Serves until the process ends.
pub(super) fn serve(spec: &Spec, url: &str) {
    spec.threads.main().block_on(async {
        let client = connect(spec, url).await;
        let requests = client.subscribe(DRIVE).await;
        let mut requests = requests.expect("the client is connected");
        ready(&client).await;
        while let Some(message) = requests.next().await {
            tokio::spawn(drive(client.clone(), message));
        }
    });
}

async fn drive(client: Client, message: Message) {
    let window: Window = serde_json::from_slice(&message.payload).expect("the bench writes it");
    let mut calls = 0;
    while let Some(counts) = window.counts() {
        let call = Request::new().payload(arguments(MESSAGE).into());
        let reply = client.send_request(ECHO, call).await;
        let reply = reply.expect("the worker answers");
        let text: String = serde_json::from_slice(&reply.payload).expect("it is a text");
        assert_eq!(text, MESSAGE);
        calls += counts;
    }
    let reply = message.reply.expect("it is a request");
    let published = client.publish(reply, calls.to_string().into()).await;
    published.expect("the client is connected");
}
