use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{Method, StatusCode};
use tidemill_core::port::Backlog;
use tidemill_core::stats::{Distribution, RouteMeasures, RouteSummary};

use super::*;

/// A host in which everything that can be told is there.
fn full() -> Snapshot {
    let counted = |name: &str| BTreeMap::from([(name.to_owned(), 3)]);
    let spread = Distribution { cumulative: std::array::from_fn(|index| index as u64), count: 21, sum: 1.5 };
    let counts = RouteSummary {
        received: 9,
        done: 4,
        dead_lettered: 3,
        dead_lettered_by_reason: counted("invalid"),
        ..Default::default()
    };
    let measures = RouteMeasures {
        failed: counted("trap"),
        in_host: spread.clone(),
        end_to_end: spread.clone(),
        in_flight: 2,
        oldest: None,
    };
    Snapshot {
        version: "0.1.0".into(),
        broker: "embedded".into(),
        started: SystemTime::now(),
        resident_bytes: Some(64),
        reloads: ReloadMetrics { last_success: Some(SystemTime::now()), ..Default::default() },
        routes: vec![RouteMetrics {
            name: "fraud".into(),
            counts,
            measures,
            backlog: Some(Backlog::default()),
            lag: Some(Duration::from_millis(1500)),
        }],
        plugins: vec![PluginMetrics {
            name: "fraud-check".into(),
            digest: "sha256:\"\\\n".into(),
            loads: counted("taken"),
            traps: counted("trap"),
            memory_bytes: Some(1),
            instances_in_use: Some(1),
            ..Default::default()
        }],
        projections: vec![ProjectionMetrics {
            name: "orders".into(),
            state: "running".into(),
            dead_lettered: counted("trap"),
            durations: spread,
            lag: vec![ProjectionLag { stream: "ORDERS".into(), ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn text(snapshot: &Snapshot) -> String {
    let requests = Requests::default();
    requests.answered(4, &Method::POST, StatusCode::ACCEPTED, Duration::from_micros(700));
    requests.answered(4, &Method::from_bytes(b"BREW").unwrap(), StatusCode::METHOD_NOT_ALLOWED, Duration::ZERO);
    encode(snapshot, &requests)
}

#[test]
fn every_declared_metric_is_exported_once_and_nothing_else_is() {
    let text = text(&full());
    let exported: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(exported, METRICS.iter().map(|metric| metric.name).collect::<Vec<_>>());
}

#[test]
fn samples_are_written_as_the_format_has_it() {
    let text = text(&full());
    for line in [
        "tidemill_info{version=\"0.1.0\",broker=\"embedded\"} 1",
        "tidemill_broker_connected 0",
        "tidemill_events_received_total{route=\"fraud\"} 9",
        "tidemill_events_processed_total{route=\"fraud\",outcome=\"done\"} 4",
        "tidemill_events_dead_lettered_total{route=\"fraud\",reason=\"invalid\"} 3",
        "tidemill_in_flight{route=\"fraud\"} 2",
        "tidemill_consumer_lag_seconds{route=\"fraud\"} 1.5",
        "tidemill_event_duration_seconds_bucket{route=\"fraud\",le=\"0.0001\"} 0",
        "tidemill_event_duration_seconds_bucket{route=\"fraud\",le=\"1800\"} 19",
        "tidemill_event_duration_seconds_bucket{route=\"fraud\",le=\"+Inf\"} 21",
        "tidemill_event_duration_seconds_sum{route=\"fraud\"} 1.5",
        "tidemill_plugin_info{plugin=\"fraud-check\",digest=\"sha256:\\\"\\\\\\n\",world=\"\"} 1",
        "tidemill_projection_lag_events{projection=\"orders\",stream=\"ORDERS\"} 0",
        "tidemill_http_requests_total{endpoint=\"/v1/events\",method=\"POST\",status=\"202\"} 1",
        "tidemill_http_requests_total{endpoint=\"/v1/events\",method=\"other\",status=\"405\"} 1",
        "tidemill_http_request_duration_seconds_bucket{endpoint=\"/v1/events\",le=\"0.0005\"} 1",
        "tidemill_http_request_duration_seconds_bucket{endpoint=\"/v1/events\",le=\"0.001\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    let text = text(&Snapshot { version: "1".into(), ..Snapshot::default() });
    for absent in ["resident_memory", "last_reload_success", "events_received", "plugin_info", "projection_"] {
        assert!(!text.contains(absent), "{absent}");
    }
}

/// The names in the first column of the tables, the kinds in the second, the labels in the third.
fn documented() -> BTreeSet<(String, String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| `tidemill_")).map(cells);
    rows.map(|row| (row[1].clone(), row[2].clone(), row[3].clone())).collect()
}

#[test]
fn the_documentation_has_every_metric_with_its_type_and_labels() {
    let declared = METRICS
        .iter()
        .map(|metric| (metric.name.to_owned(), format!("{:?}", metric.kind).to_lowercase(), metric.labels.join(", ")));
    assert_eq!(declared.collect::<BTreeSet<_>>(), documented());
}
