//! A server for requests of guests: plain TCP, because half of the tests need an answer that no HTTP library would give.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server answers, by the path of the request.
#[derive(Default)]
pub(crate) struct Seen {
    /// The heads of all requests.
    pub(crate) heads: Mutex<Vec<String>>,
    pub(crate) open: AtomicUsize,
    pub(crate) most_open: AtomicUsize,
    /// Connections whose other side went away.
    pub(crate) closed: AtomicUsize,
}

/// What a request comes over: TCP, or TLS on it.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) seen: Arc<Seen>,
}

// === impl Server ===

impl Server {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        Self::serving(listener, |stream, seen| async move { serve(stream, &seen).await })
    }

    /// One that does this with each connection.
    pub(crate) fn serving<F, S>(listener: TcpListener, serve: F) -> Self
    where
        F: Fn(TcpStream, Arc<Seen>) -> S + Send + 'static,
        S: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(Seen::default()));
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&shared);
                let served = serve(stream, Arc::clone(&shared));
                tokio::spawn(async move {
                    let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
                    seen.most_open.fetch_max(open, Ordering::SeqCst);
                    served.await.ok();
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                    seen.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, seen }
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }
}

/// Reads one request and answers it.
pub(crate) async fn serve(mut stream: impl Wire, seen: &Seen) -> std::io::Result<()> {
    let (head, mut body) = head(&mut stream).await?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.heads.lock().unwrap().push(head.clone());
    match path.as_str() {
        "/redirect" => {
            answer(&mut stream, "302 Found", "location: http://169.254.169.254/latest/meta-data\r\n", b"").await
        }
        // Never answers; ends when the other side goes away.
        "/silent" => gone(&mut stream).await,
        "/slow" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nfirst").await?;
            gone(&mut stream).await
        }
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            let chunk = vec![b'x'; 64 * 1024];
            loop {
                stream.write_all(&chunk).await?;
            }
        }
        "/large" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await?;
            gone(&mut stream).await
        }
        "/gzip" => {
            let headers = "content-encoding: gzip\r\n";
            answer(&mut stream, "200 OK", headers, b"\x1f\x8b\x08 not unpacked by anybody").await
        }
        "/drain" => {
            let mut buffer = [0; 4096];
            while !body.ends_with(b"0\r\n\r\n") {
                let read = stream.read(&mut buffer).await?;
                if read == 0 {
                    return Ok(());
                }
                body.extend_from_slice(&buffer[..read]);
            }
            answer(&mut stream, "200 OK", "", b"drained").await
        }
        _ => answer(&mut stream, "200 OK", "", head.as_bytes()).await,
    }
}

/// The head of a request, and what came after it.
pub(crate) async fn head(stream: &mut impl Wire) -> std::io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&buffer[..count]);
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = read.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&read).into_owned(), body));
        }
    }
}

async fn answer(stream: &mut impl Wire, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}

/// Waits until the other side goes away.
async fn gone(stream: &mut impl Wire) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
