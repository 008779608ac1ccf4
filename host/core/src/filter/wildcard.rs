//! `*` stands for any characters, also none; `\*` for an asterisk and `\\` for a backslash.
//!
//! Matching never backtracks: the text between two asterisks may be taken where it first occurs, because an earlier end
//! leaves more for what follows and never less. So a match is one search after the other, linear in the text. A regular
//! expression would do too, at several times the cost and a compiled automaton per matcher.

use std::fmt;

/// A compiled wildcard.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wildcard {
    written: Box<str>,
    /// What the text begins with. Without an asterisk in the pattern, all of it.
    first: Box<str>,
    /// What must come after the first asterisk. `None`: there is none.
    rest: Option<Rest>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rest {
    /// In this order, each after the one before.
    middle: Box<[Box<str>]>,
    /// What the text ends with.
    last: Box<str>,
}

/// Why a text is not a wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WildcardError {
    TwoAsterisks,
    /// A backslash in front of this, or of nothing.
    BadEscape(Option<char>),
}

// === impl Wildcard ===

impl Wildcard {
    pub(super) fn try_new(written: &str) -> Result<Self, WildcardError> {
        let mut pieces = pieces(written)?.into_iter();
        let first = pieces.next().unwrap_or_default();
        let rest = pieces.next_back().map(|last| Rest { middle: pieces.collect(), last });
        Ok(Self { written: written.into(), first, rest })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(rest) = &self.rest else { return *self.first == *text };
        let Some(mut text) = text.strip_prefix(&*self.first).and_then(|text| text.strip_suffix(&*rest.last)) else {
            return false;
        };
        rest.middle.iter().all(|piece| match text.find(&**piece) {
            Some(start) => {
                text = &text[start + piece.len()..];
                true
            }
            None => false,
        })
    }
}

/// The literal texts around the asterisks, escapes resolved: one more than there are asterisks.
fn pieces(written: &str) -> Result<Vec<Box<str>>, WildcardError> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut characters = written.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' if characters.peek() == Some(&'*') => return Err(WildcardError::TwoAsterisks),
            '*' => pieces.push(std::mem::take(&mut piece).into()),
            '\\' => match characters.next() {
                Some(escaped @ ('*' | '\\')) => piece.push(escaped),
                other => return Err(WildcardError::BadEscape(other)),
            },
            literal => piece.push(literal),
        }
    }
    pieces.push(piece.into());
    Ok(pieces)
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, as slow as it is obvious.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|skipped| naive(rest, &text[skipped..])),
            ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
                text.first() == Some(literal) && naive(rest, &text[1..])
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn a_wildcard_means_what_its_definition_says(
            pattern in "(\\*?([aäb]|\\\\\\*|\\\\\\\\)){0,5}\\*?",
            text in "[aäb*\\\\]{0,8}",
        ) {
            let wildcard = Wildcard::try_new(&pattern).expect("valid by construction");
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(wildcard.matches(&text), naive(&characters(&pattern), &characters(&text)));
        }
    }

    #[test]
    fn what_is_not_a_wildcard() {
        for (pattern, error) in [
            ("a**b", WildcardError::TwoAsterisks),
            ("a\\", WildcardError::BadEscape(None)),
            ("a\\n", WildcardError::BadEscape(Some('n'))),
        ] {
            assert_eq!(Wildcard::try_new(pattern).err(), Some(error), "{pattern}");
        }
    }

    #[test]
    fn a_hostile_text_is_matched_in_linear_time() {
        let wildcard = Wildcard::try_new(&"*aaaaaaab".repeat(200)).expect("valid");
        // Backtracking would take longer than the universe is old; this takes milliseconds even unoptimised.
        assert!(!wildcard.matches(&"a".repeat(1_000_000)));
    }
}
