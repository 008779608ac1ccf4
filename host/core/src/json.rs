//! Reading untrusted JSON: every payload becomes a value here, once, before anything else looks at it.
//!
//! What must stay true, whatever the bytes are: no input overflows the stack (depth is counted while parsing, not
//! afterwards), nothing is silently dropped (of two equal keys JSON readers keep the first or the last, so a validator
//! and a plugin could see two different events: refused), and every refusal says where.
//!
//! It is serde_json's parser with a visitor of our own. A second pass over a finished `Value` would come too late for
//! the stack, and duplicate keys are gone by then; a parser of our own would have to earn the trust that serde_json has.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// How large and how deep a JSON text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// Levels of arrays and objects: `[[1]]` has two. What exceeds [`JsonLimits::DEEPEST`] counts as that.
    pub depth: usize,
    /// Length of the text in bytes.
    pub bytes: usize,
}

/// Where in a text: both numbers begin at 1, a column is a character; the offset is in bytes and begins at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
    pub offset: usize,
}

/// Why bytes are not the JSON that we accept. Quoted parts of the text are shortened and hold no control characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("the JSON text has {size} bytes, at most {limit} are accepted")]
    TooLarge { size: usize, limit: usize },
    #[error("expected a JSON value, found nothing")]
    Empty,
    #[error("the byte 0x{byte:02x} is not valid UTF-8 at {at}")]
    InvalidUtf8 { byte: u8, at: Position },
    #[error("arrays and objects are nested deeper than {limit} levels at {at}")]
    TooDeep { limit: usize, at: Position },
    #[error("the key `{key}` occurs a second time in the same object at {at}")]
    DuplicateKey { key: String, at: Position },
    #[error("the number `{number}` is out of the range of a 64-bit float at {at}")]
    NumberOutOfRange { number: String, at: Position },
    #[error("the JSON text ends before its value does at {at}")]
    Truncated { at: Position },
    #[error("expected the end of the JSON text, found `{found}` at {at}")]
    Trailing { found: String, at: Position },
    #[error("{problem} at {at}")]
    Syntax { problem: String, at: Position },
}

/// Parses one JSON text.
///
/// Integers that fit `i64` or `u64` stay integers, every other number is the nearest `f64`.
///
/// # Errors
///
/// Refuses texts over the limits, duplicate keys, invalid UTF-8, numbers beyond `f64`, anything after the value, and
/// everything that is not JSON by RFC 8259.
pub fn parse(bytes: &[u8], limits: &JsonLimits) -> Result<Value, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(JsonError::TooLarge { size: bytes.len(), limit: limits.bytes });
    }
    // Checking UTF-8 in one go costs nanoseconds and gives an exact position; the parser then checks no string again.
    let text = std::str::from_utf8(bytes).map_err(|error| invalid_utf8(bytes, error.valid_up_to()))?;
    let limit = limits.depth.min(JsonLimits::DEEPEST);
    let fault = RefCell::new(None);
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = ValueSeed { levels_left: limit, fault: &fault }
        .deserialize(&mut parser)
        .map_err(|error| explain(text, &error, fault.take(), limit))?;
    parser.end().map_err(|error| trailing(text, &error))?;
    Ok(value)
}

// === impl JsonLimits ===

impl JsonLimits {
    /// serde_json stops by itself at 128 levels; ours must come first, to be the one that is reported.
    pub const DEEPEST: usize = 126;
}

impl Default for JsonLimits {
    fn default() -> Self {
        // Real events are below ten levels; 64 levels of parsing and dropping fit the smallest thread's stack many times.
        // 8 MiB is eight times the largest message that a NATS server takes unless told otherwise.
        Self { depth: 64, bytes: 8 * 1024 * 1024 }
    }
}

// === impl JsonError ===

impl JsonError {
    /// Where the text is wrong; `None` when it is as a whole.
    pub fn position(&self) -> Option<Position> {
        match self {
            JsonError::TooLarge { .. } | JsonError::Empty => None,
            JsonError::InvalidUtf8 { at, .. }
            | JsonError::TooDeep { at, .. }
            | JsonError::DuplicateKey { at, .. }
            | JsonError::NumberOutOfRange { at, .. }
            | JsonError::Truncated { at }
            | JsonError::Trailing { at, .. }
            | JsonError::Syntax { at, .. } => Some(*at),
        }
    }
}

// === impl Position ===

impl Position {
    /// The position of the byte at `offset`, which must lie on a character's border.
    fn of(text: &str, offset: usize) -> Self {
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            offset,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {} (byte {})", self.line, self.column, self.offset)
    }
}

/// What the visitor refuses itself. It travels beside serde_json's error, whose only room for it is a text.
enum Fault {
    TooDeep,
    DuplicateKey(String),
}

/// Builds a `Value` as serde_json's own visitor does, and counts levels and compares keys on the way.
#[derive(Clone, Copy)]
struct ValueSeed<'a> {
    levels_left: usize,
    fault: &'a RefCell<Option<Fault>>,
}

// === impl ValueSeed ===

impl ValueSeed<'_> {
    /// The seed for what lies inside an array or object.
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self { levels_left, ..self }),
            None => Err(self.refuse(Fault::TooDeep)),
        }
    }

    #[cold]
    fn refuse<E: serde::de::Error>(self, fault: Fault) -> E {
        self.fault.replace(Some(fault));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    #[inline]
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    #[inline]
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    #[inline]
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    #[inline]
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    #[inline]
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    #[inline]
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    #[inline]
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inside)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            match object.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(entries.next_value_seed(inside)?);
                }
                Entry::Occupied(taken) => return Err(self.refuse(Fault::DuplicateKey(taken.key().clone()))),
            }
        }
        Ok(Value::Object(object))
    }
}

// What follows runs only for refused texts, so it may look at the text again.

#[cold]
fn invalid_utf8(bytes: &[u8], offset: usize) -> JsonError {
    let valid = std::str::from_utf8(&bytes[..offset]).unwrap_or_default();
    JsonError::InvalidUtf8 { byte: bytes[offset], at: Position::of(valid, valid.len()) }
}

#[cold]
fn explain(text: &str, error: &serde_json::Error, fault: Option<Fault>, limit: usize) -> JsonError {
    let read = bytes_read(text, error);
    match fault {
        // Behind the bracket, serde_json has read at most white space and one closing bracket or comma.
        Some(Fault::TooDeep) => {
            let bracket = text[..read].rfind(['[', '{']).unwrap_or(read);
            JsonError::TooDeep { limit, at: Position::of(text, bracket) }
        }
        Some(Fault::DuplicateKey(key)) => {
            JsonError::DuplicateKey { key: quoted(&key), at: Position::of(text, start_of_last_string(&text[..read])) }
        }
        None if text.bytes().all(|byte| byte.is_ascii_whitespace()) => JsonError::Empty,
        None if error.is_eof() => JsonError::Truncated { at: Position::of(text, text.len()) },
        None => syntax(text, &error.to_string(), read),
    }
}

fn syntax(text: &str, message: &str, read: usize) -> JsonError {
    // serde_json tells the kinds of syntax errors apart only in its text; a test watches this one.
    if message.starts_with("number out of range") {
        let (start, number) = number_around(text, read);
        return JsonError::NumberOutOfRange { number: quoted(number), at: Position::of(text, start) };
    }
    let problem = message.split(" at line ").next().unwrap_or(message);
    let problem = match problem {
        "expected ident" => "expected `true`, `false` or `null`",
        "expected value" => "expected a value",
        "key must be a string" => "expected a key in double quotes",
        "trailing comma" => "expected another entry after the comma",
        text if text.starts_with("control character") => {
            "expected control characters in strings to be escaped, as in `\\n`,"
        }
        other => other,
    };
    JsonError::Syntax { problem: problem.to_owned(), at: Position::of(text, character_start(text, read)) }
}

#[cold]
fn trailing(text: &str, error: &serde_json::Error) -> JsonError {
    let start = character_start(text, bytes_read(text, error));
    let found = text[start..].split_ascii_whitespace().next().unwrap_or_default();
    JsonError::Trailing { found: quoted(found), at: Position::of(text, start) }
}

/// serde_json's line and column (in bytes), as the number of bytes up to and including the one it stopped at.
fn bytes_read(text: &str, error: &serde_json::Error) -> usize {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => text.match_indices('\n').nth(line - 2).map_or(0, |(newline, _)| newline + 1),
    };
    let mut read = (line_start + error.column()).min(text.len());
    while !text.is_char_boundary(read) {
        read += 1;
    }
    read
}

/// Where the last character of `text[..read]` begins.
fn character_start(text: &str, read: usize) -> usize {
    text[..read].char_indices().next_back().map_or(0, |(start, _)| start)
}

/// Where the string literal begins whose closing quote is the last one in `text`.
fn start_of_last_string(text: &str) -> usize {
    let closing = text.rfind('"').unwrap_or(0);
    let mut quotes = text[..closing].match_indices('"').rev().map(|(quote, _)| quote);
    quotes.find(|quote| !is_escaped(&text[..*quote])).unwrap_or(closing)
}

/// Whether what comes after `before` is escaped: an odd number of backslashes stands in front of it.
fn is_escaped(before: &str) -> bool {
    before.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The number literal that ends at or spans `read`, with its start.
fn number_around(text: &str, read: usize) -> (usize, &str) {
    let belongs = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let start = read - text.as_bytes()[..read].iter().rev().take_while(|byte| belongs(byte)).count();
    let end = read + text.as_bytes()[read..].iter().take_while(|byte| belongs(byte)).count();
    (start, &text[start..end])
}

/// A piece of a hostile text, fit for a log line.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
