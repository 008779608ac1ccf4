//! One instance of a plugin in a store of its own: started once, called for one event at a time.
//!
//! An instance that was stopped in the middle of a call (a trap, the time limit, a dropped future) is never called again:
//! its memory may be half-written, and wasmtime refuses to enter it. That is why it counts as unsound from the beginning
//! of a call until the guest has returned by itself, and not the other way round.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemill_core::config::PluginConfig;
use tidemill_core::effect::Effects;
use tidemill_core::event::Event;
use tidemill_core::failure::Failure;
use tidemill_core::name::PluginName;
use tidemill_core::port::{Call, CallSettings, Question};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::bindings::exports::tidemill::plugin::event_handler::{
    Context, Event as GuestEvent, Failure as GuestFailure,
};
use crate::bindings::tidemill::plugin::types::AttributeParam;
use crate::cpu::CpuMeter;
use crate::exports::{Exports, Linked};
use crate::failure::{self, Ended, Keeper, Phase, Stop};
use crate::guest::{CurrentCall, Guest};
use crate::outlet::Outlet;
use crate::reach::Reach;
use crate::stage::Props;

/// What all instances of one build of a plugin are made from.
pub(crate) struct Blueprint {
    pub(crate) name: PluginName,
    pub(crate) linked: Linked,
    pub(crate) settings: Arc<PluginConfig>,
    /// Bytes of linear memory that its instances have, all together.
    pub(crate) memory: Arc<AtomicU64>,
    outlet: Arc<Outlet>,
    reach: Arc<Reach>,
}

/// A started instance.
pub(crate) struct Instance {
    store: Store<Guest>,
    exports: Exports,
    /// False from the beginning of a call until the guest has returned by itself.
    sound: bool,
    calls_left: u64,
    /// From then on it serves no other call.
    retires: Instant,
    /// When its last call began; when it was started, if it had none.
    last_begun: Instant,
    cpu: Arc<CpuMeter>,
    /// The sequence of the call as text; kept for its allocation.
    sequence: String,
}

// === impl Blueprint ===

impl Blueprint {
    pub(crate) fn new(name: PluginName, linked: Linked, settings: Arc<PluginConfig>, reach: Arc<Reach>) -> Self {
        let outlet = Arc::new(Outlet::new(name.clone(), &settings));
        Self { name, linked, settings, outlet, reach, memory: Arc::default() }
    }
}

// === impl Instance ===

impl Instance {
    /// Starts an instance: the component's start functions run here, under `limits.start` and `limits.cpu`.
    pub(crate) async fn start(blueprint: &Blueprint) -> Result<Self, Failure> {
        Self::start_in(blueprint, CpuMeter::default(), None).await
    }

    /// The same on a stage.
    pub(crate) async fn start_on(blueprint: &Blueprint, props: &Arc<Props>) -> Result<Self, Failure> {
        Self::start_in(blueprint, CpuMeter::exact(), Some(Arc::clone(props))).await
    }

    async fn start_in(blueprint: &Blueprint, cpu: CpuMeter, props: Option<Arc<Props>>) -> Result<Self, Failure> {
        let limits = &blueprint.settings.limits;
        let now = Instant::now();
        let deadline = after(now, limits.start);
        let cpu = Arc::new(cpu);
        cpu.begin(limits.cpu);
        let mut store = store(blueprint, deadline, Arc::clone(&cpu), props);
        let started = failure::bounded(deadline, &cpu, blueprint.linked.start(&mut store)).await;
        let guest = store.data_mut();
        guest.log.lock().end();
        let exports = started.map_err(|stop| {
            let log = &guest.log.lock();
            failure::explain(stop, Phase::Start, Keeper { limits, limiter: &guest.limiter, log })
        })?;
        guest.limiter.forget_refusal();
        let calls_left = jittered(limits.max_events_per_instance).max(1);
        let age =
            Duration::from_millis(jittered(u64::try_from(limits.max_instance_age.as_millis()).unwrap_or(u64::MAX)));
        let retires = after(now, age);
        Ok(Self { store, exports, sound: true, calls_left, retires, last_begun: now, cpu, sequence: String::new() })
    }

    /// Whether it may serve another event. Its age is that at its last call: to ask the clock again would cost each call.
    pub(crate) fn is_reusable(&self) -> bool {
        self.sound
            && self.calls_left > 0
            && self.last_begun < self.retires
            && !self.store.data().limiter.is_nearly_full()
    }

    /// Whether it is well, but has taken nearly all memory that it may have.
    pub(crate) fn has_outgrown(&self) -> bool {
        self.sound && self.store.data().limiter.is_nearly_full()
    }

    /// CPU time of its last call; measured on a stage only.
    pub(crate) fn cpu_used(&self) -> Duration {
        self.cpu.used()
    }

    /// Bytes of linear memory that it has.
    pub(crate) fn memory(&self) -> u64 {
        self.store.data().limiter.memory()
    }

    /// Calls the guest with one event.
    pub(crate) async fn call(&mut self, mut call: Call<'_>) -> Result<Effects, Failure> {
        self.sequence.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.sequence, "{}", call.origin.sequence);
        let deadline = self.begin(CurrentCall::begin(self.exports.task(), &mut call), &call.event.id);
        let extensions = lend_extensions(call.event);
        let (event, context) = (lend(call.event, &extensions), context(&call, &self.sequence));
        let called = self.exports.call(&mut self.store, event, context);
        let returned = failure::bounded(deadline, &self.cpu, called).await;
        self.end(returned, failure::outcome)
    }

    /// Asks the guest a question about its read model.
    pub(crate) async fn query(&mut self, question: Question<'_>) -> Result<Bytes, Failure> {
        let Question { projection, name, params, documents } = question;
        let deadline = self.begin(CurrentCall::ask(projection, documents), &format!("query {name}"));
        let asked = self.exports.query(&mut self.store, name, params);
        let returned = failure::bounded(deadline, &self.cpu, asked).await;
        self.end(returned, failure::answer)
    }

    /// Makes the instance ready for a call; what its log lines are about stands in `about`. When it must be over.
    fn begin(&mut self, call: CurrentCall, about: &str) -> Instant {
        self.sound = false;
        self.calls_left = self.calls_left.saturating_sub(1);
        self.last_begun = Instant::now();
        let CallSettings { route, limits, timeout, .. } = &*call.settings;
        let deadline = after(self.last_begun, *timeout);
        let guest = self.store.data_mut();
        guest.deadline = deadline;
        guest.limiter.forget_refusal();
        guest.cpu.begin(limits.cpu);
        guest.log.lock().begin(route, about, limits);
        guest.call = Some(call);
        self.store.set_epoch_deadline(1);
        deadline
    }

    fn end<T, O>(
        &mut self,
        returned: Result<Result<T, GuestFailure>, Stop>,
        outcome: impl FnOnce(Ended<'_, T>) -> Result<O, Failure>,
    ) -> Result<O, Failure> {
        self.sound = returned.is_ok();
        let guest = self.store.data_mut();
        let call = guest.end_call();
        let mut log = guest.log.lock();
        log.end();
        let keeper = Keeper { limits: &guest.settings.limits, limiter: &guest.limiter, log: &log };
        outcome(Ended { returned, call, keeper })
    }
}

fn store(blueprint: &Blueprint, deadline: Instant, cpu: Arc<CpuMeter>, props: Option<Arc<Props>>) -> Store<Guest> {
    let (outlet, reach) = (Arc::clone(&blueprint.outlet), Arc::clone(&blueprint.reach));
    let guest =
        Guest::new(Arc::clone(&blueprint.settings), outlet, reach, deadline, cpu, Arc::clone(&blueprint.memory), props);
    let mut store = Store::new(blueprint.linked.engine(), guest);
    let limits = &blueprint.settings.limits;
    store.set_hostcall_fuel(failure::handed_over_bytes(limits));
    store.set_max_component_handles(usize::try_from(limits.handles).unwrap_or(usize::MAX));
    store.limiter(|guest| &mut guest.limiter);
    store.epoch_deadline_callback(interrupt_or_yield);
    store.set_epoch_deadline(1);
    store
}

/// Asked at each tick while the guest runs: it is stopped at its deadline or when its CPU time is used up, and until then
/// others get their turn. It must touch the store's data only (CVE-2026-104855). tokio's own yield puts the task at the end
/// of the queue, wasmtime's would be polled again first.
fn interrupt_or_yield(store: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    let guest = store.data();
    Ok(if guest.cpu.tick() || Instant::now() >= guest.deadline {
        UpdateDeadline::Interrupt
    } else {
        UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
    })
}

/// The event as the guest's types want it, borrowed from the host's.
fn lend<'a>(event: &'a Event, extensions: &'a [AttributeParam<'a>]) -> GuestEvent<'a> {
    GuestEvent {
        id: &event.id,
        source: &event.source,
        kind: &event.kind,
        time: event.time.as_deref(),
        subject: event.subject.as_deref(),
        datacontenttype: event.datacontenttype.as_deref(),
        dataschema: event.dataschema.as_deref(),
        extensions,
        data: &event.data,
    }
}

fn lend_extensions(event: &Event) -> Vec<AttributeParam<'_>> {
    event.extensions.iter().map(|(name, value)| AttributeParam { name, value }).collect()
}

fn context<'a>(call: &Call<'a>, sequence: &'a str) -> Context<'a> {
    Context {
        route: call.route.route.as_str(),
        attempt: call.attempt,
        max_attempts: call.route.max_attempts,
        stream: call.origin.stream.as_str(),
        sequence,
        time_limit: u32::try_from(call.route.timeout.as_millis()).unwrap_or(u32::MAX),
    }
}

/// A limit far beyond any clock is a year: a moment must exist for the arithmetic to hold.
fn after(now: Instant, limit: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
    now + limit.min(LONGEST)
}

/// Spread by a fifth to both sides, so that instances which were started together do not end together.
fn jittered(number: u64) -> u64 {
    let spread = number / 5;
    fastrand::u64(number - spread..=number.saturating_add(spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_fifth_and_is_none_for_small_numbers() {
        assert_eq!((jittered(0), jittered(4)), (0, 4));
        for _ in 0..1000 {
            assert!((80..=120).contains(&jittered(100)));
        }
        assert!(jittered(u64::MAX) >= u64::MAX / 5 * 4);
    }
}
