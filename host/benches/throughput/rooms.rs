//! Microseconds per event of each room, on one core, without a broker.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use tidemill_core::config::PluginConfig;
use tidemill_core::envelope::{self, EmitIds, Envelope};
use tidemill_core::filter::Filter;
use tidemill_core::grant::Grant;
use tidemill_core::json::{self, JsonLimits};
use tidemill_core::limits::Limits;
use tidemill_core::message::Message;
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::{Call, CallSettings, Handler, Origin, Role};
use tidemill_core::schema::{SchemaFile, Schemas};
use tidemill_core::subject::{Subject, SubjectPattern};
use tidemill_engine::{Engine, EngineOptions};

use super::orders;

const ROUNDS: usize = 20_000;

pub(crate) fn report(plugin: &Path) {
    let message = Message {
        subject: Subject::try_new("orders.created").unwrap(),
        headers: orders::headers(7).into_iter().collect(),
        payload: Bytes::from(orders::data(7)),
    };
    let origin = Origin { stream: StreamName::try_new("ORDERS").unwrap(), sequence: 7 };
    let schemas =
        Schemas::compile(vec![SchemaFile { path: "OrderCreated.json".into(), text: orders::SCHEMA.into() }]).unwrap();
    let pattern = json!({ "type": ["OrderCreated"], "data": { "total": [{ "numeric": [">=", 1000] }] } });
    let filter = Filter::compile(&pattern).unwrap();
    let event = envelope::decode(&Envelope::CloudEvents, &message, &origin).unwrap();
    let data = json::parse(&event.data, &JsonLimits::default()).unwrap();

    println!("microseconds per event of {} bytes", event.data.len());
    room("decode", || drop(envelope::decode(&Envelope::CloudEvents, &message, &origin).unwrap()));
    room("parse", || drop(json::parse(&event.data, &JsonLimits::default()).unwrap()));
    room("  serde_json alone", || drop(serde_json::from_slice::<serde_json::Value>(&event.data).unwrap()));
    room("validate", || schemas.check(&event, Some(&data)).unwrap());
    room("filter", || assert!(filter.admits(&event, Some(&data))));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let before = resident_mib();
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let name = PluginName::try_new("fraud-check").unwrap();
    let started = Instant::now();
    let plugin = engine.load(&name, &std::fs::read(plugin).unwrap(), &PluginConfig::default(), Role::Handler).unwrap();
    let compiled = started.elapsed();
    let settings = Arc::new(CallSettings {
        route: RouteName::try_new("fraud").unwrap(),
        plugin: name,
        max_attempts: 5,
        timeout: std::time::Duration::from_secs(5),
        grant: Grant { emits: vec![SubjectPattern::try_new("fraud.>").unwrap()] },
        limits: Limits::default(),
    });
    let call = || Call { event: &event, route: &settings, attempt: 1, origin: &origin, state: None, documents: None };
    let emits = runtime.block_on(plugin.handle(call())).unwrap().emits;
    assert_eq!(emits.len(), 1);
    let started = Instant::now();
    runtime.block_on(async {
        for _ in 0..ROUNDS {
            drop(plugin.handle(call()).await.unwrap());
        }
    });
    line("call (Rust, reused)", started);
    let ids = EmitIds { route: &settings.route, origin: &origin };
    let now = std::time::SystemTime::now().into();
    room("encode emit", || drop(envelope::encode_emit(emits[0].clone(), 0, &event, &ids, now)));
    println!("compile {compiled:?}; engine and plugin take {} MiB", resident_mib().saturating_sub(before));
}

fn room(name: &str, mut work: impl FnMut()) {
    work();
    let started = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    line(name, started);
}

fn line(name: &str, started: Instant) {
    println!("  {name:22} {:>7.2}", started.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64);
}

/// Resident memory of this process.
pub(crate) fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
