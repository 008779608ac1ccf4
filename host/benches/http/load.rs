//! Requests over a few connections that are kept open, each sending its next one when the last is answered. As little as possible is
//! done per answer, because it is done on the same cores as what is measured.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    /// Sorted.
    pub(crate) times: Vec<Duration>,
}

/// Sends so many requests, on a thread of its own. Each must be answered with `status`.
pub(crate) fn send(
    address: &str,
    connections: usize,
    requests: usize,
    status: u16,
    request: impl Fn(usize) -> Vec<u8> + Sync,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let lanes = (0..connections).map(|_| lane(address, &next, requests, status, &request));
    let times: Vec<Vec<Duration>> = runtime.block_on(futures_util::future::join_all(lanes));
    let took = begun.elapsed();
    let mut times: Vec<Duration> = times.into_iter().flatten().collect();
    times.sort();
    Outcome { took, times }
}

async fn lane(
    address: &str,
    next: &AtomicUsize,
    requests: usize,
    status: u16,
    request: &impl Fn(usize) -> Vec<u8>,
) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut times, mut buffer) = (Vec::new(), Vec::with_capacity(16 * 1024));
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= requests {
            return times;
        }
        let request = request(number);
        let begun = Instant::now();
        stream.write_all(&request).await.unwrap();
        answer(&mut stream, &mut buffer).await;
        times.push(begun.elapsed());
        let line = format!("HTTP/1.1 {status} ");
        assert!(buffer.starts_with(line.as_bytes()), "{}", String::from_utf8_lossy(&buffer));
    }
}

/// Reads one answer.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the connection was closed");
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.unwrap_or_else(|| panic!("no length: {head}")).trim().parse().unwrap();
            while buffer.len() < end + 4 + length {
                assert!(stream.read_buf(buffer).await.unwrap() > 0, "the connection was closed");
            }
            return;
        }
    }
}

pub(crate) fn get(address: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes()
}

pub(crate) fn post(address: &str, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

// === impl Outcome ===

impl Outcome {
    pub(crate) fn rate(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64()
    }

    pub(crate) fn at(&self, quantile: f64) -> Duration {
        self.times[((self.times.len() - 1) as f64 * quantile).round() as usize]
    }
}
