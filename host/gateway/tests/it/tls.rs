//! Encryption, and clients that show a certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tidemill_gateway::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::{Answer, Ask, get, post};
use crate::host::{HTTP, configured};
use crate::rig::Running;

/// Far above every timeout that the tests set, for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate, its key, and the authority that signed it, as files.
struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pem: (String, String),
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            pem: (certificate.pem(), key.serialize_pem()),
        }
    }
}

/// A gateway with TLS that accepts clients of `clients`.
async fn encrypted(dir: &Path, server: &Authority, clients: &Authority, more: &str) -> Running {
    let (certificate, key) = server.identity("localhost").pem;
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (cert, key, ca) = (file("server.pem", &certificate), file("server.key", &key), file("ca.pem", &clients.pem));
    let tls = format!(
        "  tls: {{ cert_file: {cert}, key_file: {key}, client_ca_file: {ca}, client_scopes: [read, ingest] }}\n"
    );
    Running::with(&format!("{tls}{more}")).await
}

async fn connect(
    gateway: &Running,
    server: &Authority,
    identity: Option<Identity>,
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(server.certificate.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key).unwrap(),
    };
    let stream = TcpStream::connect(gateway.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn ask(
    gateway: &Running,
    server: &Authority,
    identity: Option<Identity>,
    ask: Ask,
) -> Result<Answer, std::io::Error> {
    let mut stream = connect(gateway, server, identity).await?;
    // In TLS 1.3 a refused certificate shows with the first read.
    let head = format!("{} {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n", ask.method, ask.target);
    let headers: String = ask.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = format!("content-length: {}\r\n\r\n", ask.body.len());
    stream.write_all(&[head.as_bytes(), headers.as_bytes(), length.as_bytes(), &ask.body].concat()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(Answer::parse(&bytes))
}

#[tokio::test]
async fn a_client_with_a_good_certificate_has_the_scopes_of_the_configuration() {
    let (dir, server, clients) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let gateway = encrypted(dir.path(), &server, &clients, "").await;
    for (request, status) in [
        (get("/v1/read-models/orders"), 200),
        (post("/v1/streams/ORDERS/orders.x", "x"), 202),
        (get("/metrics"), 403),
        (get("/livez"), 200),
    ] {
        let answer = ask(&gateway, &server, Some(clients.identity("client")), request.clone()).await.unwrap();
        assert_eq!(answer.status, status, "{request:?}: {}", answer.text());
        if status == 403 {
            assert!(answer.detail().contains("`http.tls.client_scopes: [admin]`"), "{}", answer.detail());
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_needs_a_token() {
    let (dir, server, clients) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let tokens = "  tokens: [{ token: admins-admins-admins, scopes: [admin] }]\n";
    let gateway = encrypted(dir.path(), &server, &clients, tokens).await;
    let answer = ask(&gateway, &server, None, get("/v1/read-models/orders")).await.unwrap();
    assert_eq!(answer.problem(), (401, "unauthorized".into()));
    let with_token = |target: &str| get(target).with("authorization", "Bearer admins-admins-admins");
    assert_eq!(ask(&gateway, &server, None, with_token("/metrics")).await.unwrap().status, 200);
    assert_eq!(ask(&gateway, &server, None, with_token("/v1/read-models/orders")).await.unwrap().status, 403);
    // Both together may what either may.
    let both = ask(&gateway, &server, Some(clients.identity("client")), with_token("/v1/read-models/orders")).await;
    assert_eq!(both.unwrap().status, 200);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_no_certificate() {
    let (dir, server, clients) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let gateway = encrypted(dir.path(), &server, &clients, "").await;
    let stranger = Authority::new().identity("client");
    let refused = ask(&gateway, &server, Some(stranger), get("/v1/read-models/orders")).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(ask(&gateway, &server, None, get("/livez")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_begin_tls_is_closed() {
    let (dir, server, clients) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let gateway = encrypted(dir.path(), &server, &clients, "  limits: { timeout: 3s, connections: 1 }\n").await;
    let mut silent = TcpStream::connect(gateway.address).await.unwrap();
    silent.write_all(&[0x16, 0x03]).await.unwrap();
    let answer = ask(&gateway, &server, None, get("/livez")).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(matches!(silent.read(&mut [0; 8]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_client_that_sends_and_does_not_read_its_answer_is_cut() {
    let (dir, server, clients) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let limits = "  limits: { timeout: 3s, connections: 1 }\n";
    let gateway = encrypted(dir.path(), &server, &clients, limits).await;
    // More than the buffers of two sockets hold.
    gateway.host.put("orders", "large", &json!({ "text": "x".repeat(32_000_000) }));
    let mut stream = connect(&gateway, &server, Some(clients.identity("client"))).await.unwrap();
    stream.write_all(b"GET /v1/read-models/orders/large HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    stream.read_u8().await.unwrap();
    // A record of 16 KiB, byte by byte: there is always something to read, and never a request.
    let (mut stream, _) = stream.into_inner();
    let dripping = tokio::spawn(async move {
        stream.write_all(&[0x17, 0x03, 0x03, 0x40, 0x00]).await.unwrap();
        while stream.write_all(&[0]).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    // There is one place, so the next client is answered only when the first is cut.
    let next = ask(&gateway, &server, None, get("/livez"));
    let answer = timeout(PATIENCE, next).await.expect("the first client is not cut").unwrap();
    assert_eq!(answer.status, 200);
    timeout(PATIENCE, dripping).await.unwrap().unwrap();
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = Authority::new().identity("localhost").pem;
    let (other, empty) = (Authority::new().identity("localhost").pem.1, String::new());
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    for (certificate, key, setting) in
        [(&empty, &key, "cert_file"), (&certificate, &empty, "key_file"), (&certificate, &other, "cert_file")]
    {
        file("cert.pem", certificate);
        file("key.pem", key);
        let at = |name: &str| dir.path().join(name).display().to_string();
        let tls = format!("  tls: {{ cert_file: {}, key_file: {} }}\n", at("cert.pem"), at("key.pem"));
        let config = configured(&format!("{HTTP}{tls}"));
        let Err(error) = Gateway::bind(config.http.unwrap()).await else { panic!("{setting} was taken") };
        assert!(error.to_string().starts_with(&format!("`http.tls.{setting}: ")), "{error}");
    }
}
