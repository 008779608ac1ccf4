//! What a trap says to a person: the panic's own message if there is one, else the trap's; then where it happened.

use std::fmt::Write as _;

use tidemill_core::text::clean_text;
use wasmtime::{Trap, WasmBacktrace};

use crate::call_log::MAX_LINE_BYTES;
use crate::settings::WASM_STACK_BYTES;

/// Frames that are shown.
const MAX_FRAMES: usize = 10;

/// The functions that end a program in C.
const ENDS: [&str; 3] = ["abort", "__assert_fail", "_Exit"];

/// How the functions' names begin that a panic passes on its way out, in Rust and in Go. They are the same for each panic and
/// would push the frame that matters off the end.
const PANIC_MACHINERY: [&str; 13] = [
    "panic_abort::",
    "__rust_",
    "__rustc",
    "rust_panic",
    "std::panicking::",
    "std::process::abort",
    "std::sys::",
    "core::panicking::",
    "core::option::unwrap_failed",
    "core::option::expect_failed",
    "core::result::unwrap_failed",
    "runtime.",
    "tidemill.dev_tidemill_internal_",
];

pub(super) fn text(error: &wasmtime::Error, panic: Option<&str>, last_words: Option<&str>) -> String {
    let mut text = match (panic, error.downcast_ref::<Trap>()) {
        (Some(message), _) => message.to_owned(),
        // How C ends a program, after it has written why.
        (None, Some(trap @ Trap::UnreachableCodeReached)) if let Some(words) = last_words => {
            format!("the guest trapped: {}, after it wrote: {words}", named(*trap))
        }
        (None, Some(Trap::StackOverflow)) => format!(
            "the guest's stack of {} MiB, the same for all plugins, is used up: a recursion without end, or too deep",
            WASM_STACK_BYTES >> 20
        ),
        (None, Some(trap)) => format!("the guest trapped: {}", named(*trap)),
        (None, None) => error.root_cause().to_string(),
    };
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        append_frames(&mut text, backtrace);
    }
    text
}

fn named(trap: Trap) -> String {
    trap.to_string().trim_start_matches("wasm trap: ").to_owned()
}

/// One line per frame: the function, and file and line where the component has debug information. The frames above the
/// first one of the guest's own are left out.
fn append_frames(text: &mut String, backtrace: &WasmBacktrace) {
    let printed = backtrace.to_string();
    let frames = frames(&printed);
    let own = frames.iter().position(|frame| !is_machinery(frame.function)).unwrap_or(0);
    for frame in frames.iter().skip(own).take(MAX_FRAMES) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  at {}", clean_text(shown(frame.function), MAX_LINE_BYTES));
        if let Some(place) = frame.place {
            let _ = write!(text, " ({})", clean_text(place, MAX_LINE_BYTES));
        }
    }
}

/// One function of a backtrace, inlined ones included.
#[derive(Debug, PartialEq, Eq)]
struct Frame<'a> {
    function: &'a str,
    /// `file:line:column`.
    place: Option<&'a str>,
}

/// Reads what wasmtime prints, because it demangles names only there: `NUMBER: ADDRESS - FUNCTION`, then perhaps
/// `at PLACE` on a line of its own, then functions that were inlined into it.
fn frames(printed: &str) -> Vec<Frame<'_>> {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    for line in printed.lines().skip(1) {
        let line = line.trim();
        match (line.strip_prefix("at "), frames.last_mut()) {
            (Some(place), Some(frame)) => frame.place = Some(place),
            _ => {
                let function = line.split_once("- ").map_or(line, |(_, function)| function);
                frames.push(Frame { function, place: None });
            }
        }
    }
    // A stripped component has numbers for names, which help nobody.
    frames.retain(|frame| !frame.function.contains("<wasm function"));
    frames
}

/// Without the module, where that has no name, and without what Go makes of type parameters.
fn shown(function: &str) -> &str {
    let function = function.strip_prefix("<unknown>!").unwrap_or(function);
    function.split_once("_go.shape.").map_or(function, |(function, _)| function)
}

fn is_machinery(function: &str) -> bool {
    let function = function.rsplit_once('!').map_or(function, |(_, function)| function);
    ENDS.contains(&function) || PANIC_MACHINERY.iter().any(|machinery| function.starts_with(machinery))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_is_read_with_its_places() {
        let printed = "error while executing at wasm backtrace:
    0:   0x4b2 - rust_panic
                    at /rustc/std/src/panicking.rs:9:1
    1:   0x4b9 - core::result::unwrap_failed
                - guest::total
                    at src/lib.rs:33:5
    2:   0x11f - guest!<wasm function 7>
    3:   0x12f - guest!handle";
        let frame = |function, place| Frame { function, place };
        assert_eq!(
            frames(printed),
            [
                frame("rust_panic", Some("/rustc/std/src/panicking.rs:9:1")),
                frame("core::result::unwrap_failed", None),
                frame("guest::total", Some("src/lib.rs:33:5")),
                frame("guest!handle", None),
            ]
        );
        assert!(is_machinery("guest!rust_panic") && !is_machinery("guest!handle"));
        assert!(is_machinery("abort") && is_machinery("__assert_fail") && !is_machinery("abort_order"));
        assert!(is_machinery("<unknown>!runtime.gopanic") && !is_machinery("<unknown>!main.record"));
    }

    #[test]
    fn a_frame_is_shown_as_its_author_calls_it() {
        for (function, expected) in [
            ("guest!handle", "guest!handle"),
            ("<unknown>!main.record", "main.record"),
            ("<unknown>!main.main.Handle_go.shape.struct___ID_string__json___id____.func1", "main.main.Handle"),
        ] {
            assert_eq!(shown(function), expected);
        }
    }
}
