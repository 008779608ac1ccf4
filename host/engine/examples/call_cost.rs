//! What one call of a handler costs: `cargo run --release -p tidemill-engine --example call_cost [component.wasm] [subject]`.
//!
//! Without a component it measures the shop's `fraud-check`, which parses the order and emits an event. It prints
//! microseconds per call, with instances reused and fresh, and the resident memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemill_core::config::{InstancePolicy, PluginConfig};
use tidemill_core::event::Event;
use tidemill_core::grant::Grant;
use tidemill_core::limits::Limits;
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::{Call, CallSettings, Handler, Origin, Role};
use tidemill_core::subject::SubjectPattern;
use tidemill_engine::{Engine, EngineOptions, Plugin};

const FRAUD_CHECK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/fraud-check.wasm");

const ORDER: &str = r#"{"order_id":"o-000042","customer_id":"c-0007","currency":"EUR","total":1290.5,"country":"DE","items":[{"sku":"A-100","quantity":2,"unit_price":120.25},{"sku":"B-200","quantity":1,"unit_price":800.0},{"sku":"C-300","quantity":5,"unit_price":50.0}],"note":"please leave it with the neighbour if nobody is there","priority":1}"#;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let component = std::fs::read(arguments.next().unwrap_or_else(|| FRAUD_CHECK.to_owned()))?;
    let grant = Grant { emits: vec![SubjectPattern::try_new(&arguments.next().unwrap_or_else(|| ">".to_owned()))?] };
    let engine = Engine::new(EngineOptions::default())?;
    println!("engine ready: {}", resident());
    for (policy, calls) in [(InstancePolicy::Reuse, 200_000), (InstancePolicy::Fresh, 20_000)] {
        let settings = PluginConfig { instance: policy, ..PluginConfig::default() };
        let plugin = engine.load(&PluginName::try_new("guest")?, &component, &settings, Role::Handler)?;
        let measured = engine.runtime().spawn(measure(plugin, policy, calls, grant.clone()));
        tokio::runtime::Builder::new_current_thread().build()?.block_on(measured)??;
    }
    Ok(())
}

async fn measure(plugin: Plugin, instance: InstancePolicy, calls: u32, grant: Grant) -> anyhow::Result<()> {
    let description = plugin.describe();
    println!(
        "{instance:?}: {} bytes, compiled in {:?}, started in {:?}: {}",
        description.size,
        description.compile_time,
        description.start_time,
        resident()
    );
    run(&plugin, calls / 10, &grant).await?;
    let mut rounds = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        run(&plugin, calls, &grant).await?;
        rounds.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls));
    }
    rounds.sort_by(f64::total_cmp);
    println!(
        "{instance:?}: {:.2} µs per call (best {:.2}, worst {:.2}): {}",
        rounds[2],
        rounds[0],
        rounds[4],
        resident()
    );
    Ok(())
}

async fn run(plugin: &Plugin, calls: u32, grant: &Grant) -> anyhow::Result<()> {
    let route = Arc::new(CallSettings {
        route: RouteName::try_new("orders")?,
        plugin: plugin.name().clone(),
        max_attempts: 5,
        timeout: Duration::from_secs(5),
        grant: grant.clone(),
        limits: Limits::default(),
    });
    let event = Event {
        id: "0191d3a2-7c11-7c5e-b1a2-6f0c1b6e52d4".to_owned(),
        source: "/shop".to_owned(),
        kind: "OrderCreated".to_owned(),
        time: Some("2026-11-21T10:00:00Z".to_owned()),
        subject: None,
        datacontenttype: Some("application/json".to_owned()),
        dataschema: None,
        version: None,
        extensions: vec![("correlationid".to_owned(), "0191d3a2-7c11-7c5e-b1a2-6f0c1b6e52d4".to_owned())],
        data: Bytes::from_static(ORDER.as_bytes()),
    };
    let mut origin = Origin { stream: StreamName::try_new("ORDERS")?, sequence: 1_000_000 };
    for _ in 0..calls {
        origin.sequence += 1;
        let call = Call { event: &event, route: &route, attempt: 1, origin: &origin, state: None, documents: None };
        plugin.handle(call).await.map_err(|failure| anyhow::anyhow!("{}: {}", failure.kind.code(), failure.text))?;
    }
    Ok(())
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or(" unknown");
    format!("{} resident", line.trim())
}
