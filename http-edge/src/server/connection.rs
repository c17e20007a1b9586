//! One connection: HTTP/1.1 or HTTP/2, with its time limits.

use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;

use super::threads::Shared;

/// Pings that an HTTP/2 client must answer, so that a dead one is noticed.
const H2_PING: std::time::Duration = std::time::Duration::from_secs(20);
/// Streams of one HTTP/2 connection at once.
const H2_STREAMS: u32 = 256;
/// The smallest read buffer that hyper takes, in bytes.
const LEAST_BUFFER: usize = 8 * 1024;

pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    // Answers are written whole: waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection went before it began");
        return;
    }
    let options = &shared.options;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(options.max_header_size.max(LEAST_BUFFER))
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING)
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(u32::try_from(options.max_header_size).unwrap_or(u32::MAX));
    let edge = shared.edge.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let edge = edge.clone();
        async move { Ok::<_, std::convert::Infallible>(edge.handle(request).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut stopping = pin!(shared.stop.cancelled());
    let mut asked = false;
    let outcome = loop {
        tokio::select! {
            outcome = &mut connection => break outcome,
            () = &mut stopping, if !asked => {
                asked = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended badly");
    }
}
