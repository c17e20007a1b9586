//! The operator's port: health, readiness and the catalog as JSON, on a thread
//! of its own that no handler and no flood of requests can reach.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use framex_bus::Catalog;
use framex_core::context::RequestId;
use framex_core::error::Error;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::Edge;
use crate::body::EdgeBody;
use crate::problem;
use crate::service::{json_answer, metrics_answer};

/// Operators at once; more wait.
const MOST_CONNECTIONS: usize = 64;
/// A connection that says nothing for this long is closed.
const SILENCE: Duration = Duration::from_secs(10);

/// A dashboard that runs. Dropping it stops it.
pub struct Dashboard {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Dashboard {
    /// Serves the state of `edge` on `listener`.
    ///
    /// # Errors
    ///
    /// The system's, if no thread can be started.
    pub fn start(listener: TcpListener, edge: Edge) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("dashboard".into())
            .spawn(move || {
                runtime.block_on(stopped.run_until_cancelled(serve(listener, edge)));
            })?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the dashboard's thread panicked");
        }
    }
}

async fn serve(listener: TcpListener, edge: Edge) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the dashboard cannot listen");
            return;
        }
    };
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.len() >= MOST_CONNECTIONS {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let edge = edge.clone();
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(&edge, request.method(), request.uri().path());
                std::future::ready(Ok::<_, std::convert::Infallible>(response))
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(SILENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the dashboard ended badly");
            }
        });
    }
}

fn answer(edge: &Edge, method: &Method, path: &str) -> Response<EdgeBody> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let allow = http::HeaderValue::from_static("GET, HEAD");
        return failed(&problem::method_not_allowed(&allow));
    }
    match path {
        "/" => json_answer(
            StatusCode::OK,
            &json!({"name": "FrameX", "version": edge.status().version(), "paths": ["/health", "/ready", "/catalog", "/metrics", "/version"]}),
        ),
        "/health" => json_answer(StatusCode::OK, &json!("ok")),
        "/version" => json_answer(StatusCode::OK, &json!(edge.status().version())),
        "/ready" => {
            let (code, readiness) = edge.status().readiness();
            json_answer(code, &json!(readiness))
        }
        "/metrics" => metrics_answer(edge.status()),
        "/catalog" => json_answer(StatusCode::OK, &catalog(&edge.bus().catalog())),
        _ => failed(&problem::not_found(false)),
    }
}

fn failed(error: &Error) -> Response<EdgeBody> {
    problem::answer(error, &RequestId::generate())
}

/// The catalog as JSON: plugins, and every API with its descriptor.
#[must_use]
pub fn catalog(catalog: &Catalog) -> Value {
    let apis: Vec<Value> = catalog
        .apis()
        .map(|api| {
            let mut value = json!(*api.descriptor);
            value["plugin"] = json!(api.plugin.name);
            value["version"] = json!(api.plugin.version);
            value["instances"] = json!(api.instances());
            value
        })
        .collect();
    json!({"plugins": catalog.plugins(), "apis": apis})
}
