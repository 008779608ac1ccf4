//! The log of one instance: what a guest writes, bounded and cleaned, with plugin, route and event id beside it.
//!
//! A guest's text is hostile until shown otherwise: it must not end a line early, move a terminal's cursor, fill a disk, or
//! show a secret. It is only ever a value here, never a format string, a field name or a metric label. The last lines of a
//! call are kept, because they are what its author needs to see when it fails.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidemill_core::limits::Limits;
use tidemill_core::name::RouteName;
use tidemill_core::text::clean_text;

use crate::outlet::Outlet;
use crate::stage::{Props, Voice};
use crate::stdio::{Lines, Stream};

/// The longest line that is written; the rest of it is cut.
pub(crate) const MAX_LINE_BYTES: usize = 8 * 1024;

/// What of an event's id is shown.
const MAX_ID_BYTES: usize = 256;

/// What is kept of a call's lines for its failure.
const MAX_TAIL_BYTES: usize = 4 * 1024;

/// What a line costs of its limit besides its text, so that empty lines are bounded too.
const LINE_COST: u64 = 16;

/// What the guest called it. The order is that of `tidemill:plugin/log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
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
    outlet: Arc<Outlet>,
    /// Where lines go instead of into the host's log; given on a stage.
    sheet: Option<Arc<Props>>,
    /// `None` while the instance starts.
    route: Option<RouteName>,
    event_id: String,
    /// For the `log` import.
    log: Allowance,
    /// For standard output and standard error together.
    stdout: Allowance,
    tail: VecDeque<String>,
    tail_bytes: usize,
    panic: Option<String>,
    /// The last line on standard error.
    last_words: Option<String>,
    lines: Lines,
}

/// What one call may write one way, and what it wrote beyond that.
struct Allowance {
    limit: u64,
    used: u64,
    dropped_lines: u64,
    dropped_bytes: u64,
}

// === impl SharedLog ===

impl SharedLog {
    pub(crate) fn new(outlet: Arc<Outlet>, limits: &Limits, sheet: Option<Arc<Props>>) -> Self {
        Self(Arc::new(Mutex::new(CallLog {
            outlet,
            sheet,
            route: None,
            event_id: String::new(),
            log: Allowance::new(limits.log_bytes),
            stdout: Allowance::new(limits.stdout_bytes),
            tail: VecDeque::new(),
            tail_bytes: 0,
            panic: None,
            last_words: None,
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
    pub(crate) fn begin(&mut self, route: &RouteName, event_id: &str, limits: &Limits) {
        self.route = Some(route.clone());
        self.event_id.clear();
        self.event_id.push_str(event_id);
        self.log = Allowance::new(limits.log_bytes);
        self.stdout = Allowance::new(limits.stdout_bytes);
        self.tail.clear();
        self.tail_bytes = 0;
        self.panic = None;
        self.last_words = None;
    }

    /// Writes what standard output holds without a line end, and how much was dropped.
    pub(crate) fn end(&mut self) {
        for stream in [Stream::Out, Stream::Err] {
            if let Some(line) = self.lines.take(stream) {
                self.write_output(stream, &line);
            }
        }
        let dropped = [self.log.tell_dropped("log", "log_bytes"), self.stdout.tell_dropped("output", "stdout_bytes")];
        for text in dropped.into_iter().flatten() {
            self.publish(Level::Warn, Voice::Log, &text);
            self.keep(text);
        }
        self.tell_rate();
    }

    /// A line with its fields, from the `log` import.
    pub(crate) fn write<'a>(&mut self, level: Level, message: &str, fields: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut text = Cow::Borrowed(message);
        for (name, value) in fields {
            // Writing to a string cannot fail.
            let _ = write!(text.to_mut(), " {name}={value}");
        }
        if self.log.takes(text.len()) {
            self.write_line(level, Voice::Log, &text);
        }
    }

    /// Bytes of standard output or standard error, in pieces as the guest flushes them.
    pub(crate) fn write_bytes(&mut self, stream: Stream, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(line) = self.lines.push(stream, &mut rest) {
            if !line.is_empty() {
                self.write_output(stream, &line);
            }
        }
    }

    /// The message of a panic, if the guest wrote one: to `log` by the SDK's hook, or to standard error by itself.
    pub(crate) fn panic_message(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    /// What the guest wrote on standard error last.
    pub(crate) fn last_words(&self) -> Option<&str> {
        self.last_words.as_deref()
    }

    /// The last lines of the call, oldest first.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// The text without the secrets that the plugin was granted.
    pub(crate) fn redacted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.outlet.secrets.redact(text)
    }

    fn write_output(&mut self, stream: Stream, line: &str) {
        // Also where the log has no room for it any more.
        if stream == Stream::Err {
            self.last_words = Some(clean_text(self.redacted(line.trim_end()).as_ref(), MAX_LINE_BYTES));
        }
        if self.stdout.takes(line.len()) {
            self.write_line(stream.level(), stream.voice(), line);
        }
    }

    fn write_line(&mut self, level: Level, from: Voice, text: &str) {
        let text = clean_text(self.redacted(text.trim_end()).as_ref(), MAX_LINE_BYTES);
        self.notice_panic(level, &text);
        if self.sheet.is_some() || self.outlet.admits(level, &text) {
            self.publish(level, from, &text);
        } else {
            self.tell_rate();
        }
        self.keep(text);
    }

    /// Says, now and then, that the plugin logs faster than it may.
    fn tell_rate(&self) {
        if let Some(dropped) = self.outlet.dropped() {
            self.publish(Level::Warn, Voice::Log, &dropped.to_string());
        }
    }

    /// Rust's own message on standard error has two lines: the place, then the words. Zig's may have no place.
    fn notice_panic(&mut self, level: Level, text: &str) {
        if !matches!(level, Level::Warn | Level::Error) {
            return;
        }
        match &mut self.panic {
            None if text.contains("panicked at ") || text.starts_with("panicked: ") => {
                self.panic = Some(text.to_owned())
            }
            Some(place) if place.ends_with(':') => {
                place.push(' ');
                place.push_str(text);
            }
            _ => {}
        }
    }

    fn publish(&self, level: Level, from: Voice, text: &str) {
        if let Some(sheet) = &self.sheet {
            return sheet.write_down(level, from, text);
        }
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "plugin",
                    plugin = %self.outlet.plugin,
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

// === impl Level ===

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }

    /// Whether anybody listens to the lines of this level.
    pub(crate) fn is_heard(self) -> bool {
        match self {
            Level::Trace => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
            Level::Debug => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
            Level::Info => tracing::enabled!(target: "plugin", tracing::Level::INFO),
            Level::Warn => tracing::enabled!(target: "plugin", tracing::Level::WARN),
            Level::Error => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
        }
    }
}

// === impl Allowance ===

impl Allowance {
    fn new(limit: u64) -> Self {
        Self { limit, used: 0, dropped_lines: 0, dropped_bytes: 0 }
    }

    fn takes(&mut self, bytes: usize) -> bool {
        let cost = bytes as u64 + LINE_COST;
        if self.used + cost > self.limit {
            self.dropped_lines += 1;
            self.dropped_bytes += bytes as u64;
            return false;
        }
        self.used += cost;
        true
    }

    /// What was dropped since it was told last, in a sentence.
    fn tell_dropped(&mut self, what: &str, name: &str) -> Option<String> {
        let (lines, bytes, limit) = (self.dropped_lines, self.dropped_bytes, self.limit);
        (self.dropped_lines, self.dropped_bytes) = (0, 0);
        (lines > 0).then(|| {
            format!(
                "{lines} lines of {what} ({bytes} bytes) were dropped: the limit `{name}` of {limit} is used up; \
                 `plugins.settings.<plugin>.limits.{name}` in runtime.yaml raises it"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use tidemill_core::config::{PluginConfig, Secret};
    use tidemill_core::name::PluginName;

    use super::*;

    fn log_of(settings: &PluginConfig) -> SharedLog {
        let outlet = Outlet::new(PluginName::try_new("fraud-check").unwrap(), settings);
        let log = SharedLog::new(Arc::new(outlet), &settings.limits, None);
        log.lock().begin(&RouteName::try_new("orders").unwrap(), "e-1", &settings.limits);
        log
    }

    fn limited(log_bytes: u64, stdout_bytes: u64) -> SharedLog {
        let limits = Limits { log_bytes, stdout_bytes, ..Limits::default() };
        log_of(&PluginConfig { limits, ..PluginConfig::default() })
    }

    fn log() -> SharedLog {
        limited(1024, 1024)
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
        assert_eq!(
            tail.last().unwrap(),
            "966 lines of log (13524 bytes) were dropped: the limit `log_bytes` of 1024 is used up; \
             `plugins.settings.<plugin>.limits.log_bytes` in runtime.yaml raises it"
        );
    }

    #[test]
    fn standard_output_has_a_limit_of_its_own() {
        let log = limited(1024, 20);
        log.lock().write_bytes(Stream::Out, b"out\nmore\n");
        log.lock().write(Level::Info, "logged", [].into_iter());
        log.lock().end();
        let tail = log.lock().tail();
        assert_eq!(tail[..2], ["out", "logged"]);
        assert!(tail[2].starts_with("1 lines of output (4 bytes) were dropped: the limit `stdout_bytes`"), "{tail:?}");
    }

    #[test]
    fn secrets_are_masked_before_a_line_is_cut() {
        let secrets = [("token".to_owned(), Secret::new("s3cret-token"))].into();
        let log = log_of(&PluginConfig { secrets, ..PluginConfig::default() });
        let long = format!("{}s3cret-token", "x".repeat(MAX_LINE_BYTES - 6));
        for text in ["token=s3cret-token", long.as_str()] {
            log.lock().write(Level::Info, text, [("again", "s3cret-token")].into_iter());
        }
        log.lock().write_bytes(Stream::Err, b"panicked at a.rs:1:1: s3cret-token\n");
        let tail = log.lock().tail();
        assert!(!tail.concat().contains("s3c"), "{tail:?}");
        assert_eq!(log.lock().panic_message(), Some("panicked at a.rs:1:1: ***"));
    }

    #[test]
    fn the_tail_holds_the_last_lines() {
        let log = limited(u64::MAX, 0);
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
    fn last_words_are_those_of_standard_error_in_this_call() {
        let log = log();
        log.lock().write_bytes(Stream::Err, b"starting\nAssertion failed: total > 0\n");
        log.lock().write_bytes(Stream::Out, b"bye\n");
        assert_eq!(log.lock().last_words(), Some("Assertion failed: total > 0"));
        log.lock().begin(&RouteName::try_new("orders").unwrap(), "e-2", &Limits::default());
        assert_eq!(log.lock().last_words(), None);
    }

    #[test]
    fn a_panic_is_found_in_each_of_its_shapes() {
        for (stream_text, message) in [
            ("panicked at src/lib.rs:3:5: no total\n", "panicked at src/lib.rs:3:5: no total"),
            (
                "thread '<unnamed>' panicked at src/lib.rs:3:5:\nno total\nnote: run with\n",
                "thread '<unnamed>' panicked at src/lib.rs:3:5: no total",
            ),
            ("panicked: integer overflow\n", "panicked: integer overflow"),
        ] {
            let log = log();
            log.lock().write_bytes(Stream::Err, stream_text.as_bytes());
            assert_eq!(log.lock().panic_message(), Some(message));
        }
    }
}
