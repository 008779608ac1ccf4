//! Whose part is played: a route's or a projection's.

use std::sync::Arc;

use tidemill_core::config::{OnMissing, PluginConfig, ProjectionConfig, RouteConfig, RuntimeConfig, Start};
use tidemill_core::envelope::Envelope;
use tidemill_core::hops;
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::Role;
use tidemill_core::read_model::Collections;
use tidemill_core::rehearsal::Rehearsal;
use tidemill_core::retry::RetryPolicy;
use tidemill_core::schema::Schemas;
use tidemill_core::subject::{Subject, SubjectPattern};

use crate::supervisor;

/// One entry of `routes` or `projections`.
#[derive(Debug, Clone)]
pub enum Part {
    Route(Box<RouteConfig>),
    Projection(Box<ProjectionConfig>),
}

// === impl Part ===

impl Part {
    /// The parts of a plugin, in the order of the configuration.
    pub fn of(config: &RuntimeConfig, plugin: &PluginName) -> Vec<Self> {
        let routes = config.routes.iter().filter(|route| route.handler == *plugin);
        let projections = config.projections.iter().filter(|projection| projection.plugin == *plugin);
        let routes = routes.map(|route| Self::Route(Box::new(route.clone())));
        routes.chain(projections.map(|projection| Self::Projection(Box::new(projection.clone())))).collect()
    }

    /// For a plugin that no route names yet: it may emit whatever it likes.
    #[allow(clippy::expect_used, reason = "constants that are names")]
    pub fn stand_in(plugin: &PluginName) -> Self {
        let all = || SubjectPattern::try_new(">").expect("a pattern");
        Self::Route(Box::new(RouteConfig {
            name: RouteName::try_new("your-route").expect("a name"),
            stream: StreamName::try_new("YOUR-STREAM").expect("a name"),
            subjects: vec![all()],
            start: Start::All,
            filter: None,
            handler: plugin.clone(),
            emits: vec![all()],
            envelope: Envelope::default(),
            timeout: std::time::Duration::from_secs(5),
            max_in_flight: 1,
            retry: RetryPolicy::default(),
            dead_letter: Subject::try_new("dlq.your-route").expect("a subject"),
            max_hops: hops::DEFAULT_MAX,
        }))
    }

    pub fn name(&self) -> &str {
        match self {
            Part::Route(route) => route.name.as_str(),
            Part::Projection(projection) => projection.name.as_str(),
        }
    }

    /// `route`, `projection`
    pub fn noun(&self) -> &'static str {
        match self {
            Part::Route(_) => "route",
            Part::Projection(_) => "projection",
        }
    }

    pub fn role(&self) -> Role {
        match self {
            Part::Route(_) => Role::Handler,
            Part::Projection(_) => Role::Projection,
        }
    }

    pub fn plugin(&self) -> &PluginName {
        match self {
            Part::Route(route) => &route.handler,
            Part::Projection(projection) => &projection.plugin,
        }
    }

    /// The streams that it reads, each with the part of its subjects.
    pub fn sources(&self) -> Vec<(&StreamName, &[SubjectPattern])> {
        match self {
            Part::Route(route) => vec![(&route.stream, route.subjects.as_slice())],
            Part::Projection(projection) => {
                projection.sources.iter().map(|source| (&source.stream, source.subjects.as_slice())).collect()
            }
        }
    }

    pub fn max_attempts(&self) -> u32 {
        match self {
            Part::Route(route) => route.retry.max_attempts(),
            Part::Projection(projection) => projection.retry.max_attempts(),
        }
    }

    /// Of a projection.
    pub fn collections(&self) -> Option<&Collections> {
        match self {
            Part::Route(_) => None,
            Part::Projection(projection) => Some(&projection.collections),
        }
    }

    /// The stream that stores a subject which it reads.
    pub fn stream_of(&self, config: &RuntimeConfig, subject: &Subject) -> Option<StreamName> {
        let reads = |(stream, subjects): &(&StreamName, &[SubjectPattern])| {
            let declared = config.streams.iter().find(|declared| declared.name == **stream);
            let stored = declared.map_or(&[][..], |declared| declared.subjects.as_slice());
            let among = |patterns: &[SubjectPattern]| patterns.iter().any(|it| it.matches(subject.as_str()));
            // None named: all of the stream's.
            among(if subjects.is_empty() { stored } else { subjects })
        };
        self.sources().into_iter().find(reads).map(|(stream, _)| stream.clone())
    }

    /// A subject that it reads, for an event that names none: the first that is one, else the first pattern with something in
    /// its gaps.
    pub fn usual_subject(&self, config: &RuntimeConfig) -> Option<Subject> {
        let stored = |stream: &StreamName| config.streams.iter().find(|declared| declared.name == *stream);
        let patterns: Vec<&SubjectPattern> = self
            .sources()
            .into_iter()
            .flat_map(|(stream, subjects)| match subjects {
                [] => stored(stream).map_or(&[][..], |declared| declared.subjects.as_slice()),
                subjects => subjects,
            })
            .collect();
        let literal = patterns.iter().find_map(|pattern| Subject::try_new(pattern.as_str()).ok());
        literal.or_else(|| {
            let filled = patterns.first()?.as_str().split('.').map(|token| match token {
                "*" | ">" => "any",
                token => token,
            });
            Subject::try_new(&filled.collect::<Vec<_>>().join(".")).ok()
        })
    }

    /// `stream` is the one that the event comes from.
    pub fn rehearsal(
        &self,
        settings: &PluginConfig,
        stream: &StreamName,
        config: &RuntimeConfig,
        schemas: Arc<Schemas>,
    ) -> Rehearsal {
        let on_missing: OnMissing = config.schemas.on_missing;
        match self {
            Part::Route(route) => {
                let settings = Arc::new(supervisor::route_settings(route, settings));
                Rehearsal::of_route(route, settings, schemas, on_missing)
            }
            Part::Projection(projection) => {
                let settings = Arc::new(supervisor::projection_settings(projection, settings));
                Rehearsal::of_projection(projection, stream, config.max_hops, settings, schemas, on_missing)
            }
        }
    }
}
