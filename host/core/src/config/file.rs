//! What can be written in `runtime.yaml`, field by field.
//!
//! The comments here are what the JSON Schema shows in an editor and what `docs/configuration.md` lists; the defaults and
//! examples in the attributes are shown there too, and a test compares the defaults with those that take effect.
//! What the fields mean together is [`compile`](super::compile)'s matter.

mod http;
mod projections;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::leaf::{Count, Decimal, Flag, GIB, Growth, KIB, MIB, OneOf, Size, Span, Text, Version, or_reference};
use super::read::{Any, List, Map, Optional, Reader, Required, Written, record};
use super::yaml::{Kind, Node};
use super::{InstancePolicy, OnMissing, Secret, interpolate::Secrets};
use crate::envelope::Envelope;
use crate::name::{PluginName, RouteName, StreamName};
use crate::outbound::OutboundHost;
use crate::subject::SubjectPattern;

pub(super) use http::{Http, HttpLimits, HttpTls, Ingest, Token};
pub(super) use projections::{Collection, Index, Postgres, Projection, ProjectionSource, ReadModels};

record! {
    /// Tidemill's configuration.
    Runtime {
        /// The version of this vocabulary.
        #[schemars(example = 1)]
        #[expect(dead_code, reason = "reading it is checking it")]
        version: Required<Version>,
        /// Where events are kept. Left out: in the embedded log.
        broker: Optional<Broker>,
        /// The streams that routes read and that store what is emitted. A stream that does not exist is created; one that exists
        /// with other settings is refused.
        streams: Optional<List<Stream>>,
        /// What holds for every route that says nothing else.
        defaults: Optional<Defaults>,
        /// Retry policies by name. `standard` always exists and can be redefined here.
        retry_policies: Optional<Map<RetryPolicy>>,
        /// The registered JSON Schemas.
        schemas: Optional<Schemas>,
        /// The plugins' folder and settings.
        plugins: Optional<Plugins>,
        /// Which events go to which plugin. Each route has its own position in its stream, so that a slow or failing plugin
        /// delays only itself.
        routes: Optional<List<Route>>,
        /// Where the documents of projections are kept. Left out: in SQLite files beside the host.
        read_models: Optional<ReadModels>,
        /// Which events are folded into which collections of documents, for people to query.
        projections: Optional<List<Projection>>,
        /// The HTTP gateway. Left out: there is none.
        http: Optional<Http>,
        /// How often in a row plugins may emit in answer to what plugins emitted. An event that comes further is dead-lettered
        /// as `loop` by the route that would handle it: its routes form a circle.
        #[schemars(extend("default" = 32), example = 100)]
        max_hops: Optional<Count<1, 1_000_000>>,
        /// How long running calls may finish after a stop signal.
        #[schemars(extend("default" = "30s"), example = &"1m")]
        shutdown_grace: Optional<Span<0>>,
    }
}

record! {
    /// One of `embedded` and `nats`.
    #[schemars(extend("maxProperties" = 1))]
    Broker {
        /// The log inside of the host, for one process on one machine.
        embedded: Optional<Embedded>,
        /// NATS with JetStream, server 2.12.8 or newer.
        nats: Optional<Nats>,
    }
}

record! {
    /// The embedded log.
    Embedded {
        /// The folder that holds everything.
        #[schemars(extend("default" = "./.tidemill"), example = &"/var/lib/tidemill")]
        dir: Optional<Text>,
    }
}

record! {
    /// How to reach NATS. At most one of `credentials`, `user` with `password`, and `token`.
    Nats {
        /// One server or several of one cluster, as `nats://HOST:PORT` or `tls://HOST:PORT`.
        #[schemars(example = ["nats://127.0.0.1:4222"])]
        servers: Required<List<Text, 1>>,
        /// The text of a `.creds` file.
        #[schemars(example = &"${secret:nats.creds}")]
        credentials: Optional<Secret>,
        /// The user's name; needs `password`.
        #[schemars(example = &"tidemill")]
        user: Optional<Text>,
        /// The user's password; needs `user`.
        #[schemars(example = &"${secret:nats.password}")]
        password: Optional<Secret>,
        /// A token instead of a user.
        #[schemars(example = &"${secret:nats.token}")]
        token: Optional<Secret>,
        /// Encryption. A server given as `tls://` is always reached with TLS.
        tls: Optional<Tls>,
        /// Replicas of the streams and buckets that the host creates for itself.
        #[schemars(extend("default" = 1), example = 3)]
        replicas: Optional<Count<1, 5>>,
    }
}

record! {
    /// TLS towards NATS.
    Tls {
        /// Certificates to trust, in PEM. Left out: those of the system.
        #[schemars(example = &"./ca.pem")]
        ca_file: Optional<Text>,
        /// The client's certificate, in PEM; needs `key_file`.
        #[schemars(example = &"./client.pem")]
        cert_file: Optional<Text>,
        /// The client's key, in PEM; needs `cert_file`.
        #[schemars(example = &"./client.key")]
        key_file: Optional<Text>,
        /// Whether a connection without TLS is refused.
        #[schemars(extend("default" = true), example = false)]
        required: Optional<Flag>,
    }
}

record! {
    /// A stream.
    Stream {
        /// The stream's name in the broker: letters, digits, `-` and `_`.
        #[schemars(example = &"ORDERS")]
        name: Required<StreamName>,
        /// The subjects that the stream stores. Two streams must not store the same subject.
        #[schemars(example = ["orders.>"])]
        subjects: Required<List<SubjectPattern, 1>>,
        /// How messages become events: `cloudevents` (binary or structured mode), `seed` (`eventId`, `eventType`, `timestamp`, …)
        /// or `raw` (the whole payload is the data, the type comes from the subject).
        #[schemars(extend("default" = "cloudevents"), example = &"seed")]
        envelope: Optional<OneOf<Envelope>>,
        /// Messages older than this are removed. Left out: never.
        #[schemars(example = &"7d")]
        max_age: Optional<Span<100>>,
        /// Above this size publishing is refused, so that publishers feel the back pressure. Left out: no limit.
        #[schemars(example = &"10GiB")]
        max_bytes: Optional<Size<KIB, { u64::MAX }>>,
        /// How long the id of a message is remembered, so that publishing it again stores nothing. Left out: `10m`, or `max_age`
        /// where that is shorter.
        #[schemars(extend("default" = "10m"), example = &"1h")]
        duplicate_window: Optional<Span<100>>,
        /// Copies in a NATS cluster. The embedded log keeps one.
        #[schemars(extend("default" = 1), example = 3)]
        replicas: Optional<Count<1, 5>>,
    }
}

record! {
    /// What a route does not say itself.
    Defaults {
        /// `timeout` of routes.
        #[schemars(extend("default" = "5s"), example = &"10s")]
        timeout: Optional<Timeout>,
        /// `retry` of routes.
        #[schemars(extend("default" = "standard"), example = &"patient")]
        retry: Optional<Retry>,
        /// `dead_letter` of routes.
        dead_letter: Optional<DeadLetter>,
        /// `max_in_flight` of routes.
        #[schemars(extend("default" = 256), example = 64)]
        max_in_flight: Optional<Count<1, 1000>>,
    }
}

/// The wall time of a call.
pub(super) type Timeout = Span<1>;

record! {
    /// When to try again, and when to stop. The limit that is reached first decides.
    RetryPolicy {
        /// Attempts in all, the first included.
        #[schemars(extend("default" = 5), example = 10)]
        max_attempts: Optional<Count<1, 1000>>,
        /// How long after the first failure another attempt may begin.
        #[schemars(extend("default" = "1h"), example = &"1d")]
        max_age: Optional<Span<1>>,
        /// The delay between attempts.
        backoff: Optional<Backoff>,
    }
}

record! {
    /// The growth of the delay between attempts.
    Backoff {
        /// Each delay is the one before times `multiplier`.
        #[schemars(extend("default" = "exponential"), example = &"exponential")]
        r#type: Optional<OneOf<Growth>>,
        /// The first delay.
        #[schemars(extend("default" = "1s"), example = &"500ms")]
        initial: Optional<Span<0>>,
        /// `1` for a delay that stays the same.
        #[schemars(extend("default" = 2.0), example = 1.5)]
        multiplier: Optional<Decimal<1, 100>>,
        /// The longest delay. Left out: `60s`, or `initial` where that is longer.
        #[schemars(extend("default" = "60s"), example = &"5m")]
        max: Optional<Span<0>>,
        /// Each delay is spread evenly over `delay * (1 ± jitter)`.
        #[schemars(extend("default" = 0.2), example = 0)]
        jitter: Optional<Decimal<0, 1>>,
    }
}

record! {
    /// Where an event goes that cannot be processed.
    DeadLetter {
        /// The beginning of the subject; the input's stream and sequence follow, as in `dlq.high-value-orders.ORDERS.42`. `{route}`
        /// stands for the route's name. No two routes may share it, and no stream of `streams` may store it.
        #[schemars(extend("default" = "dlq.{route}"), example = &"dlq.high-value-orders")]
        subject: Optional<Text>,
    }
}

record! {
    /// JSON Schemas in files: `<type>/<version>.json` or `<type>.json`.
    Schemas {
        /// The folder.
        #[schemars(extend("default" = "./schemas"), example = &"./contracts")]
        dir: Optional<Text>,
        /// What happens to an event whose type has no schema: `reject` (dead letter), `warn` or `allow`.
        #[schemars(extend("default" = "reject"), example = &"warn")]
        on_missing: Optional<OneOf<OnMissing>>,
    }
}

record! {
    /// Plugins: compiled components in a folder.
    #[derive(Default)]
    Plugins {
        /// The folder that is watched for `<plugin>.wasm`.
        #[schemars(extend("default" = "./plugins"), example = &"/opt/plugins")]
        dir: Optional<Text>,
        /// The host's own folder: compiled code, the last good builds, what is quarantined. Only the host's user may write there.
        #[schemars(extend("default" = "./.tidemill/plugins"), example = &"/var/cache/tidemill")]
        cache_dir: Optional<Text>,
        /// How often plugins, schemas and this file are looked at although no change was reported: network file systems and some
        /// containers report none.
        #[schemars(extend("default" = "5s"), example = &"1s")]
        rescan: Optional<Pause>,
        /// How long calls may finish on a build that was replaced; then they are interrupted and run again on the new one.
        #[schemars(extend("default" = "10s"), example = &"1m")]
        drain_timeout: Optional<Pause>,
        /// How long a new build is watched before it is trusted.
        probation: Optional<Probation>,
        /// Public keys of minisign. With one or more, each `<plugin>.wasm` needs a signature `<plugin>.wasm.minisig` by one of them.
        #[schemars(example = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"])]
        trusted_keys: Optional<List<Text>>,
        /// Settings by plugin name. A plugin without has the defaults. Every plugin named here must handle some route.
        settings: Optional<Map<Plugin>>,
    }
}

/// A time that is not zero.
pub(super) type Pause = Span<1>;

record! {
    /// A build that replaces another is on probation: where it fails on an event, the one before it handles the event instead, and
    /// if that happens often the new build is rolled back. The limit that is reached first ends it.
    Probation {
        /// Calls of the new build. 0: there is no probation, a new build is trusted at once.
        #[schemars(extend("default" = 100), example = 1000)]
        calls: Optional<Count<0, { u64::MAX }>>,
        /// Time since it took over.
        #[schemars(extend("default" = "30s"), example = &"5m")]
        time: Optional<Pause>,
    }
}

record! {
    /// Settings of one plugin.
    Plugin {
        /// Values that the plugin can read. A text is given as it is, anything else as its JSON text.
        #[schemars(example = json!({ "threshold": 1000 }))]
        config: Optional<Map<Any>>,
        /// Secrets that the plugin can read, by the name it uses; not the same names as in `config`.
        #[schemars(example = json!({ "api-key": "${secret:payments.key}" }))]
        secrets: Optional<Map<Secret>>,
        /// Environment variables that the plugin sees. It sees no others.
        #[schemars(example = json!({ "LOG_LEVEL": "debug" }))]
        env: Optional<Map<Text>>,
        /// Whether the plugin may use keyed state. A plugin that imports it without this is refused.
        #[schemars(extend("default" = false), example = true)]
        state: Optional<Flag>,
        /// Where the plugin may send HTTP requests: `https://HOST`, `http://HOST:PORT`, `https://*.DOMAIN`. A name that resolves to a
        /// loopback, link-local, private or metadata address is refused, unless the address itself, or a network such as
        /// `http://10.1.0.0/16:8080`, is in the list too. Left out: nowhere, and a plugin that imports `wasi:http` is refused.
        #[schemars(example = ["https://api.example.com"])]
        allowed_outbound_hosts: Optional<List<OutboundHost>>,
        /// How much the plugin may take.
        limits: Optional<Limits>,
        /// `reuse`: one instance serves many events, one at a time. `fresh`: each event gets a new instance.
        #[schemars(extend("default" = "reuse"), example = &"fresh")]
        instance: Optional<OneOf<InstancePolicy>>,
        /// Calls at the same time. Left out: one per core, and one for a plugin that uses state.
        #[schemars(example = 4)]
        instances: Optional<Count<1, 64>>,
        /// The folder of the plugin's sources. `tidemill dev` builds it whenever a file in it changes; `tidemill run` does not look at it.
        #[schemars(example = &"./handlers/fraud-check")]
        project: Optional<Text>,
    }
}

record! {
    /// Limits of one plugin.
    Limits {
        /// Linear memory of one instance.
        #[schemars(extend("default" = "64MiB"), example = &"128MiB")]
        memory: Optional<Size<{ 64 * KIB }, GIB>>,
        /// Emits of one call.
        #[schemars(extend("default" = 100), example = 10)]
        emits: Optional<Count<0, 1000>>,
        /// The data of all emits of one call.
        #[schemars(extend("default" = "4MiB"), example = &"1MiB")]
        emit_bytes: Optional<Size<0, { 64 * MIB }>>,
        /// One state value.
        #[schemars(extend("default" = "512KiB"), example = &"64KiB")]
        state_value: Optional<Size<0, { 64 * MIB }>>,
        /// All keys and values that one call writes.
        #[schemars(extend("default" = "4MiB"), example = &"1MiB")]
        state_bytes: Optional<Size<0, { 64 * MIB }>>,
        /// Keys that one call may write.
        #[schemars(extend("default" = 100), example = 10)]
        state_writes: Optional<Count<0, 1000>>,
        /// One document of a read model.
        #[schemars(extend("default" = "512KiB"), example = &"64KiB")]
        document: Optional<Size<0, { 64 * MIB }>>,
        /// All keys and documents that one event writes.
        #[schemars(extend("default" = "4MiB"), example = &"1MiB")]
        document_bytes: Optional<Size<0, { 64 * MIB }>>,
        /// Documents that one event may write.
        #[schemars(extend("default" = 1000), example = 10)]
        document_writes: Optional<Count<0, 10_000>>,
        /// Log text of one call; what comes after is counted and dropped.
        #[schemars(extend("default" = "64KiB"), example = &"4KiB")]
        log_bytes: Optional<Size<0, { 16 * MIB }>>,
        /// Calls after which an instance is replaced.
        #[schemars(extend("default" = 10_000), example = 1000)]
        max_events_per_instance: Optional<Count<1, { u64::MAX }>>,
        /// Age at which an instance is replaced.
        #[schemars(extend("default" = "1h"), example = &"10m")]
        max_instance_age: Optional<Span<1>>,
        /// CPU time of one call. `timeout` of the route is its wall time.
        #[schemars(extend("default" = "1s"), example = &"200ms")]
        cpu: Optional<Span<1>>,
        /// Wall time for the start of an instance.
        #[schemars(extend("default" = "5s"), example = &"30s")]
        start: Optional<Span<1>>,
        /// Elements of all tables of an instance.
        #[schemars(extend("default" = 200_000), example = 1_000_000)]
        table_elements: Optional<Count<0, 1_000_000>>,
        /// Resource handles that an instance holds at the same time. One of HTTP's may cost the host 32 KiB beside `memory`.
        #[schemars(extend("default" = 1000), example = 100)]
        handles: Optional<Count<0, 10_000>>,
        /// What one call writes to its standard output and standard error; what comes after is counted and dropped.
        #[schemars(extend("default" = "64KiB"), example = &"4KiB")]
        stdout_bytes: Optional<Size<0, { 16 * MIB }>>,
        /// HTTP requests of the plugin under way at the same time.
        #[schemars(extend("default" = 16), example = 4)]
        http_requests: Optional<Count<0, 1000>>,
        /// Wall time of one HTTP request, until the end of the answer.
        #[schemars(extend("default" = "10s"), example = &"2s")]
        http_timeout: Optional<Span<1>>,
        /// The body of one HTTP request, and of its answer.
        #[schemars(extend("default" = "4MiB"), example = &"256KiB")]
        http_body: Optional<Size<0, { 64 * MIB }>>,
    }
}

record! {
    /// A route: the events of one stream that go to one plugin.
    Route {
        /// The route's name: lower-case letters, digits and `-`. It is also the name of its position in the broker, so a renamed
        /// route begins anew.
        #[schemars(example = &"high-value-orders")]
        name: Required<RouteName>,
        /// What the route reads.
        source: Required<Source>,
        /// Which events are handled, in EventBridge's pattern language over the CloudEvents attributes and `data`. The others are
        /// skipped and counted. Left out: all.
        #[schemars(example = json!({ "type": ["OrderCreated"], "data": { "total": [{ "numeric": [">=", 1000] }] } }))]
        filter: Optional<Pattern>,
        /// The plugin: the name of its file in the plugins folder without `.wasm`.
        #[schemars(example = &"fraud-check")]
        handler: Required<PluginName>,
        /// The subjects that the plugin may emit to. Each must be stored by a stream of `streams`. Left out: none.
        #[schemars(example = ["fraud.>"])]
        emits: Optional<List<SubjectPattern>>,
        /// The wall time of one call.
        #[schemars(extend("default" = "5s"), example = &"500ms")]
        timeout: Optional<Timeout>,
        /// Events that are being worked on at the same time.
        #[schemars(extend("default" = 256), example = 32)]
        max_in_flight: Optional<Count<1, 1000>>,
        /// The name of a policy of `retry_policies`, or a policy in place.
        #[schemars(extend("default" = "standard"), example = json!({ "max_attempts": 3 }))]
        retry: Optional<Retry>,
        /// Where events go that cannot be processed.
        dead_letter: Optional<DeadLetter>,
    }
}

record! {
    /// The input of a route.
    Source {
        /// A stream of `streams`.
        #[schemars(example = &"ORDERS")]
        stream: Required<StreamName>,
        /// The part of the stream's subjects that is read. Left out: all of them.
        #[schemars(example = ["orders.created"])]
        subjects: Optional<List<SubjectPattern, 1>>,
        /// Where a new route begins: with what comes (`new`), with everything stored (`all`), at `{ sequence: 42 }` or at
        /// `{ time: 2026-01-31T12:00:00Z }`. A route that has a position already goes on from there.
        #[schemars(extend("default" = "all"), example = &"new")]
        start: Optional<Start>,
    }
}

// --- values of more than one shape -------------------------------------------------------------------------------------

/// `routes[].retry`
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum Retry {
    /// The name of a policy.
    Named(String),
    /// A policy in place.
    InPlace(Box<RetryPolicy>),
}

impl Written for Retry {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Map(_) => RetryPolicy::read(node, reader).map(|policy| Self::InPlace(Box::new(policy))),
            Kind::Text(_) => reader.text(node, "a text", Secrets::Refused).map(Self::Named),
            _ => {
                let hint = "`retry: standard`, or `retry: { max_attempts: 3 }`";
                reader.unexpected(node, "the name of a retry policy, or a policy", Some(hint.to_owned()))
            }
        }
    }
}

/// `routes[].source.start`
#[derive(Debug)]
pub(super) enum Start {
    New,
    All,
    At(StartAt),
}

record! {
    /// One of `sequence` and `time`.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
    StartAt {
        /// The first sequence that is read.
        #[schemars(example = 42)]
        sequence: Optional<Count<1, { u64::MAX }>>,
        /// The first message that is read was stored at this time or later. RFC 3339.
        #[schemars(example = &"2026-01-31T12:00:00Z")]
        time: Optional<Text>,
    }
}

impl Written for Start {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        const EXPECTED: &str = "`new`, `all`, `{ sequence: 42 }` or `{ time: 2026-01-31T12:00:00Z }`";
        match &node.kind {
            Kind::Map(_) => {
                let before = reader.report.len();
                StartAt::read(node, reader).filter(|_| reader.report.len() == before).map(Self::At)
            }
            Kind::Text(_) => match reader.text(node, EXPECTED, Secrets::Refused)?.as_str() {
                "new" => Some(Self::New),
                "all" => Some(Self::All),
                word => {
                    let hint = match word {
                        "latest" | "end" | "last" | "now" => Some("did you mean `new`?"),
                        "earliest" | "beginning" | "first" | "oldest" => Some("did you mean `all`?"),
                        _ => None,
                    };
                    reader.unexpected(node, EXPECTED, hint.map(str::to_owned))
                }
            },
            _ => reader.unexpected(node, EXPECTED, None),
        }
    }
}

impl JsonSchema for Start {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Start".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let word = or_reference("`new` or `all`", json!({ "enum": ["new", "all"] }));
        json_schema!({ "anyOf": [word, generator.subschema_for::<StartAt>()] })
    }
}

/// `routes[].filter`: the pattern as JSON, and the places of its parts.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) value: serde_json::Value,
    pub(super) node: Node,
}

impl Written for Pattern {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Map(_) => Any::read(node, reader).map(|Any(value)| Self { value, node: node.clone() }),
            _ => {
                let hint = "`filter: { type: [OrderCreated] }`";
                reader.unexpected(node, "a mapping", Some(hint.to_owned()))
            }
        }
    }
}

impl JsonSchema for Pattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "event pattern", "type": "object" })
    }
}
