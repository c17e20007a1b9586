//! What is promised of uploads and downloads.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use framex::args::{Args, FormField, HttpArgs, HttpBody, PathValues, Upload};
use framex::bus::Bus;
use framex::{CallError, Error, Reply};
use framex_core::body::ByteStream;
use framex_core::context::{CallMeta, Request};
use framex_core::reply::Download;
use framex_test_support::until;
use serde_json::{Value, json};

use crate::plugins::seen;
use crate::suite::{both, code, gone, reply};
use crate::{Served, Transport};

const K: usize = 1024;
const PIECE: usize = 37_123;

/// Counts what is taken of a source, and whether it is still there.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn taken(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// Pieces of a file, no two alike.
fn pieces(size: usize) -> impl Iterator<Item = Bytes> {
    let mut left = size;
    let mut n = 0_u8;
    std::iter::from_fn(move || {
        let piece = left.min(PIECE);
        left -= piece;
        n = n.wrapping_add(1);
        (piece > 0).then(|| Bytes::from(vec![n; piece]))
    })
}

/// A file that comes in pieces; `error` breaks it off.
pub(crate) fn coming(size: usize, error: Option<Error>) -> (ByteStream, Counter) {
    let counter = Counter::default();
    let count = counter.clone();
    let stream = async_stream::stream! {
        for piece in pieces(size) {
            count.0.fetch_add(1, Ordering::SeqCst);
            yield Ok(piece);
        }
        if let Some(error) = error {
            yield Err(error);
        }
    };
    (ByteStream::new(stream), counter)
}

fn hash(pieces: impl Iterator<Item = Bytes>) -> u64 {
    let mut hash = DefaultHasher::new();
    pieces.for_each(|piece| hash.write(&piece));
    hash.finish()
}

/// A call with a file.
pub(crate) fn with_file(file: ByteStream, key: &str) -> Request {
    with_texts(file, &[("key", key.to_owned())])
}

/// A call with a file and these texts.
pub(crate) fn with_texts(file: ByteStream, texts: &[(&str, String)]) -> Request {
    let file = Upload::new(file).named("a.bin");
    let mut fields = vec![("file".to_owned(), FormField::File(file.into()))];
    for (name, text) in texts {
        fields.push(((*name).to_owned(), FormField::Text(text.clone())));
    }
    Request {
        args: Args::from_http(HttpArgs {
            method: http::Method::GET,
            uri: "/".parse().expect("a URI"),
            path: PathValues::default(),
            body: HttpBody::Form(fields),
        }),
        meta: CallMeta::default(),
    }
}

async fn upload(bus: &Arc<dyn Bus>, file: ByteStream, key: &str) -> Result<Value, Error> {
    let request = with_file(file, key);
    match bus.call_target("/api/v1/upload", request).await {
        Ok(Reply::Value(json)) => Ok(serde_json::from_slice(&json).expect("JSON")),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.into_error()),
    }
}

pub(crate) fn download_of(reply: Result<Reply, CallError>) -> Download {
    match reply {
        Ok(Reply::Download(download)) => download,
        other => panic!("{other:?}"),
    }
}

/// Size and hash of what comes; the error that breaks it off.
async fn drink(mut body: ByteStream) -> (usize, u64, Option<Error>) {
    let mut hash = DefaultHasher::new();
    let mut size = 0;
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => {
                hash.write(&piece);
                size += piece.len();
            }
            Err(error) => {
                assert!(body.next().await.is_none(), "an error is the last item");
                return (size, hash.finish(), Some(error));
            }
        }
    }
    (size, hash.finish(), None)
}

pub(crate) async fn uploads_and_downloads_of_any_size(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    for size in [
        0,
        1,
        64 * K - 1,
        64 * K,
        64 * K + 1,
        K * K - 1,
        K * K,
        K * K + 1,
        20 * K * K,
    ] {
        let expected = hash(pieces(size));
        let whole = || Bytes::from(pieces(size).collect::<Vec<_>>().concat());
        let files = [
            coming(size, None).0,
            coming(size, None).0.with_size(size as u64),
            ByteStream::full(whole()),
        ];
        // Large ones in one way.
        let ways = if size > 2 * K * K { 1 } else { files.len() };
        for file in files.into_iter().take(ways) {
            let shown = format!("{file:?}");
            let got = upload(&bus, file, "plain").await.expect(&shown);
            assert_eq!(
                (&got["size"], &got["hash"]),
                (&json!(size), &json!(expected)),
                "{shown}"
            );
            let known = shown.contains("bytes");
            let file = match known {
                true => ByteStream::full(whole()),
                false => coming(size, None).0,
            };
            let turned = bus.call_target("/api/v1/turn", with_file(file, ""));
            let turned = download_of(turned.await);
            assert_eq!(turned.body.size(), known.then_some(size as u64));
            let (got, hash, error) = drink(turned.body).await;
            assert_eq!(
                (got, hash, error.map(|e| e.to_string())),
                (size, expected, None)
            );
        }
        for known in [true, false].into_iter().take(ways) {
            let args = json!({"size": size, "known": known, "key": "plain"});
            let download = download_of(reply(&bus, "callee.Callee.download", args).await);
            assert_eq!(download.status, 206);
            assert!(
                download.headers["content-disposition"]
                    .to_str()
                    .expect("a text")
                    .contains("a.bin")
            );
            assert_eq!(download.body.size(), known.then_some(size as u64));
            let (got, _, error) = drink(download.body).await;
            assert!(got == size && error.is_none(), "{got} of {size}: {error:?}");
        }
    }
    // Several files at once, one of them on its way, and none read.
    let mut fields = HashMap::new();
    for name in ["file", "other"] {
        let file = Upload::new(coming(3 * K * K, None).0);
        fields.insert(name, file);
    }
    let fields = fields.into_iter();
    let fields = fields.map(|(name, file)| (name.to_owned(), FormField::File(file.into())));
    let request = Request {
        args: Args::from_http(HttpArgs {
            method: http::Method::GET,
            uri: "/".parse().expect("a URI"),
            path: PathValues::default(),
            body: HttpBody::Form(fields.collect()),
        }),
        meta: CallMeta::default(),
    };
    let ignored = bus.call_target("/api/v1/ignore", request).await;
    assert!(
        matches!(&ignored, Ok(Reply::Value(json)) if json == "null"),
        "{ignored:?}"
    );
}

pub(crate) async fn an_upload_is_taken_as_it_is_read(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    let (file, counter) = coming(64 * K * K, None);
    let call = {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move { upload(&bus, file, "slow").await })
    };
    until("the first piece is read", || seen("slow").events == 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    // A window of frames, and what is put together for the next.
    let most = 18 * 64 * K / PIECE + 2;
    assert!(counter.taken() <= most, "{} pieces taken", counter.taken());
    assert!(!counter.is_dropped());
    // Who does not want the answer any more, sends no more.
    call.abort();
    gone("slow", 1).await;
    until("the file is let go", || counter.is_dropped()).await;
}

pub(crate) async fn what_breaks_an_upload_or_a_download_off_is_told(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    for size in [0, 1000, 3 * K * K] {
        let seen_before = seen("broken").events;
        let broken = Error::bad_request("the client went").with_code("upload_interrupted");
        let (file, counter) = coming(size, Some(broken));
        let error = upload(&bus, file, "broken")
            .await
            .expect_err("it broke off");
        assert_eq!(code(&error), (400, "upload_interrupted"));
        assert_eq!(seen("broken").events, seen_before + 1, "the handler saw it");
        assert!(counter.is_dropped());
    }
    for known in [true, false] {
        let args = json!({"size": 10 * K * K, "known": known, "key": "breaks"});
        let download = download_of(reply(&bus, "callee.Callee.download", args).await);
        let (size, _, error) = drink(download.body).await;
        let error = error.expect("it broke off");
        assert_eq!((size, code(&error)), (39 * 50_000, (409, "conflict")));
    }
}

pub(crate) async fn a_dropped_download_drops_its_handler(transport: &impl Transport) {
    let served = both(transport).await;
    let bus = served.bus();
    let args = json!({"size": 1_usize << 40, "known": true, "key": "endless"});
    let mut download = download_of(reply(&bus, "callee.Callee.download", args).await);
    let first = download.body.next().await.expect("a piece");
    assert!(first.is_ok(), "{first:?}");
    tokio::time::sleep(Duration::from_millis(200)).await;
    // A window of frames at most: whoever does not read is not sent more.
    let made = seen("endless").events;
    assert!(made <= 18 * 64 * K / 50_000 + 2, "{made} pieces made");
    drop(download);
    gone("endless", 1).await;
}
