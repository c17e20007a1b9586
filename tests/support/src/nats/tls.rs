//! Certificates of a test's own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// A certificate authority, and what it signed: a certificate for a server on
/// 127.0.0.1 or `localhost`, and one for its clients. As PEM files, gone with the last clone.
#[derive(Clone)]
pub struct Tls {
    dir: Arc<TempDir>,
    verify: bool,
}

impl Tls {
    /// Makes all of them anew: two authorities do not trust each other.
    ///
    /// # Panics
    ///
    /// If the files cannot be written.
    #[must_use]
    pub fn generate() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("framex-tls-")
            .tempdir()
            .expect("a temporary directory");
        write(dir.path()).expect("certificates");
        Self {
            dir: Arc::new(dir),
            verify: false,
        }
    }

    /// Makes the server demand a certificate of its clients.
    #[must_use]
    pub fn verify_clients(mut self) -> Self {
        self.verify = true;
        self
    }

    /// The authority that clients have to trust.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// The certificate of a client.
    #[must_use]
    pub fn client_cert(&self) -> PathBuf {
        self.file("client.pem")
    }

    /// The key of a client.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.file("client.key")
    }

    /// The certificate of the server.
    #[must_use]
    pub fn server_cert(&self) -> PathBuf {
        self.file("server.pem")
    }

    /// The key of the server.
    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.file("server.key")
    }

    pub(super) fn server_arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![
            "--tls".into(),
            "--tlscert".into(),
            self.file("server.pem").into(),
            "--tlskey".into(),
            self.file("server.key").into(),
        ];
        if self.verify {
            arguments.push("--tlsverify".into());
            arguments.push("--tlscacert".into());
            arguments.push(self.ca().into());
        }
        arguments
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn write(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "an authority of one test");
    std::fs::write(dir.join("ca.pem"), params.self_signed(&key)?.pem())?;
    let authority = Issuer::new(params, key);
    for name in ["server", "client"] {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &authority)?;
        std::fs::write(dir.join(format!("{name}.pem")), certificate.pem())?;
        std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}
