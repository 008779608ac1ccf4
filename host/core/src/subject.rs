//! NATS subjects and the patterns that match them.
//!
//! `Subject` is always the NATS word. The CloudEvents attribute of the same name is `Event::subject`, a plain string.
//! The rules are those of NATS itself (<https://docs.nats.io/nats-concepts/subjects>): tokens separated by dots, no empty
//! token, no white space; in a pattern `*` stands for one token and `>` for one or more at the end.

use std::fmt;
use std::sync::Arc;

/// The longest subject that is accepted, in bytes. NATS itself has no fixed limit below its 4 KiB control line; a
/// kilobyte leaves room for the prefixes that retries and dead letters add.
pub const MAX_SUBJECT_BYTES: usize = 1024;

/// A concrete subject: where a message was published or shall be published. Never holds a wildcard.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Arc<str>);

/// A subject pattern: a subject whose tokens may be `*`, and whose last token may be `>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectPattern(Arc<str>);

/// Why a text is not a subject or a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    #[error("a subject must not be empty")]
    Empty,
    #[error("`{0}` has an empty token: two dots in a row, or a dot at the start or the end")]
    EmptyToken(String),
    #[error("`{0}` holds white space or a control character")]
    BadCharacter(String),
    #[error("`{0}` is a pattern, where a plain subject without `*` and `>` was expected")]
    Wildcard(String),
    #[error("`{0}` is not a subject pattern: `>` must be the last token")]
    TailNotLast(String),
    #[error("`{0}` is not a subject pattern: `*` and `>` must stand alone between the dots")]
    MixedWildcard(String),
    #[error("a subject has at most {MAX_SUBJECT_BYTES} bytes, this one has {0}")]
    TooLong(usize),
}

// === impl Subject ===

impl Subject {
    /// Accepts a concrete subject.
    pub fn try_new(text: &str) -> Result<Self, SubjectError> {
        check_tokens(text)?;
        if text.split('.').any(|token| token == "*" || token == ">") {
            return Err(SubjectError::Wildcard(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl SubjectPattern ===

impl SubjectPattern {
    /// Accepts a subject or a pattern.
    pub fn try_new(text: &str) -> Result<Self, SubjectError> {
        check_tokens(text)?;
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            if token == ">" && tokens.peek().is_some() {
                return Err(SubjectError::TailNotLast(text.to_owned()));
            }
            if token.len() > 1 && token.contains(['*', '>']) {
                return Err(SubjectError::MixedWildcard(text.to_owned()));
            }
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern admits the subject.
    pub fn matches(&self, subject: &str) -> bool {
        let mut subject_tokens = subject.split('.');
        for pattern_token in self.0.split('.') {
            match (pattern_token, subject_tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
        subject_tokens.next().is_none()
    }

    /// Whether every subject that `other` admits is admitted by `self` too.
    pub fn covers(&self, other: &SubjectPattern) -> bool {
        let mut theirs = other.0.split('.');
        for mine in self.0.split('.') {
            match (mine, theirs.next()) {
                (">", Some(_)) => return true,
                (_, None | Some(">")) => return false,
                ("*", Some(_)) => {}
                (wanted, Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }

    /// Whether some subject is admitted by both patterns.
    pub fn overlaps(&self, other: &SubjectPattern) -> bool {
        let (mut mine, mut theirs) = (self.0.split('.'), other.0.split('.'));
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) => return true,
                (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
                (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }
}

fn check_tokens(text: &str) -> Result<(), SubjectError> {
    if text.is_empty() {
        return Err(SubjectError::Empty);
    }
    if text.len() > MAX_SUBJECT_BYTES {
        return Err(SubjectError::TooLong(text.len()));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(SubjectError::BadCharacter(text.to_owned()));
    }
    if text.split('.').any(str::is_empty) {
        return Err(SubjectError::EmptyToken(text.to_owned()));
    }
    Ok(())
}

macro_rules! text_traits {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    )*};
}

text_traits!(Subject, SubjectPattern);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> SubjectPattern {
        SubjectPattern::try_new(text).unwrap()
    }

    #[test]
    fn patterns_admit_what_nats_admits() {
        for (text, subject, admitted) in [
            ("orders.created", "orders.created", true),
            ("orders.*", "orders.created", true),
            ("orders.*", "orders.created.eu", false),
            ("orders.*", "orders", false),
            ("orders.>", "orders.created.eu", true),
            ("orders.>", "orders", false),
            (">", "anything.at.all", true),
            ("*.created", "orders.created", true),
        ] {
            assert_eq!(pattern(text).matches(subject), admitted, "{text} against {subject}");
        }
    }

    #[test]
    fn coverage_and_overlap() {
        assert!(pattern("orders.>").covers(&pattern("orders.*.eu")));
        assert!(!pattern("orders.*").covers(&pattern("orders.>")));
        assert!(!pattern("orders.created").covers(&pattern("orders.*")));
        assert!(pattern("orders.*.eu").overlaps(&pattern("orders.new.*")));
        assert!(!pattern("orders.*").overlaps(&pattern("customers.>")));
    }

    #[test]
    fn bad_subjects_say_what_is_wrong() {
        for text in ["", "a..b", ".a", "a.", "a b", "a\tb", "orders.>.eu", "orders.x*", "a\u{0}b"] {
            assert!(SubjectPattern::try_new(text).is_err(), "{text:?}");
        }
        assert!(matches!(Subject::try_new("orders.*"), Err(SubjectError::Wildcard(_))));
    }

    proptest! {
        #[test]
        fn a_covering_pattern_admits_whatever_the_covered_one_admits(
            wide in "[ab*](\\.[ab*]){0,2}(\\.>)?",
            narrow in "[ab*](\\.[ab*]){0,2}(\\.>)?",
            subject in "[ab](\\.[ab]){0,4}",
        ) {
            let (wide, narrow) = (pattern(&wide), pattern(&narrow));
            if wide.covers(&narrow) && narrow.matches(&subject) {
                prop_assert!(wide.matches(&subject));
            }
            if wide.matches(&subject) && narrow.matches(&subject) {
                prop_assert!(wide.overlaps(&narrow));
            }
        }
    }
}
