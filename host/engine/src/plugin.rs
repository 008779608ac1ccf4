//! One loaded build of a plugin, ready for events.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidemill_core::effect::Effects;
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::name::PluginName;
use tidemill_core::port::{Call, Handler, Question, Role};
use tidemill_core::text::clean_text;

use crate::component;
use crate::instance::{Blueprint, Instance};
use crate::pool::Pool;

/// What is shown of a query that nobody answers.
const MAX_QUERY_NAME_BYTES: usize = 128;

/// One build of a plugin. Made by [`Engine::load`](crate::Engine::load).
///
/// Poll its calls on [`Engine::runtime`](crate::Engine::runtime): a guest holds the thread that polls it for up to a tick
/// (5 ms) at a time, and heartbeats and timers of the host must not wait behind it.
pub struct Plugin {
    pub(crate) blueprint: Arc<Blueprint>,
    pool: Pool,
    description: Description,
    uses_state: bool,
}

/// What is known about a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What it was loaded for.
    pub role: Role,
    /// `sha256:` and 64 hexadecimal digits of the component's bytes.
    pub digest: String,
    /// Bytes of the component.
    pub size: usize,
    /// The interfaces that it imports, with versions, as it names them.
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// Until its machine code was ready: milliseconds if that was in the cache.
    pub compile_time: Duration,
    /// Whether the machine code was in the cache.
    pub cached: bool,
    /// How long its first instance took to start.
    pub start_time: Duration,
    /// Calls at the same time.
    pub instances: usize,
}

// === impl Description ===

impl Description {
    /// The world that it was loaded as, with the version of the contract that it was built against: `handler@0.2.0`,
    /// `projection@0.1.0`.
    pub fn world(&self) -> String {
        component::world(self.role, &self.exports)
    }
}

// === impl Plugin ===

impl Plugin {
    pub(crate) fn new(blueprint: Arc<Blueprint>, first: Instance, description: Description, uses_state: bool) -> Self {
        let pool = Pool::new(description.instances, blueprint.settings.instance);
        pool.put(first);
        Self { blueprint, pool, description, uses_state }
    }

    pub fn name(&self) -> &PluginName {
        &self.blueprint.name
    }

    /// Bytes of linear memory that its instances have at this moment, all together.
    pub fn memory(&self) -> u64 {
        self.blueprint.memory.load(Relaxed)
    }

    /// Calls that are under way.
    pub fn calls_in_flight(&self) -> usize {
        self.pool.in_use()
    }

    pub fn describe(&self) -> &Description {
        &self.description
    }
}

#[async_trait]
impl Handler for Plugin {
    async fn handle(&self, call: Call<'_>) -> Result<Effects, Failure> {
        let mut lease = self.pool.lease().await?;
        let instance = lease.instance(&self.blueprint).await.map_err(|failure| named(failure, self.name()))?;
        let outcome = instance.call(call).await.map_err(|failure| named(failure, self.name()));
        if !instance.is_reusable() {
            // Giving back what it had takes milliseconds if that is much: others get their turn before.
            tokio::task::yield_now().await;
        }
        outcome
    }

    async fn query(&self, question: Question<'_>) -> Result<Bytes, Failure> {
        if !self.blueprint.linked.answers_queries() {
            let name = clean_text(question.name, MAX_QUERY_NAME_BYTES);
            let text =
                format!("there is no query `{name}`: the plugin does not export `{}`", component::QUERIES_EXPORT);
            return Err(Failure::new(FailureKind::Rejected, text));
        }
        let mut lease = self.pool.lease().await?;
        let instance = lease.instance(&self.blueprint).await.map_err(|failure| named(failure, self.name()))?;
        let answer = instance.query(question).await.map_err(|failure| named(failure, self.name()));
        if !instance.is_reusable() {
            tokio::task::yield_now().await;
        }
        answer
    }

    fn digest(&self) -> String {
        self.description.digest.clone()
    }

    fn uses_state(&self) -> bool {
        self.uses_state
    }

    fn outgrown(&self) -> u64 {
        self.pool.outgrown()
    }
}

/// What refuses knows which line of runtime.yaml would allow it, but not for which plugin.
pub(crate) fn named(failure: Failure, plugin: &PluginName) -> Failure {
    let name = |text: String| text.replace("plugins.settings.<plugin>", &format!("plugins.settings.{plugin}"));
    Failure { text: name(failure.text), log_tail: failure.log_tail.into_iter().map(name).collect(), ..failure }
}
