//! What a guest writes, as a person reads it.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tidemill_core::failure::FailureKind;
use tracing_subscriber::fmt::MakeWriter;

use crate::guest::{LOG, handler};
use crate::rig::{call, call_on, limits, load, route};

/// What all tests of this process log. One subscriber for all, because an instance may log from any thread.
static LOGGED: LazyLock<Captured> = LazyLock::new(|| {
    let captured = Captured::default();
    tracing_subscriber::fmt().with_ansi(false).with_writer(captured.clone()).init();
    captured
});

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

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
    fn text(&self) -> String {
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
         `plugins.settings.<plugin>.limits.log_bytes` in runtime.yaml raises it"
    );
}
