//! The log of one instance: what a guest writes, bounded and cleaned, with plugin, route and event id beside it.
//!
//! A guest's text is hostile until shown otherwise: it must not end a line early, move a terminal's cursor, or fill a disk.
//! It is only ever a value here, never a format string, a field name or a metric label. The last lines of a call are
//! kept, because they are what its author needs to see when it fails.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidemill_core::name::{PluginName, RouteName};
use tidemill_core::text::clean_text;

use crate::stdio::{Lines, Stream};

/// The longest line that is written; the rest of it is cut.
pub(crate) const MAX_LINE_BYTES: usize = 8 * 1024;

/// What of an event's id is shown.
const MAX_ID_BYTES: usize = 256;

/// What is kept of a call's lines for its failure.
const MAX_TAIL_BYTES: usize = 4 * 1024;

/// What a line costs of the log limit besides its text, so that empty lines are bounded too.
const LINE_COST: u64 = 16;

/// Log text that an instance may write before it serves its first event.
const START_LIMIT: u64 = 64 * 1024;

/// What the guest called it. The order is that of `tidemill:plugin/log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// One instance's log, shared between its store and its standard output streams. Never locked across an await.
#[derive(Clone)]
pub(crate) struct SharedLog(Arc<Mutex<CallLog>>);

pub(crate) struct CallLog {
    plugin: PluginName,
    /// `None` while the instance starts.
    route: Option<RouteName>,
    event_id: String,
    limit: u64,
    used: u64,
    dropped_lines: u64,
    dropped_bytes: u64,
    tail: VecDeque<String>,
    tail_bytes: usize,
    panic: Option<String>,
    lines: Lines,
}

// === impl SharedLog ===

impl SharedLog {
    pub(crate) fn new(plugin: PluginName) -> Self {
        Self(Arc::new(Mutex::new(CallLog {
            plugin,
            route: None,
            event_id: String::new(),
            limit: START_LIMIT,
            used: 0,
            dropped_lines: 0,
            dropped_bytes: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            panic: None,
            lines: Lines::default(),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, CallLog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl CallLog ===

impl CallLog {
    /// From here on lines belong to this call.
    pub(crate) fn begin(&mut self, route: &RouteName, event_id: &str, limit: u64) {
        self.route = Some(route.clone());
        self.event_id.clear();
        self.event_id.push_str(event_id);
        self.limit = limit;
        self.used = 0;
        self.tail.clear();
        self.tail_bytes = 0;
        self.panic = None;
    }

    /// Writes what standard output holds without a line end, and how much was dropped.
    pub(crate) fn end(&mut self) {
        for stream in [Stream::Out, Stream::Err] {
            if let Some(line) = self.lines.take(stream) {
                self.write_line(stream.level(), &line);
            }
        }
        if self.dropped_lines > 0 {
            let (lines, bytes, limit) = (self.dropped_lines, self.dropped_bytes, self.limit);
            (self.dropped_lines, self.dropped_bytes) = (0, 0);
            let text =
                format!("{lines} log lines ({bytes} bytes) were dropped: the limit `log_bytes` of {limit} is used up");
            self.publish(Level::Warn, &text);
            self.keep(text);
        }
    }

    /// A line with its fields, from the `log` import.
    pub(crate) fn write<'a>(&mut self, level: Level, message: &str, fields: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut text = Cow::Borrowed(message);
        for (name, value) in fields {
            // Writing to a string cannot fail.
            let _ = write!(text.to_mut(), " {name}={value}");
        }
        self.write_line(level, &text);
    }

    /// Bytes of standard output or standard error, in pieces as the guest flushes them.
    pub(crate) fn write_bytes(&mut self, stream: Stream, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(line) = self.lines.push(stream, &mut rest) {
            if !line.is_empty() {
                self.write_line(stream.level(), &line);
            }
        }
    }

    /// The message of a panic, if the guest wrote one: to `log` by the SDK's hook, or to standard error by itself.
    pub(crate) fn panic_message(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    /// The last lines of the call, oldest first.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    fn write_line(&mut self, level: Level, text: &str) {
        let cost = text.len() as u64 + LINE_COST;
        if self.used + cost > self.limit {
            self.dropped_lines += 1;
            self.dropped_bytes += text.len() as u64;
            return;
        }
        self.used += cost;
        let text = clean_text(text.trim_end(), MAX_LINE_BYTES);
        self.notice_panic(level, &text);
        self.publish(level, &text);
        self.keep(text);
    }

    /// Rust's own message on standard error has two lines: the place, then the words.
    fn notice_panic(&mut self, level: Level, text: &str) {
        if !matches!(level, Level::Warn | Level::Error) {
            return;
        }
        match &mut self.panic {
            None if text.contains("panicked at ") => self.panic = Some(text.to_owned()),
            Some(place) if place.ends_with(':') => {
                place.push(' ');
                place.push_str(text);
            }
            _ => {}
        }
    }

    fn publish(&self, level: Level, text: &str) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "plugin",
                    plugin = %self.plugin,
                    route = self.route.as_ref().map(tracing::field::display),
                    event.id = self.route.as_ref().map(|_| tracing::field::display(clean_text(&self.event_id, MAX_ID_BYTES))),
                    "{text}"
                )
            };
        }
        match level {
            Level::Trace => line!(trace),
            Level::Debug => line!(debug),
            Level::Info => line!(info),
            Level::Warn => line!(warn),
            Level::Error => line!(error),
        }
    }

    fn keep(&mut self, text: String) {
        self.tail_bytes += text.len();
        self.tail.push_back(text);
        while self.tail_bytes > MAX_TAIL_BYTES && self.tail.len() > 1 {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |line| line.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> SharedLog {
        let log = SharedLog::new(PluginName::try_new("fraud-check").unwrap());
        log.lock().begin(&RouteName::try_new("orders").unwrap(), "e-1", 1024);
        log
    }

    #[test]
    fn what_exceeds_the_limit_is_counted_and_dropped() {
        let log = log();
        for _ in 0..1000 {
            log.lock().write(Level::Info, "a line of text", [].into_iter());
        }
        log.lock().end();
        let tail = log.lock().tail();
        assert_eq!(tail.len(), 1024 / (14 + LINE_COST as usize) + 1);
        assert!(tail.last().unwrap().starts_with("966 log lines (13524 bytes) were dropped"), "{tail:?}");
    }

    #[test]
    fn the_tail_holds_the_last_lines() {
        let log = SharedLog::new(PluginName::try_new("p").unwrap());
        log.lock().begin(&RouteName::try_new("r").unwrap(), "e", u64::MAX);
        for number in 0..10_000 {
            log.lock().write(Level::Debug, "line", [("number", number.to_string().as_str())].into_iter());
        }
        let tail = log.lock().tail();
        assert_eq!(tail.last().unwrap(), "line number=9999");
        assert!(tail.iter().map(String::len).sum::<usize>() <= MAX_TAIL_BYTES);
    }

    #[test]
    fn standard_output_becomes_lines() {
        let log = log();
        log.lock().write_bytes(Stream::Out, b"hel");
        log.lock().write_bytes(Stream::Out, b"lo\r\n\nwor");
        log.lock().write_bytes(Stream::Err, b"\xff\n");
        log.lock().write_bytes(Stream::Out, b"ld");
        log.lock().end();
        assert_eq!(log.lock().tail(), ["hello", "\u{FFFD}", "world"]);
    }

    #[test]
    fn a_panic_is_found_in_both_its_shapes() {
        for (stream_text, message) in [
            ("panicked at src/lib.rs:3:5: no total\n", "panicked at src/lib.rs:3:5: no total"),
            (
                "thread '<unnamed>' panicked at src/lib.rs:3:5:\nno total\nnote: run with\n",
                "thread '<unnamed>' panicked at src/lib.rs:3:5: no total",
            ),
        ] {
            let log = log();
            log.lock().write_bytes(Stream::Err, stream_text.as_bytes());
            assert_eq!(log.lock().panic_message(), Some(message));
        }
    }
}
