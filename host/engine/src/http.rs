//! Outgoing HTTP requests of a plugin (`wasi:http`, linked only where `allowed_outbound_hosts` is not empty).
//!
//! ```text
//! request ── target ── exchange ── answer
//!            (granted?) (resolve once, check every address, connect to what was checked)
//! ```
//!
//! What must stay true:
//! - Nothing leaves but to a target that `runtime.yaml` grants, and only to the addresses that were checked for it. The
//!   `Host` header is made from the checked target, never from what the guest wrote.
//! - Nothing is followed, unpacked, cached or kept: a redirect is an answer, a compressed body is bytes, each request has a
//!   connection of its own. The guest's next request is checked like its first.
//! - A request ends by `http_timeout`, its bodies by `http_body`, and all of it with the call: no connection outlives the
//!   event that it was opened for.
//! - What the host does not do is an error to the guest and a line in the plugin's log, and stands in the call's failure if
//!   it fails.
//!
//! A request is **not an effect**: it leaves at once, and again when the event is handled again. A plugin that changes
//! something elsewhere sends an idempotency key; `host.stable-id` is one.
//!
//! Requests run on the guests' threads, not on the host's. A guest that computes gives its thread away at each tick (5 ms), so
//! a request may be late by as much; in return, what a plugin makes the machine read, encrypt and copy competes with
//! plugins, and never with the broker's heartbeats.
//!
//! wasmtime's own sender was not taken (and is not built in): it connects to whatever a name resolves to.

mod answered;
mod body;
mod exchange;
mod network;
mod refused;
mod target;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use http::uri::Scheme;
use http::{HeaderName, Request, Response, header};
use tidemill_core::config::PluginConfig;
use tidemill_core::outbound::check_target;
use tokio::sync::{Semaphore, watch};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks,
};

use self::answered::{Answered, described};
use self::exchange::Exchange;
use self::refused::Refused;
use crate::audit::Recorder;
use crate::call_log::{Level, SharedLog};
use crate::stage::{Props, Requests};

pub use self::network::{Network, Resolve, System};

/// What the names and values of one set of headers may take, as the host keeps them.
const MAX_FIELD_BYTES: usize = 32 * 1024;

/// What a guest hands over in one write of a body. The host buffers two of these for each body, also of requests that are
/// never sent, so this bounds what a thousand of them cost.
const BODY_CHUNK_BYTES: usize = 16 * 1024;

/// Headers that speak about the connection, in addition to those that wasmtime refuses. The connection is the host's.
const HOP_BY_HOP: [HeaderName; 2] = [header::TE, header::TRAILER];

type Sent = Result<(Response<WasiBody>, Background), Error>;
/// What goes on after the answer's head has come: nothing here, because the connection belongs to the answer's body.
type Background = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// What all instances of one build share.
pub(crate) struct Outbound {
    settings: Arc<PluginConfig>,
    network: Arc<Network>,
    under_way: Arc<Semaphore>,
    recorder: Option<Arc<Recorder>>,
}

/// The requests of one instance.
pub(crate) struct Http {
    outbound: Arc<Outbound>,
    notes: Notes,
    /// Given on a stage, which may keep requests from leaving.
    props: Option<Arc<Props>>,
    /// Whether an event is being handled. There is nobody to blame for a request at any other time.
    pub(crate) in_call: bool,
    /// Dropped at the end of the call, which ends its requests. `None` until the call's first.
    call: Option<watch::Sender<()>>,
}

/// Where a request goes.
enum Way {
    Out(Exchange),
    /// On a stage.
    Answered(Answered),
}

/// Where it is kept that something was refused.
#[derive(Clone)]
struct Notes {
    log: SharedLog,
    /// The call's first refusal by a grant or a limit.
    first: Arc<Mutex<Option<String>>>,
}

/// The part of a store that `wasi:http` keeps for itself.
pub(crate) fn context() -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    context.set_field_size_limit(MAX_FIELD_BYTES);
    context
}

// === impl Outbound ===

impl Outbound {
    pub(crate) fn new(settings: Arc<PluginConfig>, network: Arc<Network>, recorder: Option<Arc<Recorder>>) -> Self {
        let most = usize::try_from(settings.limits.http_requests).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { settings, network, under_way: Arc::new(Semaphore::new(most)), recorder }
    }
}

// === impl Http ===

impl Http {
    pub(crate) fn new(outbound: Arc<Outbound>, log: SharedLog, props: Option<Arc<Props>>) -> Self {
        Self { outbound, notes: Notes { log, first: Arc::default() }, props, in_call: false, call: None }
    }

    /// Ends what the call left open, and tells what it was refused.
    pub(crate) fn end_call(&mut self) -> Option<String> {
        self.call = None;
        self.notes.first().take()
    }

    fn begin(&mut self, request: &Request<WasiBody>) -> Result<Way, Refused> {
        let target = target::of(request)?;
        if let Some(recorder) = &self.outbound.recorder {
            recorder.request(&target);
        }
        if !self.in_call {
            return Err(Refused::NoCall);
        }
        check_target(&self.outbound.settings.allowed_outbound_hosts, &target)?;
        if let Some(props) = &self.props {
            match props.requests() {
                Requests::Answered(answers) => {
                    let (props, notes) = (Arc::clone(props), self.notes.clone());
                    return Ok(Way::Answered(Answered { answers, props, target, notes }));
                }
                requests => {
                    props.asked(described(&target, request));
                    if let Requests::Refused = requests {
                        return Err(Refused::NotSent { target });
                    }
                }
            }
        }
        let allowed = self.outbound.settings.limits.http_requests;
        let permit = Arc::clone(&self.outbound.under_way).try_acquire_owned();
        let permit = Arc::new(permit.map_err(|_| Refused::TooMany { allowed })?);
        let ended = self.call.get_or_insert_with(|| watch::Sender::new(())).subscribe();
        let outbound = Arc::clone(&self.outbound);
        Ok(Way::Out(Exchange { outbound, target, notes: self.notes.clone(), permit, ended }))
    }
}

impl WasiHttpHooks for Http {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let begun = self.begin(&request).map_err(|why| self.notes.note(&why));
        Box::new(async move {
            let answer = match begun? {
                Way::Out(exchange) => exchange.run(request, options.unwrap_or_default()).await?,
                Way::Answered(answered) => answered.run(request).await?,
            };
            Ok((answer, Box::new(async { Ok(()) }) as Background))
        })
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name) || HOP_BY_HOP.contains(name))
    }

    /// The exchange sets it, from the checked target.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn default_scheme(&mut self) -> Option<Scheme> {
        Some(Scheme::HTTPS)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }
}

// === impl Notes ===

impl Notes {
    /// Writes it down and gives what the guest shall see of it.
    fn note(&self, why: &Refused) -> Error {
        let text = why.to_string();
        self.log.lock().write(Level::Warn, &text, std::iter::empty());
        if why.is_by_grant_or_limit() {
            self.first().get_or_insert(text);
        }
        why.code()
    }

    fn first(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
