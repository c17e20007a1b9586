//! A user's binary: three plugins, the dependency under another name, and nothing
//! of the prelude in the module that `main!` is used in.

extern crate framex as renamed;

mod plugins {
    use renamed::prelude::*;

    #[derive(Deserialize, Serialize, ToSchema)]
    #[serde(rename_all = "lowercase")]
    pub(crate) enum Size {
        Small,
        Large,
    }

    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct ShopConfig {
        #[serde(default)]
        motto: String,
    }

    pub(crate) struct Shop {
        motto: String,
    }

    /// Sells things.
    #[on_register(crate = renamed, plugin = "shop", version = "2.1.0", config = ShopConfig)]
    impl Shop {
        fn new(config: ShopConfig) -> Result<Self> {
            match config.motto.as_str() {
                "fail" => Err(Error::conflict("the shop is closed for good")),
                _ => Ok(Self {
                    motto: config.motto,
                }),
            }
        }

        async fn on_start(&self, _ctx: &Context) -> Result<()> {
            tracing_note("shop opens");
            Ok(())
        }

        async fn on_stop(&self) -> Result<()> {
            tracing_note("shop closes");
            Ok(())
        }

        /// Says everything back.
        #[on_request(get, "/order")]
        async fn order(
            &self,
            amount: u8,
            size: Size,
            tags: Option<Vec<String>>,
            gift: Option<bool>,
        ) -> Order {
            Order {
                amount,
                size,
                tags,
                gift,
                motto: self.motto.clone(),
            }
        }

        #[on_request(post, "/order")]
        async fn post(&self) -> String {
            "posted".to_owned()
        }

        #[on_request(func)]
        async fn refuse(&self) -> Result<String> {
            Err(Error::conflict("sold out").with_code("out_of_stock"))
        }

        #[on_request(func)]
        async fn break_down(&self) -> String {
            panic!("the till\nis stuck")
        }

        #[on_request(func)]
        async fn hang(&self) -> String {
            std::future::pending().await
        }

        #[on_request(func)]
        async fn text(&self) -> Response {
            Response::text("plain text")
        }

        #[on_request(put, "/goods/{name}", max_body_size = "1GiB")]
        async fn take(&self, name: String, #[body] file: Upload) -> Result<String> {
            let about = format!("{name}: {} of", file.filename);
            Ok(format!("{about} {} bytes", file.bytes().await?.len()))
        }

        #[on_request(post, "/goods")]
        async fn take_more(&self, file: Vec<Upload>, note: String) -> Result<Vec<String>> {
            Ok(file
                .into_iter()
                .map(|file| file.filename)
                .chain([note])
                .collect())
        }

        #[on_request(get, "/film")]
        async fn film(&self, fail: bool) -> Download {
            let mut frame = 0_u8;
            Download::new(Frames(move || {
                frame += 1;
                match frame {
                    1..=3 => Some(Ok(vec![frame; 2])),
                    4 if fail => Some(Err(Error::conflict("the film broke"))),
                    _ => None,
                }
            }))
        }

        #[on_request(func)]
        async fn teapot(&self) -> Response {
            Response::text("short and stout").with_status(StatusCode::IM_A_TEAPOT)
        }
    }

    /// What a function gives, one after the other.
    struct Frames<F>(F);

    impl<F: FnMut() -> Option<Result<Vec<u8>>> + Unpin> Stream for Frames<F> {
        type Item = Result<Vec<u8>>;

        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            std::task::Poll::Ready((self.0)())
        }
    }

    #[derive(Deserialize, Serialize, ToSchema)]
    pub(crate) struct Order {
        amount: u8,
        size: Size,
        tags: Option<Vec<String>>,
        gift: Option<bool>,
        motto: String,
    }

    #[derive(Default)]
    pub(crate) struct Clock;

    #[on_register(crate = renamed, plugin = "clock")]
    impl Clock {
        #[on_request(func)]
        async fn tick(&self) -> u64 {
            1
        }
    }

    #[derive(Default)]
    pub(crate) struct Courier;

    #[on_register(crate = renamed, plugin = "courier", required_remote_apis = ["GET /api/v1/order"])]
    impl Courier {
        /// Orders from the shop, wherever that is.
        #[on_request(get, "/deliver")]
        async fn deliver(&self, ctx: &Context, amount: u8) -> Result<Order> {
            let args = args! { amount: amount, size: Size::Small };
            ctx.call_plugin_api("GET /api/v1/order", args).await
        }
    }

    /// Seen by the tests.
    fn tracing_note(text: &str) {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

mod bare {
    #![no_implicit_prelude]

    ::renamed::main!(
        super::plugins::Shop,
        super::plugins::Clock,
        super::plugins::Courier,
    );

    pub(super) fn run() -> ::std::process::ExitCode {
        main()
    }
}

fn main() -> std::process::ExitCode {
    bare::run()
}
