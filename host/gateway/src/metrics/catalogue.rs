//! Every metric that there is. `docs/metrics.md` explains them; a test compares both.

/// A declared metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// As it is exported, with the prefix.
    pub name: &'static str,
    pub kind: MetricKind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            pub(super) const $constant: Metric = Metric {
                name: concat!("tidemill_", $name),
                kind: MetricKind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All of them, in the order in which they are exported.
        pub const METRICS: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    INFO = Gauge "info" ["version", "broker"] "What runs; always 1.";
    START_TIME = Gauge "start_time_seconds" [] "When the process started, in seconds since 1970.";
    BROKER_CONNECTED = Gauge "broker_connected" [] "Whether the broker is connected.";
    TICKER_ALIVE = Gauge "ticker_alive" [] "Whether the thread beats that interrupts plugins in time.";
    RESIDENT_BYTES = Gauge "resident_memory_bytes" [] "Memory of the process.";
    CONFIG_RELOADS = Counter "config_reloads_total" ["result"] "Changes on disk that were applied or refused.";
    CONFIG_LAST_RELOAD = Gauge "config_last_reload_success_timestamp_seconds" [] "When a change was last applied, in seconds since 1970.";

    EVENTS_RECEIVED = Counter "events_received_total" ["route"] "Events taken from the broker, each once.";
    EVENTS_PROCESSED = Counter "events_processed_total" ["route", "outcome"] "Events that are settled.";
    EVENTS_DEAD_LETTERED = Counter "events_dead_lettered_total" ["route", "reason"] "Events that were dead-lettered.";
    EVENTS_EMITTED = Counter "events_emitted_total" ["route"] "Events that handlers emitted.";
    EVENT_RETRIES = Counter "event_retries_total" ["route"] "Attempts that failed and are made again.";
    STATE_CONFLICTS = Counter "state_conflicts_total" ["route"] "Runs repeated because the state had changed.";
    ATTEMPTS_FAILED = Counter "attempts_failed_total" ["route", "reason"] "Attempts that failed, those made again included.";
    EVENT_DURATION = Histogram "event_duration_seconds" ["route"] "From arrival in the host to settlement.";
    EVENT_END_TO_END = Histogram "event_end_to_end_seconds" ["route"] "From storage in the stream to settlement.";
    IN_FLIGHT = Gauge "in_flight" ["route"] "Events that the host holds.";
    CONSUMER_PENDING = Gauge "consumer_pending" ["route"] "Events that are stored and not delivered yet.";
    CONSUMER_ACK_PENDING = Gauge "consumer_ack_pending" ["route"] "Events that are delivered and not settled yet.";
    CONSUMER_PARKED = Gauge "consumer_parked" ["route"] "Events that wait for the time of their next attempt.";
    CONSUMER_LAG = Gauge "consumer_lag_seconds" ["route"] "Age of the oldest event that is not settled.";

    PLUGIN_INFO = Gauge "plugin_info" ["plugin", "digest", "world"] "The build that serves; always 1.";
    PLUGIN_GENERATION = Gauge "plugin_generation" ["plugin"] "Counts the builds that were put in service.";
    PLUGIN_ON_PROBATION = Gauge "plugin_on_probation" ["plugin"] "Whether the build is on probation.";
    PLUGIN_LOADS = Counter "plugin_loads_total" ["plugin", "result"] "Builds that were taken or refused.";
    PLUGIN_TRAPS = Counter "plugin_traps_total" ["plugin", "kind"] "Calls that ended as no call should.";
    HANDLER_DURATION = Summary "handler_duration_seconds" ["plugin"] "Wall time of calls of the build that serves.";
    PLUGIN_COMPILE = Gauge "plugin_compile_seconds" ["plugin"] "Until the build's machine code was ready.";
    PLUGIN_MEMORY = Gauge "plugin_memory_bytes" ["plugin"] "Linear memory of the plugin's instances.";
    INSTANCES_MAX = Gauge "instances_max" ["plugin"] "Calls that may run at the same time.";
    INSTANCES_IN_USE = Gauge "instances_in_use" ["plugin"] "Calls that run.";
    INSTANCES_OUTGROWN = Counter "instances_outgrown_total" ["plugin"] "Instances replaced because their memory was nearly full.";

    PROJECTION_RECEIVED = Counter "projection_events_received_total" ["projection"] "Events read from the streams.";
    PROJECTION_PROCESSED = Counter "projection_events_processed_total" ["projection", "outcome"] "Events that are behind the position.";
    PROJECTION_DEAD_LETTERED = Counter "projection_events_dead_lettered_total" ["projection", "reason"] "Events that could not be folded.";
    PROJECTION_RETRIES = Counter "projection_event_retries_total" ["projection"] "Attempts to fold that failed and are made again.";
    PROJECTION_BATCHES = Counter "projection_batches_total" ["projection"] "Commits to the store.";
    PROJECTION_DURATION = Histogram "projection_event_duration_seconds" ["projection"] "From reading an event to its commit.";
    PROJECTION_POSITION = Gauge "projection_position" ["projection", "stream"] "The sequence that is folded up to.";
    PROJECTION_LAG_EVENTS = Gauge "projection_lag_events" ["projection", "stream"] "Messages that are stored and not folded yet.";
    PROJECTION_LAG_SECONDS = Gauge "projection_lag_seconds" ["projection", "stream"] "Age of the first event that is not folded yet.";
    PROJECTION_DEGRADED = Gauge "projection_degraded" ["projection"] "Whether events are missing that could not be folded.";
    PROJECTION_REBUILDING = Gauge "projection_rebuilding" ["projection"] "Whether another copy is being filled.";
    PROJECTION_STATE = Gauge "projection_state" ["projection", "state"] "The state that the projection is in; 1 for that one.";

    HTTP_REQUESTS = Counter "http_requests_total" ["endpoint", "method", "status"] "Requests that were answered.";
    HTTP_DURATION = Histogram "http_request_duration_seconds" ["endpoint"] "From a request's head to its answer.";
    HTTP_CONNECTIONS = Gauge "http_connections" [] "Connections that are open.";
}
