//! W3C trace context (<https://www.w3.org/TR/trace-context/>): taken from the headers, carried into emits.

use std::borrow::Cow;

use super::DecodeError;
use super::attributes::Attributes;
use crate::message::Headers;

/// The longest `tracestate` that is carried; the recommendation asks for at least 512.
const MAX_TRACESTATE_BYTES: usize = 512;

/// A valid `traceparent`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceParent<'a> {
    trace_id: &'a str,
    flags: u8,
}

impl<'a> TraceParent<'a> {
    /// `version-traceid-parentid-flags`, lower-case hexadecimal; a later version may have more behind.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (version, rest) = field(text, 2)?;
        let (trace_id, rest) = field(rest.strip_prefix('-')?, 32)?;
        let (parent_id, rest) = field(rest.strip_prefix('-')?, 16)?;
        let (flags, rest) = field(rest.strip_prefix('-')?, 2)?;
        let ended = rest.is_empty() || (version != "00" && rest.starts_with('-'));
        let zero = |id: &str| id.bytes().all(|b| b == b'0');
        if version == "ff" || zero(trace_id) || zero(parent_id) || !ended {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        // What the other flags of a later version mean is unknown; "sampled" stays.
        Some(Self { trace_id, flags: if version == "00" { flags } else { flags & 1 } })
    }

    /// The same trace with a new parent.
    pub(super) fn child(&self, parent_id: [u8; 8]) -> String {
        format!("00-{}-{:016x}-{:02x}", self.trace_id, u64::from_be_bytes(parent_id), self.flags)
    }
}

fn field(text: &str, length: usize) -> Option<(&str, &str)> {
    let (field, rest) = text.split_at_checked(length)?;
    field.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some((field, rest))
}

/// Takes `traceparent` and `tracestate` from the bare headers where no `ce-` header or member said something. An invalid
/// one is left out, as the recommendation demands: a broken trace must not cost the event.
pub(super) fn adopt(headers: &Headers, attributes: &mut Attributes) -> Result<(), DecodeError> {
    for (name, value) in bare(headers) {
        if !attributes.has_extension(name) {
            attributes.set(name, Cow::Borrowed(value))?;
        }
    }
    Ok(())
}

/// The usable trace headers under their lower-case names.
pub(super) fn bare(headers: &Headers) -> impl Iterator<Item = (&'static str, &str)> {
    headers.iter().filter_map(|(name, value)| match name.len() {
        11 if name.eq_ignore_ascii_case("traceparent") => TraceParent::parse(value).map(|_| ("traceparent", value)),
        10 if name.eq_ignore_ascii_case("tracestate") => is_tracestate(value).then_some(("tracestate", value)),
        _ => None,
    })
}

fn is_tracestate(value: &str) -> bool {
    (1..=MAX_TRACESTATE_BYTES).contains(&value.len()) && value.bytes().all(|b| (0x20..=0x7e).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn only_valid_parents_have_children() {
        let child = |text: String| TraceParent::parse(&text).map(|parent| parent.child([0, 0, 0, 0, 0, 0, 0, 7]));
        let new = |flags: &str| Some(format!("00-{TRACE}-0000000000000007-{flags}"));
        assert_eq!(child(format!("00-{TRACE}-b7ad6b7169203331-01")), new("01"));
        assert_eq!(child(format!("00-{TRACE}-b7ad6b7169203331-03")), new("03"));
        assert_eq!(child(format!("cc-{TRACE}-b7ad6b7169203331-ff-later")), new("01"));
        for bad in [
            String::new(),
            format!("00-{TRACE}-b7ad6b7169203331"),
            format!("00-{TRACE}-b7ad6b7169203331-01-more"),
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "€".repeat(11)),
        ] {
            assert_eq!(child(bad.clone()), None, "{bad}");
        }
    }
}
