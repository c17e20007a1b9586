//! A page that reads a stream, loses its connection, and goes on where it was.
//!
//! ```text
//! cargo run --example browser_stream -- run
//! open http://127.0.0.1:8080/
//! ```
//!
//! The page gives the id of the last event that it has seen back as `Last-Event-ID`, as an
//! `EventSource` does when it connects again. The answer is the rest of the stream: the
//! handler has gone on meanwhile, for `streams.grace` at most. The same with curl:
//!
//! ```text
//! curl -Ni http://127.0.0.1:8080/api/v1/story          # ctrl-c after a few words
//! curl -N -H "Last-Event-ID: <the last id>" http://127.0.0.1:8080/api/v1/story
//! ```

use std::time::Duration;

use framex::prelude::*;

const STORY: &str = "Once upon a time there was a reader who lost the thread in the middle of every \
    story. So the storyteller put a number on each word. From then on the reader came back, said \
    the number of the last word that it had heard, and heard the rest: no word twice, and none \
    left out. It was told only once all the same.";

#[derive(Default)]
struct Storyteller;

#[on_register(plugin = "storyteller")]
impl Storyteller {
    /// The page.
    #[on_request(get, "/", api_prefix = false, include_in_schema = false)]
    async fn page(&self) -> Response {
        Response::html(include_str!("browser_stream.html"))
    }

    /// A story, word by word.
    ///
    /// It is kept, as every stream that does not say `stream = live`: nothing in here
    /// knows of it.
    #[on_request(get, "/story", stream)]
    fn story(&self, #[arg(default = 150)] pause_ms: u64) -> impl Stream<Item = String> {
        async_stream::stream! {
            for word in STORY.split_whitespace() {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                yield format!("{word} ");
            }
        }
    }
}

framex::main!(Storyteller);
