//! How a call ended: from what the guest returned, or what stopped it, to effects or a failure.
//!
//! The order of the questions is the rule. A state store that could not be reached comes first, because then nothing the
//! guest says is its own fault. Then what stopped the guest; then what the guest said; and only if it said "done", whether
//! everything that it wanted was granted.

use std::any::Any;
use std::fmt::Write as _;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tidemill_core::effect::Effects;
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::port::CallSettings;
use tidemill_core::text::clean_text;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::bindings::exports::tidemill::plugin::event_handler::Failure as GuestFailure;
use crate::call_log::{CallLog, MAX_LINE_BYTES};
use crate::guest::CurrentCall;
use crate::limiter::Limiter;

/// What ended a guest that did not return by itself. Its store must not be used again.
#[derive(Debug)]
pub(crate) enum Stop {
    TimedOut,
    /// The host's own code panicked while it served the guest.
    HostPanicked(String),
    Failed(wasmtime::Error),
}

/// What the guest was doing.
pub(crate) enum Phase<'a> {
    Start(Duration),
    Handle(&'a CallSettings),
}

/// Everything that decides how a call ended.
pub(crate) struct Ended<'a> {
    pub(crate) returned: Result<Result<(), GuestFailure>, Stop>,
    /// `None` only if the host lost it.
    pub(crate) call: Option<CurrentCall>,
    pub(crate) limiter: &'a Limiter,
    pub(crate) log: &'a CallLog,
}

/// Runs a guest until it returns, is stopped at the deadline, or brings the host's code to a panic. A guest that computes
/// is interrupted from inside; one that waits in a host function is dropped from outside.
pub(crate) async fn bounded<T>(deadline: Instant, guest: impl Future<Output = wasmtime::Result<T>>) -> Result<T, Stop> {
    match tokio::time::timeout_at(deadline.into(), AssertUnwindSafe(guest).catch_unwind()).await {
        Ok(Ok(Ok(returned))) => Ok(returned),
        Ok(Ok(Err(error))) if error.downcast_ref() == Some(&Trap::Interrupt) => Err(Stop::TimedOut),
        Ok(Ok(Err(error))) => Err(Stop::Failed(error)),
        Ok(Err(panic)) => Err(Stop::HostPanicked(panic_text(panic.as_ref()))),
        Err(_) => Err(Stop::TimedOut),
    }
}

/// The effects that the call wants, or why it failed.
pub(crate) fn outcome(mut ended: Ended<'_>) -> Result<Effects, Failure> {
    let denied = ended.call.as_mut().and_then(|call| call.denied.take());
    decide(ended).map_err(|failure| match denied {
        // Most likely the reason: a handler cannot do its work without what it was denied.
        Some(denied) => Failure { text: format!("{}\n{denied}", failure.text), ..failure },
        None => failure,
    })
}

fn decide(ended: Ended<'_>) -> Result<Effects, Failure> {
    let Ended { returned, call, limiter, log } = ended;
    let Some(call) = call else {
        return Err(Failure::new(FailureKind::Trap, "the host lost the call; this is a defect of Tidemill"));
    };
    if let Some(why) = call.unavailable {
        return Err(with_tail(Failure::new(FailureKind::Unavailable, why), log));
    }
    match returned {
        Err(stop) => Err(explain(stop, Phase::Handle(&call.route), limiter, log)),
        // A handler that passes a refusal on with `?` asks for a retry; what it meets is the refusal.
        Ok(Err(GuestFailure::Retry(_))) if call.emits.refusal().is_some() => {
            let refusal = call.emits.refusal().map(ToString::to_string).unwrap_or_default();
            Err(with_tail(Failure::new(FailureKind::EffectRefused, refusal), log))
        }
        Ok(Err(said)) => Err(with_tail(verdict(said), log)),
        Ok(Ok(())) => match call.emits.finish() {
            Ok(emits) => Ok(Effects { emits, state: call.state.and_then(|state| state.finish()) }),
            Err(refusal) => Err(with_tail(Failure::new(FailureKind::EffectRefused, refusal.to_string()), log)),
        },
    }
}

fn verdict(said: GuestFailure) -> Failure {
    match said {
        GuestFailure::Reject(reason) => Failure::new(FailureKind::Rejected, reason),
        GuestFailure::Retry(retry) => {
            let after = retry.delay.map(|millis| Duration::from_millis(millis.into()));
            Failure::new(FailureKind::RetryRequested { after }, retry.reason)
        }
    }
}

/// Why a guest was stopped, in words, and what would help.
pub(crate) fn explain(stop: Stop, phase: Phase<'_>, limiter: &Limiter, log: &CallLog) -> Failure {
    let failure = match stop {
        Stop::TimedOut => Failure::new(FailureKind::Timeout, timeout_text(phase)),
        Stop::HostPanicked(message) => Failure::new(
            FailureKind::Trap,
            format!("the host panicked while it served the plugin: {message}; this is a defect of Tidemill"),
        ),
        Stop::Failed(error) if error.is::<PoolConcurrencyLimitError>() => Failure::new(
            FailureKind::Unavailable,
            "the engine has no room for another instance; fewer `instances` under `plugins.settings` need less",
        ),
        Stop::Failed(error) => match limiter.refusal() {
            Some(refusal) => Failure::new(FailureKind::OutOfMemory, refusal),
            None => Failure::new(FailureKind::Trap, trap_text(&error, log.panic_message())),
        },
    };
    with_tail(failure, log)
}

fn with_tail(failure: Failure, log: &CallLog) -> Failure {
    Failure { log_tail: log.tail(), ..failure }
}

fn timeout_text(phase: Phase<'_>) -> String {
    match phase {
        Phase::Start(limit) => {
            format!("the plugin was not ready {limit:?} after its start; it does too much before its first event")
        }
        Phase::Handle(route) => format!(
            "the call took longer than its {:?}; `timeout` of route `{}` in runtime.yaml raises it",
            route.timeout, route.route
        ),
    }
}

/// The panic's own message if there is one, else the trap's; then where it happened.
fn trap_text(error: &wasmtime::Error, panic: Option<&str>) -> String {
    let mut text = match (panic, error.downcast_ref::<Trap>()) {
        (Some(message), _) => message.to_owned(),
        (None, Some(Trap::StackOverflow)) => {
            "the guest's stack is used up: a recursion without end, or too deep".to_owned()
        }
        (None, Some(trap)) => format!("the guest trapped: {}", trap.to_string().trim_start_matches("wasm trap: ")),
        (None, None) => error.root_cause().to_string(),
    };
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        append_frames(&mut text, backtrace);
    }
    text
}

/// One line per frame, without addresses. The number of frames is bounded by the engine's settings.
fn append_frames(text: &mut String, backtrace: &WasmBacktrace) {
    for line in backtrace.to_string().lines().skip(1) {
        let frame = line.split_once(" - ").map_or(line, |(_, frame)| frame).trim();
        // A stripped component has numbers for names, which help nobody.
        if frame.contains("<wasm function") {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = match frame.strip_prefix("at ") {
            Some(place) => write!(text, " ({})", clean_text(place, MAX_LINE_BYTES)),
            None => write!(text, "\n  at {}", clean_text(frame, MAX_LINE_BYTES)),
        };
    }
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}
