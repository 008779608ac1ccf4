//! How often an event's ancestors were emitted by Tidemill, so that a circle of routes ends.
//!
//! A plugin that emits to a subject that its own route reads, directly or through the plugins of other routes, would run for
//! ever: each round is a new event with a new id, so nothing else notices. The count travels in a header of the message.
//! No guest sees it or can set it: attributes of events travel as `ce-*` only. It stays when a message is retried, dead-lettered
//! or redriven, because headers are kept.
//!
//! A producer outside can write the header. That makes its own events dead letters and nothing worse, so an unreadable value
//! counts as none instead of costing the event.
//!
//! The other way, refusing circles when the configuration is read, would refuse what is right: a route may read what it
//! emits as long as its filter or its handler ends it.

use crate::failure::{Failure, FailureKind};
use crate::message::Headers;

/// The header. It belongs to the host.
pub const HEADER: &str = "Tidemill-Hops";

/// The default of `max_hops`: longer than any chain of routes that a person can draw, short enough to end within a second.
pub const DEFAULT_MAX: u32 = 32;

/// How often the message and its ancestors were emitted; 0 for what came from outside.
pub fn of(headers: &Headers) -> u32 {
    headers
        .get(HEADER)
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .map_or(0, |text| text.parse().unwrap_or(0))
}

/// Marks an emit as caused by a message with these headers.
pub(crate) fn count(input: &Headers, emit: &mut Headers) {
    emit.set(HEADER, of(input).saturating_add(1).to_string());
}

/// Refuses an event that has come further than `max`.
pub(crate) fn check(input: &Headers, max: u32) -> Result<(), Failure> {
    let hops = of(input);
    if hops <= max {
        return Ok(());
    }
    let text = format!(
        "the event is the {hops}th in a row that plugins emitted in answer to each other, and `max_hops` is {max}: the routes \
         form a circle. Break it (a narrower `source.subjects` or `filter` on one of its routes), or allow longer chains by \
         `max_hops: {hops}` in runtime.yaml"
    );
    Err(Failure::new(FailureKind::Loop, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> Headers {
        [(HEADER, value)].into_iter().collect()
    }

    #[test]
    fn what_nobody_counted_has_come_no_way() {
        assert_eq!(of(&Headers::new()), 0);
        for forged in ["", "-1", "+5", "1.5", " 7", "0x10", "many", "99999999999999999999", "٣"] {
            assert_eq!(of(&headers(forged)), 0, "{forged:?}");
        }
        assert_eq!(of(&headers("31")), 31);
        assert_eq!(of(&[("tidemill-hops", "31")].into_iter().collect()), 0, "header names have a case");
    }

    #[test]
    fn an_emit_has_come_one_step_further_than_its_cause() {
        for (input, emit) in [(Headers::new(), "1"), (headers("31"), "32"), (headers("4294967295"), "4294967295")] {
            let mut headers = headers("7");
            count(&input, &mut headers);
            assert_eq!(headers.iter().collect::<Vec<_>>(), [(HEADER, emit)]);
        }
    }

    #[test]
    fn the_limit_itself_is_allowed_and_the_refusal_says_what_to_do() {
        assert_eq!(check(&headers("32"), 32), Ok(()));
        let failure = check(&headers("33"), 32).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Loop);
        assert!(
            failure.text.contains("`max_hops` is 32") && failure.text.contains("`max_hops: 33`"),
            "{}",
            failure.text
        );
    }
}
