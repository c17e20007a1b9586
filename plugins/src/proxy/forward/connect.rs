//! New connections: names, addresses, TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use framex_core::error::BoxError;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::uri::Scheme;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::wire::Stream;
use crate::proxy::upstream::Upstream;

/// How long a connection may take to come about, name and TLS included.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one address is tried alone before the next is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// Makes connections to one upstream.
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// How long a connection may take to come about.
    pub(super) patience: Duration,
}

impl Connector {
    /// # Errors
    ///
    /// For an upstream that speaks TLS: no root certificates, or a host that cannot be in one.
    pub(super) fn new(upstream: &Upstream) -> Result<Self, BoxError> {
        match upstream.scheme == Scheme::HTTPS {
            true => Self::with_roots(upstream, Some(roots()?)),
            false => Self::with_roots(upstream, None),
        }
    }

    /// The same, trusting whom `tls` does.
    pub(super) fn with_roots(
        upstream: &Upstream,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, BoxError> {
        let authority = &upstream.authority;
        let host = authority.host();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_owned();
        let default = if tls.is_some() { 443 } else { 80 };
        let tls = match tls {
            Some(config) => {
                let name = ServerName::try_from(host.clone())?;
                Some((TlsConnector::from(config), name))
            }
            None => None,
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(default),
            host,
            tls,
            patience: upstream.timeout.min(PATIENCE),
        })
    }

    /// Whom it trusts: nobody, where there is no TLS.
    pub(super) fn trust(&self) -> ClientConfig {
        match &self.tls {
            Some((tls, _)) => ClientConfig::clone(tls.config()),
            None => Arc::unwrap_or_clone(trusting(RootCertStore::empty())),
        }
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> io::Result<Stream> {
        let connected = timeout(self.patience, async {
            let tcp = self.dial().await?;
            // Requests are written in one piece.
            tcp.set_nodelay(true)?;
            Ok(match &self.tls {
                Some((tls, name)) => Stream::Tls(Box::new(tls.connect(name.clone(), tcp).await?)),
                None => Stream::Plain(tcp),
            })
        });
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        connected.await.map_err(late)?
    }

    /// The first of the host's addresses that answers.
    async fn dial(&self) -> io::Result<TcpStream> {
        let addresses: Vec<SocketAddr> = lookup_host((&*self.host, self.port)).await?.collect();
        if let [address] = addresses[..] {
            return TcpStream::connect(address).await;
        }
        let mut left = addresses.into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut last = io::Error::other("the name of its host has no address");
        loop {
            match left.next() {
                Some(address) => attempts.push(TcpStream::connect(address)),
                None if attempts.is_empty() => return Err(last),
                None => {}
            }
            tokio::select! {
                Some(attempt) = attempts.next() => match attempt {
                    Ok(tcp) => return Ok(tcp),
                    Err(error) => last = error,
                },
                () = sleep(HEAD_START), if left.len() > 0 => {}
            }
        }
    }
}

/// Trust in whom the system trusts; read once.
fn roots() -> Result<Arc<ClientConfig>, BoxError> {
    static ROOTS: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = ROOTS.get() {
        return Ok(Arc::clone(config));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.into_iter().next();
        return Err(match reason {
            Some(error) => error.into(),
            None => "the system has no root certificates".into(),
        });
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| trusting(roots))))
}

/// TLS that trusts `roots`.
pub(super) fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| unreachable!("the provider knows the versions"))
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
