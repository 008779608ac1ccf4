//! What stands on a stage: clocks, dice, and the sheet on which the plugin's lines are written down.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand_core::TryRng;
use sha2::{Digest as _, Sha256};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use super::{LogLine, Request, Requests, Scene, Voice};
use crate::call_log::Level;

/// How far the monotonic clock goes each time it is read.
const STEP: Duration = Duration::from_millis(1);

/// Bytes that one round of the dice gives.
const BLOCK_BYTES: usize = 32;

/// Shared by a stage and the store of its instance; never by two calls at the same time.
pub(crate) struct Props(Mutex<Standing>);

struct Standing {
    now: SystemTime,
    /// What the monotonic clock says next.
    pendulum: Duration,
    /// How often the call has asked how much time is left.
    glances: u32,
    seed: u64,
    drawers: [Drawer; 3],
    requests: Requests,
    lines: Vec<LogLine>,
    asked: Vec<Request>,
}

/// Who draws: each has numbers of its own, so that what one draws does not change what another gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Host,
    Wasi,
    WasiInsecure,
}

/// How far a lane was drawn from.
#[derive(Clone, Copy, Default)]
struct Drawer {
    block: [u8; BLOCK_BYTES],
    /// What of the block is left, at its end.
    left: usize,
    blocks: u64,
}

/// WASI's randomness.
pub(crate) struct Dice(pub(crate) Arc<Props>, pub(crate) Lane);

/// WASI's wall clock.
pub(crate) struct StandingClock(pub(crate) Arc<Props>);

/// WASI's monotonic clock.
pub(crate) struct Pendulum(pub(crate) Arc<Props>);

// === impl Props ===

impl Default for Props {
    fn default() -> Self {
        let drawers = [Drawer::default(); 3];
        let (now, pendulum) = (UNIX_EPOCH, Duration::ZERO);
        let (requests, lines, asked) = Default::default();
        Self(Mutex::new(Standing { now, pendulum, glances: 0, seed: 0, drawers, requests, lines, asked }))
    }
}

impl Props {
    /// For the next call.
    pub(super) fn set(&self, scene: &Scene) {
        let mut standing = self.lock();
        standing.now = scene.now;
        standing.seed = scene.seed;
        standing.glances = 0;
        standing.drawers = [Drawer::default(); 3];
        standing.requests = scene.requests.clone();
        standing.lines.clear();
        standing.asked.clear();
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.lock().now
    }

    /// What is left of a call's time. As with the monotonic clock each look takes a step, so that nobody works for ever who works
    /// until little is left.
    pub(crate) fn time_left(&self, limit: Duration) -> Duration {
        let mut standing = self.lock();
        let left = limit.saturating_sub(STEP * standing.glances);
        standing.glances = standing.glances.saturating_add(1);
        left
    }

    pub(crate) fn requests(&self) -> Requests {
        self.lock().requests.clone()
    }

    /// A request that was granted.
    pub(crate) fn asked(&self, request: Request) {
        self.lock().asked.push(request);
    }

    pub(crate) fn seed(&self) -> u64 {
        self.lock().seed
    }

    /// Fills `bytes` with what the seed gives the lane next.
    pub(crate) fn draw(&self, lane: Lane, bytes: &mut [u8]) {
        let mut standing = self.lock();
        let seed = standing.seed;
        let drawer = &mut standing.drawers[lane as usize];
        for byte in bytes {
            *byte = drawer.next(seed, lane);
        }
    }

    pub(crate) fn write_down(&self, level: Level, from: Voice, text: &str) {
        self.lock().lines.push(LogLine { level, from, text: text.to_owned() });
    }

    /// What was said and asked during the call.
    pub(super) fn take_notes(&self) -> (Vec<LogLine>, Vec<Request>) {
        let mut standing = self.lock();
        (std::mem::take(&mut standing.lines), std::mem::take(&mut standing.asked))
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Drawer ===

impl Drawer {
    /// SHA-256 of seed, lane and count: the same on every machine and in every version of every library.
    fn next(&mut self, seed: u64, lane: Lane) -> u8 {
        if self.left == 0 {
            let hash = Sha256::new().chain_update(seed.to_be_bytes()).chain_update([lane as u8]);
            self.block = hash.chain_update(self.blocks.to_be_bytes()).finalize().into();
            self.blocks += 1;
            self.left = BLOCK_BYTES;
        }
        self.left -= 1;
        self.block[BLOCK_BYTES - 1 - self.left]
    }
}

// === what WASI asks ===

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.draw(self.1, &mut bytes);
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.draw(self.1, &mut bytes);
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.draw(self.1, bytes);
        Ok(())
    }
}

impl HostWallClock for StandingClock {
    fn resolution(&self) -> Duration {
        STEP
    }

    fn now(&self) -> Duration {
        self.0.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

impl HostMonotonicClock for Pendulum {
    fn resolution(&self) -> u64 {
        STEP.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        let mut standing = self.0.lock();
        standing.pendulum += STEP;
        u64::try_from(standing.pendulum.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(seed: u64) -> Scene {
        Scene { now: UNIX_EPOCH, seed, requests: Requests::Refused }
    }

    fn drawn(props: &Props, lane: Lane, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        props.draw(lane, &mut bytes);
        bytes
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_however_they_are_drawn() {
        let props = Props::default();
        props.set(&scene(7));
        let together = drawn(&props, Lane::Wasi, 100);
        drawn(&props, Lane::Host, 5);
        props.set(&scene(7));
        let (first, second) = (drawn(&props, Lane::Wasi, 33), drawn(&props, Lane::Wasi, 67));
        assert_eq!([first, second].concat(), together);
        assert_ne!(drawn(&props, Lane::Host, 100), together, "lanes do not share their numbers");
        props.set(&scene(8));
        assert_ne!(drawn(&props, Lane::Wasi, 100), together);
    }

    #[test]
    fn the_wall_clock_stands_and_the_monotonic_one_goes() {
        let props = Arc::new(Props::default());
        let now = UNIX_EPOCH + Duration::from_secs(5);
        props.set(&Scene { now, ..scene(1) });
        let (wall, monotonic) = (StandingClock(Arc::clone(&props)), Pendulum(Arc::clone(&props)));
        assert_eq!((wall.now(), wall.now()), (Duration::from_secs(5), Duration::from_secs(5)));
        let (first, second) = (monotonic.now(), monotonic.now());
        assert_eq!(second - first, 1_000_000);
        props.set(&scene(1));
        assert!(monotonic.now() > second, "it never goes back, also not for the next call");
    }
}
