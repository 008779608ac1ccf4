//! Clients that take too much, or too long.

use std::time::{Duration, Instant};

use serde_json::json;
use tidemill_gateway::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::client::{Answer, get, post};
use crate::host::{HTTP, configured};
use crate::rig::Running;

/// Far above every timeout that the tests set, for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads until the server closes; panics if it does not.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection stays open").ok();
    bytes
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let gateway = Running::with("  limits: { body: 2KiB }\n").await;
    let fits = post("/v1/streams/ORDERS/orders.x", vec![b'x'; 2048]);
    assert_eq!(gateway.ask(fits).await.status, 202);
    let answer = gateway.ask(post("/v1/streams/ORDERS/orders.x", vec![b'x'; 2049])).await;
    assert_eq!(answer.problem(), (413, "too-large".into()));
    assert!(answer.detail().contains("`http.limits.body` in runtime.yaml"), "{}", answer.detail());
    // Announced and never sent: the answer does not wait for it.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head =
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nce-specversion: 1.0\r\ncontent-length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(Answer::parse(&until_closed(&mut stream).await).status, 413);
    // Without a length the bytes are counted.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /v1/streams/ORDERS/orders.x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(&[b"400\r\n", &[b'x'; 1024][..], b"\r\n"].concat()).await.unwrap();
    }
    assert_eq!(Answer::parse(&until_closed(&mut stream).await).status, 413);
    assert_eq!(gateway.host.stored("ORDERS").await.len(), 1);
}

#[tokio::test]
async fn a_compressed_body_is_refused() {
    let gateway = Running::start().await;
    let ask = post("/v1/streams/ORDERS/orders.x", "x").with("content-encoding", "gzip");
    assert_eq!(gateway.ask(ask).await.problem(), (415, "unsupported-media-type".into()));
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let gateway = Running::with("  limits: { timeout: 1s }\n").await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /v1/streams/ORDERS/orders.x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = Answer::parse(&until_closed(&mut stream).await);
    assert_eq!(answer.problem(), (408, "body-timeout".into()));
    assert!(gateway.host.stored("ORDERS").await.is_empty());
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_too() {
    let gateway = Running::with("  limits: { timeout: 1s }\n").await;
    let (mut reading, mut writing) = TcpStream::connect(gateway.address).await.unwrap().into_split();
    let dripping = tokio::spawn(async move {
        let head = "POST /v1/streams/ORDERS/orders.x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n";
        writing.write_all(head.as_bytes()).await.unwrap();
        while writing.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    let mut bytes = Vec::new();
    timeout(PATIENCE, reading.read_to_end(&mut bytes)).await.unwrap().ok();
    assert_eq!(Answer::parse(&bytes).status, 408);
    timeout(PATIENCE, dripping).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_head_that_drips_and_a_connection_that_says_nothing_are_closed() {
    let gateway = Running::with("  limits: { timeout: 1s }\n").await;
    let mut silent = TcpStream::connect(gateway.address).await.unwrap();
    let mut dripping = TcpStream::connect(gateway.address).await.unwrap();
    dripping.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    let begun = Instant::now();
    while dripping.write_all(b"x-drip: 1\r\n").await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "a head may drip for {:?}", begun.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
    until_closed(&mut silent).await;
    // Between requests, too.
    let mut kept = TcpStream::connect(gateway.address).await.unwrap();
    kept.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(Answer::parse(&until_closed(&mut kept).await).status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    let gateway = Running::with("  limits: { timeout: 2s, connections: 1 }\n").await;
    // More than the buffers of two sockets hold.
    let length = 32_000_000;
    gateway.host.put("orders", "large", &json!({ "text": "x".repeat(length) }));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(gateway.address).await.unwrap();
    stream.write_all(b"GET /v1/read-models/orders/large HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    // There is one place, so the next client is answered only when the first is cut.
    let answer = timeout(PATIENCE, gateway.ask(get("/livez"))).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(until_closed(&mut stream).await.len() < length);
}

#[tokio::test]
async fn more_connections_than_there_are_places_wait() {
    let gateway = Running::with("  limits: { connections: 2 }\n").await;
    let hold = |_| async { TcpStream::connect(gateway.address).await.unwrap() };
    let (first, second) = (hold(1).await, hold(2).await);
    // Both are taken once they are answered something.
    let waiting = tokio::spawn({
        let address = gateway.address;
        async move { get("/livez").to(address).await }
    });
    sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    drop((first, second));
    assert_eq!(timeout(PATIENCE, waiting).await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn more_requests_than_an_address_may_send_are_told_to_wait() {
    let gateway = Running::with("  limits: { requests_per_second: 5 }\n").await;
    let mut statuses = Vec::new();
    for _ in 0..60 {
        let answer = gateway.ask(get("/v1/read-models/orders?limit=1")).await;
        if answer.status == 429 {
            assert_eq!(answer.problem(), (429, "too-many-requests".into()));
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses[..5], [200; 5]);
    assert!(statuses.contains(&429), "{statuses:?}");
    // Health is for everybody.
    assert_eq!(gateway.ask(get("/livez")).await.status, 200);
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(gateway.ask(get("/v1/read-models/orders?limit=1")).await.status, 200);
}

#[tokio::test]
async fn heads_without_end_and_what_is_no_http_are_refused() {
    let gateway = Running::start().await;
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "x".repeat(100_000));
    for head in [
        format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"),
        format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{long}\r\n"),
        format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(100_000)),
        "\x16\x03\x01\x02\x00\x01\x00".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nhost : localhost\r\n\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.ok();
        let answer = until_closed(&mut stream).await;
        let refused = answer.is_empty() || (400..600).contains(&Answer::parse(&answer).status);
        assert!(refused, "{}: {}", &head[..30.min(head.len())], String::from_utf8_lossy(&answer));
    }
    assert_eq!(gateway.ask(get("/livez")).await.status, 200);
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let gateway = Running::start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    for _ in 0..50 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut bytes = [0; 1024];
        let count = timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap().unwrap();
        assert_eq!(Answer::parse(&bytes[..count]).text(), "ok\n");
    }
}

#[tokio::test]
async fn what_is_under_way_is_finished_when_the_gateway_stops() {
    let gateway = Running::start().await;
    let (ask, address) = (get("/v1/read-models/orders?wait_for=ORDERS:1"), gateway.address);
    let waiting = tokio::spawn(async move { ask.to(address).await });
    // Under way once it is counted as a connection.
    timeout(PATIENCE, async {
        while !gateway.ask(get("/metrics")).await.text().contains("tidemill_http_connections 2") {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let mut idle = TcpStream::connect(gateway.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    idle.readable().await.unwrap();
    gateway.stop.send_replace(true);
    until_closed(&mut idle).await;
    gateway.host.fold_to(1);
    assert_eq!(timeout(PATIENCE, waiting).await.unwrap().unwrap().status, 200);
    timeout(PATIENCE, gateway.served).await.unwrap().unwrap();
    assert!(TcpStream::connect(gateway.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_off_at_the_end() {
    let gateway = Running::with("  limits: { timeout: 1s, query_timeout: 60s }\n").await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream
        .write_all(b"GET /v1/read-models/orders?wait_for=ORDERS:1 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    sleep(Duration::from_millis(200)).await;
    gateway.stop.send_replace(true);
    timeout(PATIENCE, gateway.served).await.unwrap().unwrap();
    assert!(until_closed(&mut stream).await.is_empty());
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let first = Running::start().await;
    let taken = first.address;
    let config = configured(&HTTP.replace("127.0.0.1:0", &taken.to_string()));
    let Err(error) = Gateway::bind(config.http.unwrap()).await else { panic!("bound twice") };
    assert!(error.to_string().starts_with(&format!("cannot listen on {taken}: ")), "{error}");
    assert!(error.to_string().contains("`http.listen` in runtime.yaml"), "{error}");
}
