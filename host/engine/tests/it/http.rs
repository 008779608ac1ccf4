//! Requests of guests: what is granted arrives, everything else does not leave the host, and nothing is endless.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tidemill_core::config::PluginConfig;
use tidemill_core::limits::Limits;
use tidemill_core::name::PluginName;
use tidemill_core::outbound::OutboundHost;
use tidemill_core::port::Role;
use tidemill_engine::{Engine, EngineOptions, Network, Plugin, Resolve};
use tokio::net::TcpListener;

use crate::rig::{call, call_on, limits, load_with, route};
use crate::server::Server;

/// The guest that asks as it is told; see `fixtures/asker`.
pub(crate) static ASKER: LazyLock<Vec<u8>> =
    LazyLock::new(|| std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/asker.wasm")).unwrap());

/// What the guest emits when it is told this.
pub(crate) async fn told(plugin: &Plugin, wish: &str) -> String {
    let effects = call(plugin, wish).await.unwrap_or_else(|failure| panic!("{}", failure.text));
    String::from_utf8(effects.emits[0].data.to_vec()).unwrap()
}

pub(crate) fn granted(hosts: &[String], limits: Limits) -> PluginConfig {
    let allowed_outbound_hosts = hosts.iter().map(|host| OutboundHost::try_new(host).unwrap()).collect();
    PluginConfig { allowed_outbound_hosts, limits, ..PluginConfig::default() }
}

/// The guest, granted the server.
fn asker(server: &Server, change: impl FnOnce(&mut Limits)) -> Plugin {
    load_with(&ASKER, &granted(&[format!("http://127.0.0.1:{}", server.port)], limits(change)))
}

fn ask(server: &Server, more: &str) -> String {
    format!(r#"{{"do":"ask","authority":"127.0.0.1:{}",{more}}}"#, server.port)
}

/// Waits until something is true that must become true.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A resolver that gives these answers, one for each question, the last one again and again.
pub(crate) struct Scripted {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Resolve for Scripted {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 { Ok(answers.pop_front().unwrap()) } else { Ok(answers[0].clone()) }
    }
}

pub(crate) fn scripted(answers: &[&[&str]]) -> Arc<Scripted> {
    let parse = |list: &&[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
    Arc::new(Scripted { answers: Mutex::new(answers.iter().map(parse).collect()), asked: AtomicUsize::new(0) })
}

fn resolving(resolver: &Arc<Scripted>, settings: &PluginConfig) -> (Engine, Plugin) {
    let options = EngineOptions { cores: 1, pooling: false, ..EngineOptions::default() };
    let engine = Engine::new(options).unwrap().with_network(Network::new(Arc::clone(resolver) as Arc<dyn Resolve>));
    let plugin = engine.load(&PluginName::try_new("guest").unwrap(), &ASKER, settings, Role::Handler).unwrap();
    (engine, plugin)
}

#[tokio::test]
async fn a_granted_request_is_answered() {
    let server = Server::start().await;
    let plugin = asker(&server, |_| {});
    let answer = told(&plugin, &ask(&server, r#""path":"/hello?a=b","headers":[["x-tenant","acme"]]"#)).await;
    assert!(answer.contains(r#""status":200"#), "{answer}");
    let head = &server.heads()[0];
    assert!(head.starts_with("GET /hello?a=b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)), "{head}");
    assert!(head.contains("x-tenant: acme\r\n") && head.contains("connection: close\r\n"), "{head}");
}

#[tokio::test]
async fn whatever_is_not_granted_is_denied_and_nobody_is_asked() {
    let server = Server::start().await;
    let port = server.port;
    let plugin = load_with(&ASKER, &granted(&["http://granted.example:8080".to_owned()], Limits::default()));
    for authority in [
        format!("127.0.0.1:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("0x7f.1:{port}"),
        format!("2130706433:{port}"),
        format!("localhost:{port}"),
        format!("localhost.:{port}"),
        "169.254.169.254".to_owned(),
        "granted.example".to_owned(),
        format!("granted.example:{port}"),
        format!("granted.example@127.0.0.1:{port}"),
        format!("granted.example:8080@127.0.0.1:{port}"),
    ] {
        let answer = told(&plugin, &format!(r#"{{"do":"ask","authority":"{authority}"}}"#)).await;
        assert!(answer.contains("HttpRequestDenied"), "{authority}: {answer}");
    }
    let other_scheme = r#"{"do":"ask","scheme":"https","authority":"granted.example:8080"}"#;
    assert!(told(&plugin, other_scheme).await.contains("HttpRequestDenied"));
    assert_eq!(server.heads(), [""; 0]);
}

#[tokio::test]
async fn a_denial_names_the_line_in_the_log_and_in_the_failure() {
    let plugin = load_with(&ASKER, &granted(&["http://granted.example".to_owned()], Limits::default()));
    let failure = call(&plugin, r#"{"do":"ask","authority":"other.example","fail":true}"#).await.unwrap_err();
    let line = "requests to `http://other.example` are not granted; \
                `plugins.settings.guest.allowed_outbound_hosts: [\"http://other.example\"]` in runtime.yaml would allow it";
    assert!(failure.text.starts_with("the request failed: ErrorCode::HttpRequestDenied\n"), "{}", failure.text);
    assert!(failure.text.ends_with(line), "{}", failure.text);
    assert!(failure.log_tail.iter().any(|logged| logged.contains(line)), "{:?}", failure.log_tail);
    // A guest that lives with it succeeds, and the next call does not inherit the denial.
    assert!(call(&plugin, r#"{"do":"ask","authority":"other.example"}"#).await.is_ok());
    let failure = call(&plugin, "no wish at all").await.unwrap_err();
    assert!(!failure.text.contains("other.example"), "{}", failure.text);
}

#[tokio::test]
async fn a_granted_name_that_leads_inside_is_denied() {
    let server = Server::start().await;
    for (name, answer) in [
        ("inside.example", &["127.0.0.1"][..]),
        ("localhost", &["::1"]),
        ("0x7f000001", &["127.0.0.1"]),
        ("metadata.example", &["169.254.169.254"]),
        ("mapped.example", &["::ffff:127.0.0.1"]),
        // Half inside is inside.
        ("both.example", &["93.184.216.34", "127.0.0.1"]),
    ] {
        let url = format!("http://{name}:{}", server.port);
        let (_engine, plugin) = resolving(&scripted(&[answer]), &granted(&[url], Limits::default()));
        let wish = format!(r#"{{"do":"ask","authority":"{name}:{}","fail":true}}"#, server.port);
        let failure = call(&plugin, &wish).await.unwrap_err();
        assert!(failure.text.contains("which is not a public address"), "{name}: {}", failure.text);
    }
    assert_eq!(server.heads(), [""; 0]);
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_used() {
    // 127.0.0.1 is granted as itself, 127.0.0.2 is not: what the name resolves to decides, each time anew, and once per request.
    let first = Server::start().await;
    let second = Server::on(TcpListener::bind(("127.0.0.2", first.port)).await.unwrap());
    let hosts = [format!("http://rebind.example:{}", first.port), format!("http://127.0.0.1:{}", first.port)];
    let resolver = scripted(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let (_engine, plugin) = resolving(&resolver, &granted(&hosts, Limits::default()));
    let wish = format!(r#"{{"do":"ask","authority":"rebind.example:{}"}}"#, first.port);
    let answer = told(&plugin, &wish).await;
    assert!(answer.contains(&format!("host: rebind.example:{}", first.port)), "{answer}");
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 1, "asking twice would let the name answer twice");
    assert!(told(&plugin, &wish).await.contains("HttpRequestDenied"), "it resolves to 127.0.0.2 now");
    assert_eq!((first.heads().len(), second.heads().len()), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let server = Server::start().await;
    let plugin = asker(&server, |_| {});
    let answer = told(&plugin, &ask(&server, r#""path":"/redirect""#)).await;
    assert!(answer.contains(r#""status":302"#), "{answer}");
    assert!(answer.contains(r#""location":"http://169.254.169.254/latest/meta-data""#), "{answer}");
    assert_eq!(server.heads().len(), 1);
    // And the guest that follows it itself is asked for its grant again.
    let followed = told(&plugin, r#"{"do":"ask","authority":"169.254.169.254","path":"/latest/meta-data"}"#).await;
    assert!(followed.contains("HttpRequestDenied"), "{followed}");
}

#[tokio::test]
async fn a_request_cannot_be_pointed_elsewhere_by_its_path_or_headers() {
    let server = Server::start().await;
    let plugin = asker(&server, |_| {});
    for (more, refused) in [
        (r#""path":"http://other.example/""#, "path refused"),
        (r#""path":"//other.example/x\r\nHost: other""#, "path refused"),
        (r#""headers":[["host","other.example"]]"#, "HeaderError::Forbidden"),
        (r#""headers":[["connection","upgrade"]]"#, "HeaderError::Forbidden"),
        (r#""headers":[["transfer-encoding","chunked"]]"#, "HeaderError::Forbidden"),
        (r#""headers":[["te","trailers"]]"#, "HeaderError::Forbidden"),
        (r#""headers":[["upgrade","h2c"]]"#, "HeaderError::Forbidden"),
        (r#""headers":[["proxy-authorization","x"]]"#, "HeaderError::Forbidden"),
        (r#""headers":[["x","a\r\nHost: other"]]"#, "HeaderError::InvalidSyntax"),
        (r#""method":"CONNECT""#, "HttpRequestMethodInvalid"),
    ] {
        let answer = told(&plugin, &ask(&server, more)).await;
        assert!(answer.contains(refused), "{more}: {answer}");
    }
    assert_eq!(server.heads(), [""; 0]);
    // A path that looks like an authority is only a path.
    let answer = told(&plugin, &ask(&server, r#""path":"//other.example/x""#)).await;
    assert!(answer.contains(r#""status":200"#), "{answer}");
    assert!(server.heads()[0].starts_with("GET //other.example/x HTTP/1.1\r\n"), "{:?}", server.heads());
}

#[tokio::test]
async fn of_hundreds_of_requests_at_once_those_beyond_the_limit_are_errors() {
    let server = Server::start().await;
    let plugin = asker(&server, |limits| {
        limits.http_requests = 4;
        // Enough for the answers that come, also on a loaded machine.
        limits.http_timeout = Duration::from_secs(2);
    });
    let answer = told(&plugin, &ask(&server, r#""path":"/silent","parallel":300"#)).await;
    assert_eq!(answer.matches("ConnectionLimitReached").count(), 296);
    assert_eq!(answer.matches("HttpResponseTimeout").count(), 4);
    assert!(server.seen.most_open.load(Ordering::SeqCst) <= 4);
    // Those that ended make room.
    assert!(told(&plugin, &ask(&server, r#""parallel":4,"path":"/""#)).await.matches("200").count() >= 4);
}

#[tokio::test]
async fn a_slow_or_endless_answer_ends() {
    let server = Server::start().await;
    let slow = asker(&server, |limits| limits.http_timeout = Duration::from_millis(200));
    for path in ["/slow", "/silent"] {
        let failure = call(&slow, &ask(&server, &format!(r#""path":"{path}","fail":true"#))).await.unwrap_err();
        assert!(failure.text.contains("the limit `http_timeout` of 200ms is used up"), "{path}: {}", failure.text);
        assert!(failure.text.starts_with("the request failed: "), "the guest is told: {}", failure.text);
    }
    let small = asker(&server, |limits| limits.http_body = 200_000);
    for path in ["/endless", "/large"] {
        let failure = call(&small, &ask(&server, &format!(r#""path":"{path}","fail":true"#))).await.unwrap_err();
        assert!(failure.text.contains("exceeds the limit `http_body` of 200000 bytes"), "{path}: {}", failure.text);
    }
    // Without a limit of bytes in its way, time ends it.
    let patient = asker(&server, |limits| {
        limits.http_body = u64::MAX;
        limits.http_timeout = Duration::from_millis(300);
    });
    let answer = told(&patient, &ask(&server, r#""path":"/endless""#)).await;
    assert!(answer.contains("timeout"), "{answer}");
    until("all connections are closed", || server.seen.open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_compressed_body_stays_what_it_is() {
    let server = Server::start().await;
    let answer = told(&asker(&server, |_| {}), &ask(&server, r#""path":"/gzip""#)).await;
    assert!(answer.contains(r#""bytes":27"#) && answer.contains("not unpacked by anybody"), "{answer}");
    assert!(!server.heads()[0].contains("accept-encoding"), "nobody asked for it");
}

#[tokio::test]
async fn a_request_body_above_the_limit_does_not_leave_as_a_whole() {
    let server = Server::start().await;
    let plugin = asker(&server, |limits| limits.http_body = 100_000);
    let wish = ask(&server, r#""path":"/drain","method":"POST","body":200000,"fail":true"#);
    let failure = call(&plugin, &wish).await.unwrap_err();
    assert!(failure.text.contains("its body exceeds the limit `http_body` of 100000 bytes"), "{}", failure.text);
    let fits = told(&plugin, &ask(&server, r#""path":"/drain","method":"POST","body":100000"#)).await;
    assert!(fits.contains("drained"), "{fits}");
    let announced = ask(&server, r#""method":"POST","body":200000,"headers":[["content-length","200000"]]"#);
    assert!(told(&plugin, &announced).await.contains("HttpRequestBodySize"));
}

#[tokio::test]
async fn timeouts_of_zero_are_errors_and_no_panic() {
    let server = Server::start().await;
    let plugin = asker(&server, |_| {});
    let answer = told(&plugin, &ask(&server, r#""path":"/slow","no_time":true"#)).await;
    assert!(answer.contains("imeout"), "{answer}");
}

#[tokio::test]
async fn no_connection_outlives_its_call() {
    let server = Server::start().await;
    let plugin = asker(&server, |_| {});
    // The guest keeps the answer and its half-read body open, and returns.
    let answer = told(&plugin, &ask(&server, r#""path":"/slow","read":1,"forget":true"#)).await;
    assert!(answer.contains(r#""text":"first""#), "{answer}");
    until("the connection is closed", || server.seen.closed.load(Ordering::SeqCst) == 1).await;
    // Nor one of a call that ran out of time.
    let wish = ask(&server, r#""path":"/silent""#);
    let hurried = route(Duration::from_millis(200), Limits::default());
    assert!(call_on(&plugin, &hurried, &wish, None).await.is_err());
    until("the connection is closed", || server.seen.closed.load(Ordering::SeqCst) == 2).await;
}
