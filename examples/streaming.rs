//! A stream, and a plugin that reads it while it comes.
//!
//! ```text
//! cargo run --example streaming -- run
//! curl -N "http://127.0.0.1:8080/api/v1/words?text=one+two+three"
//! curl -N "http://127.0.0.1:8080/api/v1/loud?text=one+two+three"
//! curl -N -H "accept: application/x-ndjson" "http://127.0.0.1:8080/api/v1/words?text=one+two"
//! ```

use std::time::Duration;

use framex::prelude::*;

/// Says a text word by word.
mod speaker {
    use super::*;

    #[derive(Default)]
    pub(super) struct Speaker;

    #[on_register(plugin = "speaker")]
    impl Speaker {
        /// The words of `text`, with `pause_ms` between them.
        ///
        /// A client that loses it may come back for the rest, for as long as
        /// `streams.grace` says. Then the stream is dropped, and with it whatever it was
        /// doing.
        #[on_request(get, "/words", stream)]
        fn words(
            &self,
            text: String,
            #[arg(default = 20)] pause_ms: u64,
        ) -> impl Stream<Item = Result<String>> {
            async_stream::stream! {
                if text.trim().is_empty() {
                    // Before the first item, an error is the answer: HTTP 400.
                    // After it, an event called `error`, and the end.
                    yield Err(Error::bad_request("there is nothing to say"));
                    return;
                }
                for word in text.split_whitespace() {
                    yield Ok(word.to_owned());
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                }
            }
        }
    }
}

/// Says it louder.
mod megaphone {
    use super::*;

    #[derive(Default)]
    pub(super) struct Megaphone;

    #[derive(Serialize, ToSchema)]
    pub(super) struct Count {
        words: usize,
        letters: usize,
    }

    #[on_register(plugin = "megaphone", required_remote_apis = ["/api/v1/words"])]
    impl Megaphone {
        /// The words of `text`, louder: each is passed on as soon as it comes.
        #[on_request(get, "/loud", stream)]
        fn loud(&self, ctx: &Context, text: String) -> impl Stream<Item = Result<Event>> {
            async_stream::try_stream! {
                let mut words = ctx.stream("/api/v1/words", args! { text }).await?;
                while let Some(word) = words.next().await {
                    let word: String = word?.parse()?;
                    yield Event::text(word.to_uppercase());
                }
                // Events have names; `message_chunk` is the usual one.
                yield Event::text("the end").named("remark");
            }
        }

        /// Reads the stream to its end and answers with one value.
        #[on_request(get, "/count")]
        async fn count(&self, ctx: &Context, text: String) -> Result<Count> {
            let arguments = args! { text, pause_ms: 0 };
            let mut events = ctx.stream("/api/v1/words", arguments).await?;
            let (mut words, mut letters) = (0, 0);
            while let Some(event) = events.next().await {
                words += 1;
                letters += event?.as_text().map_or(0, |word| word.chars().count());
            }
            Ok(Count { words, letters })
        }
    }
}

framex::main!(speaker::Speaker, megaphone::Megaphone);
