//! The effective configuration in the words of `runtime.yaml`, for `tidemill config show`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::compile::Compiled;
use super::leaf::{format_duration, format_size, word};
use super::{
    BrokerConfig, HttpConfig, NatsConfig, PluginConfig, PluginsConfig, PostgresConfig, ProjectionConfig,
    ReadModelsConfig, RouteConfig, Scope, Secret, Start, StreamConfig,
};
use crate::limits::Limits;
use crate::read_model::Index;
use crate::retry::RetryPolicy;
use crate::subject::SubjectPattern;

/// What stands in the place of a secret.
const MASK: &str = "***";

pub(super) fn show(Compiled { config, patterns, projection_patterns }: &Compiled) -> Value {
    json!({
        "version": 1,
        "broker": broker(&config.broker),
        "streams": config.streams.iter().map(stream).collect::<Vec<_>>(),
        "schemas": { "dir": config.schemas.dir, "on_missing": word(&config.schemas.on_missing) },
        "plugins": plugins(&config.plugins),
        "routes": config.routes.iter().zip(patterns).map(|(config, pattern)| route(config, pattern.as_ref())).collect::<Vec<_>>(),
        "read_models": read_models(&config.read_models),
        "projections": config.projections.iter().zip(projection_patterns).map(|(config, pattern)| projection(config, pattern.as_ref())).collect::<Vec<_>>(),
        "http": config.http.as_ref().map(http),
        "max_hops": config.max_hops,
        "shutdown_grace": format_duration(config.shutdown_grace),
    })
}

/// An object without the fields that are not set.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn masked(secret: &Option<Secret>) -> Value {
    json!(secret.as_ref().map(|_| MASK))
}

fn broker(config: &BrokerConfig) -> Value {
    match config {
        BrokerConfig::Embedded { dir } => json!({ "embedded": { "dir": dir } }),
        BrokerConfig::Nats(nats) => json!({ "nats": nats_broker(nats) }),
    }
}

fn nats_broker(nats: &NatsConfig) -> Value {
    let tls = nats.tls.as_ref().map(|tls| {
        object([
            ("ca_file", json!(tls.ca_file)),
            ("cert_file", json!(tls.cert_file)),
            ("key_file", json!(tls.key_file)),
            ("required", json!(tls.required)),
        ])
    });
    object([
        ("servers", json!(nats.servers)),
        ("credentials", masked(&nats.credentials)),
        ("user", json!(nats.user)),
        ("password", masked(&nats.password)),
        ("token", masked(&nats.token)),
        ("tls", json!(tls)),
        ("replicas", json!(nats.replicas)),
    ])
}

fn stream(stream: &StreamConfig) -> Value {
    object([
        ("name", json!(stream.name.as_str())),
        ("subjects", subjects(&stream.subjects)),
        ("envelope", json!(word(&stream.envelope))),
        ("max_age", json!(stream.max_age.map(format_duration))),
        ("max_bytes", json!(stream.max_bytes.map(format_size))),
        ("duplicate_window", json!(format_duration(stream.duplicate_window))),
        ("replicas", json!(stream.replicas)),
    ])
}

fn plugins(plugins: &PluginsConfig) -> Value {
    let settings = plugins.settings.iter().map(|(name, settings)| {
        let mut shown = plugin(settings);
        shown["project"] = json!(plugins.projects.get(name));
        (name.to_string(), shown)
    });
    json!({
        "dir": plugins.dir,
        "cache_dir": plugins.cache_dir,
        "rescan": format_duration(plugins.rescan),
        "drain_timeout": format_duration(plugins.drain_timeout),
        "probation": {
            "calls": plugins.probation.calls,
            "time": format_duration(plugins.probation.time),
        },
        "trusted_keys": plugins.trusted_keys,
        "settings": settings.collect::<Map<_, _>>(),
    })
}

fn plugin(plugin: &PluginConfig) -> Value {
    let secrets: BTreeMap<&String, &str> = plugin.secrets.keys().map(|name| (name, MASK)).collect();
    object([
        ("config", json!(plugin.config)),
        ("secrets", json!(secrets)),
        ("env", json!(plugin.env)),
        ("state", json!(plugin.state)),
        ("allowed_outbound_hosts", plugin.allowed_outbound_hosts.iter().map(ToString::to_string).collect()),
        ("limits", limits(&plugin.limits)),
        ("instance", json!(word(&plugin.instance))),
        ("instances", json!(plugin.instances)),
    ])
}

fn limits(limits: &Limits) -> Value {
    json!({
        "memory": format_size(limits.memory),
        "emits": limits.emits,
        "emit_bytes": format_size(limits.emit_bytes),
        "state_value": format_size(limits.state_value),
        "state_bytes": format_size(limits.state_bytes),
        "state_writes": limits.state_writes,
        "document": format_size(limits.document),
        "document_bytes": format_size(limits.document_bytes),
        "document_writes": limits.document_writes,
        "log_bytes": format_size(limits.log_bytes),
        "max_events_per_instance": limits.max_events_per_instance,
        "max_instance_age": format_duration(limits.max_instance_age),
        "cpu": format_duration(limits.cpu),
        "start": format_duration(limits.start),
        "table_elements": limits.table_elements,
        "handles": limits.handles,
        "stdout_bytes": format_size(limits.stdout_bytes),
        "http_requests": limits.http_requests,
        "http_timeout": format_duration(limits.http_timeout),
        "http_body": format_size(limits.http_body),
    })
}

fn route(route: &RouteConfig, pattern: Option<&Value>) -> Value {
    object([
        ("name", json!(route.name.as_str())),
        (
            "source",
            json!({
                "stream": route.stream.as_str(),
                "subjects": subjects(&route.subjects),
                "start": start(route.start),
            }),
        ),
        ("filter", json!(pattern)),
        ("handler", json!(route.handler.as_str())),
        ("emits", subjects(&route.emits)),
        ("timeout", json!(format_duration(route.timeout))),
        ("max_in_flight", json!(route.max_in_flight)),
        ("retry", retry(&route.retry)),
        ("dead_letter", json!({ "subject": route.dead_letter.as_str() })),
    ])
}

fn start(start: Start) -> Value {
    match start {
        Start::New => json!("new"),
        Start::All => json!("all"),
        Start::Sequence(sequence) => json!({ "sequence": sequence }),
        Start::Time(time) => json!({ "time": rfc3339(time) }),
    }
}

fn rfc3339(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}

fn retry(policy: &RetryPolicy) -> Value {
    let backoff = policy.backoff();
    json!({
        "max_attempts": policy.max_attempts(),
        "max_age": format_duration(policy.max_age()),
        "backoff": {
            "type": "exponential",
            "initial": format_duration(backoff.initial()),
            "multiplier": backoff.multiplier(),
            "max": format_duration(backoff.max()),
            "jitter": backoff.jitter(),
        },
    })
}

fn subjects(patterns: &[SubjectPattern]) -> Value {
    patterns.iter().map(SubjectPattern::as_str).collect()
}

fn read_models(config: &ReadModelsConfig) -> Value {
    match config {
        ReadModelsConfig::Sqlite { dir } => json!({ "sqlite": { "dir": dir } }),
        ReadModelsConfig::Postgres(PostgresConfig { url: _, schema, lease }) => {
            json!({ "postgres": { "url": MASK, "schema": schema, "lease": format_duration(*lease) } })
        }
    }
}

fn projection(projection: &ProjectionConfig, pattern: Option<&Value>) -> Value {
    let sources = projection
        .sources
        .iter()
        .map(|source| json!({ "stream": source.stream.as_str(), "subjects": subjects(&source.subjects) }));
    let index = |index: &Index| match index.fields.as_slice() {
        [field] => json!(field.as_str()),
        fields => fields.iter().map(|field| field.as_str()).collect(),
    };
    let collections = projection.collections.iter().map(|collection| {
        let indexes: Vec<Value> = collection.indexes.iter().map(index).collect();
        (collection.name.to_string(), json!({ "indexes": indexes }))
    });
    object([
        ("name", json!(projection.name.as_str())),
        ("sources", sources.collect()),
        ("filter", json!(pattern)),
        ("plugin", json!(projection.plugin.as_str())),
        ("collections", Value::Object(collections.collect())),
        ("batch", json!(projection.batch)),
        ("timeout", json!(format_duration(projection.timeout))),
        ("retry", retry(&projection.retry)),
        ("on_failure", json!(word(&projection.on_failure))),
        ("dead_letter", json!({ "subject": projection.dead_letter.as_str() })),
        ("rebuild", json!(word(&projection.rebuild))),
        ("retain", json!(format_duration(projection.retain))),
    ])
}

fn http(http: &HttpConfig) -> Value {
    let scopes = |scopes: &[Scope]| scopes.iter().map(word).collect::<Vec<_>>();
    let tls = http.tls.as_ref().map(|tls| {
        object([
            ("cert_file", json!(tls.cert_file)),
            ("key_file", json!(tls.key_file)),
            ("client_ca_file", json!(tls.client_ca_file)),
            ("client_scopes", json!(scopes(&tls.client_scopes))),
        ])
    });
    let tokens = http.tokens.iter().map(|token| json!({ "token": MASK, "scopes": scopes(&token.scopes) }));
    let ingest = http.ingest.iter().map(|ingest| {
        object([
            ("type", json!(ingest.types)),
            ("subject", json!(ingest.subject.as_str())),
            ("track", json!(ingest.track.as_ref().map(|name| name.as_str()))),
        ])
    });
    object([
        ("listen", json!(http.listen.to_string())),
        ("tls", json!(tls)),
        ("tokens", tokens.collect()),
        ("hosts", json!(http.hosts)),
        ("ingest", ingest.collect()),
        (
            "limits",
            object([
                ("body", json!(format_size(http.limits.body))),
                ("events", json!(http.limits.events)),
                ("connections", json!(http.limits.connections)),
                ("requests_per_second", json!(http.limits.requests_per_second)),
                ("timeout", json!(format_duration(http.limits.timeout))),
                ("query_timeout", json!(format_duration(http.limits.query_timeout))),
            ]),
        ),
    ])
}
