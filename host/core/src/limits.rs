//! How much one plugin may take. Every limit has a default here, with its reason, and a name in `runtime.yaml`.

use std::time::Duration;

/// Limits of one plugin. All sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, summed over all memories of an instance.
    pub memory: u64,
    /// Wall time of one call; what a route's `timeout` says wins.
    pub timeout: Duration,
    /// Emits of one call.
    pub emits: u32,
    /// Sum of the data of all emits of one call.
    pub emit_bytes: u64,
    /// One state value.
    pub state_value: u64,
    /// Sum of all keys and values that one call writes.
    pub state_bytes: u64,
    /// Keys that one call may write.
    pub state_writes: u32,
    /// One document of a read model.
    pub document: u64,
    /// Sum of all keys and documents that one event writes.
    pub document_bytes: u64,
    /// Documents that one event may write.
    pub document_writes: u32,
    /// Log text of one call; what comes after is counted and dropped.
    pub log_bytes: u64,
    /// Calls after which an instance is replaced.
    pub max_events_per_instance: u64,
    /// Age at which an instance is replaced.
    pub max_instance_age: Duration,
    /// CPU time of one call, told apart to a few milliseconds.
    pub cpu: Duration,
    /// Wall time for the start of an instance.
    pub start: Duration,
    /// Elements of all tables of an instance.
    pub table_elements: u32,
    /// Resource handles that an instance holds at the same time, its own and the host's.
    pub handles: u32,
    /// What one call writes to its standard output and standard error; what comes after is counted and dropped.
    pub stdout_bytes: u64,
    /// HTTP requests of one plugin under way at the same time.
    pub http_requests: u32,
    /// Wall time of one HTTP request, from its name's resolution to the end of the answer's body.
    pub http_timeout: Duration,
    /// The body of one HTTP request, and of its answer.
    pub http_body: u64,
}

/// The longest state key. Keys become subject tokens on JetStream, encoded, so there is room below its limits.
pub const MAX_STATE_KEY_BYTES: usize = 256;

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Fifty times what a Rust handler uses and twice what the largest measured interpreter needs to start.
            memory: 64 * 1024 * 1024,
            // Far below the broker's acknowledgement wait of 30 s, far above any handler that does no input and output.
            timeout: Duration::from_secs(5),
            // A handler that wants more is a batch job; JetStream's atomic batch ends at 1000 messages.
            emits: 100,
            // NATS refuses a message above 1 MiB by default; four full messages.
            emit_bytes: 4 * 1024 * 1024,
            state_value: 512 * 1024,
            state_bytes: 4 * 1024 * 1024,
            state_writes: 100,
            document: 512 * 1024,
            document_bytes: 4 * 1024 * 1024,
            // An event that changes more documents wants to be a query.
            document_writes: 1000,
            log_bytes: 64 * 1024,
            // Leaks in guests are bounded by this; at 10,000 the cost of a fresh instance vanishes.
            max_events_per_instance: 10_000,
            // What a guest forgets to release outside of its memory does not live for ever.
            max_instance_age: Duration::from_secs(3600),
            // A handler that computes for a second on one event starves its neighbours on a small machine.
            cpu: Duration::from_secs(1),
            // Interpreters need half a second on a slow core.
            start: Duration::from_secs(5),
            // The largest interpreters have some ten thousand functions.
            table_elements: 200_000,
            // Handlers need none; WASI's streams and HTTP's parts are a few per request. One may cost the host 32 KiB (the
            // fields of an HTTP message) that no limit on memory counts.
            handles: 1000,
            stdout_bytes: 64 * 1024,
            http_requests: 16,
            http_timeout: Duration::from_secs(10),
            http_body: 4 * 1024 * 1024,
        }
    }
}
