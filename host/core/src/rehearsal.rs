//! One attempt at one event as a route or a projection makes it, and nothing of it carried out: for `tidemill invoke` and
//! for the cases of `tidemill test` that concern one plugin.
//!
//! Every question is asked by the function that the pipeline asks, so a rehearsal and a host cannot come to disagree. What is
//! left out is what would remain: nothing is committed, parked or dead-lettered.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use crate::config::{OnMissing, ProjectionConfig, RouteConfig};
use crate::departing::{self, Cause};
use crate::disposition::{self, Disposition, Progress};
use crate::effect::Emit;
use crate::envelope::{EmitIds, Envelope};
use crate::event::Event;
use crate::failure::Failure;
use crate::filter::Filter;
use crate::hops;
use crate::incoming::{self, Checks};
use crate::json::{self, JsonLimits};
use crate::message::Message;
use crate::name::{RouteName, StreamName};
use crate::port::{CallSettings, Origin};
use crate::retry::RetryPolicy;
use crate::schema::Schemas;
use crate::subject::Subject;

/// The route or projection whose part is played.
pub struct Rehearsal {
    pub settings: Arc<CallSettings>,
    pub envelope: Envelope,
    pub filter: Option<Filter>,
    pub max_hops: u32,
    pub retry: RetryPolicy,
    pub schemas: Arc<Schemas>,
    pub on_missing: OnMissing,
}

/// What becomes of a message before a plugin is called.
#[derive(Debug)]
pub enum Entrance {
    /// The plugin is called with it.
    Taken(Event),
    /// The filter does not want it: it is done.
    Skipped(Event),
    /// It becomes a dead letter, and no plugin is called.
    Refused(Failure, Option<Event>),
}

// === impl Rehearsal ===

impl Rehearsal {
    pub fn of_route(
        route: &RouteConfig,
        settings: Arc<CallSettings>,
        schemas: Arc<Schemas>,
        on_missing: OnMissing,
    ) -> Self {
        Self {
            settings,
            envelope: route.envelope.clone(),
            filter: route.filter.clone(),
            max_hops: route.max_hops,
            retry: route.retry.clone(),
            schemas,
            on_missing,
        }
    }

    /// `stream` is the one that the event comes from: each has its envelope.
    pub fn of_projection(
        projection: &ProjectionConfig,
        stream: &StreamName,
        max_hops: u32,
        settings: Arc<CallSettings>,
        schemas: Arc<Schemas>,
        on_missing: OnMissing,
    ) -> Self {
        let source = projection.sources.iter().find(|source| source.stream == *stream);
        Self {
            settings,
            envelope: source.map(|source| source.envelope.clone()).unwrap_or_default(),
            filter: projection.filter.clone(),
            max_hops,
            retry: projection.retry.clone(),
            schemas,
            on_missing,
        }
    }

    pub fn name(&self) -> &RouteName {
        &self.settings.route
    }

    /// What the pipeline would do with the message before it calls the plugin.
    pub fn enter(&self, message: &Message, origin: &Origin) -> Entrance {
        let event = match self.decode(message, origin) {
            Ok(event) => event,
            Err(failure) => return Entrance::Refused(failure, None),
        };
        let admitted = self.checks().validate(&event).map(|data| {
            let wanted = |filter: &Filter| filter.admits(&event, data.as_ref());
            self.filter.as_ref().is_none_or(wanted)
        });
        match admitted.map(|admitted| admitted.then(|| hops::check(&message.headers, self.max_hops))) {
            Ok(None) => Entrance::Skipped(event),
            Ok(Some(Ok(()))) => Entrance::Taken(event),
            Ok(Some(Err(failure))) | Err(failure) => Entrance::Refused(failure, Some(event)),
        }
    }

    /// Why the filter does not want the event, line by line.
    pub fn explain(&self, event: &Event) -> String {
        let data = json::parse(&event.data, &JsonLimits::default()).ok();
        let explained = self.filter.as_ref().map(|filter| filter.explain(event, data.as_ref()).to_string());
        explained.unwrap_or_default()
    }

    /// The event, whatever schema and filter say of it.
    pub fn decode(&self, message: &Message, origin: &Origin) -> Result<Event, Failure> {
        incoming::decode(&self.envelope, message, origin)
    }

    /// The emits of a call as they would leave at `now`, or why none of them would.
    pub fn leave(
        &self,
        emits: Vec<Emit>,
        (event, message, origin): (&Event, &Message, &Origin),
        now: SystemTime,
    ) -> Result<Vec<(Subject, Event)>, Failure> {
        let ids = EmitIds { route: self.name(), origin };
        let departing =
            departing::encode(emits, Cause { event, message, ids }, self.checks(), OffsetDateTime::from(now))?;
        Ok(departing.into_iter().map(|(event, outgoing)| (outgoing.message.subject, event)).collect())
    }

    /// What the host would do after this failure at this attempt of an event that has been failing for so long. Delays are those in
    /// the middle of their jitter.
    pub fn then(&self, failure: &Failure, attempt: u32, age: Duration) -> Disposition {
        let progress = Progress { attempt, age, host_faults: 0 };
        disposition::decide(failure, progress, &self.retry, 0.5)
    }

    fn checks(&self) -> Checks<'_> {
        Checks { schemas: &self.schemas, on_missing: self.on_missing, name: self.name() }
    }
}
