//! A stream whose peer must take what is written.
//!
//! Reading is bounded elsewhere, by the time that a request's head and body may take. A client that asks and then does not read
//! would hold its connection, and the answer's memory, for ever; one that reads a byte every few seconds nearly as long. So a
//! blocked write has a deadline, and what is taken moves it by no more than the bytes are worth.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// The slowest client that is waited for, in bytes a second: a bad mobile network.
const SLOWEST: u64 = 8 * 1024;

/// See the module.
pub(crate) struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Since a write was blocked, until everything is written. What the client sends says nothing about what it takes.
    deadline: Option<Pin<Box<Sleep>>>,
}

// === impl Patient ===

impl<S> Patient<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, deadline: None }
    }

    /// Passes on what a write made of itself; one that is blocked for too long fails.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            return written;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take the answer")))
    }

    fn taken(&mut self, bytes: usize) {
        if let Some(deadline) = &mut self.deadline {
            let worth = Duration::from_micros(bytes as u64 * 1_000_000 / SLOWEST);
            let latest = Instant::now() + self.patience;
            let moved = (deadline.deadline() + worth).min(latest);
            deadline.as_mut().reset(moved);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.taken(count);
        }
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        if let Poll::Ready(Ok(count)) = written {
            self.taken(count);
        }
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // Whoever writes flushes when nothing is left to write.
        if flushed.is_ready() {
            self.deadline = None;
        }
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bounded(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_cut_after_the_timeout() {
        let (_client, server) = duplex(1000);
        let begun = Instant::now();
        let error = Patient::new(server, Duration::from_secs(10)).write_all(&[0; 5000]).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_a_little_at_a_time_is_cut_too() {
        let (mut client, server) = duplex(1000);
        let reading = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                if client.read_u8().await.is_err() {
                    break;
                }
            }
        });
        let begun = Instant::now();
        let written = Patient::new(server, Duration::from_secs(10)).write_all(&[0; 5000]).await;
        assert!(written.is_err() && begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        reading.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_that_goes_on_reading_gets_everything() {
        let (mut client, server) = duplex(1000);
        let reading = tokio::spawn(async move {
            let mut buffer = [0; 20_000];
            let mut total = 0;
            while let Ok(count @ 1..) = client.read(&mut buffer).await {
                total += count;
                tokio::time::sleep(Duration::from_millis(80)).await;
            }
            total
        });
        let mut server = Patient::new(server, Duration::from_secs(1));
        server.write_all(&[0; 100_000]).await.unwrap();
        drop(server);
        assert_eq!(reading.await.unwrap(), 100_000);
    }
}
