//! Forwarding against upstreams that do what a test says, byte by byte, over real sockets.

mod admission;
mod bodies;
mod connections;
mod documents;
mod failures;
mod plugins;
mod requests;
mod tls;
mod watching;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use framex_core::args::{Args, HttpArgs, HttpBody, PathValues, Upload};
use framex_core::body::ByteStream;
use framex_core::context::{CallMeta, Caller, Context, Request, RequestId, Scope};
use framex_core::descriptor::{ApiDescriptor, ApiKind, PluginMetadata};
use framex_core::error::{CallError, Result};
use framex_core::id::ApiId;
use framex_core::plugin::{AddedApi, Refused};
use framex_core::process::Process;
use framex_core::reply::Reply;
use futures_core::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Forwarder;
use crate::proxy::config::ProxyConfig;
use crate::proxy::operation::Shape;
use crate::proxy::upstream::Upstream;

/// What every wait of a test ends after.
const LIMIT: Duration = Duration::from_secs(10);

/// An upstream whose connections are served by a script.
struct Scripted {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    /// `serve` gets each connection, with its number.
    async fn start<F>(serve: impl Fn(Peer, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(Peer::new(stream), number));
            }
        });
        Self {
            address,
            connections,
            task,
        }
    }

    /// Answers every request with the same bytes, and keeps the connection.
    async fn answering(answer: impl Into<Bytes>) -> Self {
        let answer = answer.into();
        Self::start(move |mut peer, _| {
            let answer = answer.clone();
            async move {
                while peer.head().await.is_some() {
                    peer.send(&answer).await;
                }
            }
        })
        .await
    }

    fn forwarder(&self, settings: Value) -> Arc<Forwarder> {
        forwarder(&format!("http://{}", self.address), settings)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// The upstream's end of a connection.
struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// The head of the next request; `None` if the connection ends before.
    async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.read.split_off(end + 4);
                let head = std::mem::replace(&mut self.read, rest);
                return Some(String::from_utf8(head).unwrap());
            }
            if self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next `n` bytes of a body.
    async fn bytes(&mut self, n: usize) -> Vec<u8> {
        while self.read.len() < n {
            assert!(self.stream.read_buf(&mut self.read).await.unwrap() > 0);
        }
        let rest = self.read.split_off(n);
        std::mem::replace(&mut self.read, rest)
    }

    /// Whether the other side ends the connection, whatever it sends before.
    async fn ended(&mut self) {
        let mut sink = [0; 4096];
        while matches!(self.stream.read(&mut sink).await, Ok(1..)) {}
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // Whoever does not want it has gone.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Ends the connection as a crash would.
    fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// `HTTP/1.1 <status>` with headers and a body of known length.
fn answer(status: &str, headers: &str, body: &str) -> Bytes {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into()
}

fn json_answer(status: &str, body: &str) -> Bytes {
    answer(status, "content-type: application/json\r\n", body)
}

/// A forwarder to the upstream `up` at `url`.
fn forwarder(url: &str, settings: Value) -> Arc<Forwarder> {
    Forwarder::new(upstream(url, settings), "bridge-1".into()).unwrap()
}

fn upstream(url: &str, settings: Value) -> Arc<Upstream> {
    let mut one = json!({"name": "up", "timeout": "5s", "enable": ["*"]});
    let Value::Object(settings) = settings else {
        panic!("{settings}")
    };
    one.as_object_mut().unwrap().extend(settings);
    let config = json!({"proxy_urls": {url: one}});
    let config: ProxyConfig = serde_json::from_value(config).unwrap();
    Upstream::all(&config).unwrap().remove(0)
}

struct NoBus(Arc<Process>);

impl Caller for NoBus {
    fn call_from(
        &self,
        _: &Scope,
        target: &str,
        _: Request,
    ) -> BoxFuture<'static, Result<Reply, CallError>> {
        let target = target.to_owned();
        Box::pin(async { Err(CallError::Unknown { target }) })
    }

    fn add_apis(&self, _: &Scope, _: Vec<AddedApi>) -> Vec<Refused> {
        Vec::new()
    }

    fn process(&self) -> &Arc<Process> {
        &self.0
    }
}

fn context(headers: &[(&str, &str)]) -> Context {
    let mut meta = CallMeta {
        request_id: RequestId::accept(&HeaderValue::from_static("r-1")).unwrap(),
        ..CallMeta::default()
    };
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        meta.headers.append(name, value.parse().unwrap());
    }
    context_of(meta)
}

fn context_of(meta: CallMeta) -> Context {
    let plugin = Box::leak(Box::new(PluginMetadata::default()));
    let bus: Weak<NoBus> = Weak::new();
    Context::new(Arc::new(Scope::new(plugin, bus)), meta)
}

/// An operation at `path` that takes whatever it is given.
fn operation(forwarder: &Arc<Forwarder>, path: &str) -> Arc<dyn framex_core::plugin::Handler> {
    let id = ApiId::parse("proxy.up.x").unwrap();
    let mut descriptor = ApiDescriptor::new(id, ApiKind::Http);
    descriptor.bridged = true;
    let shape = shape(forwarder, path);
    forwarder.operation(descriptor.into(), shape.into())
}

/// What an operation at `path` is, which takes no values.
fn shape(forwarder: &Arc<Forwarder>, path: &str) -> Shape {
    Shape {
        method: Method::GET,
        prefix: forwarder.upstream.prefix.clone(),
        base: forwarder.upstream.path.clone(),
        path: path.into(),
        parameters: Vec::new(),
        body: None,
        streams: false,
    }
}

fn args(method: &str, target: &str, body: Option<Upload>) -> Args {
    Args::from_http(HttpArgs {
        method: method.parse().unwrap(),
        uri: target.parse().unwrap(),
        path: PathValues::default(),
        body: body.map_or(HttpBody::Empty, |body| HttpBody::Upload(body.into())),
    })
}

/// What a client gets.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    /// The length that is announced, if the body comes in pieces.
    size: Option<u64>,
    /// What broke the body off.
    broken: Option<String>,
}

impl Got {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A request of a client, and all of its answer.
async fn pass(forwarder: &Arc<Forwarder>, request: &str) -> Result<Got> {
    pass_with(forwarder, request, &[], None).await
}

async fn pass_with(
    forwarder: &Arc<Forwarder>,
    request: &str,
    headers: &[(&str, &str)],
    body: Option<Upload>,
) -> Result<Got> {
    let (method, target) = request.split_once(' ').unwrap();
    let call = operation(forwarder, "/x").call(context(headers), args(method, target, body));
    got(in_time(call).await?).await
}

async fn got(reply: Reply) -> Result<Got> {
    let (status, headers, mut body) = match reply {
        Reply::Response(response) => (
            response.status,
            response.headers,
            ByteStream::full(response.body),
        ),
        Reply::Download(download) => (download.status, download.headers, download.body),
        other => panic!("{other:?}"),
    };
    let size = body.size();
    let (mut all, mut broken) = (Vec::new(), None);
    while let Some(piece) = in_time(body.next()).await {
        match piece {
            Ok(piece) => all.extend_from_slice(&piece),
            Err(error) => broken = Some(format!("{} {}", error.status().as_u16(), error.code())),
        }
    }
    Ok(Got {
        status: StatusCode::as_u16(&status),
        headers,
        body: all.into(),
        size,
        broken,
    })
}

async fn in_time<F: Future>(future: F) -> F::Output {
    let waited = tokio::time::timeout(LIMIT, future).await;
    waited.expect("it takes too long")
}

/// Waits until `held` is true.
async fn until(held: impl Fn() -> bool) {
    in_time(async {
        while !held() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
