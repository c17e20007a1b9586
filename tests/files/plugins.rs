//! Files from plugin to plugin.

use framex::prelude::*;
use framex_test_support::{Server, until};
use serde_json::Value;

use crate::depot::{Compared, Depot, seen};
use crate::sender::{Framing, assert_whole, put};

/// Passes files on.
#[derive(Default)]
struct Carrier;

#[on_register(plugin = "carrier", required_remote_apis = ["*"])]
impl Carrier {
    /// The body, as it comes.
    #[on_request(put, "/carry", max_body_size = "1GiB")]
    async fn carry(&self, ctx: &Context, #[body] file: Upload) -> Result<Value> {
        let args = args! {}.with_file("file", file.named("carried"));
        ctx.call_plugin_api("PUT /api/v1/raw", args).await
    }

    /// Asks for bytes, and counts them.
    #[on_request(get, "/fetch")]
    async fn fetch(&self, ctx: &Context, size: u64, key: String) -> Result<u64> {
        let reply = ctx.call("/api/v1/bytes", args! { size, key }).await?;
        let framex::Reply::Download(mut download) = reply else {
            return Err(Error::internal("no download"));
        };
        let mut compared = Compared::default();
        while let Some(piece) = download.body.next().await {
            compared.take(&piece?);
        }
        assert!(!compared.wrong);
        Ok(compared.size)
    }

    /// Reads bytes that are always ready.
    #[on_request(get, "/fetch_for_ever", timeout = "200ms")]
    async fn fetch_for_ever(&self, ctx: &Context) -> Result<u64> {
        self.fetch(ctx, u64::MAX, "for-ever".to_owned()).await
    }

    /// Takes bytes for a result.
    #[on_request(get, "/misread")]
    async fn misread(&self, ctx: &Context, size: u64) -> Result<Value> {
        let key = "misread";
        ctx.call_plugin_api("/api/v1/bytes", args! { size, key })
            .await
    }

    /// Takes a result for a result.
    #[on_request(get, "/collect")]
    async fn collect(&self, ctx: &Context) -> Result<Vec<u8>> {
        ctx.call_plugin_api("/api/v1/list", args! {}).await
    }

    #[on_request(get, "/list")]
    async fn list(&self) -> Download {
        Download::new(futures_util::stream::iter(
            ["[1,", "2]"].map(Ok::<_, Error>),
        ))
    }
}

#[tokio::test]
async fn a_file_is_passed_on_as_it_comes() {
    let builder = Server::builder().plugin::<Depot>().plugin::<Carrier>();
    let server = builder.start().await;
    for size in [0, 1, 5_000_000] {
        for framing in [Framing::Length, Framing::Chunked] {
            let seen = put(&server, "/api/v1/carry", size, framing).await.data();
            assert_whole(&seen, size);
            assert_eq!(seen["name"], "carried");
        }
    }
}

#[tokio::test]
async fn endless_bytes_starve_nobody() {
    let builder = Server::builder().plugin::<Depot>().plugin::<Carrier>();
    let server = builder.server("num_cpus", 1).start().await;
    let endless = server.get("/api/v1/fetch_for_ever").send();
    let beside = async {
        until("it runs", || seen("for-ever").bytes > 0).await;
        server.get("/ping").send().await
    };
    let (endless, beside) = tokio::join!(endless, beside);
    assert_eq!((endless.status, beside.status), (504, 200));
    until("it is gone", || seen("for-ever").gone).await;
}

#[tokio::test]
async fn a_download_is_read_as_it_comes_or_as_one_result() {
    let builder = Server::builder().plugin::<Depot>().plugin::<Carrier>();
    let server = builder.start().await;
    let fetched = server
        .get("/api/v1/fetch?size=5000000&key=fetched")
        .send()
        .await;
    assert_eq!(fetched.data(), 5_000_000);
    assert!(seen("fetched").gone);
    let collected = server.get("/api/v1/collect").send().await;
    assert_eq!(collected.data(), serde_json::json!([1, 2]));
    for (size, says) in [
        (10, "a result of another type"),
        (100_000_000, "a large download"),
    ] {
        let misread = server
            .get(&format!("/api/v1/misread?size={size}"))
            .send()
            .await;
        assert_eq!(misread.status, 502);
        assert!(misread.lossy().contains(says), "{}", misread.lossy());
    }
}
