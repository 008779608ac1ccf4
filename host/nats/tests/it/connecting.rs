//! What a host is told about the server that it meets.

use std::time::{Duration, Instant};

use tidemill_core::config::Secret;
use tidemill_core::port::BrokerError;
use tidemill_nats::NatsBroker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::{Server, config, free_address};

async fn refusal(config: &tidemill_core::config::NatsConfig) -> BrokerError {
    NatsBroker::connect(config).await.err().expect("this server is not one to work with")
}

/// Says that it is a server of this version, and answers pings.
async fn pretend(version: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let info =
        format!("INFO {{\"version\":\"{version}\",\"headers\":true,\"jetstream\":true,\"max_payload\":1048576}}\r\n");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(info.as_bytes()).await.unwrap();
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                if stream.write_all(b"PONG\r\n").await.is_err() {
                    break;
                }
            }
        }
    });
    format!("nats://{address}")
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_with_both_versions_and_the_reason() {
    let url = pretend("2.10.26").await;
    let error = refusal(&config(&url)).await;
    assert!(matches!(error, BrokerError::Incompatible(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "the NATS server at `{url}` is version 2.10.26; Tidemill needs 2.12.8 or newer, because effects that happen \
             once rest on atomic batches and scheduled messages"
        )
    );
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused_with_what_to_do() {
    let server = Server::start_with(&[]);
    let error = refusal(&server.config()).await;
    assert!(matches!(error, BrokerError::Incompatible(_)), "{error:?}");
    assert!(error.to_string().contains("`nats-server -js`"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_and_named() {
    let address = free_address();
    let begun = Instant::now();
    let error = refusal(&config(&format!("nats://somebody:secret@{address}"))).await;
    assert!(matches!(error, BrokerError::Unavailable { .. }), "{error:?}");
    assert!((9..30).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_server_that_starts_late_is_found() {
    let address = free_address();
    let late = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_secs(1));
        Server::start_at(address)
    });
    NatsBroker::connect(&config(&format!("nats://{address}"))).await.unwrap();
    late.await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once() {
    let server = Server::start_with(&["-js", "--user", "tidemill", "--pass", "right"]);
    let mut config = server.config();
    config.user = Some("tidemill".to_owned());
    config.password = Some(Secret::new("wrong"));
    let begun = Instant::now();
    let error = refusal(&config).await;
    assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
    // A server that is away is waited for, 10 s.
    assert!(begun.elapsed() < Duration::from_secs(9) && !error.to_string().contains("wrong"), "{error}");

    config.password = Some(Secret::new("right"));
    NatsBroker::connect(&config).await.unwrap();
}
