//! One connection: HTTP/1.1 or HTTP/2, with its time limits.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use super::patience::{Counted, Patience, Pulse, Running, Verdict};
use super::threads::Shared;
use crate::EdgeBody;

/// Pings that an HTTP/2 client must answer, so that a dead one is noticed.
const H2_PING: Duration = Duration::from_secs(20);
/// Streams of one HTTP/2 connection at once.
const H2_STREAMS: u32 = 256;
/// The smallest read buffer that hyper takes, in bytes.
const LEAST_BUFFER: usize = 8 * 1024;

pub(super) async fn serve(shared: Arc<Shared>, socket: TcpStream) {
    // Answers are written whole: waiting for more would only delay them.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a connection went before it began");
        return;
    }
    let options = &shared.options;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .header_read_timeout(None)
        .max_buf_size(options.max_header_size.max(LEAST_BUFFER))
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING)
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(u32::try_from(options.max_header_size).unwrap_or(u32::MAX));

    let pulse = Arc::new(Pulse::default());
    let service = {
        let pulse = Arc::clone(&pulse);
        let edge = shared.edge.clone();
        service_fn(move |request: hyper::Request<Incoming>| {
            let edge = edge.clone();
            let running = pulse.begin(request.version());
            async move {
                let response = edge.handle(request).await;
                let response = response.map(|body| Answer { body, running });
                Ok::<_, std::convert::Infallible>(response)
            }
        })
    };
    let socket = Counted::new(socket, Arc::clone(&pulse));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));

    let mut patience = Patience::new(options.header_timeout, options.idle_timeout, Instant::now());
    let mut looks = tokio::time::interval(patience.pause());
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = pin!(shared.stop.cancelled());
    let mut closing = false;
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut connection => break outcome,
            () = &mut stopping, if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = looks.tick() => match patience.look(&pulse, Instant::now()) {
                Verdict::GoOn => {}
                Verdict::Idle if closing => return,
                Verdict::Idle => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                Verdict::Slow => {
                    tracing::debug!("a request's head took too long");
                    return;
                }
                Verdict::Stuck => {
                    tracing::debug!("a client takes nothing of its answer any more");
                    return;
                }
            },
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// A request runs until its answer's body is gone: a stream takes its time.
struct Answer {
    body: EdgeBody,
    #[expect(dead_code, reason = "there for its drop")]
    running: Running,
}

impl Body for Answer {
    type Data = bytes::Bytes;
    type Error = crate::BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
