//! Comparing texts regardless of case, in any script, without allocating per event.
//!
//! A character is folded to the lower case of its upper case: that makes one of `Σ`, `σ` and `ς`, and of `ß` and `SS`. Lower
//! case alone would not, and the full Unicode folding tables would add a dependency for a handful of characters.

use std::fmt;

/// A text of the pattern, and its folded form.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct IgnoreCase {
    written: Box<str>,
    folded: Box<str>,
}

// === impl IgnoreCase ===

impl IgnoreCase {
    pub(super) fn new(text: &str) -> Self {
        Self { written: text.into(), folded: fold(text).collect::<String>().into() }
    }

    /// Whether `text` is this text.
    pub(super) fn equals(&self, text: &str) -> bool {
        if self.written.is_ascii() && text.is_ascii() {
            return self.written.eq_ignore_ascii_case(text);
        }
        fold(text).eq(self.folded.chars())
    }

    /// Whether `text` begins with this text.
    pub(super) fn begins(&self, text: &str) -> bool {
        let mut characters = fold(text);
        self.folded.chars().all(|wanted| characters.next() == Some(wanted))
    }

    /// Whether `text` ends with this text.
    pub(super) fn ends(&self, text: &str) -> bool {
        let mut characters = fold(text).rev();
        self.folded.chars().rev().all(|wanted| characters.next() == Some(wanted))
    }
}

impl fmt::Display for IgnoreCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.written)
    }
}

fn fold(text: &str) -> impl DoubleEndedIterator<Item = char> + '_ {
    text.chars().flat_map(|character| character.to_uppercase().flat_map(char::to_lowercase))
}
