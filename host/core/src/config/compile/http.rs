//! `http`: who may come in, and where what they bring goes.

use std::net::{IpAddr, SocketAddr};

use super::super::diagnostic::{Place, Report};
use super::super::leaf::{OneOf, Text};
use super::super::read::{At, List, Optional};
use super::super::{HttpConfig, HttpLimits, HttpTls, HttpToken, Ingest, Scope, file, words};
use super::projections::Projections;
use super::streams::Streams;
use crate::grant;
use crate::name::CollectionName;
use crate::subject::{Subject, SubjectPattern};

const LISTEN: &str = "127.0.0.1:7380";

/// Shorter ones can be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// `None`: a mistake was reported.
pub(super) fn compile(
    At { value: file, place }: At<file::Http>,
    streams: &Streams,
    projections: &Projections,
    report: &mut Report,
) -> Option<HttpConfig> {
    let before = report.len();
    let (listen, listen_place) = match file.listen {
        Some(At { value: Text(text), place }) => (text, place),
        None => (LISTEN.to_owned(), place.clone()),
    };
    let address = listen.parse::<SocketAddr>();
    if address.is_err() {
        let message = format!("expected an address and a port like `{LISTEN}`, found `{listen}`");
        report.error(&listen_place, message);
    }
    // One that cannot be read is reported already; nobody comes in without it.
    let asks = file.tokens.is_some() || file.tls.as_ref().is_some_and(|tls| tls.value.client_ca_file.is_some());
    let written_tokens = file.tokens.map_or(Vec::new(), |list| list.value.items);
    let tokens: Vec<HttpToken> = written_tokens.into_iter().filter_map(|one| token(one.value, report)).collect();
    let tls = file.tls.and_then(|tls| tls_settings(tls.value));
    if let Ok(address) = address
        && !asks
    {
        check_access(address, &listen_place, report);
    }
    let ingest = file.ingest.map_or(Vec::new(), |list| list.value.items);
    let ingest = ingest.into_iter().filter_map(|one| ingest_rule(one.value, streams, projections, report)).collect();
    let hosts = file.hosts.map_or(Vec::new(), |list| list.value.items);
    let hosts = hosts.into_iter().map(|host| host.value.0.to_ascii_lowercase()).collect();
    let limits = limits(file.limits);
    (report.len() == before).then_some(HttpConfig { listen: address.ok()?, tls, tokens, hosts, ingest, limits })
}

/// What everybody can reach must ask who comes.
fn check_access(address: SocketAddr, place: &Place, report: &mut Report) {
    let loopback = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    if !loopback {
        let message = format!("`{address}` can be reached by others, and anybody could read and write");
        let hint =
            "add `tokens: [{ token: \"${secret:http.token}\", scopes: [read, ingest] }]` or `tls.client_ca_file`";
        report.error_with_hint(place, message, hint);
    }
}

fn token(file: file::Token, report: &mut Report) -> Option<HttpToken> {
    let token = file.token.0?;
    if token.value.reveal().len() < MIN_TOKEN_BYTES || !token.value.reveal().bytes().all(|byte| byte.is_ascii_graphic())
    {
        let message = format!("expected a token of at least {MIN_TOKEN_BYTES} printable ASCII characters");
        report.error_with_hint(&token.place, message, "`openssl rand -hex 32` makes one");
        return None;
    }
    Some(HttpToken { token: token.value, scopes: scopes(file.scopes.0) })
}

fn scopes(list: Option<At<List<OneOf<Scope>, 1>>>) -> Vec<Scope> {
    list.map_or(Vec::new(), |list| list.value.items.into_iter().map(|scope| scope.value.0).collect())
}

fn tls_settings(file: file::HttpTls) -> Option<HttpTls> {
    let client_scopes = file.client_scopes.map(|list| scopes(Some(list)));
    Some(HttpTls {
        cert_file: file.cert_file.0?.value.0.into(),
        key_file: file.key_file.0?.value.0.into(),
        client_ca_file: file.client_ca_file.map(|text| text.value.0.into()),
        client_scopes: client_scopes.unwrap_or_else(|| vec![Scope::Read]),
    })
}

fn ingest_rule(
    file: file::Ingest,
    streams: &Streams,
    projections: &Projections,
    report: &mut Report,
) -> Option<Ingest> {
    let types = file.r#type.0?.value.items.into_iter().map(|text| text.value.0).collect();
    let At { value: Text(text), place } = file.subject.0?;
    let subject = Subject::try_new(&text).map_err(|error| report.error(&place, error.to_string())).ok()?;
    if grant::is_reserved(subject.as_str()) {
        report.error(&place, format!("`{subject}` belongs to the server or to the host"));
    }
    let stored = SubjectPattern::try_new(subject.as_str()).is_ok_and(|pattern| streams.covering(&pattern).is_some());
    if streams.complete && !stored {
        let hint = format!("add it to a stream of `streams`: `subjects: [\"{subject}\"]`");
        report.error_with_hint(&place, format!("no stream of `streams` stores `{subject}`"), hint);
    }
    let track = match file.track {
        Some(name) => Some(tracked(name, projections, report)?),
        None => None,
    };
    Some(Ingest { types, subject, track })
}

fn tracked(
    At { value: Text(name), place }: At<Text>,
    projections: &Projections,
    report: &mut Report,
) -> Option<CollectionName> {
    let known: Vec<&CollectionName> =
        projections.list.iter().flat_map(|one| one.config.collections.iter()).map(|it| &it.name).collect();
    let found = known.iter().find(|known| known.as_str() == name).map(|known| (*known).clone());
    if found.is_none() && projections.complete {
        let hint = match words::closest(&name, known.iter().map(|known| known.as_str())) {
            Some(close) => format!("did you mean `{close}`?"),
            None => "name a collection of `projections`".to_owned(),
        };
        report.error_with_hint(&place, format!("there is no collection `{name}`"), hint);
    }
    found
}

fn limits(file: Optional<file::HttpLimits>) -> HttpLimits {
    let default = HttpLimits::default();
    let Some(At { value: file, .. }) = file else { return default };
    HttpLimits {
        body: file.body.map_or(default.body, |size| size.value.0),
        events: file.events.map_or(default.events, |count| count.value.0 as usize),
        connections: file.connections.map_or(default.connections, |count| count.value.0 as usize),
        requests_per_second: file.requests_per_second.map(|count| count.value.0 as u32),
        timeout: file.timeout.map_or(default.timeout, |span| span.value.0),
        query_timeout: file.query_timeout.map_or(default.query_timeout, |span| span.value.0),
    }
}
