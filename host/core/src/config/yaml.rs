//! YAML text to a tree in which every value and every key knows its place.
//!
//! The subset is JSON's data model: one document, text keys, no tags, no infinite numbers. Plain scalars are resolved by
//! the YAML 1.2 core schema, so `no` is a text and `0777` a number. The tree is bounded in size, depth and number of
//! nodes before it is built, so that aliases cannot blow it up. A serde deserializer was not taken, because it stops at the
//! first mistake and forgets the places.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};
use serde_json::Number;

use super::diagnostic::{Place, Report, shorten};

const MAX_BYTES: usize = 1024 * 1024;
const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 50_000;

/// A value.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// What is wrong here has been reported already.
    Broken,
}

/// A field of a mapping. `key_place` carries the path of the field, as `value` does.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) value: Node,
}

/// The tree of the document, or `None` if it cannot be read as YAML at all. Mistakes that leave a usable tree (a
/// duplicate key, a tag) are reported too.
pub(super) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    if text.len() > MAX_BYTES {
        report.error(&Place::start(), format!("the file has {} bytes, at most {MAX_BYTES} are read", text.len()));
        return None;
    }
    let mut builder = Builder { text, parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, report };
    let mut root = builder.document().ok()?;
    root.set_paths(String::new());
    Some(root)
}

// === impl Node ===

impl Node {
    /// The value under a JSON pointer, or the nearest one above it.
    pub(super) fn nearest(&self, pointer: &str) -> &Node {
        let mut here = self;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let next = match &here.kind {
                Kind::List(items) => token.parse::<usize>().ok().and_then(|index| items.get(index)),
                Kind::Map(entries) => entries.iter().find(|entry| entry.key == token).map(|entry| &entry.value),
                _ => None,
            };
            match next {
                Some(node) => here = node,
                None => break,
            }
        }
        here
    }

    /// Paths are set when the tree is complete: what an alias repeats has the place where it was written and the path
    /// where it is used.
    fn set_paths(&mut self, path: String) {
        self.place.path = path;
        match &mut self.kind {
            Kind::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    item.set_paths(format!("{}[{index}]", self.place.path));
                }
            }
            Kind::Map(entries) => {
                for entry in entries {
                    let path = self.place.child(&entry.key);
                    entry.key_place.path = path.clone();
                    entry.value.set_paths(path);
                }
            }
            _ => {}
        }
    }

    /// How many nodes, and how many levels.
    fn extent(&self) -> (usize, usize) {
        let mut extent = (1, 1);
        let mut add = |child: &Node| {
            let (nodes, levels) = child.extent();
            extent = (extent.0 + nodes, extent.1.max(levels + 1));
        };
        match &self.kind {
            Kind::List(items) => items.iter().for_each(&mut add),
            Kind::Map(entries) => entries.iter().for_each(|entry| add(&entry.value)),
            _ => {}
        }
        extent
    }
}

/// The value of a plain scalar by the core schema (YAML 1.2.2, section 10.3.2). `Err`: a number that JSON cannot hold.
pub(super) fn resolve_plain(text: &str) -> Result<Kind, ()> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Kind::Null),
        "true" | "True" | "TRUE" => return Ok(Kind::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Kind::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Err(()),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Err(());
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix).filter(|digits| is_all(digits, |c| c.is_digit(radix))) {
            return u64::from_str_radix(digits, radix).map(|n| Kind::Number(n.into())).map_err(drop);
        }
    }
    if is_all(unsigned, |c| c.is_ascii_digit()) {
        return integer(text).map(Kind::Number).ok_or(());
    }
    if is_float(unsigned) {
        return text.parse().ok().and_then(Number::from_f64).map(Kind::Number).ok_or(());
    }
    Ok(Kind::Text(text.to_owned()))
}

fn integer(text: &str) -> Option<Number> {
    let text = text.strip_prefix('+').unwrap_or(text);
    text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok()
}

fn is_all(text: &str, admitted: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(admitted)
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| is_all(exponent, |c| c.is_ascii_digit()))
}

// --- building the tree -------------------------------------------------------------------------------------------------

/// The tree cannot be built; the reason is in the report.
struct Unreadable;

struct Builder<'t, 'r> {
    text: &'t str,
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    report: &'r mut Report,
}

impl<'t> Builder<'t, '_> {
    fn document(&mut self) -> Result<Node, Unreadable> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    let hint = "Tidemill reads one document; remove the line `---` or what follows it";
                    self.report.error_with_hint(&place(span.start), "a second document begins here", hint);
                    return Err(Unreadable);
                }
                event => root = Some(self.node(event, span, 1)?),
            }
        }
        Ok(root.unwrap_or(Node { place: Place::start(), kind: Kind::Null }))
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Unreadable> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                self.syntax_error(&error);
                Err(Unreadable)
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Unreadable> {
        let place = place(span.start);
        self.take(1, depth, &place)?;
        let (kind, anchor, tag) = match event {
            Event::Alias(id) => return self.alias(id, place, depth),
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, &place), anchor, tag),
            Event::SequenceStart(anchor, tag) => (self.list(depth)?, anchor, tag),
            Event::MappingStart(anchor, tag) => (self.map(depth)?, anchor, tag),
            _ => (Kind::Null, 0, None),
        };
        let kind = if tag.is_some() { self.refuse_tag(&place) } else { kind };
        let node = Node { place, kind };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Counts nodes before they are made.
    fn take(&mut self, nodes: usize, depth: usize, place: &Place) -> Result<(), Unreadable> {
        self.nodes += nodes;
        if depth > MAX_DEPTH {
            self.report.error(place, format!("nested too deeply, at most {MAX_DEPTH} levels are read"));
            return Err(Unreadable);
        }
        if self.nodes > MAX_NODES {
            let message =
                format!("too many values, at most {MAX_NODES} are read, aliases counted as what they stand for");
            self.report.error(place, message);
            return Err(Unreadable);
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, place: Place, depth: usize) -> Result<Node, Unreadable> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            self.report.error(&place, "this alias stands inside of what it refers to");
            return Err(Unreadable);
        };
        let (nodes, levels) = node.extent();
        self.take(nodes, depth + levels - 1, &place)?;
        Ok(node)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, place: &Place) -> Kind {
        if style != ScalarStyle::Plain {
            return Kind::Text(text.to_owned());
        }
        resolve_plain(text).unwrap_or_else(|()| {
            let message = format!("the number `{}` is outside of what can be represented", shorten(text));
            self.report.error(place, message);
            Kind::Broken
        })
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Unreadable> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Kind::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Kind, Unreadable> {
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Kind::Map(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let Some(name) = self.key(&key) else { continue };
            if seen.insert(name.clone()) {
                entries.push(Entry { key: name, key_place: key.place, value });
            } else {
                let first =
                    entries.iter().find(|entry: &&Entry| entry.key == name).map_or(0, |entry| entry.key_place.line);
                let message = format!("the field `{}` is given twice, first in line {first}", shorten(&name));
                self.report.error_with_hint(&key.place, message, "remove one of them; the first one was read");
            }
        }
    }

    fn key(&mut self, key: &Node) -> Option<String> {
        let found = match &key.kind {
            Kind::Text(text) => return Some(text.clone()),
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => format!("`{value}`"),
            Kind::Number(number) => format!("the number `{number}`"),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
            Kind::Broken => return None,
        };
        let hint = "a field's name is a text; put it in quotes if it is meant so";
        self.report.error_with_hint(&key.place, format!("expected the name of a field, found {found}"), hint);
        None
    }

    fn refuse_tag(&mut self, place: &Place) -> Kind {
        let hint = "remove the word that begins with `!`; a value in quotes is always a text";
        self.report.error_with_hint(place, "tags are not supported", hint);
        Kind::Broken
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let place = place(*error.marker());
        let line = self.text.lines().nth(place.line - 1).unwrap_or_default();
        self.report.push(&place, format!("not valid YAML: {}", error.info()), syntax_hint(error.info(), line));
    }
}

/// The usual reasons for the scanner's most common complaints, guessed from the line.
fn syntax_hint(info: &str, line: &str) -> Option<String> {
    let indentation = line.len() - line.trim_start().len();
    let hint = if line[..indentation].contains('\t') {
        "YAML is indented with spaces, never with tabs"
    } else if holds_bare_reference(line) {
        "put a value that holds `${...}` in double quotes"
    } else if begins_with_indicator(line) {
        "put a value that begins with `>`, `*`, `&`, `@`, `%` or a backtick in double quotes"
    } else if info.contains("quoted scalar") {
        "a closing quote is missing, here or above"
    } else if ["mapping values", "simple key", "expected key", "indentation"].iter().any(|part| info.contains(part)) {
        "look at the indentation of this line and the one above; a text that holds `: ` needs quotes"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

/// Whether a `${` stands outside of quotes.
fn holds_bare_reference(line: &str) -> bool {
    line.match_indices("${").any(|(at, _)| line[..at].matches(['"', '\'']).count().is_multiple_of(2))
}

/// Whether some value begins with a character that means something else to YAML.
fn begins_with_indicator(line: &str) -> bool {
    let indicators = ['>', '*', '&', '@', '`', '%', '|'];
    line.match_indices(indicators).any(|(at, _)| line[..at].trim_end().ends_with([':', '-', '[', ',', '{']))
}

fn place(marker: Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1, path: String::new() }
}
