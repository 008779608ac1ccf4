//! What a guest writes, as a person reads it.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tidemill_core::config::{PluginConfig, Secret};
use tidemill_core::failure::FailureKind;
use tracing_subscriber::fmt::MakeWriter;

use crate::guest::{LOG, handler, handler_with_lines};
use crate::rig::{call, call_on, limits, load, load_with, route};

/// What all tests of this process log. One subscriber for all, because an instance may log from any thread.
pub(crate) static LOGGED: LazyLock<Captured> = LazyLock::new(|| {
    let captured = Captured::default();
    tracing_subscriber::fmt().with_ansi(false).with_writer(captured.clone()).init();
    captured
});

#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Logs the text at the level (2 is `info`, 4 is `error`), then ends.
fn logging(level: u8, text: &str, times: u32, end: &str) -> Vec<u8> {
    let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    handler(
        &[LOG],
        &format!(
            r#"(data (i32.const 1000) "{escaped}")
               (func $handle (param i32) (result i32)
                   (local $left i32)
                   (local.set $left (i32.const {times}))
                   (loop $again
                       (call $log (i32.const {level}) (i32.const 1000) (i32.const {}))
                       (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                   {end})"#,
            text.len()
        ),
    )
}

#[tokio::test]
async fn a_line_reaches_the_hosts_log_cleaned_and_with_its_origin() {
    LazyLock::force(&LOGGED);
    let plugin = load(&logging(2, "seen\nERROR forged\u{1b}[2J!", 1, "(call $ok)"));
    call(&plugin, "{}").await.unwrap();
    let text = LOGGED.text();
    let line = text.lines().find(|line| line.contains("seen")).unwrap();
    assert!(line.contains("INFO plugin: seen ERROR forged!"), "{line}");
    for field in ["plugin=guest", "route=orders", "event.id=e-1"] {
        assert!(line.contains(field), "{line}");
    }
}

#[tokio::test]
async fn a_panic_logged_by_the_sdk_is_the_failures_text() {
    let message = "panicked at src/lib.rs:33:30: no total in order";
    let plugin = load(&logging(4, message, 1, "unreachable"));
    let failure = call(&plugin, "{}").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Trap);
    assert_eq!(failure.text.lines().next(), Some(message));
    assert_eq!(failure.log_tail, [message]);
}

#[tokio::test]
async fn a_flood_is_cut_and_the_call_succeeds() {
    let flood = |end| logging(2, &"x".repeat(100), 100_000, end);
    let route = route(Duration::from_secs(5), limits(|limits| limits.log_bytes = 4096));
    let plugin = load(&flood("(call $ok)"));
    call_on(&plugin, &route, "{}", None).await.unwrap();

    let plugin = load(&flood("unreachable"));
    let failure = call_on(&plugin, &route, "{}", None).await.unwrap_err();
    assert_eq!(
        failure.log_tail.last().unwrap(),
        "99965 lines of log (9996500 bytes) were dropped: the limit `log_bytes` of 4096 is used up; \
         `plugins.settings.guest.limits.log_bytes` in runtime.yaml raises it"
    );
}

/// Runs calls under a log of its own, and gives what it wrote, as JSON lines.
async fn logged_as_json(calls: impl AsyncFnOnce()) -> Vec<serde_json::Value> {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt().json().with_writer(captured.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    calls().await;
    drop(guard);
    captured.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn hostile_text_stays_one_json_line_each() {
    for text in [
        r#"{"level":"ERROR","fields":{"message":"forged"}}"#,
        "\"}\n{\"level\":\"ERROR\"}",
        "%s%n {} {0} {message} ${jndi:ldap://x}",
        "a\0b\r\nc\u{2028}d\u{1b}]0;title\u{7}",
        "\\\" \\u0000",
    ] {
        let lines = logged_as_json(async || {
            call(&load(&logging(2, text, 1, "(call $ok)")), "{}").await.unwrap();
        })
        .await;
        let [line] = lines.as_slice() else { panic!("{text:?} made {} lines", lines.len()) };
        assert_eq!((&line["level"], &line["target"]), (&"INFO".into(), &"plugin".into()));
        assert_eq!((&line["fields"]["plugin"], &line["fields"]["event.id"]), (&"guest".into(), &"e-1".into()));
        let message = line["fields"]["message"].as_str().unwrap();
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
}

#[tokio::test]
async fn a_plugin_that_logs_all_it_may_in_each_call_does_not_fill_the_disk() {
    // 64 KiB in each of 500 calls: 32 MiB in a second or a few.
    let plugin = load(&logging(2, &"x".repeat(1000), 64, "(call $reject (i32.const 1000) (i32.const 5))"));
    let begun = std::time::Instant::now();
    let mut tails = Vec::new();
    let lines = logged_as_json(async || {
        for _ in 0..500 {
            tails.push(call(&plugin, "{}").await.unwrap_err().log_tail);
        }
    })
    .await;
    let written = lines.iter().filter(|line| line["level"] == "INFO").count();
    let allowed = 1100.0 + begun.elapsed().as_secs_f64() * 300.0;
    assert!(written > 500 && (written as f64) < allowed, "{written} lines of 32000 in {:?}", begun.elapsed());
    let told: Vec<_> = lines.iter().filter(|line| line["level"] == "WARN").collect();
    assert!(!told.is_empty() && told.len() < 2 + begun.elapsed().as_secs() as usize / 10, "told {} times", told.len());
    let message = told[0]["fields"]["message"].as_str().unwrap();
    assert!(message.contains("were not written: over all its calls it may log 256 KiB per second"), "{message}");
    assert!(tails.iter().all(|tail| tail.last().unwrap().starts_with("xxxx")), "each failure has its own last lines");
}

#[tokio::test]
async fn a_granted_secret_is_shown_nowhere() {
    let secret = "hunter2-hunter2";
    let settings =
        PluginConfig { secrets: [("token".to_owned(), Secret::new(secret))].into(), ..PluginConfig::default() };
    let panicking = format!("panicked at src/lib.rs:1:1: bad token {secret}");
    // The secret stands at 1000: as a line, as a panic, and as the reason of a rejection.
    for (text, end) in [
        (secret, "(call $ok)".to_owned()),
        (panicking.as_str(), "unreachable".to_owned()),
        (secret, format!("(call $reject (i32.const 1000) (i32.const {}))", secret.len())),
        (secret, format!("(call $retry (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const {}))", secret.len())),
    ] {
        let plugin = load_with(&logging(4, text, 1, &end), &settings);
        let mut answer = None;
        let lines = logged_as_json(async || answer = Some(call(&plugin, "{}").await)).await;
        let shown = format!("{lines:?} {answer:?}");
        assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn a_trap_shows_file_and_line_where_there_is_debug_information() {
    let component = handler_with_lines(
        "(func $deeper unreachable)
         (func $handle (param i32) (result i32)
             (call $deeper)
             (call $ok))",
    );
    let failure = call(&load(&component), "{}").await.unwrap_err();
    let lines: Vec<&str> = failure.text.lines().collect();
    assert_eq!(lines[0], "the guest trapped: wasm `unreachable` instruction executed");
    assert!(lines[1].contains("deeper") && lines[1].contains("guest.wat:"), "{}", failure.text);
    assert!(lines[2].contains("handle") && lines[2].contains("guest.wat:"), "{}", failure.text);
    let line_of = |text: &str| {
        text.rsplit("guest.wat:")
            .next()
            .unwrap()
            .split(':')
            .next()
            .unwrap()
            .trim_end_matches(')')
            .parse::<u32>()
            .unwrap()
    };
    assert_eq!(line_of(lines[2]), line_of(lines[1]) + 2, "{}", failure.text);
}
