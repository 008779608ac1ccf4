//! What a component can be called for: looked up once per build, and loaded once per instance.
//!
//! Handlers and projections differ in which function gets the event, and in nothing else that an instance or a pool would have
//! to know. So this is the only place that tells them apart, by one `match` per call; a trait would have put the same question
//! behind a pointer and made every future a box. The same goes for the version of the contract that a component was built against:
//! the types are those of today in all of them, and what differs is a name that is looked up once.

use tidemill_core::port::Role;
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};

use crate::bindings::exports::tidemill::plugin::event_handler::{self, Context, Event, Failure};
use crate::bindings::exports::tidemill::plugin::{event_projection, queries};
use crate::bindings::v0_1::exports::tidemill::plugin as v0_1;
use crate::component::Names;
use crate::guest::{Guest, Task};

/// A component with its imports linked, and where its functions are.
pub(crate) struct Linked {
    pre: InstancePre<Guest>,
    places: Places,
}

enum Places {
    Handler(event_handler::GuestIndices),
    HandlerV0_1(v0_1::event_handler::GuestIndices),
    Projection(event_projection::GuestIndices, Option<queries::GuestIndices>),
    ProjectionV0_1(v0_1::event_projection::GuestIndices, Option<v0_1::queries::GuestIndices>),
}

/// The functions of one instance.
pub(crate) enum Exports {
    Handler(event_handler::Guest),
    HandlerV0_1(v0_1::event_handler::Guest),
    Projection(event_projection::Guest, Option<queries::Guest>),
    ProjectionV0_1(v0_1::event_projection::Guest, Option<v0_1::queries::Guest>),
}

// === impl Linked ===

impl Linked {
    /// Of a component whose [`Names`] were checked for this role.
    pub(crate) fn new(pre: InstancePre<Guest>, role: Role, names: &Names) -> wasmtime::Result<Self> {
        let asks = names.answer_queries();
        let places = match (role, names.is_of_version(role, "0.1.0")) {
            (Role::Handler, false) => Places::Handler(event_handler::GuestIndices::new(&pre)?),
            (Role::Handler, true) => Places::HandlerV0_1(v0_1::event_handler::GuestIndices::new(&pre)?),
            (Role::Projection, false) => Places::Projection(
                event_projection::GuestIndices::new(&pre)?,
                asks.then(|| queries::GuestIndices::new(&pre)).transpose()?,
            ),
            (Role::Projection, true) => Places::ProjectionV0_1(
                v0_1::event_projection::GuestIndices::new(&pre)?,
                asks.then(|| v0_1::queries::GuestIndices::new(&pre)).transpose()?,
            ),
        };
        Ok(Self { pre, places })
    }

    pub(crate) fn engine(&self) -> &wasmtime::Engine {
        Component::engine(self.pre.component())
    }

    pub(crate) fn answers_queries(&self) -> bool {
        matches!(self.places, Places::Projection(_, Some(_)) | Places::ProjectionV0_1(_, Some(_)))
    }

    /// Makes an instance in a store. The component's start functions run.
    pub(crate) async fn start(&self, store: &mut Store<Guest>) -> wasmtime::Result<Exports> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        Ok(match &self.places {
            Places::Handler(handle) => Exports::Handler(handle.load(&mut *store, &instance)?),
            Places::HandlerV0_1(handle) => Exports::HandlerV0_1(handle.load(&mut *store, &instance)?),
            Places::Projection(apply, query) => Exports::Projection(
                apply.load(&mut *store, &instance)?,
                query.as_ref().map(|query| query.load(&mut *store, &instance)).transpose()?,
            ),
            Places::ProjectionV0_1(apply, query) => Exports::ProjectionV0_1(
                apply.load(&mut *store, &instance)?,
                query.as_ref().map(|query| query.load(&mut *store, &instance)).transpose()?,
            ),
        })
    }
}

// === impl Exports ===

impl Exports {
    /// What an event is given to the guest for.
    pub(crate) fn task(&self) -> Task {
        match self {
            Exports::Handler(_) | Exports::HandlerV0_1(_) => Task::Handle,
            Exports::Projection(..) | Exports::ProjectionV0_1(..) => Task::Apply,
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
            Exports::HandlerV0_1(handler) => handler.call_handle(store, event, context).await,
            Exports::Projection(apply, _) => apply.call_apply(store, event, context).await,
            Exports::ProjectionV0_1(apply, _) => apply.call_apply(store, event, context).await,
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
            Exports::Projection(_, Some(queries)) => queries.call_query(store, name, params).await,
            Exports::ProjectionV0_1(_, Some(queries)) => queries.call_query(store, name, params).await,
            _ => wasmtime::bail!("the plugin does not export `query`"),
        }
    }
}
