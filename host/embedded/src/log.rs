//! What the writer, the sources and the broker share: the store and the open routes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use tidemill_core::clock::WallClock;
use tidemill_core::name::{RouteName, StreamName};
use tidemill_core::port::BrokerError;

use crate::reader::Tail;
use crate::route::Route;
use crate::store::Store;

/// What it says in messages.
pub(crate) const KIND: &str = "embedded";

#[derive(Default)]
pub(crate) struct Log {
    /// `None` once closed.
    store: RwLock<Option<Store>>,
    routes: RwLock<HashMap<RouteName, Arc<Route>>>,
    /// Of the streams that were ever read without a route.
    tails: RwLock<HashMap<StreamName, Arc<Tail>>>,
    /// What it is when something is stored.
    clock: WallClock,
    /// Why nothing can be written any more.
    broken: OnceLock<String>,
}

impl Log {
    pub(crate) fn new(store: Store, clock: WallClock) -> Self {
        Self { store: RwLock::new(Some(store)), clock, ..Self::default() }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Looks into the store. Must not be nested: a closing thread may wait between the two.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Store) -> Result<T, BrokerError>) -> Result<T, BrokerError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        match store.as_ref() {
            Some(store) => look(store),
            None => Err(closed()),
        }
    }

    /// Waits for readers and gives up the files.
    pub(crate) fn close(&self) {
        drop(self.store.write().unwrap_or_else(PoisonError::into_inner).take());
        for route in self.routes.read().unwrap_or_else(PoisonError::into_inner).values() {
            route.changed.notify_waiters();
        }
        for tail in self.tails.read().unwrap_or_else(PoisonError::into_inner).values() {
            tail.changed.notify_waiters();
        }
    }

    /// After a failed write the memory may be ahead of the disk: nothing may be acknowledged on top of it.
    pub(crate) fn break_down(&self, reason: &str) -> BrokerError {
        let reason = self.broken.get_or_init(|| reason.to_owned());
        unavailable(format!("the log could not be written: {reason}; restart when the disk is well again"))
    }

    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        match self.broken.get() {
            Some(reason) => Err(self.break_down(reason)),
            None => Ok(()),
        }
    }

    pub(crate) fn route(&self, name: &RouteName) -> Option<Arc<Route>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    pub(crate) fn add_route(&self, route: Arc<Route>) {
        self.routes.write().unwrap_or_else(PoisonError::into_inner).insert(route.name.clone(), route);
    }

    /// The open routes that read a stream.
    pub(crate) fn routes_of(&self, stream: &StreamName) -> Vec<Arc<Route>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.values().filter(|route| route.stream == *stream).map(Arc::clone).collect()
    }

    /// The end of a stream, if somebody reads it without a route.
    pub(crate) fn tail(&self, stream: &StreamName) -> Option<Arc<Tail>> {
        self.tails.read().unwrap_or_else(PoisonError::into_inner).get(stream).map(Arc::clone)
    }

    /// The end of a stream, for all its readers; `new` when nobody has asked before.
    pub(crate) fn share_tail(&self, stream: &StreamName, new: Tail) -> Arc<Tail> {
        let mut tails = self.tails.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tails.entry(stream.clone()).or_insert_with(|| Arc::new(new)))
    }

    pub(crate) fn all_routes(&self) -> Vec<Arc<Route>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }
}

/// Locks also what a panicking thread had locked: whoever panicked was a writer, and then the log is broken anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn unavailable(reason: impl ToString) -> BrokerError {
    BrokerError::Unavailable { broker: KIND, reason: reason.to_string() }
}

pub(crate) fn closed() -> BrokerError {
    unavailable("the log was closed")
}
