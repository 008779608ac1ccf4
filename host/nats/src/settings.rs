//! Comparing what is wanted with what stands on the server, field by field, for streams and consumers alike.
//!
//! Only the fields that Tidemill names are compared: whoever adds a description or a placement to a stream is not in the
//! way. What the server leaves out has its zero value.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// Settings as the JetStream API has them.
pub(crate) type Settings = Map<String, Value>;

/// One setting that is not as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) field: String,
    wanted: String,
    found: String,
}

impl Difference {
    /// `duplicate_window: runtime.yaml says 10m, the stream has 2m`.
    pub(crate) fn describe(&self, asked_by: &str, thing: &str) -> String {
        format!("{}: {asked_by} {}, the {thing} has {}", self.field, self.wanted, self.found)
    }
}

/// The fields of `wanted` that are otherwise in `found`.
pub(crate) fn differences(wanted: &Settings, found: &Settings) -> Vec<Difference> {
    wanted
        .iter()
        .filter_map(|(field, wanted)| {
            let missing = zero_like(wanted);
            let found = found.get(field).unwrap_or(&missing);
            (!same(wanted, found)).then(|| Difference {
                field: field.clone(),
                wanted: shown(field, wanted),
                found: shown(field, found),
            })
        })
        .collect()
}

fn same(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Array(wanted), Value::Array(found)) => {
            let texts = |values: &[Value]| values.iter().map(Value::to_string).collect::<BTreeSet<_>>();
            texts(wanted) == texts(found)
        }
        _ => wanted == found,
    }
}

fn zero_like(value: &Value) -> Value {
    match value {
        Value::Bool(_) => json!(false),
        Value::Number(_) => json!(0),
        Value::Array(_) => json!([]),
        Value::String(_) | Value::Object(_) | Value::Null => Value::Null,
    }
}

const DURATIONS: [&str; 3] = ["duplicate_window", "max_age", "ack_wait"];
const SIZES: [&str; 1] = ["max_bytes"];

fn shown(field: &str, value: &Value) -> String {
    match value {
        Value::Number(number) if DURATIONS.contains(&field) => match number.as_u64() {
            Some(0) => "no limit".to_owned(),
            Some(nanoseconds) => shown_duration(Duration::from_nanos(nanoseconds)),
            None => number.to_string(),
        },
        Value::Number(number) if SIZES.contains(&field) => match number.as_i64() {
            Some(-1) => "no limit".to_owned(),
            Some(bytes) => shown_size(bytes),
            None => number.to_string(),
        },
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("`{text}`"),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => {
            values.iter().map(|value| format!("`{}`", value.as_str().unwrap_or("?"))).collect::<Vec<_>>().join(", ")
        }
        Value::Null => "nothing".to_owned(),
        other => other.to_string(),
    }
}

fn shown_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units: [(u128, &str); 3] = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
    match units.into_iter().find(|(unit, _)| milliseconds.is_multiple_of(*unit)) {
        Some((unit, letter)) => format!("{}{letter}", milliseconds / unit),
        None => format!("{milliseconds}ms"),
    }
}

fn shown_size(bytes: i64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes % unit == 0) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(value: Value) -> Settings {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_difference_reads_as_a_sentence() {
        let minutes = |n: u64| n * 60 * 1_000_000_000;
        let wanted = settings(json!({
            "duplicate_window": minutes(10), "max_bytes": 1 << 30, "subjects": ["a.>", "b"], "allow_atomic": true,
            "storage": "file",
        }));
        let found = settings(json!({
            "duplicate_window": minutes(2), "max_bytes": -1, "subjects": ["b", "a.>"], "storage": "file",
            "description": "somebody's note",
        }));
        let texts: Vec<String> =
            differences(&wanted, &found).iter().map(|d| d.describe("runtime.yaml says", "stream")).collect();
        assert_eq!(
            texts,
            [
                "allow_atomic: runtime.yaml says true, the stream has false",
                "duplicate_window: runtime.yaml says 10m, the stream has 2m",
                "max_bytes: runtime.yaml says 1GiB, the stream has no limit",
            ]
        );
    }

    #[test]
    fn what_the_server_leaves_out_is_zero() {
        assert_eq!(differences(&settings(json!({ "max_age": 0 })), &Settings::new()), []);
    }
}
