//! `--update`: the expectations of a file, rewritten from what came out.
//!
//! Only the `expect` blocks of cases that were not as expected are touched, so the comments around them stay; those inside a
//! block that is rewritten are gone. An expectation keeps its shape: the fields that it names get the values that came, the
//! others stay unnamed. Whoever wrote that one member of the data matters does not get all of them.
//!
//! The text is cut by lines and columns, and then read again: if anything but the expectations would mean something else than
//! before, if it would be refused, or if a case would fail again with what came out, there is no new text.

use serde_json::Value;

use super::super::RuntimeConfig;
use super::super::diagnostic::{Diagnostics, Report};
use super::super::yaml::{self, Entry, Kind, Node, resolve_plain};
use super::expected::{Expected, Phrase, is_reason};
use super::matching::{CameOut, CameOutcome, Mismatch, compare_log, unmatched};
use super::{Case, Expect, ExpectedDeadLetter, ExpectedEmit, ExpectedOutcome, ExpectedRequest, load};

/// A value in the order in which it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Yaml {
    Scalar(Value),
    Map(Vec<(String, Yaml)>),
    List(Vec<Yaml>),
}

/// Why an expectation was not rewritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRewritten {
    #[error("line {0}: the case is written as `{{ … }}`; written in lines of its own it could be updated")]
    Flow(usize),
    #[error(
        "the file would not mean the same any more; its `expect` blocks have a shape that only a person can change"
    )]
    Ambiguous,
    #[error("what came out cannot be written down so that it would be read again: {0}")]
    Refused(String),
    #[error("with what came out written down, `{case}` would fail again: {at}: expected {expected}, found {found}")]
    FailsAgain { case: String, at: String, expected: String, found: String },
}

/// A value that is longer stands on lines of its own.
const ONE_LINE: usize = 100;

/// What of an error's text is written down: its first line, and not all of a long one.
const ERROR_CHARS: usize = 160;

/// The file with new expectations of the cases that begin in these lines, from what came out of them.
///
/// It is read as `tidemill test` reads it and compared with what came before anybody writes it: an update after which the file is
/// refused, or fails as before, is worse than none.
pub fn update(
    text: &str,
    cases: &[Case],
    came: &[(usize, &CameOut)],
    config: &RuntimeConfig,
) -> Result<String, NotRewritten> {
    let came_of = |case: &Case| came.iter().find(|(line, _)| *line == case.line).map(|(_, came)| *came);
    let expectation = |case: &Case| Some((case.line, came_of(case)?.expectation(case.expect.as_ref())));
    let expectations: Vec<_> = cases.iter().filter_map(expectation).collect();
    let rewritten = rewrite(text, &expectations)?;
    let after = load(&rewritten, config).map_err(|mistakes| NotRewritten::Refused(first(&mistakes)))?;
    // The lines have changed, the order has not.
    for (case, expect) in cases.iter().zip(after.iter().map(|after| after.expect.as_ref())) {
        let (Some(came), Some(expect)) = (came_of(case), expect) else { continue };
        if let Some(Mismatch { at, expected, found }) = expect.compare(came).into_iter().next() {
            return Err(NotRewritten::FailsAgain { case: case.name.clone(), at, expected, found });
        }
    }
    Ok(rewritten)
}

/// Without its place, which is one of a text that nobody sees.
fn first(mistakes: &Diagnostics) -> String {
    mistakes.iter().next().map(|mistake| format!("{}: {}", mistake.path, mistake.message)).unwrap_or_default()
}

// === what is expected from now on ===

impl CameOut {
    /// The expectation that this is as expected, in the shape of `before`.
    pub(super) fn expectation(&self, before: Option<&Expect>) -> Yaml {
        let nothing = Expect::default();
        let (before, fresh) = (before.unwrap_or(&nothing), before.is_none());
        let mut fields = Vec::new();
        let mut field = |name: &str, value: Option<Yaml>| fields.extend(value.map(|value| (name.to_owned(), value)));
        field("outcome", self.outcomes.as_deref().and_then(|came| outcome(before.outcomes.as_deref(), came)));
        let emits = before.emits.as_deref().or(fresh.then_some(&[]));
        field("emits", emits.map(|before| self.emits(before)));
        let requests = before.requests.as_deref().or((fresh && !self.requests.is_empty()).then_some(&[]));
        field("requests", requests.map(|before| self.requests(before)));
        let followed = |expected: &Expected, value: &Value| follow(expected, Some(value));
        field(
            "state",
            match &before.state {
                Some(expected) => Some(followed(expected, &self.state)),
                // What is only deleted leaves nothing behind that could be expected.
                None => self.changed_state.as_ref().filter(|changed| fresh && has_members(changed)).map(whole),
            },
        );
        field(
            "documents",
            match &before.documents {
                Some(expected) => Some(followed(expected, &self.documents)),
                None => {
                    let some = |changed: &&Value| changed.as_object().is_some_and(|it| it.values().any(has_members));
                    self.changed_documents.as_ref().filter(|_| fresh).filter(some).map(whole)
                }
            },
        );
        field("log", before.log.as_deref().and_then(|phrases| log(phrases, &self.log)));
        let letters = self.dead_letters.as_deref();
        let letters = letters.filter(|letters| fresh || before.dead_letters.is_some() || !letters.is_empty());
        field(
            "dead_letters",
            letters.map(|came| dead_letters(before.dead_letters.as_deref().unwrap_or_default(), came)),
        );
        field("routes", before.routes.as_ref().map(|expected| followed(expected, &self.routes)));
        Yaml::Map(fields)
    }

    fn emits(&self, before: &[ExpectedEmit]) -> Yaml {
        let in_order = self.outcomes.is_some();
        let fits = |expected: &ExpectedEmit, emit: &Value| {
            let mut told = Vec::new();
            expected.compare(emit, &mut told, "");
            told.is_empty()
        };
        let render = |expected: Option<&ExpectedEmit>, emit: &Value| match expected {
            Some(expected) => fields(&expected.0, emit),
            None => picked(emit, &["to", "type", "subject", "data", "data_base64"]),
        };
        list(before, &self.emits, in_order, &fits, &render)
    }

    fn requests(&self, before: &[ExpectedRequest]) -> Yaml {
        let fits = |expected: &ExpectedRequest, request: &Value| {
            let mut told = Vec::new();
            expected.compare(request, &mut told, "");
            told.is_empty()
        };
        let render = |expected: Option<&ExpectedRequest>, request: &Value| match expected {
            Some(expected) => fields(&expected.0, request),
            None => picked(request, &["request", "body"]),
        };
        list(before, &self.requests, self.outcomes.is_some(), &fits, &render)
    }
}

fn has_members(value: &Value) -> bool {
    value.as_object().is_some_and(|members| !members.is_empty())
}

/// With these fields of it. One without a value would be read as left out.
fn picked(object: &Value, names: &[&str]) -> Yaml {
    let field = |name: &&str| Some(((*name).to_owned(), whole(object.get(*name).filter(|value| !value.is_null())?)));
    Yaml::Map(names.iter().filter_map(field).collect())
}

fn dead_letters(before: &[ExpectedDeadLetter], came: &[Value]) -> Yaml {
    let fits = |expected: &ExpectedDeadLetter, letter: &Value| {
        let mut told = Vec::new();
        expected.compare(letter, &mut told, "");
        told.is_empty()
    };
    let error = |phrase: Option<&Phrase>, letter: &Value| {
        let text = letter.get("error").and_then(Value::as_str).unwrap_or_default();
        self::phrase(phrase, text).map(|phrase| ("error".to_owned(), phrase))
    };
    let render = |expected: Option<&ExpectedDeadLetter>, letter: &Value| {
        let mut members = match expected {
            Some(expected) => match fields(&expected.fields, letter) {
                Yaml::Map(members) => members,
                other => return other,
            },
            None => ["route", "reason"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), whole(letter.get(name)?))))
                .collect(),
        };
        if expected.is_none_or(|expected| expected.error.is_some()) {
            members.extend(error(expected.and_then(|expected| expected.error.as_ref()), letter));
        }
        Yaml::Map(members)
    };
    list(before, came, false, &fits, &render)
}

/// What fits stays as it is and where it is; what is left of the expectations becomes what is left of what came.
fn list<E>(
    before: &[E],
    came: &[Value],
    in_order: bool,
    fits: &dyn Fn(&E, &Value) -> bool,
    render: &dyn Fn(Option<&E>, &Value) -> Yaml,
) -> Yaml {
    if in_order {
        return Yaml::List(came.iter().enumerate().map(|(number, one)| render(before.get(number), one)).collect());
    }
    let (missing, unexpected) = unmatched(before, came, fits);
    let mut unexpected = unexpected.into_iter();
    let mut items = Vec::new();
    for (number, expected) in before.iter().enumerate() {
        if !missing.contains(&number) {
            let fitting = came.iter().find(|one| fits(expected, one));
            items.extend(fitting.map(|one| render(Some(expected), one)));
        } else if let Some(instead) = unexpected.next() {
            items.push(render(Some(expected), &came[instead]));
        }
    }
    items.extend(unexpected.map(|more| render(None, &came[more])));
    Yaml::List(items)
}

fn fields(expected: &[(&'static str, Expected)], object: &Value) -> Yaml {
    let field = |name: &str, expected: &Expected| match follow(expected, object.get(name)) {
        // Alone it would be read as left out.
        Yaml::Scalar(Value::Null) => Yaml::Map(vec![("$exactly".to_owned(), Yaml::Scalar(Value::Null))]),
        value => value,
    };
    Yaml::Map(expected.iter().map(|(name, it)| ((*name).to_owned(), field(name, it))).collect())
}

/// The value that came, as far as the expectation is about it.
fn follow(expected: &Expected, value: Option<&Value>) -> Yaml {
    let Some(value) = value else { return word("$absent") };
    match (expected, value) {
        (Expected::Any, _) => word("$any"),
        (Expected::Contains(part), Value::String(text)) if text.contains(part) => plain(&expected.describe()),
        (Expected::Exactly(_), _) => Yaml::Map(vec![("$exactly".to_owned(), plain(value))]),
        (Expected::Members(members), Value::Object(object)) => Yaml::Map(
            members.iter().map(|(name, expected)| (name.clone(), follow(expected, object.get(name)))).collect(),
        ),
        (Expected::List(items), Value::Array(found)) if items.len() == found.len() => {
            Yaml::List(items.iter().zip(found).map(|(expected, value)| follow(expected, Some(value))).collect())
        }
        _ => whole(value),
    }
}

/// A value as an expectation of it: what would be read as an operator is put below `$exactly`.
fn whole(value: &Value) -> Yaml {
    if needs_exactly(value) {
        return Yaml::Map(vec![("$exactly".to_owned(), plain(value))]);
    }
    match value {
        Value::Object(members) => Yaml::Map(members.iter().map(|(name, it)| (name.clone(), whole(it))).collect()),
        Value::Array(items) => Yaml::List(items.iter().map(whole).collect()),
        scalar => Yaml::Scalar(scalar.clone()),
    }
}

fn needs_exactly(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.keys().any(|name| name.starts_with('$')),
        Value::String(text) => text.starts_with('$'),
        _ => false,
    }
}

fn plain(value: &Value) -> Yaml {
    match value {
        Value::Object(members) => Yaml::Map(members.iter().map(|(name, it)| (name.clone(), plain(it))).collect()),
        Value::Array(items) => Yaml::List(items.iter().map(plain).collect()),
        scalar => Yaml::Scalar(scalar.clone()),
    }
}

fn word(text: &str) -> Yaml {
    Yaml::Scalar(text.into())
}

fn outcome(before: Option<&[ExpectedOutcome]>, came: &[CameOutcome]) -> Option<Yaml> {
    let of = |number: usize| before.and_then(|before| before.get(number).or(before.first()));
    let mut outcomes: Vec<Yaml> = came.iter().enumerate().map(|(number, one)| one_outcome(of(number), one)).collect();
    if outcomes.windows(2).all(|pair| pair[0] == pair[1]) {
        outcomes.truncate(1);
    }
    if outcomes.len() == 1 { outcomes.pop() } else { Some(Yaml::List(outcomes)) }
}

fn one_outcome(before: Option<&ExpectedOutcome>, came: &CameOutcome) -> Yaml {
    let before = before.filter(|before| before.word == came.word);
    let is_named = before.map_or(is_reason(&came.word), |before| before.error.is_some());
    let error = came.error.as_deref().filter(|_| is_named);
    let error = error.and_then(|text| phrase(before.and_then(|before| before.error.as_ref()), text));
    let after = came.after_ms.filter(|_| before.is_none_or(|before| before.after.is_some()));
    let after = after.map(|after| word(&format!("{after}ms")));
    match (error, after) {
        (None, None) => word(&came.word),
        (error, after) => {
            let error = (came.word.clone(), error.unwrap_or(Yaml::Scalar(Value::Null)));
            Yaml::Map([Some(error), after.map(|after| ("after".to_owned(), after))].into_iter().flatten().collect())
        }
    }
}

/// The phrase that was expected, if it is there; else the beginning of what is.
fn phrase(before: Option<&Phrase>, text: &str) -> Option<Yaml> {
    match before {
        Some(Phrase::Exactly(_)) => Some(Yaml::Map(vec![("$exactly".to_owned(), word(text))])),
        Some(Phrase::Contained(part)) if text.contains(part.as_str()) => Some(word(part)),
        _ => {
            let first: String = text.lines().next().unwrap_or_default().chars().take(ERROR_CHARS).collect();
            (!first.is_empty()).then(|| word(&first))
        }
    }
}

/// The phrases that were expected, in the order in which they are found now; if they are not found, all lines. Nothing if there is
/// no line to expect.
fn log(before: &[Phrase], lines: &[String]) -> Option<Yaml> {
    let holds = |phrases: &[Phrase]| {
        let mut told = Vec::new();
        compare_log(phrases, lines, &mut told);
        told.is_empty()
    };
    let mut phrases = before.to_vec();
    if !holds(&phrases) {
        phrases.sort_by_key(|phrase| lines.iter().position(|line| phrase.is_in(line)));
    }
    if !holds(&phrases) {
        phrases = lines.iter().filter(|line| !line.is_empty()).cloned().map(Phrase::Contained).collect();
    }
    let text = |phrase: &Phrase| match phrase {
        Phrase::Contained(part) => word(part),
        Phrase::Exactly(text) => Yaml::Map(vec![("$exactly".to_owned(), word(text))]),
    };
    (!phrases.is_empty()).then(|| Yaml::List(phrases.iter().map(text).collect()))
}

// === the text ===

/// The file with these expectations; each belongs to the case that begins in its line.
fn rewrite(text: &str, expectations: &[(usize, Yaml)]) -> Result<String, NotRewritten> {
    let tree = tree(text).ok_or(NotRewritten::Ambiguous)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut cuts = Vec::new();
    for (line, expectation) in expectations {
        let case = tests(&tree).iter().find(|case| case.place.line == *line).ok_or(NotRewritten::Ambiguous)?;
        cuts.push(cut(case, &lines, expectation)?);
    }
    cuts.sort_by_key(|cut| std::cmp::Reverse(cut.from));
    let mut written: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    for Cut { from, to, with } in cuts {
        written.splice(from..to, with);
    }
    let rewritten = written.join("\n") + "\n";
    let same = self::tree(&rewritten).is_some_and(|after| without_expectations(&after) == without_expectations(&tree));
    if same { Ok(rewritten) } else { Err(NotRewritten::Ambiguous) }
}

/// Lines to put in place of others; 0-based, `to` is the first that stays.
struct Cut {
    from: usize,
    to: usize,
    with: Vec<String>,
}

fn tree(text: &str) -> Option<Node> {
    let mut report = Report::default();
    yaml::parse(text, &mut report).filter(|_| report.is_empty())
}

fn tests(root: &Node) -> &[Node] {
    match root.nearest("/tests").kind {
        Kind::List(ref cases) => cases,
        _ => &[],
    }
}

fn cut(case: &Node, lines: &[&str], expectation: &Yaml) -> Result<Cut, NotRewritten> {
    let Kind::Map(entries) = &case.kind else { return Err(NotRewritten::Ambiguous) };
    let (line, column) = (case.place.line - 1, case.place.column - 1);
    if lines.get(line).and_then(|line| line.chars().nth(column)) == Some('{') {
        return Err(NotRewritten::Flow(case.place.line));
    }
    let with = block(expectation, column);
    let last = |from: usize| end_of_block(lines, from, column);
    match entries.iter().find(|entry| entry.key == "expect") {
        Some(Entry { key_place, .. }) if key_place.column == case.place.column => {
            let from = key_place.line - 1;
            // The first field of a case stands behind the `- ` of the list.
            let mut with = with;
            if from == line
                && let (Some(first), Some(before)) = (with.first_mut(), lines.get(from))
            {
                let before: String = before.chars().take(column).collect();
                first.replace_range(..column, &before);
            }
            Ok(Cut { from, to: last(from), with })
        }
        Some(_) => Err(NotRewritten::Ambiguous),
        None => {
            let from = entries.iter().map(|entry| last(entry.key_place.line - 1)).max().unwrap_or(line + 1);
            Ok(Cut { from, to: from, with })
        }
    }
}

/// The line behind a field that begins in line `from` at `column`: behind the last one that is indented deeper.
fn end_of_block(lines: &[&str], from: usize, column: usize) -> usize {
    let indented = |line: &&str| line.chars().take_while(|c| *c == ' ').count();
    let mut end = from + 1;
    for (number, line) in lines.iter().enumerate().skip(from + 1) {
        if line.trim().is_empty() {
            continue;
        }
        // The items of a list may stand as far left as their field.
        let item = indented(line) == column && line.trim_start().starts_with("- ");
        if indented(line) <= column && !item {
            break;
        }
        end = number + 1;
    }
    end
}

fn without_expectations(root: &Node) -> Option<Value> {
    let mut value = super::expected::literal(root)?;
    for case in value.get_mut("tests")?.as_array_mut()? {
        case.as_object_mut()?.remove("expect");
    }
    Some(value)
}

// === writing YAML ===

/// `expect:` and what is below it, indented.
fn block(expectation: &Yaml, indent: usize) -> Vec<String> {
    let mut lines = vec![format!("{:indent$}expect:", "")];
    match expectation {
        Yaml::Map(fields) if !fields.is_empty() => lines.extend(fields_in_lines(fields, indent + 2)),
        other => lines[0] += &format!(" {}", flow(other)),
    }
    lines
}

fn fields_in_lines(fields: &[(String, Yaml)], indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in fields {
        let head = format!("{:indent$}{}:", "", key(name));
        lines.extend(value_in_lines(head, value, indent + 2));
    }
    lines
}

fn value_in_lines(head: String, value: &Yaml, indent: usize) -> Vec<String> {
    let line = format!("{head} {}", flow(value));
    match value {
        Yaml::Map(fields) if !fields.is_empty() && line.len() > ONE_LINE => {
            [head].into_iter().chain(fields_in_lines(fields, indent)).collect()
        }
        Yaml::List(items) if !items.is_empty() && (line.len() > ONE_LINE || items.len() > 1) => {
            let items = items.iter().flat_map(|item| item_in_lines(item, indent));
            [head].into_iter().chain(items).collect()
        }
        _ => vec![line],
    }
}

fn item_in_lines(item: &Yaml, indent: usize) -> Vec<String> {
    let line = format!("{:indent$}- {}", "", flow(item));
    match item {
        Yaml::Map(fields) if !fields.is_empty() && line.len() > ONE_LINE => {
            let mut lines = fields_in_lines(fields, indent + 2);
            if let Some(first) = lines.first_mut() {
                first.replace_range(indent..indent + 2, "- ");
            }
            lines
        }
        _ => vec![line],
    }
}

fn flow(value: &Yaml) -> String {
    match value {
        Yaml::Scalar(value) => scalar(value),
        Yaml::Map(fields) if fields.is_empty() => "{}".to_owned(),
        Yaml::Map(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, it)| format!("{}: {}", key(name), flow(it))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Yaml::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
    }
}

fn key(name: &str) -> String {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '$';
    let rest = |c: char| first(c) || c.is_ascii_digit() || matches!(c, '-' | '.' | '/');
    let is_plain = name.starts_with(first) && name.chars().all(rest) && is_text(name);
    if is_plain { name.to_owned() } else { quoted(name) }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | '/');
            let first = |c: char| c.is_ascii_alphabetic() || c == '$';
            let fits = text.starts_with(first) && text.chars().skip(1).all(rest) && !text.ends_with(' ');
            if fits && is_text(text) { text.clone() } else { quoted(text) }
        }
        other => other.to_string(),
    }
}

fn is_text(text: &str) -> bool {
    matches!(resolve_plain(text), Ok(Kind::Text(_)))
}

/// JSON's escapes are YAML's, too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
