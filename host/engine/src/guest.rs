//! What belongs to one store: the limits, the log and the empty WASI context for its whole life, and the call that it is
//! serving.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use tidemill_core::config::PluginConfig;
use tidemill_core::effect::EmitCollector;
use tidemill_core::port::{Call, CallSettings, Origin};
use tidemill_core::read_model::{DocumentError, DocumentSession};
use tidemill_core::state::StateSession;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::call_log::SharedLog;
use crate::cpu::CpuMeter;
use crate::http::{self, Http};
use crate::limiter::Limiter;
use crate::outlet::Outlet;
use crate::reach::Reach;
use crate::stage::{Dice, Lane, Pendulum, Props, StandingClock};
use crate::stdio::{Output, Stream};

/// Bytes that a guest may ask WASI's random source for at once.
const MAX_RANDOM_BYTES: u64 = 64 * 1024;

/// The data of a store.
pub(crate) struct Guest {
    pub(crate) limiter: Limiter,
    pub(crate) log: SharedLog,
    pub(crate) settings: Arc<PluginConfig>,
    pub(crate) reach: Arc<Reach>,
    /// Clocks and dice; given on a stage.
    pub(crate) props: Option<Arc<Props>>,
    /// When the guest is interrupted.
    pub(crate) deadline: Instant,
    /// The CPU time of the call, for which it is interrupted too.
    pub(crate) cpu: Arc<CpuMeter>,
    /// `None` while the instance starts and between calls.
    pub(crate) call: Option<CurrentCall>,
    wasi: WasiCtx,
    http: Http,
    http_context: WasiHttpCtx,
    resources: ResourceTable,
}

/// What a guest is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Handle,
    Apply,
    Query,
}

/// The call that the instance is serving.
pub(crate) struct CurrentCall {
    pub(crate) task: Task,
    pub(crate) settings: Arc<CallSettings>,
    /// `None` while a question is answered.
    pub(crate) origin: Option<Origin>,
    pub(crate) emits: EmitCollector,
    pub(crate) state: Option<StateSession>,
    pub(crate) documents: Option<DocumentSession>,
    /// Why the state or the read model could not be reached. It decides the call's end, whatever the guest makes of it.
    pub(crate) unavailable: Option<String>,
    /// The first write of a document that was refused. It fails the call, whatever the guest makes of it.
    pub(crate) refused_write: Option<DocumentError>,
    /// The first request over HTTP that was refused by a grant or a limit. The guest may live with it; if the call fails, the
    /// failure says so.
    pub(crate) denied: Option<String>,
}

// === impl Guest ===

impl Guest {
    pub(crate) fn new(
        settings: Arc<PluginConfig>,
        outlet: Arc<Outlet>,
        reach: Arc<Reach>,
        deadline: Instant,
        cpu: Arc<CpuMeter>,
        memory: Arc<AtomicU64>,
        props: Option<Arc<Props>>,
    ) -> Self {
        let log = SharedLog::new(outlet, &settings.limits, props.clone());
        let mut resources = ResourceTable::new();
        // Streams, pollables and the like, each of which is a handle of the guest too.
        resources.set_max_capacity(usize::try_from(settings.limits.handles).unwrap_or(usize::MAX));
        Self {
            limiter: Limiter::new(&settings.limits, memory),
            wasi: wasi(&log, &settings, props.as_ref()),
            http: Http::new(Arc::clone(&reach.outbound), log.clone(), props.clone()),
            http_context: http::context(),
            resources,
            log,
            settings,
            reach,
            props,
            deadline,
            cpu,
            call: None,
        }
    }

    /// Takes the call away from the instance, and everything that it left open.
    pub(crate) fn end_call(&mut self) -> Option<CurrentCall> {
        let denied = self.http.end_call();
        self.call.take().map(|call| CurrentCall { denied, ..call })
    }
}

/// WASI with next to nothing in it: no files, arguments or network, and of the environment only what `env` gives.
/// Interpreters import all of it and use little.
fn wasi(log: &SharedLog, settings: &PluginConfig, props: Option<&Arc<Props>>) -> WasiCtx {
    let output = |stream| Output { stream, log: log.clone() };
    let env: Vec<_> = settings.env.iter().collect();
    let mut wasi = WasiCtxBuilder::new();
    wasi.envs(&env)
        .stdout(output(Stream::Out))
        .stderr(output(Stream::Err))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MAX_RANDOM_BYTES);
    if let Some(props) = props {
        let dice = |lane| Dice(Arc::clone(props), lane);
        wasi.wall_clock(StandingClock(Arc::clone(props)))
            .monotonic_clock(Pendulum(Arc::clone(props)))
            .secure_random(dice(Lane::Wasi))
            .insecure_random(dice(Lane::WasiInsecure))
            .insecure_random_seed(u128::from(props.seed()));
    }
    wasi.build()
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http.in_call = self.call.is_some();
        WasiHttpCtxView { hooks: &mut self.http, table: &mut self.resources, ctx: &mut self.http_context }
    }
}

// === impl CurrentCall ===

impl CurrentCall {
    /// Takes what the call brings, except the event itself, which is only lent to the guest.
    pub(crate) fn begin(task: Task, call: &mut Call<'_>) -> Self {
        Self {
            origin: Some(call.origin.clone()),
            state: call.state.take(),
            documents: call.documents.take(),
            ..Self::new(task, call.route)
        }
    }

    /// A question, which has no event and no effects.
    pub(crate) fn ask(settings: &Arc<CallSettings>, documents: DocumentSession) -> Self {
        Self { documents: Some(documents), ..Self::new(Task::Query, settings) }
    }

    fn new(task: Task, settings: &Arc<CallSettings>) -> Self {
        Self {
            task,
            settings: Arc::clone(settings),
            origin: None,
            emits: EmitCollector::new(),
            state: None,
            documents: None,
            unavailable: None,
            refused_write: None,
            denied: None,
        }
    }

    /// The first effect that was refused, in words.
    pub(crate) fn refusal(&self) -> Option<String> {
        let emit = self.emits.refusal().map(ToString::to_string);
        emit.or_else(|| self.refused_write.as_ref().map(ToString::to_string))
    }
}
