//! The wall clock: what is written down, and never what is waited for.
//!
//! What is waited for is tokio's time, which can be paused. Times of failures and emits, and the age that `max_age` bounds, are
//! the system's clock, because they must be right after a restart and on another machine. Where a whole runtime runs on a
//! paused clock (`tidemill test`), the two would fall apart: a retry that waited for an hour of paused time would be no second
//! old. There the wall clock goes with tokio's.

use std::time::SystemTime;

use tokio::time::Instant;

/// Tells the time of day.
#[derive(Debug, Clone, Copy, Default)]
pub enum WallClock {
    #[default]
    System,
    /// It was `at` at the moment `since` of tokio's clock, and goes with it.
    Paced { at: SystemTime, since: Instant },
}

impl WallClock {
    /// It is `at` now. To be called on a runtime, and asked on the same one.
    pub fn beginning(at: SystemTime) -> Self {
        Self::Paced { at, since: Instant::now() }
    }

    pub fn now(self) -> SystemTime {
        match self {
            WallClock::System => SystemTime::now(),
            WallClock::Paced { at, since } => at + since.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paced_clock_goes_with_the_time_that_is_waited_for() {
        let clock = WallClock::beginning(UNIX_EPOCH);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_secs(3600));
    }
}
