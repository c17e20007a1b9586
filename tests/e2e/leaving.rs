//! Clients that leave take their handlers with them.

use std::time::Duration;

use framex::prelude::*;
use framex_test_support::{Server, until};

use crate::zoo::{Guard, Zoo, seen};

/// Within this a handler must be gone; what is measured is far below it.
const SOON: Duration = Duration::from_secs(1);

/// Calls the zoo.
#[derive(Default)]
struct Middle;

#[on_register(plugin = "middle", required_remote_apis = ["/api/v1/hang", "/api/v1/ticks"])]
impl Middle {
    #[on_request(get, "/middle/hang")]
    async fn hang(&self, ctx: &Context, key: String) -> Result<String> {
        let _guard = Guard::new(&format!("{key}/middle"));
        ctx.call_plugin_api("/api/v1/hang", args! { key }).await
    }

    #[on_request(get, "/middle/ticks", stream = live)]
    fn ticks(&self, ctx: &Context, key: String) -> impl Stream<Item = Result<Event>> {
        let ctx = ctx.clone();
        async_stream::try_stream! {
            let _guard = Guard::new(&format!("{key}/middle"));
            let mut events = ctx.stream("/api/v1/ticks", args! { key, ms: 10 }).await?;
            while let Some(event) = futures_util::StreamExt::next(&mut events).await {
                yield event?;
            }
        }
    }
}

/// Calls the middle.
#[derive(Default)]
struct Outer;

#[on_register(plugin = "outer", required_remote_apis = ["/api/v1/middle/hang", "/api/v1/middle/ticks"])]
impl Outer {
    #[on_request(get, "/outer/hang")]
    async fn hang(&self, ctx: &Context, key: String) -> Result<String> {
        let _guard = Guard::new(&format!("{key}/outer"));
        ctx.call_plugin_api("/api/v1/middle/hang", args! { key })
            .await
    }

    #[on_request(get, "/outer/ticks", stream = live)]
    fn ticks(&self, ctx: &Context, key: String) -> impl Stream<Item = Result<Event>> {
        let ctx = ctx.clone();
        async_stream::try_stream! {
            let _guard = Guard::new(&format!("{key}/outer"));
            let mut events = ctx.stream("/api/v1/middle/ticks", args! { key }).await?;
            while let Some(event) = futures_util::StreamExt::next(&mut events).await {
                yield event?;
            }
        }
    }
}

async fn server() -> Server {
    Server::builder()
        .plugin::<Zoo>()
        .plugin::<Middle>()
        .plugin::<Outer>()
        .start()
        .await
}

async fn all_go(keys: &[&str]) {
    for key in keys {
        let took = until(key, || seen(key).gone == 1).await;
        assert!(took < SOON, "{key}: {took:?}");
    }
}

#[tokio::test]
async fn a_call_ends_with_its_client() {
    let server = server().await;
    let connection = server.get("/api/v1/hang?key=leave").start().await;
    until("it runs", || seen("leave").begun == 1).await;
    drop(connection);
    all_go(&["leave"]).await;
    let connection = server
        .post("/api/v1/hang_body?key=leave_body")
        .json("[1]")
        .start()
        .await;
    until("it runs", || seen("leave_body").begun == 1).await;
    drop(connection);
    all_go(&["leave_body"]).await;
}

#[tokio::test]
async fn so_do_calls_two_plugins_deep() {
    let server = server().await;
    let connection = server.get("/api/v1/outer/hang?key=deep").start().await;
    until("it runs", || seen("deep").begun == 1).await;
    drop(connection);
    all_go(&["deep", "deep/middle", "deep/outer"]).await;
}

#[tokio::test]
async fn streams_end_with_their_client() {
    let server = server().await;
    for (target, keys) in [
        ("ticks?ms=10&key=tl", &["tl"][..]),
        ("silence?key=sl", &["sl"]),
        ("outer/ticks?key=dt", &["dt", "dt/middle", "dt/outer"]),
    ] {
        let connection = server.get(&format!("/api/v1/{target}")).start().await;
        until("it runs", || seen(keys[0]).begun == 1).await;
        drop(connection);
        all_go(keys).await;
    }
    // In the middle of a long silence after the first event.
    let (_, mut connection) = server.get("/api/v1/ticks?ms=60000&key=quiet").open().await;
    assert!(connection.chunk().await.is_some());
    drop(connection);
    all_go(&["quiet"]).await;
}

/// hyper cannot tell a client that will not send any more from one that is
/// gone, so both are gone: their handlers must not run for nobody.
#[tokio::test]
async fn a_half_closed_connection_is_a_closed_one() {
    let server = server().await;
    let mut connection = server.get("/api/v1/hang?key=half").start().await;
    until("it runs", || seen("half").begun == 1).await;
    connection.half_close().await;
    all_go(&["half"]).await;
    assert!(connection.closes_within(SOON).await);
    // One that sends nothing at all and closes its half.
    let mut connection = server.connect().await;
    connection.half_close().await;
    assert!(connection.closes_within(SOON).await);
}

/// Leaving with a second request already sent.
#[tokio::test]
async fn a_client_that_pipelined_leaves_too() {
    let server = server().await;
    let mut connection = server.connect().await;
    let ask = "GET /api/v1/ticks?ms=10&key=piped HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.send(ask.repeat(2)).await;
    assert_eq!(connection.head().await.status, 200);
    drop(connection);
    all_go(&["piped"]).await;
}
