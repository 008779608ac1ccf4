//! Deterministic ids: the same input gives the same id, after a crash, a retry and a redrive.

use uuid::Uuid;

use crate::name::{RouteName, StreamName};
use crate::port::Origin;
use crate::subject::Subject;

/// The namespace of all ids that Tidemill makes. It must never change: an emit that is published again under another id
/// would be a second event.
const NAMESPACE: Uuid = Uuid::from_u128(0x4b1bf042_f1ee_4c69_835f_a5efa121a1aa);

/// The id of the emit number `index` of a route for one input message. Names hold no `/`, so no two inputs share a text.
pub(super) fn emit_id(route: &RouteName, origin: &Origin, index: usize) -> Uuid {
    let Origin { stream, sequence } = origin;
    Uuid::new_v5(&NAMESPACE, format!("{route}/{stream}/{sequence}/{index}").as_bytes())
}

/// The id of an event that carries none.
pub(super) fn input_id(origin: &Origin) -> Uuid {
    let Origin { stream, sequence } = origin;
    Uuid::new_v5(&NAMESPACE, format!("{stream}/{sequence}").as_bytes())
}

/// The message id of an event: what tells it from every other by the rules of CloudEvents, its source and its id together.
/// The source's length keeps two events from having one text.
pub(super) fn event_id(source: &str, id: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("event/{}/{source}/{id}", source.len()).as_bytes())
}

/// The message id of a body that a client publishes under a key of its own. What clients choose never is a message id as it
/// stands: it would be taken for a message of another client, or for an emit whose id anybody can compute.
pub fn posted_id(stream: &StreamName, subject: &Subject, key: &str) -> Uuid {
    let length = subject.as_str().len();
    Uuid::new_v5(&NAMESPACE, format!("posted/{stream}/{length}/{subject}/{key}").as_bytes())
}
