//! How many components are compiled at the same time, and how all of it is stopped.
//!
//! A reload of many plugins must neither take all memory (each child may have its whole limit) nor all cores.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// More children than this finish no earlier: each uses several cores where it can.
const MOST: usize = 2;

/// A counter of free places, and whether compiling has been called off.
pub(crate) struct Places {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    free: usize,
    stopped: bool,
}

/// The right to compile one component; given back when dropped.
pub(crate) struct Place<'a>(&'a Places);

// === impl Places ===

impl Places {
    pub(crate) fn new(cores: usize) -> Self {
        Self { state: Mutex::new(State { free: cores.clamp(1, MOST), stopped: false }), changed: Condvar::new() }
    }

    /// Waits for a place; `None` once compiling is called off.
    pub(crate) fn take(&self) -> Option<Place<'_>> {
        let mut state = self
            .changed
            .wait_while(self.state(), |state| state.free == 0 && !state.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return None;
        }
        state.free -= 1;
        Some(Place(self))
    }

    /// Calls off what waits and what runs, for good.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state().free += 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_two_places_and_one_on_a_single_core() {
        for (cores, places) in [(0, 1), (1, 1), (2, 2), (64, 2)] {
            assert_eq!(Places::new(cores).state().free, places, "{cores} cores");
        }
    }

    #[test]
    fn a_place_is_given_back_and_stopping_ends_the_waiting() {
        let places = Places::new(1);
        drop(places.take().unwrap());
        let held = places.take().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| places.take().is_none());
            places.stop();
            assert!(waiting.join().unwrap());
        });
        drop(held);
        assert!(places.take().is_none());
    }
}
