//! One connection: HTTP/1.1 or HTTP/2, with its time limits.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::patience::{Counted, Order, Pulse};
use super::threads::Shared;

/// At a stop, the time for the first request on a connection that was just opened:
/// whoever opened it cannot know.
const FIRST_REQUEST: Duration = Duration::from_millis(200);
/// Pings that an HTTP/2 client must answer, so that a dead one is noticed.
const H2_PING: Duration = Duration::from_secs(20);
/// Streams of one HTTP/2 connection at once.
const H2_STREAMS: u32 = 256;
/// What an HTTP/2 client with prior knowledge says first.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) async fn serve(shared: Arc<Shared>, socket: TcpStream, pulse: Arc<Pulse>) {
    // Answers are written whole: waiting for more would only delay them.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a connection went before it began");
        return;
    }
    let Some(http2) = begins_with_http2(&socket, shared.options.header_timeout, &pulse).await
    else {
        return;
    };
    let options = &shared.options;
    let service = {
        let edge = shared.edge.clone();
        let pulse = Arc::clone(&pulse);
        let peer = socket.peer_addr().ok().map(|address| address.ip());
        service_fn(move |request: Request<Incoming>| edge.answer(request, peer, pulse.begin()))
    };
    let socket = TokioIo::new(Counted::new(socket, Arc::clone(&pulse)));
    if http2 {
        pulse.is_http2();
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(H2_PING)
            .max_concurrent_streams(H2_STREAMS)
            .max_header_list_size(u32::try_from(options.max_header_size).unwrap_or(u32::MAX))
            .serve_connection(socket, service);
        drive(connection, http2::Connection::graceful_shutdown, &pulse).await;
    } else {
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            .max_header_size(options.max_header_size)
            // Head and body of an answer in one buffer: measured, 5 % less CPU.
            .writev(false)
            .serve_connection(socket, service);
        drive(connection, http1::Connection::graceful_shutdown, &pulse).await;
    }
}

/// Whether the client speaks HTTP/2 from the start; `None` if it left, said
/// nothing in time, also not in the time that there is once the server stops.
async fn begins_with_http2(socket: &TcpStream, patience: Duration, pulse: &Pulse) -> Option<bool> {
    let decided = async {
        let mut first = [0; H2_PREFACE.len()];
        let mut pause = Duration::from_millis(1);
        loop {
            let count = socket.peek(&mut first).await.ok().filter(|n| *n > 0)?;
            if first[..count] != H2_PREFACE[..count] {
                return Some(false);
            }
            if count == H2_PREFACE.len() {
                return Some(true);
            }
            // A few letters that could be either: the rest is on its way, or it
            // is somebody's game, which must not keep the thread busy.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(64));
        }
    };
    let mut decided = pin!(tokio::time::timeout(patience, decided));
    let mut last_chance = pin!(None);
    poll_fn(|cx| {
        let order = pulse.order(cx.waker());
        if order == Order::Cut {
            return Poll::Ready(None);
        }
        if let Poll::Ready(in_time) = decided.as_mut().poll(cx) {
            return Poll::Ready(in_time.ok().flatten());
        }
        if order == Order::GoOn {
            return Poll::Pending;
        }
        if last_chance.is_none() {
            last_chance.set(Some(tokio::time::sleep(FIRST_REQUEST)));
        }
        match last_chance.as_mut().as_pin_mut() {
            Some(over) => over.poll(cx).map(|()| None),
            None => Poll::Ready(None),
        }
    })
    .await
}

/// Runs a connection to its end, or to the one it is told. `close` lets its
/// requests finish and takes no more.
async fn drive<C>(connection: C, close: impl Fn(Pin<&mut C>), pulse: &Pulse)
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut closing = false;
    let outcome = poll_fn(|cx| {
        match pulse.order(cx.waker()) {
            Order::GoOn => {}
            Order::Close if closing => {}
            Order::Close => {
                // A request that has come already is no later one.
                if let Poll::Ready(over) = connection.as_mut().poll(cx) {
                    return Poll::Ready(over);
                }
                closing = true;
                close(connection.as_mut());
            }
            Order::Cut => return Poll::Ready(Ok(())),
        }
        connection.as_mut().poll(cx)
    })
    .await;
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended badly");
    }
}
