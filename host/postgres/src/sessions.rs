//! A few sessions that are used again and again.
//!
//! A session is given back only by who says that it is fit for the next: one whose user went away in the middle of something,
//! or met an error, is closed.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use tidemill_core::read_model::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{problem, unavailable};
use crate::session::Session;
use crate::tls::Tls;
use crate::url::Address;

/// The sessions.
pub(crate) struct Sessions {
    address: Arc<Address>,
    tls: Tls,
    /// What each session sets first.
    settings: String,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
}

/// A session in use.
pub(crate) struct Held {
    session: Session,
    sessions: Arc<Sessions>,
    _permit: OwnedSemaphorePermit,
}

// === impl Sessions ===

impl Sessions {
    pub(crate) fn new(address: Arc<Address>, tls: Tls, settings: String, count: usize) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(count));
        Arc::new(Self { address, tls, settings, permits, idle: Mutex::default() })
    }

    /// Waits until one is free, and connects if none is left over. The caller sets the limit.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Held, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| unavailable("the store is closed"))?;
        let session = match self.left_over() {
            Some(session) => session,
            None => {
                Session::open(&self.address.config, &self.tls, &self.settings).await.map_err(|error| problem(&error))?
            }
        };
        Ok(Held { session, sessions: Arc::clone(self), _permit: permit })
    }

    /// The one that was used last, so that those too many grow old.
    fn left_over(&self) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|session| !session.is_closed());
        idle.pop()
    }
}

// === impl Held ===

impl Held {
    /// Gives the session back. No transaction is open on it.
    pub(crate) fn keep(self) {
        self.sessions.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.session);
    }
}

impl Deref for Held {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}
