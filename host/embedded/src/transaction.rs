//! One group's work: everything that becomes durable with one sync.
//!
//! Jobs decide and write here, one after another, on the writer's thread. The rule for each: look first, then write, so
//! that a job that is refused has written nothing and the others of its group go on. What memory must only show once
//! it is durable (new messages, deliveries that come back) is kept aside until then. What may be seen early is not:
//! if the disk fails, the whole log stops, and memory that was ahead of it is never asked again.

use std::sync::Arc;
use std::time::SystemTime;

use tidemill_core::name::{RouteName, StreamName};
use tidemill_core::port::{BrokerError, Origin};
use tidemill_core::subject::Subject;

use crate::keys;
use crate::ledger::{Ledger, encode_counter};
use crate::log::{Log, lock};
use crate::position::When;
use crate::reader::Tail;
use crate::route::Route;
use crate::row::{Damaged, RowWriter};
use crate::store::{Batch, Slice, Store, StoreError, Table};

pub(crate) struct Transaction<'a> {
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) store: &'a Store,
    pub(crate) now: SystemTime,
    /// Where messages are encoded before they are put: one memory for all of a group.
    pub(crate) scratch: RowWriter,
    log: &'a Log,
    batch: Batch,
    /// Streams that got messages.
    grown: Vec<Grown>,
    /// Streams whose extent changed, by number.
    resized: Vec<usize>,
    counters: Counters,
    /// Routes whose position changed.
    moved: Vec<Arc<Route>>,
    coming_back: Vec<ComingBack>,
    /// The store answered a read with an error: nothing of this group is written.
    failed: Option<StoreError>,
}

/// The counters as they were when the group began.
struct Counters {
    revision: u64,
    dead_letter: u64,
}

struct Grown {
    stream: usize,
    first: u64,
    subjects: Vec<Subject>,
}

struct ComingBack {
    route: Arc<Route>,
    origin: Origin,
    attempt: u32,
    redriven: u32,
    when: When,
}

/// How an origin stands with a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was handed out, or waits to be.
    Unsettled,
    Settled,
    /// It was never handed out.
    Ahead,
}

impl<'a> Transaction<'a> {
    pub(crate) fn begin(log: &'a Log, store: &'a Store, ledger: &'a mut Ledger) -> Self {
        Self {
            counters: Counters { revision: ledger.revision, dead_letter: ledger.dead_letter },
            ledger,
            store,
            now: log.now(),
            scratch: RowWriter::default(),
            log,
            batch: Batch::default(),
            grown: Vec::new(),
            resized: Vec::new(),
            moved: Vec::new(),
            coming_back: Vec::new(),
            failed: None,
        }
    }

    /// How much this group will write so far, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.batch.bytes()
    }

    // --- rows ---------------------------------------------------------------------------------------------------------

    /// A row as it will be after this group.
    pub(crate) fn read<T>(
        &mut self,
        table: Table,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, Damaged>,
    ) -> Result<Option<T>, BrokerError> {
        let found = match self.batch.get(table, key) {
            Some(row) => Ok(row.map(decode)),
            None => self.store.get(table, key, decode),
        };
        self.check(found.and_then(|row| row.transpose().map_err(StoreError::new)))
    }

    pub(crate) fn put(&mut self, table: Table, key: impl Into<Slice>, value: impl Into<Slice>) {
        self.batch.put(table, key.into(), value.into());
    }

    pub(crate) fn remove(&mut self, table: Table, key: impl Into<Slice>) {
        self.batch.remove(table, key.into());
    }

    /// An error of the store, or a row that cannot be read, is the end of this group, also for jobs that never asked:
    /// the one that did may be half done.
    pub(crate) fn check<T>(&mut self, result: Result<T, StoreError>) -> Result<T, BrokerError> {
        result.map_err(|error| {
            self.failed.get_or_insert_with(|| error.clone());
            error.into()
        })
    }

    pub(crate) fn create_message_table(&mut self, index: usize, name: &StreamName) -> Result<Table, BrokerError> {
        let table = self.store.message_table(index, name.as_str());
        self.check(table)
    }

    // --- streams ------------------------------------------------------------------------------------------------------

    /// Notes that a message was appended under this sequence.
    pub(crate) fn note_appended(&mut self, stream: usize, sequence: u64, subject: Subject) {
        self.note_resized(stream);
        match self.grown.iter_mut().find(|grown| grown.stream == stream) {
            Some(grown) => grown.subjects.push(subject),
            None => self.grown.push(Grown { stream, first: sequence, subjects: vec![subject] }),
        }
    }

    pub(crate) fn note_resized(&mut self, stream: usize) {
        if !self.resized.contains(&stream) {
            self.resized.push(stream);
        }
    }

    /// Where the stream ends in the store: before what this group has appended.
    pub(crate) fn visible_end(&self, stream: usize) -> u64 {
        let grown = self.grown.iter().find(|grown| grown.stream == stream);
        grown.map_or(self.ledger.streams[stream].extent.end, |grown| grown.first)
    }

    /// The open routes that read a stream.
    pub(crate) fn routes_of(&self, stream: usize) -> Vec<Arc<Route>> {
        self.log.routes_of(&self.ledger.streams[stream].settings.name)
    }

    /// The end of a stream as its readers see it: before what this group has appended, until that is durable.
    pub(crate) fn tail(&self, stream: usize) -> Arc<Tail> {
        let known = &self.ledger.streams[stream];
        self.log.share_tail(&known.settings.name, Tail::new(known.messages, self.visible_end(stream)))
    }

    // --- routes -------------------------------------------------------------------------------------------------------

    pub(crate) fn open_route(&self, name: &RouteName) -> Option<Arc<Route>> {
        self.log.route(name)
    }

    pub(crate) fn route(&self, name: &RouteName) -> Result<Arc<Route>, BrokerError> {
        self.log.route(name).ok_or_else(|| BrokerError::Refused(format!("the route `{name}` is not open")))
    }

    pub(crate) fn standing(&self, route: &Route, origin: &Origin) -> Standing {
        let position = lock(&route.position);
        if position.is_unsettled(origin) {
            Standing::Unsettled
        } else if position.is_ahead(origin) {
            Standing::Ahead
        } else {
            Standing::Settled
        }
    }

    /// Like [`standing`](Self::standing), for those who hold a delivery.
    pub(crate) fn is_unsettled(&self, route: &Route, origin: &Origin) -> Result<bool, BrokerError> {
        match self.standing(route, origin) {
            Standing::Unsettled => Ok(true),
            Standing::Settled => Ok(false),
            Standing::Ahead => Err(BrokerError::Refused(format!(
                "`{origin}` was never delivered to the route `{}`, so it cannot be settled",
                route.name
            ))),
        }
    }

    /// Removes an origin from a route's input.
    pub(crate) fn settle(&mut self, route: &Arc<Route>, origin: &Origin) {
        if lock(&route.position).settle(origin) {
            self.remove(Table::RETURNING, keys::returning(&route.name, origin));
        }
        self.note_moved(route);
    }

    pub(crate) fn note_moved(&mut self, route: &Arc<Route>) {
        if !self.moved.iter().any(|known| Arc::ptr_eq(known, route)) {
            self.moved.push(Arc::clone(route));
        }
    }

    /// Notes where every open route stands.
    pub(crate) fn note_all_moved(&mut self) {
        self.moved = self.log.all_routes();
    }

    /// Opens a route for everybody, from now on: what this group appends concerns it.
    pub(crate) fn add_route(&self, route: Arc<Route>) {
        self.log.add_route(route);
    }

    /// Lets an origin come back once its row is durable.
    pub(crate) fn bring_back(&mut self, route: Arc<Route>, origin: Origin, attempt: u32, redriven: u32, when: When) {
        self.coming_back.push(ComingBack { route, origin, attempt, redriven, when });
    }

    // --- the end ------------------------------------------------------------------------------------------------------

    /// Makes everything durable and then shows it.
    pub(crate) fn apply(mut self) -> Result<(), StoreError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.write_counters();
        self.write_positions();
        if !self.batch.is_empty() {
            self.store.apply(std::mem::take(&mut self.batch))?;
        }
        self.show();
        Ok(())
    }

    fn write_counters(&mut self) {
        for stream in std::mem::take(&mut self.resized) {
            let extent = self.ledger.streams[stream].extent.encode();
            self.put(Table::META, keys::extent(stream), extent);
        }
        if self.ledger.revision != self.counters.revision {
            self.put(Table::META, keys::REVISION, encode_counter(self.ledger.revision));
        }
        if self.ledger.dead_letter != self.counters.dead_letter {
            self.put(Table::META, keys::DEAD_LETTER, encode_counter(self.ledger.dead_letter));
        }
    }

    fn write_positions(&mut self) {
        for route in std::mem::take(&mut self.moved) {
            let row = lock(&route.position).row();
            self.put(Table::ROUTES, keys::route(&route.name), row.encode());
        }
    }

    fn show(&self) {
        for back in &self.coming_back {
            lock(&back.route.position).comes_back(back.origin.clone(), back.attempt, back.redriven, back.when);
            back.route.changed.notify_waiters();
        }
        for grown in &self.grown {
            for route in self.routes_of(grown.stream) {
                grown.show_to(&route);
            }
            if let Some(tail) = self.log.tail(&self.ledger.streams[grown.stream].settings.name) {
                tail.grow(grown.first + grown.subjects.len() as u64);
            }
        }
    }
}

impl Grown {
    fn show_to(&self, route: &Route) {
        let end = self.first + self.subjects.len() as u64;
        let mut position = lock(&route.position);
        // A route may begin at a sequence that the stream has not reached yet.
        let before = position.next().saturating_sub(self.first) as usize;
        let wanted = self.subjects.get(before..).unwrap_or_default();
        let of_interest = wanted.iter().filter(|subject| position.interest.admits(subject.as_str())).count();
        position.grown(end, of_interest as u64);
        drop(position);
        route.changed.notify_waiters();
    }
}
