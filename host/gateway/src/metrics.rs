//! Metrics in the Prometheus text format.
//!
//! ```text
//! host ── Snapshot (plain data) ──┐
//! gateway ── Requests (counters) ─┴─ encode ── text
//! ```
//!
//! Labels come from the configuration and from closed lists, never from traffic: no event, key, subject or address can make the
//! answer grow. [`METRICS`] declares every metric; the writer takes nothing else, and `docs/metrics.md` is compared with it.
//! The writer is our own, because a snapshot is written once and forgotten: the client libraries are made for counters that
//! live in them.

mod catalogue;
mod requests;
mod snapshot;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use catalogue as m;
use text::Text;

pub use catalogue::{METRICS, Metric, MetricKind};
pub(crate) use requests::Requests;
pub use snapshot::{PluginMetrics, ProjectionLag, ProjectionMetrics, ReloadMetrics, RouteMetrics, Snapshot};

pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything as text.
pub(crate) fn encode(snapshot: &Snapshot, requests: &Requests) -> String {
    let mut text = Text::default();
    host(&mut text, snapshot);
    routes(&mut text, &snapshot.routes);
    plugins(&mut text, &snapshot.plugins);
    projections(&mut text, &snapshot.projections);
    http(&mut text, requests);
    text.finish()
}

fn host(text: &mut Text, snapshot: &Snapshot) {
    let Snapshot { version, broker, broker_connected, started, reloads, ticker_alive, resident_bytes, .. } = snapshot;
    text.family(&m::INFO, [([version.as_str(), broker.as_str()], 1.0)]);
    text.family(&m::START_TIME, [([], unix(*started))]);
    text.family(&m::BROKER_CONNECTED, [([], truth(*broker_connected))]);
    text.family(&m::TICKER_ALIVE, [([], truth(*ticker_alive))]);
    text.family(&m::RESIDENT_BYTES, resident_bytes.map(|bytes| ([], bytes as f64)));
    let results = [(["applied"], reloads.applied as f64), (["refused"], reloads.refused as f64)];
    text.family(&m::CONFIG_RELOADS, results);
    text.family(&m::CONFIG_LAST_RELOAD, reloads.last_success.map(|at| ([], unix(at))));
}

fn routes(text: &mut Text, routes: &[RouteMetrics]) {
    let each = |value: fn(&RouteMetrics) -> u64| {
        routes.iter().map(move |route| ([route.name.as_str()], value(route) as f64)).collect::<Vec<_>>()
    };
    text.family(&m::EVENTS_RECEIVED, each(|route| route.counts.received));
    let outcomes = routes.iter().flat_map(|route| {
        let counts = &route.counts;
        let outcomes = [("done", counts.done), ("skipped", counts.skipped), ("dead-lettered", counts.dead_lettered)];
        outcomes.map(|(outcome, count)| ([route.name.as_str(), outcome], count as f64))
    });
    text.family(&m::EVENTS_PROCESSED, outcomes);
    let reasons = routes.iter().flat_map(|route| by_name(&route.name, &route.counts.dead_lettered_by_reason));
    text.family(&m::EVENTS_DEAD_LETTERED, reasons);
    text.family(&m::EVENTS_EMITTED, each(|route| route.counts.emitted));
    text.family(&m::EVENT_RETRIES, each(|route| route.counts.retried));
    text.family(&m::STATE_CONFLICTS, each(|route| route.counts.conflicts));
    let failures = routes.iter().flat_map(|route| by_name(&route.name, &route.measures.failed));
    text.family(&m::ATTEMPTS_FAILED, failures);
    text.histograms(&m::EVENT_DURATION, routes.iter().map(|route| ([route.name.as_str()], &route.measures.in_host)));
    text.histograms(&m::EVENT_END_TO_END, routes.iter().map(|it| ([it.name.as_str()], &it.measures.end_to_end)));
    text.family(&m::IN_FLIGHT, each(|route| route.measures.in_flight));
    let backlogs = routes.iter().filter_map(|route| Some((route, route.backlog?)));
    let backlogs: Vec<_> = backlogs.collect();
    text.family(&m::CONSUMER_PENDING, backlogs.iter().map(|(it, left)| ([it.name.as_str()], left.undelivered as f64)));
    text.family(
        &m::CONSUMER_ACK_PENDING,
        backlogs.iter().map(|(it, left)| ([it.name.as_str()], left.in_flight as f64)),
    );
    text.family(&m::CONSUMER_PARKED, backlogs.iter().map(|(it, left)| ([it.name.as_str()], left.parked as f64)));
    let lags = routes.iter().filter_map(|route| Some(([route.name.as_str()], route.lag?.as_secs_f64())));
    text.family(&m::CONSUMER_LAG, lags);
}

fn plugins(text: &mut Text, plugins: &[PluginMetrics]) {
    let each = |value: fn(&PluginMetrics) -> f64| {
        plugins.iter().map(move |plugin| ([plugin.name.as_str()], value(plugin))).collect::<Vec<_>>()
    };
    text.family(&m::PLUGIN_INFO, plugins.iter().map(|it| ([it.name.as_str(), &it.digest, &it.world], 1.0)));
    text.family(&m::PLUGIN_GENERATION, each(|plugin| plugin.generation as f64));
    text.family(&m::PLUGIN_ON_PROBATION, each(|plugin| truth(plugin.on_probation)));
    text.family(&m::PLUGIN_LOADS, plugins.iter().flat_map(|plugin| by_name(&plugin.name, &plugin.loads)));
    text.family(&m::PLUGIN_TRAPS, plugins.iter().flat_map(|plugin| by_name(&plugin.name, &plugin.traps)));
    text.summaries(
        &m::HANDLER_DURATION,
        plugins.iter().map(|it| ([it.name.as_str()], it.calls, it.busy.as_secs_f64())),
    );
    text.family(&m::PLUGIN_COMPILE, each(|plugin| plugin.compile.as_secs_f64()));
    let memory = plugins.iter().filter_map(|it| Some(([it.name.as_str()], it.memory_bytes? as f64)));
    text.family(&m::PLUGIN_MEMORY, memory);
    text.family(&m::INSTANCES_MAX, each(|plugin| plugin.instances as f64));
    let used = plugins.iter().filter_map(|it| Some(([it.name.as_str()], it.instances_in_use? as f64)));
    text.family(&m::INSTANCES_IN_USE, used);
    text.family(&m::INSTANCES_OUTGROWN, each(|plugin| plugin.outgrown as f64));
}

fn projections(text: &mut Text, projections: &[ProjectionMetrics]) {
    let each = |value: fn(&ProjectionMetrics) -> f64| {
        projections.iter().map(move |it| ([it.name.as_str()], value(it))).collect::<Vec<_>>()
    };
    text.family(&m::PROJECTION_RECEIVED, each(|it| it.received as f64));
    let outcomes = projections.iter().flat_map(|it| {
        let dead = it.dead_lettered.values().sum();
        let outcomes = [("folded", it.folded), ("skipped", it.skipped), ("dead-lettered", dead)];
        outcomes.map(|(outcome, count)| ([it.name.as_str(), outcome], count as f64))
    });
    text.family(&m::PROJECTION_PROCESSED, outcomes);
    let reasons = projections.iter().flat_map(|it| by_name(&it.name, &it.dead_lettered));
    text.family(&m::PROJECTION_DEAD_LETTERED, reasons);
    text.family(&m::PROJECTION_RETRIES, each(|it| it.retried as f64));
    text.family(&m::PROJECTION_BATCHES, each(|it| it.batches as f64));
    text.histograms(&m::PROJECTION_DURATION, projections.iter().map(|it| ([it.name.as_str()], &it.durations)));
    let lags = || projections.iter().flat_map(|it| it.lag.iter().map(|lag| (it.name.as_str(), lag)));
    text.family(&m::PROJECTION_POSITION, lags().map(|(name, lag)| ([name, &lag.stream], lag.position as f64)));
    text.family(&m::PROJECTION_LAG_EVENTS, lags().map(|(name, lag)| ([name, &lag.stream], lag.events as f64)));
    text.family(&m::PROJECTION_LAG_SECONDS, lags().map(|(name, lag)| ([name, &lag.stream], lag.age.as_secs_f64())));
    text.family(&m::PROJECTION_DEGRADED, each(|it| truth(it.degraded)));
    text.family(&m::PROJECTION_REBUILDING, each(|it| truth(it.rebuilding)));
    let states = projections.iter().map(|it| ([it.name.as_str(), it.state.as_str()], 1.0));
    text.family(&m::PROJECTION_STATE, states);
}

fn http(text: &mut Text, requests: &Requests) {
    let answered = requests.answered_by();
    let samples = answered.iter().map(|(it, count)| ([it.template, it.method, it.status.as_str()], *count as f64));
    text.family(&m::HTTP_REQUESTS, samples);
    let durations = requests.durations();
    text.histograms(&m::HTTP_DURATION, durations.iter().map(|(template, spread)| ([*template], spread)));
    text.family(&m::HTTP_CONNECTIONS, [([], requests.connections() as f64)]);
}

fn by_name<'a>(owner: &'a str, counts: &'a BTreeMap<String, u64>) -> impl Iterator<Item = ([&'a str; 2], f64)> {
    counts.iter().map(move |(name, count)| ([owner, name.as_str()], *count as f64))
}

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
