//! `/metrics` of a host at work has every metric of `docs/metrics.md`, with the labels that stand there and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::harness::{Home, On, root};
use crate::shop::shop_config;

/// A metric's type and labels, in the order of the document.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

fn documented() -> Metrics {
    let text = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `tidemill_"));
    rows.map(|row| {
        let cells: Vec<String> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(str::to_owned);
        (cells[1].clone(), (cells[2].clone(), labels.collect()))
    })
    .collect()
}

/// What is exported. A sample of a family that was not announced, or with other labels than its sisters, is a mistake.
fn exported(text: &str) -> Metrics {
    let mut kinds = BTreeMap::new();
    let mut found = Metrics::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
        } else if !line.starts_with('#') {
            let (name, labels) = sample(line);
            let family = family(&name, &kinds).unwrap_or_else(|| panic!("nobody announced {line}"));
            let entry = found.entry(family.clone()).or_insert_with(|| (kinds[&family].clone(), labels.clone()));
            assert_eq!(entry.1, labels, "{line}");
        }
    }
    found
}

/// A sample's name and the names of its labels, but for those that the format itself puts there.
fn sample(line: &str) -> (String, BTreeSet<String>) {
    let (head, value) = line.rsplit_once(' ').unwrap();
    assert!(value.parse::<f64>().is_ok(), "{line}");
    let Some((name, labels)) = head.split_once('{') else { return (head.to_owned(), BTreeSet::new()) };
    // No value of these tests has a comma or a quote in it.
    let labels = labels.strip_suffix('}').unwrap().split(',').map(|label| label.split_once('=').unwrap().0.to_owned());
    (name.to_owned(), labels.filter(|label| label != "le").collect())
}

fn family(name: &str, kinds: &BTreeMap<String, String>) -> Option<String> {
    let of_parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
    [name].into_iter().chain(of_parts).find(|name| kinds.contains_key(*name)).map(str::to_owned)
}

fn everything_documented_is_exported(on: On) {
    let home = Home::new(on, &shop_config());
    let feed = root().join("examples/shop/events.jsonl").display().to_string();
    let host = home.start();
    assert_eq!(home.run(&["emit", &feed, "--no-validate"]).code, 0);
    host.until_done("payments", 221);
    host.until_folded("orders");
    host.until_folded("customers");
    // A change that is taken, and leaves the other routes as they are.
    let handler = "handler: customs-clearance";
    home.configure(&shop_config().replace(handler, &format!("{handler}\n    max_in_flight: 7")));
    assert_eq!(home.run(&["reload"]).code, 0);
    // This one is not counted in its own answer.
    host.get("/metrics");
    let text = host.get("/metrics").body;
    assert!(!text.contains("NaN"), "{text}");
    // Everything is settled, and so nothing is late.
    assert!(text.contains("\ntidemill_consumer_lag_seconds{route=\"analytics\"} 0\n"), "{text}");
    let (exported, documented) = (exported(&text), documented());
    let missing: Vec<_> = documented.keys().filter(|name| !exported.contains_key(*name)).collect();
    assert!(missing.is_empty(), "documented and not exported: {missing:?}\n{text}");
    for (name, found) in &exported {
        assert_eq!(Some(found), documented.get(name), "{name}");
    }
    host.stop();
}

#[test]
fn everything_documented_is_exported_on_the_embedded_log() {
    everything_documented_is_exported(On::Embedded);
}

#[test]
fn everything_documented_is_exported_on_nats() {
    everything_documented_is_exported(On::Nats);
}

#[test]
fn refused_files_are_counted_and_stay_counted() {
    let config = r#"version: 1
streams: [{ name: ORDERS, subjects: ["orders.>"] }, { name: FRAUD, subjects: ["fraud.>"] }]
schemas: { on_missing: allow }
http: { listen: "127.0.0.1:0" }
routes: [{ name: fraud, source: { stream: ORDERS }, handler: fraud-check, emits: ["fraud.>"] }]
"#;
    let home = Home::new(On::Embedded, config);
    home.install(&["fraud-check"]);
    let host = home.start();
    let counted = |count: usize| {
        let sample = format!("\ntidemill_plugin_loads_total{{plugin=\"fraud-check\",result=\"refused\"}} {count}\n");
        let metrics = host.get("/metrics").body;
        assert!(metrics.contains(&sample), "{sample} in:\n{metrics}");
    };
    counted(0);
    for (number, garbage) in ["one", "two"].into_iter().enumerate() {
        home.put_plugin("fraud-check", garbage.as_bytes());
        let digest = tidemill::plugins::Digest::of(garbage.as_bytes()).to_string();
        host.until_plugin("refused", |plugin| {
            plugin.refused.as_ref().is_some_and(|it| it.digest.as_ref() == Some(&digest))
        });
        counted(number + 1);
    }
    home.install(&["fraud-check"]);
    host.until_plugin("the good one again", |plugin| plugin.refused.is_none());
    counted(2);
    host.stop();
}
