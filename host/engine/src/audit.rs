//! What a plugin tries: recorded for `tidemill plugins audit`, so that a person can write its grants down.
//!
//! A recorder only watches. Whether something is allowed is decided as ever, with one exception: a plugin that is loaded with
//! a recorder may import what is not granted, because otherwise nothing could be learned about it. Plugins without a
//! recorder pay one look at an empty `Option`, and only where they ask the host for something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidemill_core::name::RouteName;
use tidemill_core::outbound::Target;

/// So many different things of one kind are kept. A hostile plugin invents names without end.
const MAX_OF_A_KIND: usize = 1000;

/// Longer names are cut: nobody can grant them.
const MAX_NAME_CHARS: usize = 300;

/// Collects what one plugin tries. Given to [`Engine::load_recorded`](crate::Engine::load_recorded).
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Tried>);

/// What was tried, whether it was allowed or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
    /// Subjects that were emitted to, by route.
    pub emits: BTreeMap<RouteName, BTreeSet<String>>,
    /// Keys of settings and secrets that were asked for.
    pub config: BTreeSet<String>,
    /// Whether the names of all settings were asked for.
    pub config_listed: bool,
    /// Whether keyed state was read or written.
    pub state: bool,
    /// Where requests were sent to, in the order of the first try.
    pub requests: Vec<Target>,
}

// === impl Recorder ===

impl Recorder {
    pub fn new() -> Self {
        Self::default()
    }

    /// What was tried so far.
    pub fn tried(&self) -> Tried {
        self.lock().clone()
    }

    pub(crate) fn emit(&self, route: &RouteName, subject: &str) {
        keep(self.lock().emits.entry(route.clone()).or_default(), subject);
    }

    pub(crate) fn config(&self, key: &str) {
        keep(&mut self.lock().config, key);
    }

    pub(crate) fn config_list(&self) {
        self.lock().config_listed = true;
    }

    pub(crate) fn state(&self) {
        self.lock().state = true;
    }

    pub(crate) fn request(&self, target: &Target) {
        let requests = &mut self.lock().requests;
        if requests.len() < MAX_OF_A_KIND && !requests.contains(target) {
            requests.push(target.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tried> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(names: &mut BTreeSet<String>, name: &str) {
    if names.len() < MAX_OF_A_KIND {
        names.insert(name.chars().take(MAX_NAME_CHARS).collect());
    }
}
