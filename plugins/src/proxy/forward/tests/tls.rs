//! Upstreams that speak TLS.

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::*;
use crate::proxy::forward::connect::{Connector, trusting};
use crate::proxy::forward::{FetchError, Fetched};

/// Answers one request of each connection over TLS as `name`; its address, and who trusts it.
async fn speaking(name: &str) -> (SocketAddr, RootCertStore, JoinHandle<()>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::from(key))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = acceptor.accept(tcp).await else {
                continue;
            };
            let mut head = [0; 1024];
            while tls.read(&mut head).await.unwrap_or(0) > 0 {
                tls.write_all(&answer("200 OK", "", "ok")).await.unwrap();
                tls.flush().await.unwrap();
            }
        }
    });
    (address, roots, task)
}

fn trusting_forwarder(url: &str, roots: RootCertStore) -> Arc<Forwarder> {
    let upstream = upstream(url, json!({}));
    let connector = Connector::with_roots(&upstream, Some(trusting(roots))).unwrap();
    Forwarder::with_connector(upstream, "bridge-1".into(), connector).unwrap()
}

#[tokio::test]
async fn an_upstream_speaks_tls_and_is_who_it_says() {
    let (address, roots, task) = speaking("localhost").await;
    let url = format!("https://localhost:{}", address.port());
    let forwarder = trusting_forwarder(&url, roots);
    for _ in 0..2 {
        assert_eq!(pass(&forwarder, "GET /x").await.unwrap().text(), "ok");
    }
    // Nobody vouches for it.
    let (_, strangers, other) = speaking("localhost").await;
    let error = pass(&trusting_forwarder(&url, strangers), "GET /x")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "upstream_unreachable");
    other.abort();
    task.abort();
    // It is somebody else.
    let (address, roots, task) = speaking("other.example").await;
    let url = format!("https://localhost:{}", address.port());
    let error = pass(&trusting_forwarder(&url, roots), "GET /x")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "upstream_unreachable");
    task.abort();
}

#[tokio::test]
async fn a_document_comes_over_tls_from_who_it_says() {
    let (address, roots, task) = speaking("localhost").await;
    let url = format!("https://localhost:{}", address.port());
    let fetched = in_time(trusting_forwarder(&url, roots).fetch("/openapi.json", None)).await;
    let Ok(Fetched::Document { body, .. }) = fetched else {
        panic!("{fetched:?}")
    };
    assert_eq!(body, "ok");
    // Nobody vouches for it.
    let (_, strangers, other) = speaking("localhost").await;
    let forwarder = trusting_forwarder(&url, strangers);
    let error = in_time(forwarder.fetch("/openapi.json", None)).await;
    let Err(FetchError::Failed(error)) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.code(), "upstream_unreachable");
    assert!(format!("{error:?}").contains("certificate"), "{error:?}");
    other.abort();
    task.abort();
}
