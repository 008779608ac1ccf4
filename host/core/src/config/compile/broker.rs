//! `broker`: which one, and how to reach it.

use super::super::diagnostic::{Place, Report};
use super::super::leaf::Text;
use super::super::read::{At, Optional};
use super::super::{BrokerConfig, NatsConfig, TlsConfig, file};
use super::path;

/// `None`: a mistake was reported.
pub(super) fn compile(file: Optional<file::Broker>, report: &mut Report) -> Option<BrokerConfig> {
    let Some(At { value: file::Broker { embedded, nats }, place }) = file else {
        return Some(embedded_broker(None));
    };
    match (embedded, nats) {
        (Some(_), Some(_)) => {
            report.error_with_hint(&place, "expected one of `embedded` and `nats`, found both", "remove one of them");
            None
        }
        (embedded, None) => Some(embedded_broker(embedded)),
        (None, Some(nats)) => Some(BrokerConfig::Nats(nats_broker(nats, report))),
    }
}

fn embedded_broker(file: Optional<file::Embedded>) -> BrokerConfig {
    BrokerConfig::Embedded { dir: path(file.and_then(|embedded| embedded.value.dir), "./.tidemill") }
}

fn nats_broker(At { value: nats, place }: At<file::Nats>, report: &mut Report) -> NatsConfig {
    if !report.touches(&place) {
        check_login(&nats, &place, report);
    }
    let servers = nats.servers.0.map_or_else(Vec::new, |list| list.value.items);
    servers.iter().for_each(|server| check_server(server, report));
    NatsConfig {
        servers: servers.into_iter().map(|server| server.value.0).collect(),
        credentials: nats.credentials.map(|secret| secret.value),
        user: nats.user.map(|user| user.value.0),
        password: nats.password.map(|secret| secret.value),
        token: nats.token.map(|secret| secret.value),
        tls: nats.tls.map(|tls| tls_settings(tls, report)),
        replicas: nats.replicas.map_or(1, |count| count.value.0 as usize),
    }
}

/// `nats://HOST:PORT` or `tls://HOST:PORT`. The value is not shown where it may hold a password.
fn check_server(At { value: Text(url), place }: &At<Text>, report: &mut Report) {
    const EXPECTED: &str = "expected a server like `nats://127.0.0.1:4222`";
    if url.contains('@') {
        let hint = "use `user` with `password`, `token` or `credentials`, which are never shown";
        return report.error_with_hint(place, format!("{EXPECTED}, found one with a login in it"), hint);
    }
    let Some((scheme, address)) = url.split_once("://") else {
        return report.error_with_hint(place, format!("{EXPECTED}, found `{url}`"), format!("write `nats://{url}`"));
    };
    if !matches!(scheme, "nats" | "tls") {
        let message = format!("{EXPECTED}, found `{url}`");
        return report.error_with_hint(
            place,
            message,
            format!("`nats://` and `tls://` are known, `{scheme}://` is not"),
        );
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (address, "4222"),
    };
    let plain_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    if !plain_host || port.parse::<u16>().map_or(true, |port| port == 0) {
        report.error(place, format!("{EXPECTED}, found `{url}`"));
    }
}

/// One way to log in, with all its parts.
fn check_login(file::Nats { credentials, user, password, token, .. }: &file::Nats, place: &Place, report: &mut Report) {
    let ways = [
        (credentials.is_some(), "`credentials`"),
        (user.is_some() || password.is_some(), "`user` with `password`"),
        (token.is_some(), "`token`"),
    ];
    let given: Vec<&str> = ways.iter().filter(|(given, _)| *given).map(|(_, way)| *way).collect();
    if given.len() > 1 {
        report.error_with_hint(
            place,
            format!("expected one way to log in, found {}", given.join(" and ")),
            "remove all but one",
        );
    }
    match (user, password) {
        (Some(user), None) => report.error(&user.place, "`user` needs `password` beside it"),
        (None, Some(password)) => report.error(&password.place, "`password` needs `user` beside it"),
        _ => {}
    }
}

fn tls_settings(At { value: tls, place }: At<file::Tls>, report: &mut Report) -> TlsConfig {
    match (&tls.cert_file, &tls.key_file) {
        _ if report.touches(&place) => {}
        (Some(cert), None) => report.error(&cert.place, "`cert_file` needs `key_file` beside it"),
        (None, Some(key)) => report.error(&key.place, "`key_file` needs `cert_file` beside it"),
        _ => {}
    }
    let file = |text: Optional<Text>| text.map(|text| text.value.0.into());
    TlsConfig {
        ca_file: file(tls.ca_file),
        cert_file: file(tls.cert_file),
        key_file: file(tls.key_file),
        required: tls.required.is_none_or(|flag| flag.value.0),
    }
}
