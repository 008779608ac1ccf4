//! What is wrong in `runtime.yaml`: place, value, expectation, hint.
//!
//! All mistakes of a file are collected in one [`Report`] and shown at once, because fixing a file one error per run is
//! what people hate about configuration. Nothing here ever holds a secret: readers of secrets report without the value.

use std::fmt;

use serde::Serialize;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// Where in the document, for example `routes[1].retry.max_attempts`. Empty for the document itself.
    pub path: String,
    /// What was expected and what was found.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Every mistake of one file, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

/// Where a value or a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) path: String,
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Diagnostic>);

// === impl Diagnostics ===

impl Diagnostics {
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// The text for a terminal: one line per mistake with an indented hint below, and how many there were.
    pub fn render(&self, file: &str) -> String {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        format!("{}{} error{plural}. Nothing was changed.\n", self.lines(file), self.0.len())
    }

    /// One line per mistake with an indented hint below.
    pub fn lines(&self, file: &str) -> String {
        let mut text = String::new();
        for Diagnostic { line, column, path, message, hint } in &self.0 {
            let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
            text.push_str(&format!("error: {file}:{line}:{column}: {path}{message}\n"));
            if let Some(hint) = hint {
                text.push_str(&format!("  hint: {hint}\n"));
            }
        }
        text
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render("runtime.yaml").trim_end())
    }
}

impl std::error::Error for Diagnostics {}

// === impl Place ===

impl Place {
    /// The place of the whole document.
    pub(super) fn start() -> Self {
        Self { line: 1, column: 1, path: String::new() }
    }

    /// The path of a field below this place.
    pub(super) fn child(&self, key: &str) -> String {
        let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        match (plain, self.path.is_empty()) {
            (true, true) => key.to_owned(),
            (true, false) => format!("{}.{key}", self.path),
            (false, _) => format!("{}[{:?}]", self.path, shorten(key)),
        }
    }
}

// === impl Report ===

impl Report {
    pub(super) fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.push(place, message.into(), None);
    }

    pub(super) fn error_with_hint(&mut self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.push(place, message.into(), Some(hint.into()));
    }

    pub(super) fn push(&mut self, place: &Place, message: String, hint: Option<String>) {
        let Place { line, column, path } = place.clone();
        let (message, hint) = (on_one_line(&message), hint.map(|hint| on_one_line(&hint)));
        self.0.push(Diagnostic { line, column, path, message, hint });
    }

    /// Whether something is wrong inside of the value at this place, so that it may look incomplete.
    pub(super) fn touches(&self, place: &Place) -> bool {
        self.0.iter().any(|diagnostic| {
            let below = diagnostic.path.strip_prefix(&place.path);
            below.is_some_and(|rest| rest.starts_with(['.', '[']))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn finish(mut self) -> Diagnostics {
        self.0.sort();
        self.0.dedup();
        Diagnostics(self.0)
    }
}

/// Errors of other modules quote values in full; a terminal gets neither control characters nor pages of text.
fn on_one_line(text: &str) -> String {
    const LONGEST: usize = 500;
    text.chars().take(LONGEST).map(visible).collect()
}

fn visible(c: char) -> char {
    if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
}

/// A written value as a message may show it: on one line, and not longer than a line.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).map(visible).collect();
    if text.chars().count() > LONGEST {
        short.push('…');
    }
    short
}
