//! Why an event was not handled, and words that read well with `?`.
//!
//! [`Failure`] is deliberately no `std::error::Error`: only so can every error of any crate turn into one by `?`.

use std::error::Error;
use std::fmt::{self, Display};
use std::time::Duration;

/// What [`Handler::handle`](crate::Handler::handle) returns.
pub type Outcome = Result<(), Failure>;

/// Why an event was not handled: trying again may help, or it will not.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    reason: String,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Retry { after: Option<Duration> },
    Reject,
}

/// Trying again may help. When the attempts are used up, the event is dead-lettered.
///
/// ```
/// # use tidemill_sdk::prelude::*;
/// # fn f() -> Outcome {
/// return Err(retry("the ledger is closed").after(Duration::from_secs(30)));
/// # }
/// ```
#[must_use = "a failure does nothing until it is returned as `Err`"]
pub fn retry(reason: impl Into<String>) -> Failure {
    Failure { reason: reason.into(), verdict: Verdict::Retry { after: None } }
}

/// Trying again will not help: the event is dead-lettered at once, with this reason.
#[must_use = "a failure does nothing until it is returned as `Err`"]
pub fn reject(reason: impl Into<String>) -> Failure {
    Failure { reason: reason.into(), verdict: Verdict::Reject }
}

/// Turns a missing value or somebody else's error into a verdict.
///
/// ```
/// # use tidemill_sdk::prelude::*;
/// # fn f(text: &str, customer: Option<&str>) -> Outcome {
/// let customer = customer.or_reject("an order needs a customer")?;
/// let amount: u32 = text.parse().or_reject("the amount is no number")?;
/// # Ok(())
/// # }
/// ```
pub trait OrFail<T> {
    /// `reason`, and what the error says, as [`retry`].
    fn or_retry(self, reason: impl Display) -> Result<T, Failure>;
    /// `reason`, and what the error says, as [`reject`].
    fn or_reject(self, reason: impl Display) -> Result<T, Failure>;
}

// === impl Failure ===

impl Failure {
    /// The shortest time until the next attempt; the route's backoff, where that is longer. Changes nothing on a rejection.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        if let Verdict::Retry { after } = &mut self.verdict {
            *after = Some(delay);
        }
        self
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether the event is dead-lettered at once.
    pub fn is_reject(&self) -> bool {
        self.verdict == Verdict::Reject
    }

    pub(crate) fn into_parts(self) -> (String, Verdict) {
        (self.reason, self.verdict)
    }
}

/// An error that passes through `?` means retry: whoever knows that trying again is useless says so with
/// [`or_reject`](OrFail::or_reject). The reason is the error and its causes.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason.push_str(": ");
            reason.push_str(&error.to_string());
            cause = error.source();
        }
        retry(reason)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Reject => write!(f, "reject({:?})", self.reason),
            Verdict::Retry { after: None } => write!(f, "retry({:?})", self.reason),
            Verdict::Retry { after: Some(delay) } => write!(f, "retry({:?}).after({delay:?})", self.reason),
        }
    }
}

// === impl OrFail ===

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_retry(self, reason: impl Display) -> Result<T, Failure> {
        self.map_err(|error| retry(format!("{reason}: {error}")))
    }

    fn or_reject(self, reason: impl Display) -> Result<T, Failure> {
        self.map_err(|error| reject(format!("{reason}: {error}")))
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_retry(self, reason: impl Display) -> Result<T, Failure> {
        self.ok_or_else(|| retry(reason.to_string()))
    }

    fn or_reject(self, reason: impl Display) -> Result<T, Failure> {
        self.ok_or_else(|| reject(reason.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Unreachable(std::num::ParseIntError);

    impl Display for Unreachable {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no answer")
        }
    }

    impl Error for Unreachable {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    fn number(text: &str) -> Result<u32, std::num::ParseIntError> {
        text.parse()
    }

    #[test]
    fn an_error_through_the_question_mark_is_a_retry_with_all_its_causes() {
        let handle = || -> Outcome { Err(Unreachable(number("x").unwrap_err()))? };
        assert_eq!(handle(), Err(retry("no answer: invalid digit found in string")));
    }

    #[test]
    fn or_retry_and_or_reject_say_the_reason_first() {
        assert_eq!(number("x").or_reject("the amount"), Err(reject("the amount: invalid digit found in string")));
        assert_eq!(number("x").or_retry("the amount"), Err(retry("the amount: invalid digit found in string")));
        assert_eq!(None::<u32>.or_reject("no amount"), Err(reject("no amount")));
        assert_eq!(Some(3).or_retry("no amount"), Ok(3));
    }

    #[test]
    fn a_delay_belongs_to_a_retry_only() {
        let delay = Duration::from_secs(3);
        assert_eq!(retry("x").after(delay).into_parts().1, Verdict::Retry { after: Some(delay) });
        assert_eq!(reject("x").after(delay), reject("x"));
        assert_eq!(format!("{:?}", retry("x").after(delay)), "retry(\"x\").after(3s)");
    }
}
