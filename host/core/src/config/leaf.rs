//! The single values of `runtime.yaml`: durations, sizes, numbers, names, subjects, choices, secrets.
//!
//! Each type reads itself and has its JSON Schema next to it. A value that comes from a `${...}` reference is read as if
//! it stood in the file, so the schemas admit a reference wherever they are stricter than "any text".

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::diagnostic::shorten;
use super::interpolate::Secrets;
use super::read::{Reader, Written};
use super::yaml::{Kind, Node, resolve_plain};
use super::{InstancePolicy, OnFailure, OnMissing, RebuildWhen, Scope, Secret, words};
use crate::envelope::Envelope;
use crate::name::{PluginName, ProjectionName, RouteName, StreamName};
use crate::outbound::OutboundHost;
use crate::read_model::FieldPath;
use crate::subject::SubjectPattern;

/// A text that is not empty.
#[derive(Debug, Clone)]
pub(super) struct Text(pub(super) String);

/// The only version of the vocabulary.
#[derive(Debug)]
pub(super) struct Version;

#[derive(Debug)]
pub(super) struct Flag(pub(super) bool);

/// A whole number from `MIN` to `MAX`.
#[derive(Debug)]
pub(super) struct Count<const MIN: u64, const MAX: u64>(pub(super) u64);

/// A number from `MIN` to `MAX`.
#[derive(Debug)]
pub(super) struct Decimal<const MIN: u64, const MAX: u64>(pub(super) f64);

/// `500ms`, `5s`, `10m`, `1h`, `7d`; at least `MIN` milliseconds.
#[derive(Debug)]
pub(super) struct Span<const MIN: u64>(pub(super) Duration);

/// `512B`, `1KiB`, `64MiB`, `2GiB`, `1TiB`; from `MIN` to `MAX` bytes.
#[derive(Debug)]
pub(super) struct Size<const MIN: u64, const MAX: u64>(pub(super) u64);

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

/// Ten years. What is longer was meant to be left out.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 5] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];

// --- texts -------------------------------------------------------------------------------------------------------------

impl Written for Text {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(node, "a text", Secrets::Refused)?;
        if text.is_empty() {
            reader.report.error(&node.place, "expected a text, found an empty one");
            return None;
        }
        Some(Self(text))
    }
}

impl Written for Secret {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(node, "a text, for example `${secret:NAME}`", Secrets::Allowed)?;
        if text.is_empty() {
            reader.report.error(&node.place, "expected a secret, found an empty text");
            return None;
        }
        Some(Secret::new(text))
    }
}

/// Reads a text with a fallible constructor whose error says everything.
fn parsed<T, E: Display>(
    node: &Node,
    reader: &mut Reader<'_>,
    expected: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Option<T> {
    let text = reader.text(node, expected, Secrets::Refused)?;
    parse(&text).map_err(|error| reader.report.error(&node.place, error.to_string())).ok()
}

macro_rules! named {
    ($($name:ident, $expected:literal, $title:literal, $pattern:literal;)*) => {$(
        impl Written for $name {
            fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
                parsed(node, reader, $expected, $name::try_new)
            }
        }

        schema!([] $name, or_reference($title, json!({ "type": "string", "pattern": $pattern })));
    )*};
}

// --- numbers -----------------------------------------------------------------------------------------------------------

/// The value with references replaced, read as if their values stood in the file.
fn scalar(node: &Node, reader: &mut Reader<'_>) -> Option<Kind> {
    match &node.kind {
        Kind::Text(text) if text.contains("${") => {
            let text = reader.interpolate(text, &node.place, Secrets::Refused)?;
            Some(resolve_plain(&text).unwrap_or(Kind::Text(text)))
        }
        kind => Some(kind.clone()),
    }
}

/// Reads a value that `convert` makes out of a scalar.
fn converted<T>(
    node: &Node,
    reader: &mut Reader<'_>,
    expected: &str,
    convert: impl Fn(&Kind) -> Option<T>,
    hint: impl Fn(&Kind) -> Option<String>,
) -> Option<T> {
    let kind = scalar(node, reader)?;
    convert(&kind).or_else(|| {
        let hint = hint(&kind);
        reader.unexpected(&Node { place: node.place.clone(), kind }, expected, hint)
    })
}

impl<const MIN: u64, const MAX: u64> Written for Count<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let convert = |kind: &Kind| match kind {
            Kind::Number(number) => number.as_u64().filter(|n| (MIN..=MAX).contains(n)).map(Self),
            _ => None,
        };
        converted(node, reader, &format!("a {}", numbers(MIN, MAX)), convert, unquote)
    }
}

impl<const MIN: u64, const MAX: u64> Written for Decimal<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let convert = |kind: &Kind| match kind {
            Kind::Number(number) => number.as_f64().filter(|n| (MIN as f64..=MAX as f64).contains(n)).map(Self),
            _ => None,
        };
        converted(node, reader, &format!("a {}", numbers(MIN, MAX)), convert, unquote)
    }
}

impl Written for Flag {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let convert = |kind: &Kind| match kind {
            Kind::Bool(value) => Some(Self(*value)),
            _ => None,
        };
        let hint = |kind: &Kind| match kind {
            Kind::Text(text) => match text.to_lowercase().as_str() {
                "yes" | "on" => Some("write `true`; in YAML 1.2 `yes` and `on` are texts".to_owned()),
                "no" | "off" => Some("write `false`; in YAML 1.2 `no` and `off` are texts".to_owned()),
                _ => unquote(kind),
            },
            _ => None,
        };
        converted(node, reader, "`true` or `false`", convert, hint)
    }
}

impl Written for Version {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let convert = |kind: &Kind| match kind {
            Kind::Number(number) if number.as_u64() == Some(1) => Some(Self),
            _ => None,
        };
        converted(node, reader, "`1`, the only version there is", convert, unquote)
    }
}

/// For a number or a flag that was written as a text.
fn unquote(kind: &Kind) -> Option<String> {
    let Kind::Text(text) = kind else { return None };
    let plain = matches!(resolve_plain(text), Ok(Kind::Number(_) | Kind::Bool(_)));
    plain.then(|| format!("write `{text}` without quotes"))
}

// --- durations and sizes -----------------------------------------------------------------------------------------------

impl<const MIN: u64> Written for Span<MIN> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let convert = |kind: &Kind| match kind {
            Kind::Text(text) => quantity(text, &DURATION_UNITS).map(Duration::from_millis),
            _ => None,
        };
        let hint = |kind: &Kind| foreign_unit(kind, &["s", "ms"], &DURATION_UNITS);
        let duration = converted(node, reader, "a duration like `500ms`, `5s`, `10m`, `1h` or `7d`", convert, hint)?;
        let shortest = Duration::from_millis(MIN);
        if (shortest..=LONGEST).contains(&duration) {
            return Some(Self(duration));
        }
        let bounds = format!("a duration from `{}` to `{}`", format_duration(shortest), format_duration(LONGEST));
        reader.unexpected(node, &bounds, None)
    }
}

impl<const MIN: u64, const MAX: u64> Written for Size<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let convert = |kind: &Kind| match kind {
            Kind::Text(text) => quantity(text, &SIZE_UNITS),
            _ => None,
        };
        let hint = |kind: &Kind| foreign_unit(kind, &["B", "MiB"], &SIZE_UNITS);
        let size = converted(node, reader, "a size like `512B`, `64KiB`, `64MiB` or `2GiB`", convert, hint)?;
        if (MIN..=MAX).contains(&size) {
            return Some(Self(size));
        }
        reader.unexpected(node, &format!("a {}", sizes(MIN, MAX)), None)
    }
}

/// Digits and a unit, nothing between.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(known, _)| *known == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

/// For a number without a unit, or with another system's.
fn foreign_unit(kind: &Kind, bare: &[&str; 2], units: &[(&str, u64)]) -> Option<String> {
    let text = match kind {
        Kind::Number(number) => {
            return Some(format!("the unit is missing: write `{number}{}` or `{number}{}`", bare[0], bare[1]));
        }
        Kind::Text(text) => text.trim(),
        _ => return None,
    };
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let unit = text[digits.len()..].trim().to_lowercase();
    let meant = match unit.as_str() {
        "" => bare[0],
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hour" | "hours" | "hr" => "h",
        "day" | "days" => "d",
        "msec" | "millis" | "milliseconds" => "ms",
        "k" | "kb" | "ki" => "KiB",
        "m" | "mb" | "mi" => "MiB",
        "g" | "gb" | "gi" => "GiB",
        "t" | "tb" | "ti" => "TiB",
        unit => units.iter().find(|(known, _)| known.eq_ignore_ascii_case(unit)).map_or("", |(known, _)| known),
    };
    let better = format!("{digits}{meant}");
    quantity(&better, units).map(|_| format!("write `{better}`"))
}

pub(super) fn format_duration(duration: Duration) -> String {
    format_quantity(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS, "s")
}

pub(super) fn format_size(bytes: u64) -> String {
    format_quantity(bytes, &SIZE_UNITS, "B")
}

/// In the largest unit that loses nothing.
fn format_quantity(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    match units.iter().find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", amount / factor),
        None => format!("0{zero}"),
    }
}

// --- choices -----------------------------------------------------------------------------------------------------------

/// A value that is one of a few words.
pub(super) trait Choice: Clone + 'static {
    const CHOICES: &'static [(&'static str, Self)];
}

impl Choice for OnMissing {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("reject", OnMissing::Reject), ("warn", OnMissing::Warn), ("allow", OnMissing::Allow)];
}

impl Choice for OnFailure {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("dead_letter", OnFailure::DeadLetter), ("halt", OnFailure::Halt)];
}

impl Choice for RebuildWhen {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("manual", RebuildWhen::Manual), ("on_change", RebuildWhen::OnChange)];
}

impl Choice for Scope {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("read", Scope::Read), ("ingest", Scope::Ingest), ("admin", Scope::Admin)];
}

impl Choice for InstancePolicy {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("reuse", InstancePolicy::Reuse), ("fresh", InstancePolicy::Fresh)];
}

impl Choice for Envelope {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("cloudevents", Envelope::CloudEvents), ("raw", Envelope::Raw), ("seed", Envelope::Seed)];
}

/// How a backoff grows.
#[derive(Debug, Clone)]
pub(super) enum Growth {
    Exponential,
}

impl Choice for Growth {
    const CHOICES: &'static [(&'static str, Self)] = &[("exponential", Growth::Exponential)];
}

/// One of the words of `T`.
#[derive(Debug)]
pub(super) struct OneOf<T>(pub(super) T);

impl<T: Choice> Written for OneOf<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let expected = expected_words::<T>();
        let text = reader.text(node, &expected, Secrets::Refused)?;
        if let Some((_, value)) = T::CHOICES.iter().find(|(word, _)| *word == text) {
            return Some(Self(value.clone()));
        }
        let meant = words::closest(&text, T::CHOICES.iter().map(|(word, _)| *word));
        let hint = meant.map(|word| format!("did you mean `{word}`?"));
        reader.report.push(&node.place, format!("expected {expected}, found `{}`", shorten(&text)), hint);
        None
    }
}

/// The word for a value.
pub(super) fn word<T: Choice + PartialEq>(value: &T) -> &'static str {
    T::CHOICES.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word)
}

fn expected_words<T: Choice>() -> String {
    let words: Vec<&str> = T::CHOICES.iter().map(|(word, _)| *word).collect();
    words::enumerate(&words).replace(" and ", " or ")
}

// --- JSON Schema -------------------------------------------------------------------------------------------------------

/// A schema in place, without a definition of its own.
macro_rules! schema {
    ([$($generic:ident)*] $name:ty, $schema:expr) => {
        impl<$(const $generic: u64),*> JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

/// What the schema says, or a text with a reference.
pub(super) fn or_reference(title: impl Into<String>, schema: serde_json::Value) -> Schema {
    json_schema!({ "title": title.into(), "anyOf": [schema, { "type": "string", "pattern": r"\$\{" }] })
}

named! {
    RouteName, "the name of a route", "name", "^[a-z0-9][a-z0-9-]{0,62}$";
    PluginName, "the name of a plugin", "name", "^[a-z0-9][a-z0-9-]{0,62}$";
    ProjectionName, "the name of a projection", "name", "^[a-z0-9][a-z0-9-]{0,62}$";
    FieldPath, "a field like `status` or `address.city`", "field", r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$";
    StreamName, "the name of a stream", "name", "^[A-Za-z0-9_-]{1,63}$";
    SubjectPattern, "a subject like `orders.created` or `orders.>`", "subject pattern", r"^[^\s.]+(\.[^\s.]+)*$";
    OutboundHost, "an outbound host like `https://api.example.com`", "outbound host", r"^https?://[^\s/]+(/[0-9]+)?(:[0-9]+)?$";
}

schema!([] Text, json_schema!({ "title": "text", "type": "string", "minLength": 1 }));
schema!([] Secret, json_schema!({ "title": "secret", "type": "string", "minLength": 1, "writeOnly": true }));
schema!([] Version, or_reference("`1`", json!({ "const": 1 })));
schema!([] Flag, or_reference("`true` or `false`", json!({ "type": "boolean" })));
schema!([MIN] Span<MIN>, or_reference("duration", json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })));
schema!([MIN MAX] Size<MIN, MAX>, or_reference(
    sizes(MIN, MAX),
    json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$" }),
));
schema!([MIN MAX] Count<MIN, MAX>, or_reference(
    numbers(MIN, MAX),
    bounded("integer", MIN, MAX),
));
schema!([MIN MAX] Decimal<MIN, MAX>, or_reference(
    numbers(MIN, MAX),
    bounded("number", MIN, MAX),
));

fn sizes(min: u64, max: u64) -> String {
    format!("size from `{}`{}", format_size(min), upper(max, format!(" to `{}`", format_size(max))))
}

fn numbers(min: u64, max: u64) -> String {
    format!("number from {min}{}", upper(max, format!(" to {max}")))
}

fn upper(max: u64, text: String) -> String {
    if max == u64::MAX { String::new() } else { text }
}

fn bounded(kind: &str, min: u64, max: u64) -> serde_json::Value {
    if max == u64::MAX {
        json!({ "type": kind, "minimum": min })
    } else {
        json!({ "type": kind, "minimum": min, "maximum": max })
    }
}

impl<T: Choice> JsonSchema for OneOf<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OneOf".into()
    }

    fn schema_id() -> Cow<'static, str> {
        std::any::type_name::<T>().into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = T::CHOICES.iter().map(|(word, _)| *word).collect();
        or_reference(expected_words::<T>(), json!({ "enum": words }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_shown_as_they_are_written() {
        for text in ["500ms", "5s", "90s", "10m", "1h", "7d"] {
            let millis = quantity(text, &DURATION_UNITS).unwrap();
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
        for text in ["1B", "1023B", "1KiB", "64MiB", "3GiB", "1TiB"] {
            assert_eq!(format_size(quantity(text, &SIZE_UNITS).unwrap()), text);
        }
        for text in ["", "s", "5", "5 s", "-5s", "1.5s", "5S", "18446744073709551615d", "99999999999999999999s"] {
            assert_eq!(quantity(text, &DURATION_UNITS), None, "{text}");
        }
    }
}
