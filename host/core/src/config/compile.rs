//! What `runtime.yaml` means: the written values of [`file`](super::file) put together, defaults filled in, references
//! between the parts checked.
//!
//! Checks of one part never stop those of another. Where a part was unreadable, what refers to it is not called wrong: one
//! mistake is reported once, at its cause.

mod broker;
mod http;
mod plugins;
mod projections;
mod retry;
mod routes;
mod streams;

use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::{Place, Report};
use super::leaf::Text;
use super::read::{At, Optional};
use super::{OnMissing, RuntimeConfig, SchemasConfig, file};
use crate::hops;

/// The configuration, and the patterns that its filters were compiled from, in the order of the routes.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) config: RuntimeConfig,
    pub(super) patterns: Vec<Option<serde_json::Value>>,
    pub(super) projection_patterns: Vec<Option<serde_json::Value>>,
}

/// Puts the parts together. The result may be used only if nothing was reported.
pub(super) fn compile(file: file::Runtime, report: &mut Report) -> Option<Compiled> {
    let streams = streams::compile(file.streams, report);
    let policies = retry::Policies::compile(file.retry_policies, report);
    let defaults = routes::Defaults::compile(file.defaults, &policies, report);
    let max_hops = file.max_hops.map_or(hops::DEFAULT_MAX, |count| count.value.0 as u32);
    let routes = routes::compile(file.routes, &streams, &policies, &defaults, max_hops, report);
    let projections = projections::compile(file.projections, &streams, &policies, &defaults, &routes, report);
    let plugins = plugins::compile(file.plugins, &routes, &projections, report);
    let read_models = projections::read_models(file.read_models, report);
    let http = match file.http {
        Some(http) => Some(http::compile(http, &streams, &projections, report)?),
        None => None,
    };
    let broker = broker::compile(file.broker, report);
    let (projections, projection_patterns) =
        projections.list.into_iter().map(|projection| (projection.config, projection.pattern)).unzip();
    let (routes, patterns) = routes.list.into_iter().map(|route| (route.config, route.pattern)).unzip();
    let config = RuntimeConfig {
        broker: broker?,
        streams: streams.list.into_iter().map(|stream| stream.config).collect(),
        schemas: schemas(file.schemas),
        plugins,
        routes,
        read_models: read_models?,
        projections,
        http,
        max_hops,
        shutdown_grace: file.shutdown_grace.map_or(Duration::from_secs(30), |grace| grace.value.0),
    };
    Some(Compiled { config, patterns, projection_patterns })
}

fn schemas(file: Optional<file::Schemas>) -> SchemasConfig {
    let (dir, on_missing) = file.map_or((None, None), |At { value, .. }| (value.dir, value.on_missing));
    SchemasConfig { dir: path(dir, "./schemas"), on_missing: on_missing.map_or(OnMissing::Reject, |word| word.value.0) }
}

fn path(written: Optional<Text>, default: &str) -> PathBuf {
    written.map_or_else(|| default.into(), |text| text.value.0.into())
}

/// Reports a name that is taken; says where.
fn report_duplicate(kind: &str, name: &str, place: &Place, first: &Place, report: &mut Report) {
    report.error(place, format!("the {kind} `{name}` is declared twice, first in line {}", first.line));
}
