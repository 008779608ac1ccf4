//! Certificates: the gateway's own, and those of clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::config::HttpTls;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// What is wrong with a file of `http.tls`.
#[derive(Debug, thiserror::Error)]
#[error("`http.tls.{setting}: {path}` cannot be used: {reason}", path = path.display())]
pub struct TlsError {
    setting: &'static str,
    path: PathBuf,
    reason: String,
}

/// Reads the files. With `client_ca_file` a client may show a certificate; one that is shown must be good. Whether a client
/// needs one is decided by the gate, since a token does as well.
pub(crate) fn acceptor(config: &HttpTls) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates("cert_file", &config.cert_file)?;
    let key =
        PrivateKeyDer::from_pem_file(&config.key_file).map_err(|error| bad("key_file", &config.key_file, error))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("cert_file", &config.cert_file, error))?;
    let builder = match &config.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let refused = |error: &dyn std::fmt::Display| bad("client_ca_file", path, error);
            let mut roots = RootCertStore::empty();
            for certificate in certificates("client_ca_file", path)? {
                roots.add(certificate).map_err(|error| refused(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.allow_unauthenticated().build().map_err(|error| refused(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server =
        builder.with_single_cert(chain, key).map_err(|error| bad("cert_file", &config.cert_file, error))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
    let certificates = read.map_err(|error| bad(setting, path, error))?;
    if certificates.is_empty() {
        return Err(bad(setting, path, "expected certificates in PEM, found none"));
    }
    Ok(certificates)
}

fn bad(setting: &'static str, path: &Path, reason: impl std::fmt::Display) -> TlsError {
    TlsError { setting, path: path.to_owned(), reason: reason.to_string() }
}
