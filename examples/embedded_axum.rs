//! FrameX inside an axum application: axum keeps its routes, FrameX answers the
//! rest.
//!
//! ```text
//! cargo run --example embedded_axum
//! curl http://127.0.0.1:8080/
//! curl "http://127.0.0.1:8080/api/v1/hello?name=you"
//! ```
//!
//! The edge is a `tower::Service`, so hyper and every other tower application
//! can hold it as well. Ports, threads, TLS and connection limits are those of
//! the server around it; envelope, errors, streams, `/docs` and body limits are
//! FrameX's.

use axum::Router;
use axum::routing::get;
use framex::prelude::*;

#[derive(Default)]
struct Hello;

/// Greets people.
#[on_register(plugin = "hello")]
impl Hello {
    /// Greets `name`.
    #[on_request(get, "/hello")]
    async fn hello(&self, name: String) -> String {
        format!("hello {name}")
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    // Reads the settings, makes the plugins and starts them; opens no port.
    let app = framex::App::builder().plugin::<Hello>().start().await?;

    let router = Router::new()
        .route("/", get(|| async { "axum's own page" }))
        .fallback_service(app.edge());

    let server = &app.settings().settings.server;
    let listener = tokio::net::TcpListener::bind((server.host.as_str(), server.port)).await?;
    announce(listener.local_addr()?);
    axum::serve(listener, router)
        .with_graceful_shutdown(terminated())
        .await?;

    // After the last request: finishes what runs, then `on_stop` of each plugin.
    app.stop().await;
    Ok(())
}

#[allow(clippy::print_stdout)]
fn announce(address: std::net::SocketAddr) {
    println!("  edge       http://{address}");
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => std::future::pending().await,
    }
}
