//! A guest's standard output and standard error: lines in its log.
//!
//! wasmtime's `MemoryOutputPipe` traps a guest that writes more than it holds; a handler must not fail because a library
//! prints. So writing never fails and never waits here, and the log's limit decides what is kept.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::call_log::{Level, SharedLog};
use crate::stage::Voice;

/// What a guest may hand over in one write.
const WRITE_PERMIT_BYTES: usize = 64 * 1024;

/// A line longer than this is written in pieces, so that a guest cannot make the host remember more.
const MAX_PARTIAL_BYTES: usize = 8 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// One of the two streams of an instance.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) stream: Stream,
    pub(crate) log: SharedLog,
}

/// The unfinished line of each stream.
#[derive(Default)]
pub(crate) struct Lines {
    out: Vec<u8>,
    err: Vec<u8>,
}

// === impl Stream ===

impl Stream {
    pub(crate) fn voice(self) -> Voice {
        match self {
            Stream::Out => Voice::Stdout,
            Stream::Err => Voice::Stderr,
        }
    }

    pub(crate) fn level(self) -> Level {
        match self {
            Stream::Out => Level::Info,
            Stream::Err => Level::Warn,
        }
    }
}

// === impl Lines ===

impl Lines {
    /// Takes bytes from `rest` up to the end of a line and gives the line, or takes all of it and waits for more.
    pub(crate) fn push(&mut self, stream: Stream, rest: &mut &[u8]) -> Option<String> {
        let partial = self.partial(stream);
        let room = MAX_PARTIAL_BYTES - partial.len();
        let end = rest.iter().take(room).position(|&byte| byte == b'\n');
        let (taken, left) = rest.split_at(end.unwrap_or(room.min(rest.len())));
        partial.extend_from_slice(taken);
        *rest = if end.is_some() { &left[1..] } else { left };
        (end.is_some() || partial.len() == MAX_PARTIAL_BYTES).then(|| take_text(partial))
    }

    /// The unfinished line, if there is one.
    pub(crate) fn take(&mut self, stream: Stream) -> Option<String> {
        let partial = self.partial(stream);
        (!partial.is_empty()).then(|| take_text(partial))
    }

    fn partial(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }
}

fn take_text(partial: &mut Vec<u8>) -> String {
    let text = String::from_utf8_lossy(partial).trim_end().to_owned();
    partial.clear();
    text
}

// === impl Output ===

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.lock().write_bytes(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT_BYTES)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.log.lock().write_bytes(self.stream, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
