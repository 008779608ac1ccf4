//! One instance of a plugin in a store of its own: started once, called for one event at a time.
//!
//! An instance that was stopped in the middle of a call (a trap, the time limit, a dropped future) is never called again:
//! its memory may be half-written, and wasmtime refuses to enter it. That is why it counts as unsound from the beginning
//! of a call until the guest has returned by itself, and not the other way round.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_core::config::PluginConfig;
use tidemill_core::effect::Effects;
use tidemill_core::event::Event;
use tidemill_core::failure::Failure;
use tidemill_core::name::PluginName;
use tidemill_core::port::Call;
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::bindings::exports::tidemill::plugin::event_handler::{Context, Event as GuestEvent};
use crate::bindings::tidemill::plugin::types::AttributeParam;
use crate::bindings::{Handler, HandlerPre};
use crate::failure::{self, Ended, Phase};
use crate::guest::{CurrentCall, Guest};
use crate::reach::Reach;

/// Resource handles that a guest may have at the same time, its own included.
const MAX_HANDLES: usize = 10_000;

/// What one host call may copy out of a guest besides the data that its limits allow.
const HOSTCALL_SLACK_BYTES: u64 = 1 << 20;

/// What all instances of one build of a plugin are made from.
pub(crate) struct Blueprint {
    pub(crate) name: PluginName,
    pub(crate) pre: HandlerPre<Guest>,
    pub(crate) settings: Arc<PluginConfig>,
    pub(crate) reach: Arc<Reach>,
    pub(crate) start_limit: Duration,
}

/// A started instance.
pub(crate) struct Instance {
    store: Store<Guest>,
    handler: Handler,
    /// False from the beginning of a call until the guest has returned by itself.
    sound: bool,
    calls_left: u64,
    /// The sequence of the call as text; kept for its allocation.
    sequence: String,
}

// === impl Instance ===

impl Instance {
    /// Starts an instance: the component's start functions run here, under the start limit.
    pub(crate) async fn start(blueprint: &Blueprint) -> Result<Self, Failure> {
        let deadline = after(blueprint.start_limit);
        let mut store = store(blueprint, deadline);
        let started = failure::bounded(deadline, blueprint.pre.instantiate_async(&mut store)).await;
        let guest = store.data_mut();
        guest.log.lock().end();
        let handler = started.map_err(|stop| {
            failure::explain(stop, Phase::Start(blueprint.start_limit), &guest.limiter, &guest.log.lock())
        })?;
        guest.limiter.forget_refusal();
        let calls_left = jittered(blueprint.settings.limits.max_events_per_instance);
        Ok(Self { store, handler, sound: true, calls_left, sequence: String::new() })
    }

    /// Whether it may serve another event.
    pub(crate) fn is_reusable(&self) -> bool {
        self.sound && self.calls_left > 0 && !self.store.data().limiter.is_nearly_full()
    }

    /// Calls the guest with one event.
    pub(crate) async fn call(&mut self, mut call: Call<'_>) -> Result<Effects, Failure> {
        self.sound = false;
        self.calls_left = self.calls_left.saturating_sub(1);
        let deadline = after(call.route.timeout);
        self.begin(&mut call, deadline);
        let extensions = lend_extensions(call.event);
        let (event, context) = (lend(call.event, &extensions), context(&call, &self.sequence));
        let handle = self.handler.tidemill_plugin_event_handler().call_handle(&mut self.store, event, context);
        let returned = failure::bounded(deadline, handle).await;
        self.sound = returned.is_ok();

        let guest = self.store.data_mut();
        let call = guest.end_call();
        let mut log = guest.log.lock();
        log.end();
        let ended = Ended { returned, call, limiter: &guest.limiter, log: &log };
        failure::outcome(ended)
    }

    fn begin(&mut self, call: &mut Call<'_>, deadline: Instant) {
        self.sequence.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.sequence, "{}", call.origin.sequence);
        let guest = self.store.data_mut();
        guest.deadline = deadline;
        guest.limiter.forget_refusal();
        guest.log.lock().begin(&call.route.route, &call.event.id, call.route.limits.log_bytes);
        guest.call = Some(CurrentCall::begin(call));
        self.store.set_epoch_deadline(1);
    }
}

fn store(blueprint: &Blueprint, deadline: Instant) -> Store<Guest> {
    let guest = Guest::new(&blueprint.name, Arc::clone(&blueprint.settings), Arc::clone(&blueprint.reach), deadline);
    let mut store = Store::new(blueprint.pre.engine(), guest);
    let limits = &blueprint.settings.limits;
    // Data beyond the limits of an import must arrive, to be refused with a sentence; twice the limit is where it ends.
    let largest = limits.emit_bytes.max(limits.state_bytes).max(limits.log_bytes);
    let fuel = largest.saturating_mul(2).saturating_add(HOSTCALL_SLACK_BYTES);
    store.set_hostcall_fuel(usize::try_from(fuel).unwrap_or(usize::MAX));
    store.set_max_component_handles(MAX_HANDLES);
    store.limiter(|guest| &mut guest.limiter);
    store.epoch_deadline_callback(interrupt_or_yield);
    store.set_epoch_deadline(1);
    store
}

/// Asked at each tick while the guest runs: it is stopped at its deadline, and until then others get their turn. It must
/// touch the store's data only (CVE-2026-104855). tokio's own yield puts the task at the end of the queue, wasmtime's
/// would be polled again first.
fn interrupt_or_yield(store: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    Ok(if Instant::now() >= store.data().deadline {
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

/// A limit far beyond any clock is a day: a deadline must exist for the arithmetic to hold.
fn after(limit: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    Instant::now() + limit.min(LONGEST)
}

/// Spread by a fifth to both sides, so that instances which were started together do not end together.
fn jittered(calls: u64) -> u64 {
    let spread = calls / 5;
    fastrand::u64(calls - spread..=calls.saturating_add(spread)).max(1)
}
