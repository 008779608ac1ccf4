//! The events of all sources of a projection: read ahead, decoded and checked, each stream in its order, the streams in turn.
//!
//! One feeder per source reads, so that decoding and validating happen beside the guest's work. It is at most two stretches
//! ahead. Between streams there is no order, and none is made up: whoever has a stretch ready has its turn.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Projection;
use super::track::Track;
use crate::config::ProjectionSource;
use crate::event::Event;
use crate::failure::{Failure, FailureKind};
use crate::incoming::{self, Checks};
use crate::name::StreamName;
use crate::pipeline::Serving;
use crate::port::{BrokerError, Origin, ReadFrom, Reader, Recorded, Stretch};
use crate::read_model::Positions;

/// Most messages of one stretch.
const STRETCH: usize = 500;

/// Events are decoded this many at a time before others may run.
const DECODED_AT_ONCE: usize = 64;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The feeders. Dropping it ends them.
pub(super) struct Intake {
    lanes: Vec<mpsc::Receiver<Arrived>>,
    /// Who is asked first.
    turn: usize,
    _feeders: JoinSet<()>,
}

/// A stretch of one stream, ready to be folded.
pub(super) struct Chunk {
    /// The number of the source.
    pub(super) source: usize,
    pub(super) items: Vec<Item>,
    pub(super) through: u64,
    pub(super) last: u64,
    /// What the events were checked against.
    pub(super) serving: Arc<Serving>,
    pub(super) arrived: Instant,
}

/// What comes from a feeder; `Err` is the last: why a person must act.
pub(super) type Arrived = Result<Chunk, String>;

/// One message and what was found in it.
pub(super) struct Item {
    pub(super) recorded: Recorded,
    pub(super) origin: Origin,
    pub(super) found: Found,
}

pub(super) enum Found {
    Wanted(Event),
    /// The filter does not want it.
    Unwanted,
    /// It cannot be handed to a plugin.
    Bad(Failure, Option<Event>),
}

/// Why a copy cannot be folded on.
pub(super) enum Obstacle {
    /// Trying again may help.
    Unavailable(String),
    /// A person must act.
    Lost(String),
}

/// Reads one source.
struct Feeder {
    projection: Arc<Projection>,
    source: usize,
    through: u64,
    /// Of a stretch that was passed on; the first one is, whatever it holds.
    told: Option<u64>,
    track: Arc<Track>,
    lane: mpsc::Sender<Arrived>,
}

// === impl Intake ===

impl Intake {
    /// Begins to read after the positions; a stream without one from its beginning.
    pub(super) async fn open(
        projection: &Arc<Projection>,
        positions: &Positions,
        track: &Arc<Track>,
        host: &Handle,
    ) -> Result<Self, Obstacle> {
        let (mut lanes, mut feeders) = (Vec::new(), JoinSet::new());
        for (number, source) in projection.config.sources.iter().enumerate() {
            let position = positions.get(&source.stream).copied();
            check(projection, source, position, track).await?;
            let through = position.unwrap_or(0);
            let from = ReadFrom { stream: source.stream.clone(), subjects: source.subjects.clone(), after: through };
            let reader = projection.broker.read(from).await.map_err(unavailable)?;
            let (lane, chunks) = mpsc::channel(1);
            let (projection, track) = (Arc::clone(projection), Arc::clone(track));
            let feeder = Feeder { projection, source: number, through, told: None, track, lane };
            feeders.spawn_on(feeder.feed(reader), host);
            lanes.push(chunks);
        }
        Ok(Self { lanes, turn: 0, _feeders: feeders })
    }

    /// A chunk that is there already.
    pub(super) fn ready(&mut self) -> Option<Arrived> {
        let count = self.lanes.len();
        for number in (0..count).map(|offset| (self.turn + offset) % count) {
            if let Ok(chunk) = self.lanes[number].try_recv() {
                self.turn = number + 1;
                return Some(chunk);
            }
        }
        None
    }

    /// The next chunk; `None` when a feeder has broken. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Arrived> {
        let count = self.lanes.len();
        poll_fn(|context| {
            for number in (0..count).map(|offset| (self.turn + offset) % count) {
                if let Poll::Ready(chunk) = self.lanes[number].poll_recv(context) {
                    self.turn = number + 1;
                    return Poll::Ready(chunk);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Looks whether the stream still is what the position was taken in.
async fn check(
    projection: &Projection,
    source: &ProjectionSource,
    position: Option<u64>,
    track: &Track,
) -> Result<(), Obstacle> {
    let bounds = projection.broker.bounds(&source.stream).await.map_err(unavailable)?;
    track.heard(&source.stream, bounds.last, None);
    let Some(position) = position else { return Ok(()) };
    if position > bounds.last {
        return Err(Obstacle::Lost(projection.lost(&format!(
            "the stream `{}` ends at {} and was folded up to {position}: it was removed and made anew",
            source.stream, bounds.last
        ))));
    }
    if bounds.first > position + 1 {
        tracing::warn!(
            projection = %projection.config.name, stream = %source.stream, position, first = bounds.first,
            "The stream has dropped events that were not folded; the read model is without them"
        );
    }
    Ok(())
}

impl Projection {
    fn lost(&self, reason: &str) -> String {
        format!(
            "{reason}. What it held is in the documents; `tidemill projection rebuild {}` makes them from what it holds now",
            self.config.name
        )
    }
}

fn unavailable(error: BrokerError) -> Obstacle {
    Obstacle::Unavailable(error.to_string())
}

// === impl Feeder ===

impl Feeder {
    async fn feed(mut self, mut reader: Box<dyn Reader>) {
        let mut pause = FIRST_PAUSE;
        loop {
            match reader.next(STRETCH).await {
                Ok(stretch) => {
                    pause = FIRST_PAUSE;
                    if self.pass_on(stretch).await.is_none() {
                        return;
                    }
                }
                Err(BrokerError::Incompatible(reason)) => {
                    self.lane.send(Err(self.projection.lost(&reason))).await.ok();
                    return;
                }
                // It goes on by itself. A new reader might not notice that meanwhile the stream was made anew.
                Err(error) => self.wait_out(&error, &mut pause).await,
            }
        }
    }

    async fn wait_out(&self, error: &BrokerError, pause: &mut Duration) {
        let name = &self.projection.config.name;
        if *pause == FIRST_PAUSE {
            tracing::warn!(projection = %name, %error, "Cannot read events; trying again until it works");
        }
        self.track.cannot_read(error.to_string());
        sleep(*pause).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
    }

    /// `None`: nobody listens any more.
    async fn pass_on(&mut self, stretch: Stretch) -> Option<()> {
        let Stretch { messages, through, last } = stretch;
        self.through = self.through.max(through);
        self.track.heard(self.stream(), last, messages.first().map(|first| first.stored));
        if messages.is_empty() && self.told == Some(through) {
            return (!self.lane.is_closed()).then_some(());
        }
        self.told = Some(through);
        let (serving, arrived) = (self.projection.serving.load_full(), Instant::now());
        let mut items = Vec::with_capacity(messages.len());
        for (number, recorded) in messages.into_iter().enumerate() {
            if number % DECODED_AT_ONCE == DECODED_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            let origin = Origin { stream: self.stream().clone(), sequence: recorded.sequence };
            let found = look(&self.projection, self.config(), &serving, &recorded, &origin);
            items.push(Item { recorded, origin, found });
        }
        self.lane.send(Ok(Chunk { source: self.source, items, through, last, serving, arrived })).await.ok()
    }

    fn config(&self) -> &ProjectionSource {
        &self.projection.config.sources[self.source]
    }

    fn stream(&self) -> &StreamName {
        &self.config().stream
    }
}

/// Decodes a message, checks it and asks the filter. A panic is a defect of the host that one event has met; it must not
/// end the projection.
pub(super) fn look(
    projection: &Projection,
    source: &ProjectionSource,
    serving: &Serving,
    recorded: &Recorded,
    origin: &Origin,
) -> Found {
    let look = || {
        let event = match incoming::decode(&source.envelope, &recorded.message, origin) {
            Ok(event) => event,
            Err(failure) => return Found::Bad(failure, None),
        };
        let checks =
            Checks { schemas: &serving.schemas, on_missing: serving.on_missing, name: &projection.settings.route };
        match checks.validate(&event) {
            Ok(data) => match &projection.config.filter {
                Some(filter) if !filter.admits(&event, data.as_ref()) => Found::Unwanted,
                _ => Found::Wanted(event),
            },
            Err(failure) => Found::Bad(failure, Some(event)),
        }
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(look)).unwrap_or_else(|_| {
        Found::Bad(Failure::new(FailureKind::Trap, "the host panicked while it checked the event"), None)
    })
}
