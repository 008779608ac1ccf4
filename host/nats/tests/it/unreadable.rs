//! Messages that the NATS client itself cannot read.

use tidemill_core::port::{Admin, Backlog, Broker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, World, commit, payload, route};

/// Publishes with any bytes as headers, as a careless client may.
pub(crate) async fn publish(server: &Server, subject: &str, headers: &[u8], payload: &[u8]) {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("nats://")).await.unwrap();
    let total = headers.len() + payload.len();
    let mut bytes = b"CONNECT {\"verbose\":false,\"headers\":true}\r\n".to_vec();
    bytes.extend_from_slice(format!("HPUB {subject} {} {total}\r\n", headers.len()).as_bytes());
    bytes.extend_from_slice(headers);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\nPING\r\n");
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"PONG\r\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", answer.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_headers_that_are_not_utf8_is_handed_out_and_stops_nobody() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish(["before".to_owned()]).await;
    publish(&server, "in.a", b"NATS/1.0\r\nce-id: 7\r\nname: Gr\xf6\xdfe\r\n\r\n", b"unreadable").await;
    publish(&server, "in.a", b"NATS/1.0\r\nno colon\r\n\r\n", b"no header").await;
    world.publish(["after".to_owned()]).await;

    let mut found = Vec::new();
    while found.len() < 4 {
        let deliveries = world.take(1).await;
        for result in world.broker.commit(deliveries.iter().map(commit).collect()).await {
            result.unwrap();
        }
        for delivery in deliveries.iter().filter(|delivery| payload(delivery) == "unreadable") {
            assert_eq!(delivery.message.headers.get("ce-id"), Some("7"));
            assert_eq!(delivery.message.headers.get("name"), Some("Gr\u{fffd}\u{fffd}e"));
        }
        found.extend(deliveries.iter().map(payload));
        found.sort();
        found.dedup();
    }
    assert_eq!(found, ["after", "before", "no header", "unreadable"]);
    world.nothing_comes().await;
    assert_eq!(world.broker.backlog(&route()).await.unwrap(), Backlog::default());
}
