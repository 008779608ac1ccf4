//! Connecting, and finding out whether the server is one that Tidemill can work with.
//!
//! The numbers are measured ones: a dead connection is noticed after three missed pings, which is 180 s by async-nats'
//! default and 6 s here.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use tidemill_core::config::NatsConfig;
use tidemill_core::port::BrokerError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::{Connection, LinkState};
use crate::error::{NatsError, unavailable};

const PING_INTERVAL: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server that is away is waited for at the start.
const FIRST_CONNECT: Duration = Duration::from_secs(10);
const RECONNECT_MIN: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(2);
/// The first version with everything that is used: atomic batches that take part in subject expectations and message
/// ids, `@at` schedules, strict API, and the fixes to replication that followed the Jepsen report on 2.12.1.
const MINIMUM_VERSION: (u32, u32, u32) = (2, 12, 8);

/// Connects and checks the server.
pub(crate) async fn connect(config: &NatsConfig) -> Result<Arc<Connection>, BrokerError> {
    let (link_sender, link) = watch::channel(LinkState { up: true, epoch: 0 });
    let link_sender = Arc::new(link_sender);
    let deadline = Instant::now() + FIRST_CONNECT;
    let client = loop {
        let options = options(config, Arc::clone(&link_sender))?;
        match options.connect(config.servers.as_slice()).await {
            Ok(client) => break client,
            Err(error) => match error.kind() {
                ConnectErrorKind::ServerParse => {
                    return Err(BrokerError::Refused(format!("{}: {error}", addresses(config))));
                }
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    return Err(BrokerError::Refused(format!(
                        "the NATS server at {} refused the credentials: {error}; check `broker.nats` in runtime.yaml",
                        addresses(config)
                    )));
                }
                _ if Instant::now() >= deadline => {
                    let waited = FIRST_CONNECT.as_secs();
                    return Err(unavailable(format!("no server at {} after {waited} s: {error}", addresses(config))));
                }
                _ => tokio::time::sleep(RECONNECT_MIN * 3).await,
            },
        }
    };
    check_version(&client, config)?;
    let connection = Connection::new(client, link).await?;
    check_jetstream(&connection, config).await?;
    Ok(Arc::new(connection))
}

fn options(config: &NatsConfig, link: Arc<watch::Sender<LinkState>>) -> Result<ConnectOptions, BrokerError> {
    let mut options = ConnectOptions::new()
        .name("tidemill")
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            note(&event, &link);
            async {}
        });
    if let Some(credentials) = &config.credentials {
        options = options.credentials(credentials.reveal()).map_err(|_| {
            BrokerError::Refused("`broker.nats.credentials` is not the text of a `.creds` file".to_owned())
        })?;
    }
    if let Some(user) = &config.user {
        let password = config.password.as_ref().map_or("", |password| password.reveal());
        options = options.user_and_password(user.clone(), password.to_owned());
    }
    if let Some(token) = &config.token {
        options = options.token(token.reveal().to_owned());
    }
    if let Some(tls) = &config.tls {
        options = options.require_tls(tls.required);
        if let Some(ca) = &tls.ca_file {
            options = options.add_root_certificates(ca.clone());
        }
        if let (Some(certificate), Some(key)) = (&tls.cert_file, &tls.key_file) {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
    }
    Ok(options)
}

/// At once the first time, then 100 ms doubling to 2 s, each with a random share taken off, so that a fleet of hosts
/// does not come back in step.
fn reconnect_delay(attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(attempts - 2).unwrap_or(u32::MAX).min(5);
    let delay = (RECONNECT_MIN * 2u32.pow(doublings)).min(RECONNECT_MAX);
    delay.mul_f64(0.5 + fastrand::f64() / 2.0).max(RECONNECT_MIN)
}

/// Keeps the link's state and tells the operator, once per change.
fn note(event: &Event, link: &watch::Sender<LinkState>) {
    match event {
        Event::Connected => {
            let mut first = false;
            link.send_modify(|state| {
                first = state.epoch == 0;
                *state = LinkState { up: true, epoch: state.epoch + 1 };
            });
            if !first {
                tracing::info!("connected to the NATS server again");
            }
        }
        Event::Disconnected => {
            let was_up = link.send_if_modified(|state| std::mem::replace(&mut state.up, false));
            if was_up {
                tracing::warn!("the connection to the NATS server is lost; reconnecting until it is back");
            }
        }
        Event::Closed => {
            link.send_if_modified(|state| std::mem::replace(&mut state.up, false));
        }
        Event::SlowConsumer(subscription) => {
            tracing::warn!(subscription, "messages came faster than they were taken; the server delivers them again");
        }
        Event::ServerError(error) => tracing::warn!(%error, "the NATS server reported an error"),
        Event::LameDuckMode => tracing::info!("the NATS server is about to shut down"),
        Event::Draining => {}
        Event::ClientError(error) => tracing::debug!(%error, "the NATS client reported an error"),
    }
}

fn check_version(client: &Client, config: &NatsConfig) -> Result<(), BrokerError> {
    let found = client.server_info().version;
    if parse_version(&found).is_some_and(|version| version >= MINIMUM_VERSION) {
        return Ok(());
    }
    let (major, minor, patch) = MINIMUM_VERSION;
    Err(BrokerError::Incompatible(format!(
        "the NATS server at {} is version {found}; Tidemill needs {major}.{minor}.{patch} or newer, because effects that \
         happen once rest on atomic batches and scheduled messages",
        addresses(config)
    )))
}

async fn check_jetstream(connection: &Connection, config: &NatsConfig) -> Result<(), BrokerError> {
    let refused = |why: &str| {
        BrokerError::Incompatible(format!(
            "JetStream is not enabled on the NATS server at {}{why}; start it with `nats-server -js`, or enable it for \
             this account",
            addresses(config)
        ))
    };
    match connection.api::<serde_json::Value>("INFO", &serde_json::json!({})).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.code >= 500 && error.err_code != 10039 && error.err_code != 10076 => {
            Err(NatsError::Api { what: "INFO".to_owned(), error }.into())
        }
        Ok(Err(error)) => Err(refused(&format!(" ({})", error.description))),
        Err(NatsError::NoResponders { .. }) => Err(refused("")),
        Err(error) => Err(error.into()),
    }
}

/// The three numbers of `2.12.8`, `v2.15.0-dev` and the like.
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.trim_start_matches('v').splitn(3, '.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse::<u32>().ok()
    });
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// The servers as they may be shown: without user and password.
fn addresses(config: &NatsConfig) -> String {
    let shown = config.servers.iter().map(|server| match server.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host)),
        None => server.rsplit_once('@').map_or(server.as_str(), |(_, host)| host).to_owned(),
    });
    shown.map(|server| format!("`{server}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse_version("2.12.8"), Some((2, 12, 8)));
        assert_eq!(parse_version("v2.15.0-dev"), Some((2, 15, 0)));
        assert!(parse_version("2.9.25").unwrap() < MINIMUM_VERSION);
        assert_eq!(parse_version("nonsense"), None);
    }

    #[test]
    fn reconnecting_starts_at_once_and_slows_down_to_two_seconds() {
        assert_eq!(reconnect_delay(1), Duration::ZERO);
        for attempt in 2..40 {
            let delay = reconnect_delay(attempt);
            assert!((RECONNECT_MIN..=RECONNECT_MAX).contains(&delay), "{attempt}: {delay:?}");
        }
    }
}
