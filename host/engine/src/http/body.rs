//! Bodies with an end: of a request by its size, of an answer by size and time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tidemill_core::outbound::Target;
use tokio::time::{Instant, Sleep, sleep_until};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;
use wasmtime_wasi_http::{Error, WasiBody};

use super::Notes;
use super::refused::Refused;

/// The body of a request, as hyper reads it.
pub(super) struct RequestBody {
    pub(super) body: WasiBody,
    /// Bytes that may still come.
    pub(super) left: u64,
    /// Set when more came. hyper wraps a body's error beyond recognition.
    pub(super) exceeded: Arc<AtomicBool>,
}

/// The guest wrote more than it may, or gave up.
#[derive(Debug, thiserror::Error)]
#[error("the request's body ended early")]
pub(super) struct Unfinished;

/// The body of an answer, as the guest reads it. Dropping it closes the connection.
pub(super) struct AnswerBody {
    body: Incoming,
    left: u64,
    limits: Bounds,
    /// When to look at the clock, if nothing comes.
    alarm: Pin<Box<Sleep>>,
    notes: Notes,
    _connection: AbortOnDropJoinHandle<()>,
}

/// What ends an answer.
pub(super) struct Bounds {
    pub(super) target: Target,
    pub(super) bytes: u64,
    pub(super) time: Duration,
    /// The end of that time.
    pub(super) deadline: Instant,
    /// What the guest wants to wait for the next bytes.
    pub(super) silence: Option<Duration>,
}

// === impl RequestBody ===

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Unfinished;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unfinished>>> {
        Pin::new(&mut self.body).poll_frame(context).map(|frame| {
            let frame = frame?.map_err(|_| Unfinished);
            let size = frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
            let Some(left) = self.left.checked_sub(size) else {
                self.exceeded.store(true, Ordering::Relaxed);
                return Some(Err(Unfinished));
            };
            self.left = left;
            Some(frame)
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl AnswerBody ===

impl AnswerBody {
    pub(super) fn new(body: Incoming, limits: Bounds, notes: Notes, connection: AbortOnDropJoinHandle<()>) -> Self {
        let alarm = Box::pin(sleep_until(limits.alarm()));
        Self { body, left: limits.bytes, limits, alarm, notes, _connection: connection }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refused>>> {
        // First, because a body that always has more is never asked for the time otherwise.
        if Instant::now() >= self.limits.deadline {
            return Poll::Ready(Some(Err(self.limits.timed_out())));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                let alarm = self.limits.alarm();
                self.alarm.as_mut().reset(alarm);
                Poll::Ready(Some(self.count(frame)))
            }
            Poll::Ready(Some(Err(why))) => Poll::Ready(Some(Err(self.limits.broken(&why)))),
            Poll::Pending => self.alarm.as_mut().poll(context).map(|()| Some(Err(self.limits.silent()))),
        }
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Refused> {
        let size = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(size) {
            Some(left) => {
                self.left = left;
                Ok(frame)
            }
            None => Err(self.limits.too_large()),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let next = self.next(context);
        next.map(|frame| frame.map(|frame| frame.map_err(|why| self.notes.note(&why))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Bounds ===

impl Bounds {
    pub(super) fn too_large(&self) -> Refused {
        Refused::AnswerTooLarge { target: self.target.clone(), allowed: self.bytes }
    }

    pub(super) fn timed_out(&self) -> Refused {
        Refused::TimedOut { target: self.target.clone(), allowed: self.time }
    }

    /// The deadline closes the connection too, which hyper then finds broken.
    pub(super) fn broken(&self, why: &hyper::Error) -> Refused {
        if Instant::now() >= self.deadline {
            return self.timed_out();
        }
        Refused::Broken { target: self.target.clone(), why: why.to_string() }
    }

    fn silent(&self) -> Refused {
        match self.silence {
            Some(allowed) if Instant::now() < self.deadline => Refused::Silent { target: self.target.clone(), allowed },
            _ => self.timed_out(),
        }
    }

    fn alarm(&self) -> Instant {
        let silent_until = self.silence.and_then(|silence| Instant::now().checked_add(silence));
        silent_until.map_or(self.deadline, |until| until.min(self.deadline))
    }
}
