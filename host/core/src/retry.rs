//! When to try again, and when to stop.

use std::time::Duration;

/// A retry policy. Built once from `runtime.yaml`; the constructor is the gate.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    max_attempts: u32,
    max_age: Duration,
    backoff: Backoff,
}

/// The growth of the delay between attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    initial: Duration,
    multiplier: f64,
    max: Duration,
    jitter: f64,
}

/// Which limit ended the retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExhaustedBy {
    Attempts,
    Age,
}

/// Why a policy cannot be what was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RetryPolicyError {
    #[error("`max_attempts` counts all attempts, the first included: expected 1 to 1000, found {0}")]
    Attempts(u32),
    #[error("`max_age` must be longer than zero")]
    Age,
    #[error("`multiplier` must be a number from 1 to 100, found {0}")]
    Multiplier(f64),
    #[error("`jitter` must be a number from 0 to 1, found {0}")]
    Jitter(f64),
    #[error("`max` ({max:?}) must not be shorter than `initial` ({initial:?})")]
    MaxBelowInitial { initial: Duration, max: Duration },
}

// === impl Backoff ===

impl Backoff {
    pub fn try_new(initial: Duration, multiplier: f64, max: Duration, jitter: f64) -> Result<Self, RetryPolicyError> {
        if !(1.0..=100.0).contains(&multiplier) {
            return Err(RetryPolicyError::Multiplier(multiplier));
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(RetryPolicyError::Jitter(jitter));
        }
        if max < initial {
            return Err(RetryPolicyError::MaxBelowInitial { initial, max });
        }
        Ok(Self { initial, multiplier, max, jitter })
    }

    pub fn initial(&self) -> Duration {
        self.initial
    }

    pub fn multiplier(&self) -> f64 {
        self.multiplier
    }

    pub fn max(&self) -> Duration {
        self.max
    }

    pub fn jitter(&self) -> f64 {
        self.jitter
    }

    /// The delay after attempt number `attempt` (1-based). `random` is uniform in 0..1; the jitter spreads the delay
    /// evenly over `delay * (1 ± jitter)`, never beyond `max`.
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let exponent = f64::from(attempt.saturating_sub(1).min(1000));
        let grown = self.initial.as_secs_f64() * self.multiplier.powf(exponent);
        let capped = grown.min(self.max.as_secs_f64());
        let spread = 1.0 + self.jitter * (2.0 * random - 1.0);
        Duration::from_secs_f64((capped * spread).clamp(0.0, self.max.as_secs_f64()))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), multiplier: 2.0, max: Duration::from_secs(60), jitter: 0.2 }
    }
}

// === impl RetryPolicy ===

impl RetryPolicy {
    pub fn try_new(max_attempts: u32, max_age: Duration, backoff: Backoff) -> Result<Self, RetryPolicyError> {
        if !(1..=1000).contains(&max_attempts) {
            return Err(RetryPolicyError::Attempts(max_attempts));
        }
        if max_age.is_zero() {
            return Err(RetryPolicyError::Age);
        }
        Ok(Self { max_attempts, max_age, backoff })
    }

    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    pub fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// Whether another attempt is allowed after `attempt` failed, the first failure lying `age` back and the next
    /// attempt being due after `delay`. The first limit that is reached decides.
    pub fn exhausted(&self, attempt: u32, age: Duration, delay: Duration) -> Option<ExhaustedBy> {
        if attempt >= self.max_attempts {
            Some(ExhaustedBy::Attempts)
        } else if age + delay > self.max_age {
            Some(ExhaustedBy::Age)
        } else {
            None
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 5, max_age: Duration::from_secs(3600), backoff: Backoff::default() }
    }
}

impl ExhaustedBy {
    pub fn as_str(self) -> &'static str {
        match self {
            ExhaustedBy::Attempts => "attempts",
            ExhaustedBy::Age => "age",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let backoff = Backoff::try_new(Duration::from_secs(1), 2.0, Duration::from_secs(10), 0.0).unwrap();
        let delays: Vec<u64> = (1..=6).map(|attempt| backoff.delay(attempt, 0.5).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn the_first_limit_decides() {
        let policy = RetryPolicy::try_new(3, Duration::from_secs(60), Backoff::default()).unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(policy.exhausted(2, second, second), None);
        assert_eq!(policy.exhausted(3, second, second), Some(ExhaustedBy::Attempts));
        assert_eq!(policy.exhausted(1, Duration::from_secs(60), second), Some(ExhaustedBy::Age));
    }

    proptest! {
        #[test]
        fn a_delay_never_leaves_its_bounds(
            attempt in 1u32..100_000, random in 0.0f64..1.0, jitter in 0.0f64..=1.0, multiplier in 1.0f64..=100.0,
        ) {
            let (initial, max) = (Duration::from_millis(100), Duration::from_secs(30));
            let backoff = Backoff::try_new(initial, multiplier, max, jitter).unwrap();
            let delay = backoff.delay(attempt, random);
            prop_assert!(delay <= max);
            prop_assert!(delay.as_secs_f64() + 1e-9 >= initial.as_secs_f64() * (1.0 - jitter));
        }
    }
}
