//! How a call ended: from what the guest returned, or what stopped it, to effects or a failure.
//!
//! The order of the questions is the rule. A store that could not be reached comes first, because then nothing the
//! guest says is its own fault. Then what stopped the guest; then what the guest said; and only if it said "done", whether
//! everything that it wanted was granted.

mod trap;

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tidemill_core::effect::Effects;
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::grant::Refusal;
use tidemill_core::json::{self, JsonLimits};
use tidemill_core::limits::Limits;
use tidemill_core::read_model::DocumentSession;
use tidemill_core::state::StateSession;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::bindings::exports::tidemill::plugin::event_handler::Failure as GuestFailure;
use crate::call_log::CallLog;
use crate::cpu::CpuMeter;
use crate::guest::{CurrentCall, Task};
use crate::limiter::Limiter;

/// What ended a guest that did not return by itself. Its store must not be used again.
#[derive(Debug)]
pub(crate) enum Stop {
    TimedOut,
    OutOfCpu,
    /// The host's own code panicked while it served the guest.
    HostPanicked(String),
    Failed(wasmtime::Error),
}

/// What the guest was doing.
#[derive(Clone, Copy)]
pub(crate) enum Phase<'a> {
    Start,
    Call(&'a CurrentCall),
}

/// Everything that decides how a call ended.
pub(crate) struct Ended<'a, T> {
    pub(crate) returned: Result<Result<T, GuestFailure>, Stop>,
    /// `None` only if the host lost it.
    pub(crate) call: Option<CurrentCall>,
    pub(crate) keeper: Keeper<'a>,
}

/// What the store knows of its limits, and what the guest wrote.
#[derive(Clone, Copy)]
pub(crate) struct Keeper<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) limiter: &'a Limiter,
    pub(crate) log: &'a CallLog,
}

/// Runs a guest until it returns, is stopped at the deadline or at the end of its CPU time, or brings the host's code to a
/// panic. A guest that computes is interrupted from inside; one that waits in a host function is dropped from outside.
pub(crate) async fn bounded<T>(
    deadline: Instant,
    cpu: &CpuMeter,
    guest: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Stop> {
    let guest = AssertUnwindSafe(cpu.measure(guest)).catch_unwind();
    match tokio::time::timeout_at(deadline.into(), guest).await {
        Ok(Ok(Ok(returned))) => Ok(returned),
        Ok(Ok(Err(error))) if error.downcast_ref() == Some(&Trap::Interrupt) => {
            Err(if cpu.is_exhausted() { Stop::OutOfCpu } else { Stop::TimedOut })
        }
        Ok(Ok(Err(error))) => Err(Stop::Failed(error)),
        Ok(Err(panic)) => Err(Stop::HostPanicked(panic_text(panic.as_ref()))),
        Err(_) => Err(Stop::TimedOut),
    }
}

/// The effects that the call wants, or why it failed.
pub(crate) fn outcome(ended: Ended<'_, ()>) -> Result<Effects, Failure> {
    let log = ended.keeper.log;
    let ((), call) = decide(ended)?;
    let refused = |refusal: Refusal| told(Failure::new(FailureKind::EffectRefused, refusal.to_string()), log);
    Ok(Effects {
        emits: call.emits.finish().map_err(refused)?,
        state: call.state.and_then(StateSession::finish),
        documents: call.documents.map(DocumentSession::finish).unwrap_or_default(),
    })
}

/// The answer to a question, or why there is none.
pub(crate) fn answer(ended: Ended<'_, Vec<u8>>) -> Result<Bytes, Failure> {
    let log = ended.keeper.log;
    let (answer, _) = decide(ended)?;
    let limits = JsonLimits { bytes: answer.len(), ..JsonLimits::default() };
    match json::parse(&answer, &limits) {
        Ok(_) => Ok(answer.into()),
        Err(why) => Err(told(
            Failure::new(
                FailureKind::Trap,
                format!("the plugin's answer is no JSON, as the contract says it is: {why}"),
            ),
            log,
        )),
    }
}

/// What the guest returned and what it did besides, or why the call failed.
fn decide<T>(mut ended: Ended<'_, T>) -> Result<(T, CurrentCall), Failure> {
    let denied = ended.call.as_mut().and_then(|call| call.denied.take());
    judge(ended).map_err(|failure| match denied {
        // Most likely the reason: a handler cannot do its work without what it was denied.
        Some(denied) => Failure { text: format!("{}\n{denied}", failure.text), ..failure },
        None => failure,
    })
}

fn judge<T>(ended: Ended<'_, T>) -> Result<(T, CurrentCall), Failure> {
    let Ended { returned, call, keeper } = ended;
    let log = keeper.log;
    let Some(call) = call else {
        return Err(Failure::new(FailureKind::Trap, "the host lost the call; this is a defect of Tidemill"));
    };
    if let Some(why) = call.unavailable {
        return Err(told(Failure::new(FailureKind::Unavailable, why), log));
    }
    match (returned, call.refusal()) {
        (Err(stop), _) => Err(explain(stop, Phase::Call(&call), keeper)),
        // A guest that passes a refusal on with `?` asks for a retry; what it meets is the refusal.
        (Ok(Ok(_) | Err(GuestFailure::Retry(_))), Some(refusal)) => {
            Err(told(Failure::new(FailureKind::EffectRefused, refusal), log))
        }
        (Ok(Err(said)), _) => Err(told(verdict(said), log)),
        (Ok(Ok(returned)), None) => Ok((returned, call)),
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
pub(crate) fn explain(stop: Stop, phase: Phase<'_>, keeper: Keeper<'_>) -> Failure {
    let Keeper { limits, limiter, log } = keeper;
    let failure = match stop {
        Stop::TimedOut => Failure::new(FailureKind::Timeout, timeout_text(phase, limits)),
        Stop::OutOfCpu => Failure::new(FailureKind::Timeout, cpu_text(phase, limits)),
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
            None => refusal(&error, limits).unwrap_or_else(|| {
                let text = trap::text(&error, log.panic_message(), log.last_words());
                Failure::new(FailureKind::Trap, text)
            }),
        },
    };
    told(failure, log)
}

/// A limit that wasmtime itself keeps, and that reaches the guest as a trap.
fn refusal(error: &wasmtime::Error, limits: &Limits) -> Option<Failure> {
    // wasmtime has no types for these two.
    let says = |text: &str| error.chain().any(|cause| cause.to_string().contains(text));
    if matches!(error.root_cause().downcast_ref(), Some(ResourceTableError::Full))
        || says("store handle limit exceeded")
    {
        let text = format!(
            "the plugin wanted more than the {} resource handles of its limit; \
             `plugins.settings.<plugin>.limits.handles` in runtime.yaml raises it",
            limits.handles
        );
        return Some(Failure::new(FailureKind::OutOfMemory, text));
    }
    says("too much data is being copied between the host and the guest").then(|| {
        let text = format!(
            "the plugin handed the host more than {} bytes at once; the largest of `emit_bytes`, `state_bytes`, \
             `document_bytes` and `log_bytes` under `plugins.settings.<plugin>.limits` in runtime.yaml decides",
            handed_over_bytes(limits)
        );
        Failure::new(FailureKind::EffectRefused, text)
    })
}

/// What one crossing from the guest to the host may copy. Data beyond the limit of an import must arrive, to be refused
/// with a sentence; twice the largest limit is where that ends.
pub(crate) fn handed_over_bytes(limits: &Limits) -> usize {
    /// For what counts against no limit: names, reasons, lists.
    const SLACK_BYTES: u64 = 1 << 20;
    let largest = limits.emit_bytes.max(limits.state_bytes).max(limits.document_bytes).max(limits.log_bytes);
    usize::try_from(largest.saturating_mul(2).saturating_add(SLACK_BYTES)).unwrap_or(usize::MAX)
}

/// With the last lines of the log, and without secrets.
fn told(failure: Failure, log: &CallLog) -> Failure {
    Failure { log_tail: log.tail(), text: log.redacted(&failure.text).into_owned(), ..failure }
}

fn timeout_text(phase: Phase<'_>, limits: &Limits) -> String {
    match phase {
        Phase::Start => format!(
            "the plugin was not ready {:?} after its start; it does too much before its first event; \
             `plugins.settings.<plugin>.limits.start` in runtime.yaml raises it",
            limits.start
        ),
        Phase::Call(CurrentCall { task, settings, .. }) => {
            let (what, whose) = words(*task);
            format!(
                "the {what} took longer than its {:?}; `timeout` of {whose} `{}` in runtime.yaml raises it",
                settings.timeout, settings.route
            )
        }
    }
}

fn cpu_text(phase: Phase<'_>, limits: &Limits) -> String {
    let used_up = match phase {
        Phase::Start => {
            format!("the plugin used up its {:?} of CPU time before it was ready for its first event", limits.cpu)
        }
        Phase::Call(CurrentCall { task, settings, .. }) => {
            format!("the {} used up its {:?} of CPU time", words(*task).0, settings.limits.cpu)
        }
    };
    format!("{used_up}; `plugins.settings.<plugin>.limits.cpu` in runtime.yaml raises it")
}

/// What was under way, and on whose behalf.
fn words(task: Task) -> (&'static str, &'static str) {
    match task {
        Task::Handle => ("call", "route"),
        Task::Apply => ("call", "projection"),
        Task::Query => ("query", "projection"),
    }
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}
