//! A plugin that takes and gives bytes, and remembers what it saw of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use framex::prelude::*;
use serde_json::{Value, json};

/// The bytes of every test are cut out of this pattern, repeated: its length is a prime, so
/// that whoever loses or repeats a block of any usual size is found out.
const PERIOD: usize = 65_521;

/// `count` bytes of the pattern from `at`.
pub(crate) fn pattern(at: u64, count: usize) -> Bytes {
    static PATTERN: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    let all = PATTERN.get_or_init(|| {
        let mut state = 1_u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        let once: Vec<u8> = (0..PERIOD).map(|_| byte()).collect();
        once.repeat(20).into()
    });
    let begin = usize::try_from(at % PERIOD as u64).unwrap_or_default();
    assert!(begin + count <= all.len(), "{count} bytes at once");
    all.slice(begin..begin + count)
}

/// Whether what comes is the pattern.
#[derive(Default)]
pub(crate) struct Compared {
    pub(crate) size: u64,
    pub(crate) wrong: bool,
}

impl Compared {
    pub(crate) fn take(&mut self, piece: &[u8]) {
        for piece in piece.chunks(PERIOD) {
            self.wrong |= pattern(self.size, piece.len()) != piece;
            self.size += piece.len() as u64;
        }
    }
}

/// What a handler has seen of an upload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) begun: bool,
    /// Bytes that were read, or made.
    pub(crate) bytes: u64,
    /// The end: `ok`, or the error's code.
    pub(crate) end: Option<String>,
    pub(crate) gone: bool,
}

static SEEN: Mutex<BTreeMap<String, Seen>> = Mutex::new(BTreeMap::new());

pub(crate) fn seen(key: &str) -> Seen {
    note(key, |_| {})
}

fn note(key: &str, change: impl FnOnce(&mut Seen)) -> Seen {
    let mut all = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = all.entry(key.to_owned()).or_default();
    change(seen);
    seen.clone()
}

/// Notes that a handler is gone.
struct Here(String);

impl Drop for Here {
    fn drop(&mut self) {
        note(&self.0, |seen| seen.gone = true);
    }
}

#[derive(Default)]
pub(crate) struct Depot;

/// Reads a file to its end.
async fn look(mut file: Upload) -> Result<Value> {
    let mut compared = Compared::default();
    while let Some(piece) = file.next().await {
        compared.take(&piece?);
    }
    Ok(json!({
        "name": file.filename,
        "type": file.content_type,
        "known": file.size(),
        "size": compared.size,
        "right": !compared.wrong,
    }))
}

/// `size` bytes of the pattern, in pieces; `made` is told of each.
fn bytes(size: u64, mut made: impl FnMut(u64) + Send) -> impl Stream<Item = Result<Bytes>> + Send {
    let mut at = 0;
    futures_util::stream::poll_fn(move |_| {
        let count = usize::try_from(size - at).unwrap_or(usize::MAX).min(60_000);
        let piece = pattern(at, count);
        at += piece.len() as u64;
        made(at);
        Poll::Ready((!piece.is_empty()).then_some(Ok(piece)))
    })
}

#[on_register(plugin = "depot")]
impl Depot {
    /// The whole body.
    #[on_request(put, "/raw", max_body_size = "1GiB")]
    async fn raw(&self, #[body] file: Upload) -> Result<Value> {
        look(file).await
    }

    /// The whole body, in memory.
    #[on_request(put, "/memory", max_body_size = "8 MiB")]
    async fn memory(&self, #[body] data: Bytes) -> usize {
        data.len()
    }

    #[on_request(put, "/ordinary")]
    async fn ordinary(&self, #[body] file: Upload) -> Result<usize> {
        Ok(file.bytes().await?.len())
    }

    #[on_request(post, "/json", max_body_size = 20)]
    async fn json(&self, #[body] value: Value) -> Value {
        value
    }

    /// A file of a form, behind its texts or before.
    #[on_request(post, "/form", max_body_size = "1GiB")]
    async fn form(&self, file: Upload, note: String, count: Option<u8>) -> Result<Value> {
        let mut seen = look(file).await?;
        seen["note"] = json!([note, count]);
        Ok(seen)
    }

    /// Only a file, or none.
    #[on_request(post, "/one", max_body_size = "100MB")]
    async fn one(&self, file: Option<Upload>) -> Result<Value> {
        match file {
            Some(file) => look(file).await,
            None => Ok(Value::Null),
        }
    }

    /// Two files at least.
    #[on_request(post, "/many", max_body_size = "1GiB")]
    async fn many(&self, first: Upload, more: Vec<Upload>) -> Result<Vec<Value>> {
        let mut seen = Vec::new();
        // The last first: they need not be read in order.
        for file in more.into_iter().rev() {
            seen.push(look(file).await?);
        }
        seen.push(look(first).await?);
        Ok(seen)
    }

    /// Notes each step under `key`; says how it ended, also when the client is gone.
    #[on_request(put, "/watched", max_body_size = "1GiB")]
    async fn watched(&self, key: String, #[body] mut file: Upload) -> Result<Value> {
        let _here = Here(key.clone());
        note(&key, |seen| seen.begun = true);
        let end = loop {
            match file.next().await {
                Some(Ok(piece)) => note(&key, |seen| seen.bytes += piece.len() as u64),
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            };
        };
        if let Err(error) = &end {
            // Cleaning up takes its time.
            tokio::time::sleep(Duration::from_millis(50)).await;
            note(&key, |seen| seen.end = Some(error.code().to_owned()));
        } else {
            note(&key, |seen| seen.end = Some("ok".to_owned()));
        }
        Ok(json!(seen(&key).bytes))
    }

    /// What `watched` has noted so far.
    #[on_request(get, "/watched/{key}")]
    async fn noted(&self, key: String) -> Value {
        let seen = seen(&key);
        json!({"begun": seen.begun, "bytes": seen.bytes, "end": seen.end, "gone": seen.gone})
    }

    /// As `watched`, for the file of a form.
    #[on_request(post, "/watched_form", max_body_size = "1GiB")]
    async fn watched_form(&self, key: String, file: Upload) -> Result<Value> {
        self.watched(key, file).await
    }

    /// Cleans up for ever.
    #[on_request(put, "/stubborn", max_body_size = "1GiB")]
    async fn stubborn(&self, key: String, #[body] mut file: Upload) -> Result<()> {
        let _here = Here(key.clone());
        note(&key, |seen| seen.begun = true);
        while let Some(Ok(_)) = file.next().await {}
        note(&key, |seen| seen.end = Some("waits".to_owned()));
        std::future::pending().await
    }

    /// Answers without a look at the body.
    #[on_request(put, "/ignored", max_body_size = "1GiB")]
    async fn ignored(&self, #[body] file: Upload) -> Option<u64> {
        file.size()
    }

    /// Pauses before it reads.
    #[on_request(put, "/late", max_body_size = "1GiB")]
    async fn late(&self, ms: u64, #[body] mut file: Upload) -> Result<Value> {
        let first = file
            .next()
            .await
            .transpose()?
            .map_or(0, |piece| piece.len());
        tokio::time::sleep(Duration::from_millis(ms)).await;
        let rest = look(file).await?;
        Ok(json!(
            first as u64 + rest["size"].as_u64().unwrap_or_default()
        ))
    }

    /// The body as it comes.
    #[on_request(put, "/back", max_body_size = "1GiB")]
    async fn back(&self, #[body] file: Upload) -> Download {
        Download::from(file.into_stream())
    }

    /// Bytes of the pattern.
    #[on_request(get, "/bytes")]
    async fn bytes(
        &self,
        size: u64,
        key: String,
        #[arg(default = true)] known: bool,
    ) -> Result<Download> {
        let here = Here(key.clone());
        let made = move |at| {
            note(&here.0, |seen| seen.bytes = at);
        };
        let download = Download::new(bytes(size, made)).named("b.bin");
        let download = download.with_content_type("application/x-pattern")?;
        Ok(if known {
            download.with_size(size)
        } else {
            download
        })
    }

    /// Bytes that do not keep their promise.
    #[on_request(get, "/broken/{how}")]
    async fn broken(&self, how: String) -> Result<Download> {
        let fail = || futures_util::stream::iter([Err(Error::conflict("out of bytes"))]);
        let some = |size| bytes(size, |_| {});
        Ok(match how.as_str() {
            "at_once" => Download::new(fail()),
            "later" => Download::new(futures_util::StreamExt::chain(some(200_000), fail())),
            "later_known" => Download::new(futures_util::StreamExt::chain(some(200_000), fail()))
                .with_size(200_000),
            "short" => Download::new(some(200_000)).with_size(200_001),
            "long" => Download::new(some(200_000)).with_size(199_999),
            "none" => Download::new(some(0)).with_size(1),
            "panic" => Download::new(bytes(200_000, |at| assert!(at < 100_000, "no more"))),
            "empty" => Download::new(some(0)),
            "no_content" => Download::new(some(10)).with_status(StatusCode::NO_CONTENT),
            "teapot" => Download::new(some(10)).with_status(StatusCode::IM_A_TEAPOT),
            "full" => Download::from(ByteStream::full("all of it")),
            _ => return Err(Error::not_found("no such way")),
        })
    }
}
