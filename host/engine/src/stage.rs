//! A plugin on a stage: called as ever, but in surroundings that are the same each time, with everything that it says written
//! down. For `tidemill invoke` and `tidemill test`.
//!
//! What differs from a host is what a person needs to reproduce a call and no more: clocks and randomness come from a
//! [`Scene`], the log is kept instead of passed on, CPU time is measured to the microsecond, and HTTP requests are not sent
//! unless the scene says so. Grants, limits and the guest's code are those of a host, and a stage reuses its instance as a pool
//! would, so what a plugin wrongly keeps from one event to the next shows here too.

mod props;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tidemill_core::config::InstancePolicy;
use tidemill_core::effect::Effects;
use tidemill_core::failure::Failure;
use tidemill_core::port::Call;

use crate::call_log::Level;
use crate::instance::Instance;
use crate::plugin::{self, Plugin};

pub(crate) use props::{Dice, Lane, Pendulum, Props, StandingClock};

/// What a plugin finds around itself during one call.
#[derive(Debug, Clone)]
pub struct Scene {
    /// What `host.now` and WASI's wall clock say, however often they are asked. WASI's monotonic clock goes on by a millisecond
    /// each time it is read, so that nobody waits for ever who waits for it.
    pub now: SystemTime,
    /// Everything random is made from it.
    pub seed: u64,
    pub requests: Requests,
}

/// What becomes of requests over HTTP. They are no effects: what one of them causes elsewhere happens at once, and again.
#[derive(Clone, Default)]
pub enum Requests {
    #[default]
    Refused,
    Sent,
    Answered(Arc<dyn Answers>),
}

/// Answers in place of a network.
pub trait Answers: Send + Sync {
    /// The answer to a request; `None` if there is none for it.
    fn answer(&self, request: &Request) -> Option<Answer>;
}

/// A request that a plugin sent, or would have sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub url: String,
    /// Read where it is answered on the stage.
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// A plugin and its one instance.
pub struct Stage {
    plugin: Arc<Plugin>,
    props: Arc<Props>,
    instance: Option<Instance>,
}

/// One call, and what could be seen of it.
#[derive(Debug)]
pub struct Performance {
    pub outcome: Result<Effects, Failure>,
    /// What was logged, and written to standard output and standard error, in this order.
    pub log: Vec<LogLine>,
    /// Requests over HTTP that were granted, whatever became of them.
    pub requests: Vec<Request>,
    /// Wall time of the call.
    pub took: Duration,
    /// CPU time of the call.
    pub cpu: Duration,
    /// Bytes of linear memory that the instance had at the end of the call; it never gives any back.
    pub memory: u64,
    /// How long the instance took to start, if one was started for the call.
    pub started: Option<Duration>,
}

/// A line of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub from: Voice,
    pub text: String,
}

/// How a line came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Through the `log` import, or from the host about the call.
    Log,
    Stdout,
    Stderr,
}

// === impl Stage ===

impl Stage {
    /// Without an instance yet.
    pub fn new(plugin: Arc<Plugin>) -> Self {
        Self { plugin, props: Arc::default(), instance: None }
    }

    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Calls the plugin. To be polled on [`Engine::runtime`](crate::Engine::runtime), like every call. May be dropped; then the
    /// instance is thrown away.
    pub async fn call(&mut self, scene: &Scene, call: Call<'_>) -> Performance {
        self.props.set(scene);
        let begun = Instant::now();
        let (mut instance, started) = match self.instance.take() {
            Some(instance) => (instance, None),
            None => match Instance::start_on(&self.plugin.blueprint, &self.props).await {
                Ok(instance) => (instance, Some(begun.elapsed())),
                Err(failure) => return self.not_started(failure, begun.elapsed()),
            },
        };
        let begun = Instant::now();
        let outcome = instance.call(call).await.map_err(|failure| plugin::named(failure, self.plugin.name()));
        let took = begun.elapsed();
        let (cpu, memory) = (instance.cpu_used(), instance.memory());
        if instance.is_reusable() && self.plugin.blueprint.settings.instance == InstancePolicy::Reuse {
            self.instance = Some(instance);
        }
        let (log, requests) = self.props.take_notes();
        Performance { outcome, log, requests, took, cpu, memory, started }
    }

    fn not_started(&self, failure: Failure, took: Duration) -> Performance {
        let failure = plugin::named(failure, self.plugin.name());
        let (log, requests) = self.props.take_notes();
        Performance { outcome: Err(failure), log, requests, took, cpu: Duration::ZERO, memory: 0, started: Some(took) }
    }
}

// === impl Request ===

impl Request {
    /// As the first line of a request, with the whole address.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.url)
    }
}

// === impl Requests ===

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Requests::Refused => "Refused",
            Requests::Sent => "Sent",
            Requests::Answered(_) => "Answered",
        })
    }
}

// === impl Voice ===

impl Voice {
    pub fn as_str(self) -> &'static str {
        match self {
            Voice::Log => "log",
            Voice::Stdout => "stdout",
            Voice::Stderr => "stderr",
        }
    }
}
