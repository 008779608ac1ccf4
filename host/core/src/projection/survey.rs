//! Putting a [`ProjectionStatus`] together: what the store keeps, what the runner shows, where the streams end.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::Projection;
use super::board::Phase;
use super::status::{CopyStatus, Lag, ProjectionStatus, RebuildProgress};
use super::track::Track;
use crate::config::ProjectionSource;
use crate::port::ReadFrom;
use crate::read_model::{Copy, StoreError};

/// How long the first event that is not folded is looked for, to tell its age.
const LOOK: Duration = Duration::from_millis(1500);

pub(super) async fn status(projection: &Projection) -> Result<ProjectionStatus, StoreError> {
    let ledger = projection.store.ledger(&projection.config.name).await?;
    let ends = ends(projection).await;
    let board = &projection.board;
    let live = board.live();
    let track = live.as_deref().filter(|track| ledger.active().is_some_and(|active| active.id == track.copy));
    let active = match ledger.active() {
        Some(copy) => {
            let lag = lags(projection, copy, track, &ends).await;
            Some(CopyStatus { lag, ..copy_status(copy) })
        }
        None => None,
    };
    let building = ledger.building().map(|copy| {
        let end = |stream: &String| ends.get(stream).copied().unwrap_or_default().last;
        let lag = |(stream, position): (&String, &u64)| {
            let events = end(stream).saturating_sub(*position);
            (stream.clone(), Lag { events, seconds: 0.0 })
        };
        let status = copy_status(copy);
        let mut positions: BTreeMap<String, u64> = ends.keys().map(|stream| (stream.clone(), 0)).collect();
        positions.extend(status.positions.clone());
        CopyStatus { lag: positions.iter().map(lag).collect(), ..status }
    });
    let rebuild = building.as_ref().and_then(|copy| progress(projection, copy, &ends));
    Ok(ProjectionStatus {
        name: projection.config.name.to_string(),
        state: match board.phase() {
            // What another process wrote is known of a projection that nobody runs here, too.
            Phase::Stopped if ledger.paused => super::ProjectionState::Paused,
            _ => board.state(&projection.config),
        },
        degraded: active.as_ref().is_some_and(|active| active.dead_lettered > 0),
        active,
        previous: ledger.previous().map(copy_status),
        building,
        rebuild,
        rebuild_failure: board.failure(),
    })
}

#[derive(Clone, Copy, Default)]
struct End {
    first: u64,
    last: u64,
}

/// Where the streams begin and end, as far as the broker says.
async fn ends(projection: &Projection) -> BTreeMap<String, End> {
    let mut ends = BTreeMap::new();
    for source in &projection.config.sources {
        if let Ok(bounds) = projection.broker.bounds(&source.stream).await {
            ends.insert(source.stream.to_string(), End { first: bounds.first, last: bounds.last });
        }
    }
    ends
}

fn copy_status(copy: &Copy) -> CopyStatus {
    CopyStatus {
        number: copy.id.number,
        digest: copy.digest.clone(),
        positions: copy.positions.iter().map(|(stream, position)| (stream.to_string(), *position)).collect(),
        lag: BTreeMap::new(),
        folded: copy.folded,
        dead_lettered: copy.dead_lettered,
    }
}

async fn lags(
    projection: &Projection,
    copy: &Copy,
    track: Option<&Track>,
    ends: &BTreeMap<String, End>,
) -> BTreeMap<String, Lag> {
    let mut lags = BTreeMap::new();
    for source in &projection.config.sources {
        let position = copy.positions.get(&source.stream).copied().unwrap_or(0);
        let known = track.and_then(|track| track.behind(&source.stream));
        let end = ends.get(source.stream.as_str());
        let last = end.map(|end| end.last).or(known.map(|known| known.last)).unwrap_or(position);
        // What the stream has dropped is nothing that could be folded.
        let from = end.map_or(position, |end| position.max(end.first.saturating_sub(1)));
        let events = last.saturating_sub(from);
        let oldest = match known.and_then(|known| known.oldest) {
            Some(oldest) => Some(oldest),
            None if events > 0 => first_after(projection, source, position).await,
            None => None,
        };
        let age = oldest.filter(|_| events > 0).and_then(|oldest| projection.clock.now().duration_since(oldest).ok());
        lags.insert(source.stream.to_string(), Lag { events, seconds: age.unwrap_or_default().as_secs_f64() });
    }
    lags
}

/// When the first fitting event after a position was stored.
async fn first_after(projection: &Projection, source: &ProjectionSource, after: u64) -> Option<SystemTime> {
    let from = ReadFrom { stream: source.stream.clone(), subjects: source.subjects.clone(), after };
    let look = async {
        let mut reader = projection.broker.read(from).await.ok()?;
        reader.next(1).await.ok()?.messages.first().map(|first| first.stored)
    };
    timeout(LOOK, look).await.ok().flatten()
}

fn progress(projection: &Projection, copy: &CopyStatus, ends: &BTreeMap<String, End>) -> Option<RebuildProgress> {
    let building = projection.board.building().filter(|it| it.track.copy.number == copy.number)?;
    let dropped = building.skipped;
    let done = copy.positions.values().sum::<u64>().saturating_sub(dropped);
    let target = ends.values().map(|end| end.last).sum::<u64>().saturating_sub(dropped).max(done);
    let rate = building.track.rate();
    let eta_seconds = (rate > 0.0).then(|| ((target - done) as f64 / rate).ceil() as u64);
    Some(RebuildProgress { done, target, events_per_second: rate, eta_seconds })
}
