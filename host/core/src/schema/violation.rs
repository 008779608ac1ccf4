//! What is wrong with an event's data, in sentences that a person can act on.

use std::fmt;
use std::io;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError, Validator};
use serde_json::Value;

use super::outline;
use crate::text::clean_text;

/// Violations that are told; the ninth is mostly more of the same.
const MAX_VIOLATIONS: usize = 8;
/// Found values are shown up to this many bytes.
const FOUND_BYTES: usize = 80;
/// Expectations quote the schema: lists of values, patterns.
const EXPECTED_BYTES: usize = 240;
const POINTER_BYTES: usize = 240;

/// Why data does not match its schema: at least one violation, at most eight.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violations {
    list: Vec<Violation>,
    /// Whether there are more than are listed.
    more: bool,
}

/// One thing that is wrong. All texts are cleaned and shortened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// JSON pointer into the data; empty for the data itself.
    pub pointer: String,
    /// Such as `a number ≥ 0`.
    pub expected: String,
    /// The value as JSON text, or `nothing`.
    pub found: String,
}

// === impl Violations ===

impl Violations {
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.list.iter()
    }

    /// Whether there are more than [`iter`](Violations::iter) tells.
    pub fn more(&self) -> bool {
        self.more
    }

    /// What the validator finds wrong.
    pub(super) fn collect(validator: &Validator, data: &Value) -> Self {
        let mut list = Vec::new();
        for error in validator.iter_errors(data) {
            Violation::all(&error, &mut list);
            if list.len() > MAX_VIOLATIONS {
                break;
            }
        }
        if list.is_empty() {
            return Self::unexplained();
        }
        let more = list.len() > MAX_VIOLATIONS;
        list.truncate(MAX_VIOLATIONS);
        Self { list, more }
    }

    /// The data does not match, and nothing more can be said.
    pub(super) fn unexplained() -> Self {
        Self::one("data that matches the schema", "data that does not")
    }

    /// The data is no JSON and has a schema.
    pub(super) fn not_json(content_type: Option<&str>) -> Self {
        let found =
            content_type.map_or("data that is not".to_owned(), |found| format!("`{}`", clean_text(found, FOUND_BYTES)));
        Self::one("JSON, since there is a schema for it", &found)
    }

    fn one(expected: &str, found: &str) -> Self {
        let violation = Violation { pointer: String::new(), expected: expected.to_owned(), found: found.to_owned() };
        Self { list: vec![violation], more: false }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        if self.more { f.write_str("; and more") } else { Ok(()) }
    }
}

impl std::error::Error for Violations {}

// === impl Violation ===

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pointer of the whole document is the empty text; a slash is what people take for it.
        let pointer = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(f, "{pointer}: expected {}, found {}", self.expected, self.found)
    }
}

impl Violation {
    /// The violation of an error that is about one value.
    pub(super) fn new(error: &ValidationError<'_>) -> Self {
        Self {
            pointer: clean_text(error.instance_path().as_str(), POINTER_BYTES),
            expected: clean_text(&expected(error), EXPECTED_BYTES),
            found: shown(error.instance()),
        }
    }

    /// The violations of an error: one for each property that should not be there.
    fn all(error: &ValidationError<'_>, list: &mut Vec<Violation>) {
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                list.push(Violation {
                    expected: "a value, since the property is required".to_owned(),
                    found: "nothing".to_owned(),
                    ..Self::member(error, name)
                });
            }
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                list.extend(unexpected.iter().take(MAX_VIOLATIONS + 1).map(|name| Violation {
                    expected: "no property of this name".to_owned(),
                    ..Self::member(error, name)
                }));
            }
            _ => list.push(Self::new(error)),
        }
    }

    /// A violation at a member of the error's value.
    fn member(error: &ValidationError<'_>, name: &str) -> Self {
        let pointer = format!("{}/{}", error.instance_path().as_str(), name.replace('~', "~0").replace('/', "~1"));
        Violation {
            pointer: clean_text(&pointer, POINTER_BYTES),
            expected: String::new(),
            found: error.instance().get(name).map_or_else(|| "nothing".to_owned(), shown),
        }
    }
}

/// What the schema wanted, without the value.
fn expected(error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as Kind;
    match error.kind() {
        Kind::Type { kind: TypeKind::Single(single) } => type_name(*single).to_owned(),
        Kind::Type { kind: TypeKind::Multiple(several) } => either(several.iter().map(|one| type_name(one).to_owned())),
        Kind::Enum { options } => match options.as_array().map(Vec::as_slice) {
            Some([single]) => shown(single),
            // A hundred are more than is shown; of thousands the rest need not be written.
            Some(options) => format!("one of {}", either(options.iter().take(100).map(shown))),
            None => shown(options),
        },
        Kind::Constant { expected_value } => shown(expected_value),
        Kind::Minimum { limit } => format!("a number ≥ {limit}"),
        Kind::Maximum { limit } => format!("a number ≤ {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("a number > {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("a number < {limit}"),
        Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("a string of at least {}", counted(*limit, "character")),
        Kind::MaxLength { limit } => format!("a string of at most {}", counted(*limit, "character")),
        Kind::Pattern { pattern } => format!("a string that matches `{pattern}`"),
        Kind::Format { format } => format_name(format),
        Kind::MinItems { limit } => format!("an array of at least {}", counted(*limit, "item")),
        Kind::MaxItems { limit } => format!("an array of at most {}", counted(*limit, "item")),
        Kind::AdditionalItems { limit } => format!("an array of at most {}", counted(*limit as u64, "item")),
        Kind::UniqueItems => "an array whose items all differ".to_owned(),
        Kind::Contains => "an array with the items that `contains` asks for".to_owned(),
        Kind::UnevaluatedItems { .. } => "an array without further items".to_owned(),
        Kind::MinProperties { limit } => format!("an object of at least {}", properties(*limit)),
        Kind::MaxProperties { limit } => format!("an object of at most {}", properties(*limit)),
        Kind::PropertyNames { error } => format!("only property names that are {}", expected(error)),
        Kind::FalseSchema => "no value at all".to_owned(),
        Kind::AnyOf { context } => alternatives("anyOf", context.len()) + &nearest(context),
        Kind::OneOfNotValid { context } => alternatives("oneOf", context.len()) + &nearest(context),
        Kind::OneOfMultipleValid { context } => {
            format!("a value that matches only one of the {} alternatives of `oneOf`, not several", context.len())
        }
        Kind::Not { schema } => match outline::alternatives(schema) {
            Some((keyword, count)) => alternatives(keyword, count),
            None => "a value that does not match `not`".to_owned(),
        },
        Kind::ContentEncoding { content_encoding } => format!("a string in the encoding `{content_encoding}`"),
        Kind::ContentMediaType { content_media_type } => format!("a string that holds `{content_media_type}`"),
        // What is left is rare; the crate's own text says it.
        _ => format!("a value that satisfies `{}` ({})", error.kind().keyword(), error.masked()),
    }
}

fn type_name(json_type: JsonType) -> &'static str {
    match json_type {
        JsonType::Array => "an array",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}

/// The formats of JSON Schema by the names that people use.
fn format_name(format: &str) -> String {
    let known = match format {
        "date-time" => "a date and time like `2026-01-31T12:00:00Z`",
        "date" => "a date like `2026-01-31`",
        "time" => "a time like `12:00:00Z`",
        "duration" => "a duration like `P1DT2H`",
        "email" | "idn-email" => "an e-mail address",
        "hostname" | "idn-hostname" => "a host name",
        "ipv4" => "an IPv4 address",
        "ipv6" => "an IPv6 address",
        "uri" | "iri" => "a URI with a scheme",
        "uri-reference" | "iri-reference" => "a URI reference",
        "uuid" => "a UUID",
        "json-pointer" => "a JSON pointer",
        "regex" => "a regular expression",
        other => return format!("a string in the format `{other}`"),
    };
    known.to_owned()
}

fn alternatives(keyword: &str, count: usize) -> String {
    format!("a value that matches one of the {count} alternatives of `{keyword}`")
}

/// What the alternative that comes closest still wants: the one whose first mistake lies deepest, then the one with the
/// fewest. An alternative that wants another type altogether is not what the producer meant.
fn nearest(context: &[Vec<ValidationError<'static>>]) -> String {
    let depth = |error: &ValidationError<'_>| error.instance_path().as_str().matches('/').count();
    let best = context
        .iter()
        .enumerate()
        .filter_map(|(index, errors)| Some((index, errors.first()?, errors.len())))
        .max_by_key(|(_, first, count)| (depth(first), std::cmp::Reverse(*count)));
    match best {
        Some((index, first, _)) => {
            let mut violations = Vec::new();
            Violation::all(first, &mut violations);
            violations
                .first()
                .map_or_else(String::new, |violation| format!(" (the nearest is number {}: {violation})", index + 1))
        }
        None => String::new(),
    }
}

/// `a`, `a or b`, `a, b or c`.
fn either(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.collect();
    match texts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("{count} {noun}") } else { format!("{count} {noun}s") }
}

fn properties(count: u64) -> String {
    if count == 1 { "1 property".to_owned() } else { format!("{count} properties") }
}

/// The start of a value's JSON text. Of a large value only the start is written.
fn shown(value: &Value) -> String {
    struct Start(Vec<u8>);

    impl io::Write for Start {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(bytes);
            // The error ends the serialisation; what was written is what is wanted.
            if self.0.len() > 4 * FOUND_BYTES { Err(io::ErrorKind::WriteZero.into()) } else { Ok(bytes.len()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut start = Start(Vec::with_capacity(FOUND_BYTES));
    let _ = serde_json::to_writer(&mut start, value);
    clean_text(&String::from_utf8_lossy(&start.0), FOUND_BYTES)
}
