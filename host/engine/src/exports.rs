//! What a component can be called for: looked up once per build, and loaded once per instance.
//!
//! Handlers and projections differ in which function gets the event, and in nothing else that an instance or a pool would have
//! to know. So this is the only place that tells them apart, by one `match` per call; a trait would have put the same question
//! behind a pointer and made every future a box.

use tidemill_core::port::Role;
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};

use crate::bindings::exports::tidemill::plugin::event_handler::{self, Context, Event, Failure};
use crate::bindings::exports::tidemill::plugin::{event_projection, queries};
use crate::component::Names;
use crate::guest::{Guest, Task};

/// A component with its imports linked, and where its functions are.
pub(crate) struct Linked {
    pre: InstancePre<Guest>,
    places: Places,
}

enum Places {
    Handler(event_handler::GuestIndices),
    Projection { apply: event_projection::GuestIndices, queries: Option<queries::GuestIndices> },
}

/// The functions of one instance.
pub(crate) enum Exports {
    Handler(event_handler::Guest),
    Projection { apply: event_projection::Guest, queries: Option<queries::Guest> },
}

// === impl Linked ===

impl Linked {
    /// Of a component whose [`Names`] were checked for this role.
    pub(crate) fn new(pre: InstancePre<Guest>, role: Role, names: &Names) -> wasmtime::Result<Self> {
        let places = match role {
            Role::Handler => Places::Handler(event_handler::GuestIndices::new(&pre)?),
            Role::Projection => Places::Projection {
                apply: event_projection::GuestIndices::new(&pre)?,
                queries: names.answer_queries().then(|| queries::GuestIndices::new(&pre)).transpose()?,
            },
        };
        Ok(Self { pre, places })
    }

    pub(crate) fn engine(&self) -> &wasmtime::Engine {
        Component::engine(self.pre.component())
    }

    pub(crate) fn answers_queries(&self) -> bool {
        matches!(self.places, Places::Projection { queries: Some(_), .. })
    }

    /// Makes an instance in a store. The component's start functions run.
    pub(crate) async fn start(&self, store: &mut Store<Guest>) -> wasmtime::Result<Exports> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        Ok(match &self.places {
            Places::Handler(handler) => Exports::Handler(handler.load(&mut *store, &instance)?),
            Places::Projection { apply, queries } => Exports::Projection {
                apply: apply.load(&mut *store, &instance)?,
                queries: queries.as_ref().map(|queries| queries.load(&mut *store, &instance)).transpose()?,
            },
        })
    }
}

// === impl Exports ===

impl Exports {
    /// What an event is given to the guest for.
    pub(crate) fn task(&self) -> Task {
        match self {
            Exports::Handler(_) => Task::Handle,
            Exports::Projection { .. } => Task::Apply,
        }
    }

    /// Gives the guest an event.
    pub(crate) async fn call(
        &self,
        store: &mut Store<Guest>,
        event: Event<'_>,
        context: Context<'_>,
    ) -> wasmtime::Result<Result<(), Failure>> {
        match self {
            Exports::Handler(handler) => handler.call_handle(store, event, context).await,
            Exports::Projection { apply, .. } => apply.call_apply(store, event, context).await,
        }
    }

    /// Asks the guest a question. Whether it answers any was asked before.
    pub(crate) async fn query(
        &self,
        store: &mut Store<Guest>,
        name: &str,
        params: &[u8],
    ) -> wasmtime::Result<Result<Vec<u8>, Failure>> {
        match self {
            Exports::Projection { queries: Some(queries), .. } => queries.call_query(store, name, params).await,
            _ => wasmtime::bail!("the plugin does not export `query`"),
        }
    }
}
