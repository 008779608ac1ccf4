//! What a correct file means.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::super::*;
use super::{EXAMPLE, loaded, lookup};
use crate::retry::{Backoff, RetryPolicy};

/// One stream, one route, and what is to be looked at.
fn with(route: &str, rest: &str) -> String {
    format!(
        "version: 1\nstreams: [{{ name: ORDERS, subjects: [\"orders.>\"] }}]\n\
         routes: [{{ name: r, handler: h, source: {{ stream: ORDERS }}, {route} }}]\n{rest}\n"
    )
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn the_example_of_the_design() {
    let config = loaded(EXAMPLE);
    let BrokerConfig::Nats(nats) = &config.broker else { panic!("{:?}", config.broker) };
    assert_eq!(nats.servers, ["nats://127.0.0.1:4222"]);
    assert_eq!(nats.credentials.as_ref().map(Secret::reveal), Some("hunter2"));
    assert_eq!(config.streams[1].envelope, Envelope::Seed);
    assert_eq!(config.streams[1].max_bytes, Some(1 << 30));
    let (name, plugin) = config.plugins.settings.first_key_value().unwrap();
    assert_eq!((name.as_str(), plugin.config["threshold"].as_str()), ("fraud-check", "1000"));
    let route = &config.routes[0];
    assert_eq!(route.stream.as_str(), "ORDERS");
    assert_eq!(route.subjects[0].as_str(), "orders.created");
    assert_eq!(route.start, Start::New);
    assert!(route.filter.is_some());
    assert_eq!(route.dead_letter.as_str(), "dlq.high-value-orders");
    assert_eq!(route.retry, RetryPolicy::default());
}

#[test]
fn the_smallest_file_is_a_host_without_routes() {
    let config = loaded("version: 1");
    assert_eq!(config.broker, BrokerConfig::Embedded { dir: "./.tidemill".into() });
    assert_eq!(config.schemas, SchemasConfig { dir: "./schemas".into(), on_missing: OnMissing::Reject });
    assert_eq!((config.plugins.dir.as_path(), config.shutdown_grace), (Path::new("./plugins"), seconds(30)));
    assert!(config.routes.is_empty() && config.streams.is_empty() && config.plugins.settings.is_empty());
}

#[test]
fn every_route_has_the_limit_of_hops() {
    for (written, hops) in [("", 32), ("max_hops: 3\n", 3)] {
        let config = loaded(&format!("{written}{}", with("", "")));
        assert_eq!((config.max_hops, config.routes[0].max_hops), (hops, hops));
    }
}

#[test]
fn a_route_has_defaults() {
    let route = loaded(&with("", "")).routes.remove(0);
    assert_eq!(route.subjects[0].as_str(), "orders.>");
    assert_eq!((route.start, route.timeout, route.max_in_flight), (Start::All, seconds(5), 256));
    assert_eq!((route.retry, route.dead_letter.as_str()), (RetryPolicy::default(), "dlq.r"));
    assert!(route.emits.is_empty() && route.filter.is_none());
}

#[test]
fn a_route_takes_what_the_defaults_say_and_may_differ() {
    let defaults = "defaults: { timeout: 1m, retry: { max_attempts: 2 }, max_in_flight: 8, dead_letter: { subject: \"x.{route}.y\" } }";
    let route = loaded(&with("", defaults)).routes.remove(0);
    assert_eq!((route.timeout, route.max_in_flight, route.retry.max_attempts()), (seconds(60), 8, 2));
    assert_eq!(route.dead_letter.as_str(), "x.r.y");
    let own = "timeout: 2s, retry: standard, max_in_flight: 9, dead_letter: { subject: own }";
    let route = loaded(&with(own, defaults)).routes.remove(0);
    assert_eq!((route.timeout, route.max_in_flight, route.retry.max_attempts()), (seconds(2), 9, 5));
    assert_eq!(route.dead_letter.as_str(), "own");
}

#[test]
fn a_redefined_standard_policy_is_the_default_one() {
    let route = loaded(&with("", "retry_policies: { standard: { max_attempts: 9 } }")).routes.remove(0);
    assert_eq!(route.retry.max_attempts(), 9);
}

#[test]
fn a_backoff_may_begin_above_the_default_maximum() {
    let route = loaded(&with("retry: { backoff: { initial: 5m, jitter: 0 } }", "")).routes.remove(0);
    assert_eq!(*route.retry.backoff(), Backoff::try_new(seconds(300), 2.0, seconds(300), 0.0).unwrap());
}

#[test]
fn a_route_begins_where_it_says() {
    let start = |text: &str| {
        let file = with("", "").replace("stream: ORDERS }", &format!("stream: ORDERS, start: {text} }}"));
        loaded(&file).routes.remove(0).start
    };
    assert_eq!(start("all"), Start::All);
    assert_eq!(start("{ sequence: 42 }"), Start::Sequence(42));
    let expected = SystemTime::UNIX_EPOCH + seconds(3600);
    assert_eq!(start("{ time: 1970-01-01T02:00:00+01:00 }"), Start::Time(expected));
}

#[test]
fn settings_of_a_plugin() {
    let config = loaded(&with(
        "",
        r#"
plugins:
  dir: /opt/plugins
  settings:
    h:
      config: { text: "${env:WORD}", number: 1.5, list: [1, a], nothing: null, flag: true }
      secrets: { key: "${secret:api.key}", creds: "${file:creds}" }
      limits: { memory: 128MiB, emits: 1, emit_bytes: 512B, max_events_per_instance: 1 }
      instance: fresh
      instances: 4
"#,
    ));
    let plugin = config.plugins.settings.values().next().unwrap();
    let values: Vec<_> = plugin.config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(
        values,
        [("flag", "true"), ("list", r#"[1,"a"]"#), ("nothing", "null"), ("number", "1.5"), ("text", "lots")]
    );
    assert_eq!(plugin.secrets["key"].reveal(), "hunter2");
    assert_eq!(plugin.secrets["creds"].reveal(), "hunter2");
    assert_eq!((plugin.limits.memory, plugin.limits.emits, plugin.limits.emit_bytes), (128 << 20, 1, 512));
    assert_eq!(plugin.limits.state_value, Limits::default().state_value);
    assert_eq!((plugin.instance, plugin.instances), (InstancePolicy::Fresh, Some(4)));
}

#[test]
fn the_duplicate_window_is_never_longer_than_the_stream_keeps_messages() {
    let window = |rest: &str| {
        loaded(&format!("version: 1\nstreams: [{{ name: A, subjects: [a], {rest} }}]")).streams[0].duplicate_window
    };
    assert_eq!(window(""), seconds(600));
    assert_eq!(window("max_age: 1m"), seconds(60));
    assert_eq!(window("max_age: 1d, duplicate_window: 1h"), seconds(3600));
}

#[test]
fn tls_is_required_where_it_is_configured() {
    let config =
        loaded("version: 1\nbroker: { nats: { servers: [\"tls://a:4222\"], tls: { ca_file: ca.pem }, replicas: 3 } }");
    let BrokerConfig::Nats(nats) = config.broker else { panic!() };
    let tls = nats.tls.unwrap();
    assert_eq!((tls.required, tls.ca_file.as_deref(), nats.replicas), (true, Some(Path::new("ca.pem")), 3));
}

#[test]
fn references_stand_for_every_kind_of_value() {
    let file = with("", "").replace("stream: ORDERS }", "stream: \"${env:STREAM}\" }");
    let rest = "defaults: { max_in_flight: \"${env:NUMBER}\", timeout: \"${env:NUMBER}s\" }\nschemas: { dir: \"$${x}\", on_missing: \"${env:NONE:-warn}\" }";
    let config = loaded(&(file + rest));
    assert_eq!((config.routes[0].max_in_flight, config.routes[0].timeout), (7, seconds(7)));
    assert_eq!(config.schemas, SchemasConfig { dir: "${x}".into(), on_missing: OnMissing::Warn });
}

#[test]
fn an_alias_stands_for_a_value() {
    let config = loaded(
        &with("retry: *twice", "")
            .replace("version: 1\n", "version: 1\ndefaults: { retry: &twice { max_attempts: 2 } }\n"),
    );
    assert_eq!(config.routes[0].retry.max_attempts(), 2);
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_harmless() {
    let text = format!("\u{feff}{}", EXAMPLE.replace('\n', "\r\n"));
    assert_eq!(loaded(&text).routes.len(), 1);
}

#[test]
fn what_is_shown_means_the_same() {
    let shown = show(EXAMPLE, &lookup()).unwrap();
    assert!(!shown.to_string().contains("hunter2"));
    assert_eq!(shown["broker"]["nats"]["credentials"], "***");
    // A masked address and a masked token are none; with those of before it is the same configuration.
    let mut unmasked = shown.clone();
    unmasked["read_models"]["postgres"]["url"] = "${secret:postgres.url}".into();
    unmasked["http"]["tokens"][0]["token"] = "${secret:http.token}".into();
    let again = show(&unmasked.to_string(), &lookup()).unwrap();
    assert_eq!(again, shown);
}

#[test]
fn a_secret_is_not_printed_by_accident() {
    assert!(!format!("{:?}", loaded(EXAMPLE)).contains("hunter2"));
}
