//! An open route: its position, and the bell that wakes its pulls.

use std::sync::Mutex;

use tidemill_core::name::{RouteName, StreamName};
use tidemill_core::port::Receipt;
use tokio::sync::Notify;

use crate::position::Position;
use crate::store::Table;

pub(crate) struct Route {
    pub(crate) name: RouteName,
    pub(crate) stream: StreamName,
    /// Where the stream's messages are.
    pub(crate) messages: Table,
    /// Locked for moments only: never while something is read or written.
    pub(crate) position: Mutex<Position>,
    /// Held while the stream is read on, so that two pulls do not hand out the same message.
    pub(crate) reading: Mutex<()>,
    /// Rung when something may have become available.
    pub(crate) changed: Notify,
    /// Deliveries are settled by their route and origin, so one receipt serves all.
    pub(crate) receipt: Receipt,
}

impl Route {
    pub(crate) fn new(name: RouteName, messages: Table, stream: StreamName, position: Position) -> Self {
        Self {
            receipt: Receipt::new(name.as_str()),
            name,
            stream,
            messages,
            position: Mutex::new(position),
            reading: Mutex::new(()),
            changed: Notify::new(),
        }
    }
}
