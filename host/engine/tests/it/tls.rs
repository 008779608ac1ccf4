//! Requests of guests over TLS: the certificate must be for the name that was asked for, by an issuer that is trusted, and valid
//! today, although the connection goes to an address. Until that is known, nothing of the request leaves.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tidemill_core::failure::Failure;
use tidemill_core::limits::Limits;
use tidemill_core::name::PluginName;
use tidemill_core::port::Role;
use tidemill_engine::{Engine, EngineOptions, Network, Plugin, Resolve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion, version};
use tokio_rustls::server::TlsStream;

use crate::http::{ASKER, granted, scripted, told, until};
use crate::rig::{call, limits};
use crate::server::{Seen, Server, head, serve};

/// The name that guests ask for. It resolves to 127.0.0.1, where the servers are.
const NAME: &str = "shop.example";

/// What a server over TLS learns of one connection.
#[derive(Debug, Clone, PartialEq)]
struct Hello {
    /// The name in the hello, if there is one.
    name: Option<String>,
    protocol: Option<Vec<u8>>,
    resumed: bool,
}

/// One that speaks TLS with a certificate, or tries to.
struct Secured {
    server: Server,
    /// One for each connection, once its handshake has ended: what was learned, or why it failed.
    hellos: Arc<Mutex<Vec<Result<Hello, String>>>>,
}

/// Someone who signs certificates.
type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer() -> Issuer {
    issuer_named("Test Issuer")
}

fn issuer_named(name: &str) -> Issuer {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate's contents, for a name or an address.
fn certificate_for(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

// === impl Secured ===

impl Secured {
    async fn start(issuer: &Issuer, certificate: &CertificateParams) -> Self {
        Self::speaking(&version::TLS13, issuer, certificate).await
    }

    async fn speaking(
        version: &'static SupportedProtocolVersion,
        issuer: &Issuer,
        certificate: &CertificateParams,
    ) -> Self {
        Self::serving(acceptor(version, issuer, certificate), |stream, seen| async move { serve(stream, &seen).await })
            .await
    }

    /// One that does this with each connection whose handshake succeeds.
    async fn serving<F, S>(acceptor: TlsAcceptor, serve: F) -> Self
    where
        F: Fn(TlsStream<TcpStream>, Arc<Seen>) -> S + Send + Sync + 'static,
        S: Future<Output = std::io::Result<()>> + Send,
    {
        let hellos = Arc::new(Mutex::new(Vec::new()));
        let (shared, serve) = (Arc::clone(&hellos), Arc::new(serve));
        let server = Server::serving(TcpListener::bind("127.0.0.1:0").await.unwrap(), move |stream, seen| {
            let (acceptor, hellos, serve) = (acceptor.clone(), Arc::clone(&shared), Arc::clone(&serve));
            async move {
                let accepted = acceptor.accept(stream).await;
                let hello = accepted.as_ref().map(Hello::of).map_err(ToString::to_string);
                hellos.lock().unwrap().push(hello);
                serve(accepted?, seen).await
            }
        });
        Self { server, hellos }
    }

    fn hellos(&self) -> Vec<Result<Hello, String>> {
        self.hellos.lock().unwrap().clone()
    }

    /// Waits until the server knows that it was refused, and asserts that it knows no more than that.
    async fn was_refused(&self, why: &str) {
        until("the handshake has ended", || !self.hellos().is_empty()).await;
        assert!(matches!(self.hellos()[..], [Err(_)]), "{why}: {:?}", self.hellos());
        assert_eq!(self.server.heads(), [""; 0], "{why}");
    }
}

impl Hello {
    fn of(stream: &TlsStream<TcpStream>) -> Self {
        let (_, connection) = stream.get_ref();
        Self {
            name: connection.server_name().map(str::to_owned),
            protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

fn acceptor(
    version: &'static SupportedProtocolVersion,
    issuer: &Issuer,
    certificate: &CertificateParams,
) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let chain = vec![certificate.signed_by(&key, issuer).unwrap().der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A server that says this to whoever connects and then only listens; it keeps what it hears as a head.
async fn saying(words: &'static [u8]) -> Server {
    Server::serving(TcpListener::bind("127.0.0.1:0").await.unwrap(), move |mut stream, seen| async move {
        stream.write_all(words).await?;
        let mut heard = Vec::new();
        let listened = stream.read_to_end(&mut heard).await;
        seen.heads.lock().unwrap().push(String::from_utf8_lossy(&heard).into_owned());
        listened.map(|_| ())
    })
}

/// The guest, granted the server by its name and its address, in a host that trusts this issuer and nobody else.
fn asker(server: &Server, trusted: &Issuer, limits: Limits) -> (Engine, Plugin) {
    let hosts = [format!("https://{NAME}:{}", server.port), format!("https://127.0.0.1:{}", server.port)];
    let resolver: Arc<dyn Resolve> = scripted(&[&["127.0.0.1"]]);
    let network = Network::new(resolver).trusting(vec![trusted.der().to_vec()]);
    let options = EngineOptions { cores: 1, pooling: false, ..EngineOptions::default() };
    let engine = Engine::new(options).unwrap().with_network(network);
    let plugin =
        engine.load(&PluginName::try_new("guest").unwrap(), &ASKER, &granted(&hosts, limits), Role::Handler).unwrap();
    (engine, plugin)
}

fn ask(host: &str, server: &Server) -> String {
    let authority = format!("{host}:{}", server.port);
    format!(r#"{{"do":"ask","scheme":"https","authority":"{authority}","path":"/secret","fail":true}}"#)
}

/// The failure of a guest that asks for the name and must not be answered.
async fn failed(server: &Server, trusted: &Issuer, limits: Limits) -> Failure {
    let (_engine, plugin) = asker(server, trusted, limits);
    call(&plugin, &ask(NAME, server)).await.unwrap_err()
}

/// Asserts that the guest is told this code, and the operator this sentence.
fn assert_told(failure: &Failure, code: &str, sentence: &str) {
    assert_eq!(failure.text.lines().next(), Some(&*format!("the request failed: ErrorCode::{code}")));
    assert!(failure.log_tail.iter().any(|line| line.contains(sentence)), "{sentence}: {:?}", failure.log_tail);
}

#[tokio::test]
async fn a_granted_request_is_answered_over_tls_by_whoever_proves_the_name() {
    let issuer = issuer();
    for version in [&version::TLS13, &version::TLS12] {
        let secured = Secured::speaking(version, &issuer, &certificate_for(NAME)).await;
        let (_engine, plugin) = asker(&secured.server, &issuer, Limits::default());
        let answer = told(&plugin, &ask(NAME, &secured.server)).await;
        assert!(answer.contains(r#""status":200"#) && answer.contains("GET /secret HTTP/1.1"), "{answer}");
        let hello = Hello { name: Some(NAME.to_owned()), protocol: Some(b"http/1.1".to_vec()), resumed: false };
        assert_eq!(secured.hellos(), [Ok(hello)]);
        let head = &secured.server.heads()[0];
        assert!(head.contains(&format!("host: {NAME}:{}\r\n", secured.server.port)), "{head}");
    }
}

#[tokio::test]
async fn a_granted_address_must_be_in_the_certificate_as_an_address() {
    let issuer = issuer();
    let address = "127.0.0.1";
    let secured = Secured::start(&issuer, &certificate_for(address)).await;
    let (_engine, plugin) = asker(&secured.server, &issuer, Limits::default());
    let answer = told(&plugin, &ask(address, &secured.server)).await;
    assert!(answer.contains(r#""status":200"#), "{answer}");
    assert_eq!(secured.hellos()[0].as_ref().unwrap().name, None, "an address is no server name");

    let named = Secured::start(&issuer, &certificate_for(NAME)).await;
    let (_engine, plugin) = asker(&named.server, &issuer, Limits::default());
    let failure = call(&plugin, &ask(address, &named.server)).await.unwrap_err();
    assert_told(&failure, "TlsCertificateError", "certificate not valid for name \"127.0.0.1\"");
    named.was_refused("a name's certificate").await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_an_error_and_nothing_is_sent() {
    let issuer = issuer();
    // The address that is connected to proves nothing about the name.
    for other in ["other.example", "127.0.0.1", "*.shop.example", "shop.example.other.example", "*.example.other"] {
        let secured = Secured::start(&issuer, &certificate_for(other)).await;
        let failure = failed(&secured.server, &issuer, Limits::default()).await;
        assert_told(&failure, "TlsCertificateError", "certificate not valid for name \"shop.example\"");
        secured.was_refused(other).await;
    }
}

#[tokio::test]
async fn a_certificate_by_an_untrusted_issuer_is_an_error_and_nothing_is_sent() {
    let trusted = issuer();
    // Whoever signs decides, and not what they are called.
    for (signer, sentence) in [(issuer(), "BadSignature"), (issuer_named("Stranger"), "UnknownIssuer")] {
        let secured = Secured::start(&signer, &certificate_for(NAME)).await;
        let failure = failed(&secured.server, &trusted, Limits::default()).await;
        assert_told(&failure, "TlsCertificateError", sentence);
        secured.was_refused(sentence).await;
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_today_is_an_error_and_nothing_is_sent() {
    let issuer = issuer();
    for (from, to, sentence) in [(2001, 2002, "certificate expired"), (4000, 4001, "certificate not valid yet")] {
        let mut certificate = certificate_for(NAME);
        certificate.not_before = date_time_ymd(from, 1, 1);
        certificate.not_after = date_time_ymd(to, 1, 1);
        let secured = Secured::start(&issuer, &certificate).await;
        let failure = failed(&secured.server, &issuer, Limits::default()).await;
        assert_told(&failure, "TlsCertificateError", sentence);
        secured.was_refused(sentence).await;
    }
}

#[tokio::test]
async fn each_request_verifies_the_certificate_anew() {
    let issuer = issuer();
    for version in [&version::TLS13, &version::TLS12] {
        let secured = Secured::speaking(version, &issuer, &certificate_for(NAME)).await;
        let (_engine, plugin) = asker(&secured.server, &issuer, Limits::default());
        for _ in 0..3 {
            told(&plugin, &ask(NAME, &secured.server)).await;
        }
        let resumed: Vec<bool> = secured.hellos().into_iter().map(|hello| hello.unwrap().resumed).collect();
        assert_eq!(resumed, [false; 3], "a session is kept for nobody");
    }
}

#[tokio::test]
async fn a_server_that_speaks_plain_text_is_an_error_and_hears_nothing_of_the_request() {
    let trusted = issuer();
    for words in [&b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..], b"220 mail.example ESMTP ready\r\n"] {
        let server = saying(words).await;
        let failure = failed(&server, &trusted, Limits::default()).await;
        assert_told(&failure, "TlsProtocolError", "no TLS connection");
        until("the connection is closed", || server.seen.closed.load(Ordering::SeqCst) == 1).await;
        assert!(!server.heads()[0].contains("/secret"), "{:?}", server.heads());
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_ended_by_the_limit_of_time() {
    let trusted = issuer();
    // Silence, and the beginning of a record that announces more.
    for words in [&b""[..], b"\x16\x03\x03\x00\x7a\x02"] {
        let server = saying(words).await;
        let failure = failed(&server, &trusted, limits(|it| it.http_timeout = Duration::from_millis(300))).await;
        assert_told(&failure, "HttpResponseTimeout", "the limit `http_timeout` of 300ms is used up");
        until("the connection is closed", || server.seen.closed.load(Ordering::SeqCst) == 1).await;
        assert!(!server.heads()[0].contains("/secret"), "{:?}", server.heads());
    }
}

#[tokio::test]
async fn an_answer_that_somebody_cuts_off_is_no_shorter_answer() {
    let issuer = issuer();
    // The end of this answer is the end of the connection: with the farewell of TLS it is whole, without it nobody knows.
    for whole in [true, false] {
        let acceptor = acceptor(&version::TLS13, &issuer, &certificate_for(NAME));
        let half = move |mut stream: TlsStream<TcpStream>, _| async move {
            head(&mut stream).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await?;
            if whole { stream.shutdown().await } else { stream.flush().await }
        };
        let secured = Secured::serving(acceptor, half).await;
        let (_engine, plugin) = asker(&secured.server, &issuer, Limits::default());
        let answer = told(&plugin, &ask(NAME, &secured.server).replace(r#""fail":true"#, r#""fail":false"#)).await;
        assert!(answer.contains(r#""text":"half""#), "{answer}");
        assert_eq!(answer.contains(r#""error":null"#), whole, "{answer}");
    }
}
