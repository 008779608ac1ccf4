//! One matcher: a test on one value that is neither an array nor an object.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Number;

use super::fold::IgnoreCase;
use super::wildcard::Wildcard;

/// A value of the event that has no inside.
#[derive(Debug, Clone, Copy)]
pub(super) enum Leaf<'a> {
    Text(&'a str),
    Number(&'a Number),
    Bool(bool),
    Null,
}

/// One entry of a field's list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Matcher {
    Text(Box<str>),
    Number(Number),
    Bool(bool),
    Null,
    Prefix(Box<str>),
    Suffix(Box<str>),
    EqualsIgnoreCase(IgnoreCase),
    PrefixIgnoreCase(IgnoreCase),
    SuffixIgnoreCase(IgnoreCase),
    Wildcard(Wildcard),
    Numeric(Numeric),
    Cidr(IpNet),
    /// Holds for every leaf for which none of these does.
    AnythingBut(Box<[Matcher]>),
    /// The one matcher that looks at the field, not at its value: see the walk in `pattern`.
    Exists(bool),
}

/// The numbers that `numeric` admits, as IEEE 754 doubles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Numeric {
    Equal(f64),
    Range { low: Option<Bound>, high: Option<Bound> },
}

/// An end of a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bound {
    pub(super) number: f64,
    pub(super) included: bool,
}

// === impl Matcher ===

impl Matcher {
    /// Whether the matcher holds for a value that is there.
    pub(super) fn matches(&self, leaf: Leaf<'_>) -> bool {
        match (self, leaf) {
            (Matcher::Text(wanted), Leaf::Text(text)) => **wanted == *text,
            (Matcher::Number(wanted), Leaf::Number(number)) => same_number(wanted, number),
            (Matcher::Bool(wanted), Leaf::Bool(flag)) => *wanted == flag,
            (Matcher::Null, Leaf::Null) => true,
            (Matcher::Prefix(prefix), Leaf::Text(text)) => text.starts_with(&**prefix),
            (Matcher::Suffix(suffix), Leaf::Text(text)) => text.ends_with(&**suffix),
            (Matcher::EqualsIgnoreCase(wanted), Leaf::Text(text)) => wanted.equals(text),
            (Matcher::PrefixIgnoreCase(prefix), Leaf::Text(text)) => prefix.begins(text),
            (Matcher::SuffixIgnoreCase(suffix), Leaf::Text(text)) => suffix.ends(text),
            (Matcher::Wildcard(wildcard), Leaf::Text(text)) => wildcard.matches(text),
            (Matcher::Numeric(numeric), Leaf::Number(number)) => number.as_f64().is_some_and(|n| numeric.holds(n)),
            (Matcher::Cidr(net), Leaf::Text(text)) => {
                text.parse::<IpAddr>().is_ok_and(|address| net.contains(&address))
            }
            (Matcher::AnythingBut(refused), leaf) => !refused.iter().any(|matcher| matcher.matches(leaf)),
            (Matcher::Exists(wanted), _) => *wanted,
            _ => false,
        }
    }

    /// Whether some text could make a difference. `false` for what only ever looks at other kinds of values.
    pub(super) fn concerns_text(&self) -> bool {
        match self {
            Matcher::Number(_) | Matcher::Bool(_) | Matcher::Null | Matcher::Numeric(_) => false,
            Matcher::AnythingBut(refused) => refused.iter().all(Matcher::concerns_text),
            _ => true,
        }
    }
}

/// Numbers are equal as numbers: `1`, `1.0` and `1e0` are one. Two integers are compared as such, so that account numbers
/// beyond 2^53 are not confused with their neighbours.
fn same_number(a: &Number, b: &Number) -> bool {
    a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matcher::Text(text) => write!(f, "{text:?}"),
            Matcher::Number(number) => write!(f, "{number}"),
            Matcher::Bool(flag) => write!(f, "{flag}"),
            Matcher::Null => f.write_str("null"),
            Matcher::Prefix(text) => write!(f, "prefix {text:?}"),
            Matcher::Suffix(text) => write!(f, "suffix {text:?}"),
            Matcher::EqualsIgnoreCase(text) => write!(f, "equals-ignore-case {text}"),
            Matcher::PrefixIgnoreCase(text) => write!(f, "prefix equals-ignore-case {text}"),
            Matcher::SuffixIgnoreCase(text) => write!(f, "suffix equals-ignore-case {text}"),
            Matcher::Wildcard(wildcard) => write!(f, "wildcard {wildcard}"),
            Matcher::Numeric(numeric) => write!(f, "numeric {numeric}"),
            Matcher::Cidr(net) => write!(f, "cidr {net}"),
            Matcher::AnythingBut(refused) => {
                f.write_str("anything-but ")?;
                for (index, matcher) in refused.iter().enumerate() {
                    write!(f, "{}{matcher}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Matcher::Exists(wanted) => write!(f, "exists {wanted}"),
        }
    }
}

// === impl Numeric ===

impl Numeric {
    fn holds(&self, number: f64) -> bool {
        match self {
            Numeric::Equal(wanted) => number == *wanted,
            Numeric::Range { low, high } => {
                low.is_none_or(|low| number > low.number || (low.included && number == low.number))
                    && high.is_none_or(|high| number < high.number || (high.included && number == high.number))
            }
        }
    }

    /// Whether no number is admitted.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Numeric::Range { low: Some(low), high: Some(high) } => {
                low.number > high.number || (low.number == high.number && !(low.included && high.included))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |f: &mut fmt::Formatter<'_>, sign: &str, bound: &Bound| {
            write!(f, "{sign}{} {}", if bound.included { "=" } else { "" }, bound.number)
        };
        match self {
            Numeric::Equal(number) => write!(f, "= {number}"),
            Numeric::Range { low, high } => {
                if let Some(low) = low {
                    bound(f, ">", low)?;
                }
                if low.is_some() && high.is_some() {
                    f.write_str(" and ")?;
                }
                high.as_ref().map_or(Ok(()), |high| bound(f, "<", high))
            }
        }
    }
}
