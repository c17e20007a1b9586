//! One connection: HTTP/1.1 or HTTP/2, with its time limits.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use super::patience::{Counted, Patience, Pulse, Verdict};
use super::threads::Shared;

/// Pings that an HTTP/2 client must answer, so that a dead one is noticed.
const H2_PING: Duration = Duration::from_secs(20);
/// Streams of one HTTP/2 connection at once.
const H2_STREAMS: u32 = 256;
/// The smallest read buffer that hyper takes, in bytes.
const LEAST_BUFFER: usize = 8 * 1024;
/// What an HTTP/2 client with prior knowledge says first.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

pub(super) async fn serve(shared: Arc<Shared>, socket: TcpStream) {
    // Answers are written whole: waiting for more would only delay them.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a connection went before it began");
        return;
    }
    let Some(http2) = begins_with_http2(&socket, shared.options.header_timeout).await else {
        return;
    };
    let options = &shared.options;
    let pulse = Arc::new(Pulse::default());
    let service = {
        let edge = shared.edge.clone();
        let pulse = Arc::clone(&pulse);
        service_fn(move |request: Request<Incoming>| {
            let edge = edge.clone();
            let running = pulse.begin();
            async move {
                let response = edge.handle(request).await;
                drop(running);
                Ok::<_, Infallible>(response)
            }
        })
    };
    let socket = TokioIo::new(Counted::new(socket, Arc::clone(&pulse)));
    if http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(H2_PING)
            .max_concurrent_streams(H2_STREAMS)
            .max_header_list_size(u32::try_from(options.max_header_size).unwrap_or(u32::MAX))
            .serve_connection(socket, service);
        drive(connection, |c| c.graceful_shutdown(), &shared, &pulse).await;
    } else {
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(options.max_header_size.max(LEAST_BUFFER))
            // Head and body of an answer in one buffer: measured, 5 % less CPU.
            .writev(false)
            .serve_connection(socket, service);
        drive(connection, |c| c.graceful_shutdown(), &shared, &pulse).await;
    }
}

/// Whether the client speaks HTTP/2 from the start; `None` if it left or said
/// nothing in time.
async fn begins_with_http2(socket: &TcpStream, patience: Duration) -> Option<bool> {
    let decided = async {
        let mut first = [0; H2_PREFACE.len()];
        loop {
            let count = socket.peek(&mut first).await.ok().filter(|n| *n > 0)?;
            if first[..count] != H2_PREFACE[..count] {
                return Some(false);
            }
            if count == H2_PREFACE.len() {
                return Some(true);
            }
            // A few letters that could be either: the rest is on its way.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(patience, decided).await.ok().flatten()
}

/// Runs a connection to its end. `close` lets its requests finish and takes no more.
async fn drive<C>(connection: C, close: impl Fn(Pin<&mut C>), shared: &Shared, pulse: &Pulse)
where
    C: Future<Output = hyper::Result<()>>,
{
    let options = &shared.options;
    let mut connection = pin!(connection);
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
                close(connection.as_mut());
            }
            _ = looks.tick() => match patience.look(pulse, Instant::now()) {
                Verdict::GoOn => {}
                Verdict::Idle if closing => return,
                Verdict::Idle => {
                    closing = true;
                    close(connection.as_mut());
                }
                Verdict::Slow => {
                    tracing::debug!("a request's head took too long");
                    return;
                }
            },
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended badly");
    }
}
