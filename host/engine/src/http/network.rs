//! The network as requests see it: who resolves names, and whose certificates are trusted.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// Turns a name into addresses.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses of a name. It is asked once for each request, never for an address, and its answer is checked: it need not
    /// be trusted.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's own resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

/// What requests of plugins go through. One per engine.
pub struct Network {
    resolver: Arc<dyn Resolve>,
    /// DER certificates that are trusted instead of the platform's.
    roots: Option<Vec<Vec<u8>>>,
    /// Read from the platform at the first request over TLS: most hosts never send one.
    tls: OnceLock<Result<TlsConnector, String>>,
}

// === impl System ===

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

// === impl Network ===

impl Default for Network {
    fn default() -> Self {
        Self::new(Arc::new(System))
    }
}

impl Network {
    /// A network whose names this resolver knows, and which trusts the platform's certificates.
    pub fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, roots: None, tls: OnceLock::new() }
    }

    /// Trusts these certificates (DER) instead of the platform's.
    pub fn trusting(self, roots: Vec<Vec<u8>>) -> Self {
        Self { roots: Some(roots), ..self }
    }

    pub(super) fn resolver(&self) -> Arc<dyn Resolve> {
        Arc::clone(&self.resolver)
    }

    /// Blocks for some milliseconds the first time, while the platform's certificates are read.
    pub(super) fn tls(&self) -> io::Result<TlsConnector> {
        let made = self.tls.get_or_init(|| connector(self.roots.as_deref()));
        made.clone().map_err(io::Error::other)
    }
}

fn connector(roots: Option<&[Vec<u8>]>) -> Result<TlsConnector, String> {
    let mut store = RootCertStore::empty();
    match roots {
        Some(roots) => store.add_parsable_certificates(roots.iter().cloned().map(CertificateDer::from)),
        None => store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    };
    if store.is_empty() {
        return Err("this machine has no root certificates; install the package `ca-certificates`".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?;
    let mut config = config.with_root_certificates(store).with_no_client_auth();
    // All plugins share this. A session that is taken up again would tie their requests together, and outlive its certificate.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
