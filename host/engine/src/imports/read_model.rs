//! `tidemill:plugin/read-model`: the documents of a projection, as this event sees them.
//!
//! Two kinds of refusal are remembered beside the answer. A store that cannot be reached: the event is then folded again
//! without counting an attempt, whatever the guest makes of the error. And a write that was refused: half of what a projection
//! wanted is never done, as with emits. A refused read is the guest's own to judge: nothing is lost by it.

use tidemill_core::limits::Limits;
use tidemill_core::read_model::{DocumentError, DocumentSession};

use super::NO_CALL;
use crate::bindings::tidemill::plugin::read_model::{Document, Host, ReadModelError};
use crate::guest::{CurrentCall, Guest};

impl Host for Guest {
    async fn get(&mut self, collection: String, key: String) -> Result<Option<Vec<u8>>, ReadModelError> {
        let Open { documents, trouble, .. } = open(self)?;
        let found = documents.get(&collection, &key).await;
        trouble.read(found).map(|body| body.map(Vec::from))
    }

    fn put(&mut self, collection: String, key: String, body: Vec<u8>) -> Result<(), ReadModelError> {
        let Open { documents, limits, trouble } = open(self)?;
        let done = documents.put(&collection, &key, body.into(), limits);
        trouble.write(done)
    }

    fn delete(&mut self, collection: String, key: String) -> Result<(), ReadModelError> {
        let Open { documents, limits, trouble } = open(self)?;
        let done = documents.delete(&collection, &key, limits);
        trouble.write(done)
    }

    async fn find(
        &mut self,
        collection: String,
        field: String,
        value: Vec<u8>,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<Document>, ReadModelError> {
        let Open { documents, trouble, .. } = open(self)?;
        let found = documents.find(&collection, &field, &value, after.as_deref(), limit as usize).await;
        let found = trouble.read(found)?;
        Ok(found.into_iter().map(|found| Document { key: found.key, body: found.body.into() }).collect())
    }
}

/// The documents of the call that is under way.
struct Open<'a> {
    documents: &'a mut DocumentSession,
    limits: &'a Limits,
    trouble: Trouble<'a>,
}

/// Where it is kept what decides the call's end.
struct Trouble<'a> {
    unavailable: &'a mut Option<String>,
    refused: &'a mut Option<DocumentError>,
}

fn open(guest: &mut Guest) -> Result<Open<'_>, ReadModelError> {
    let Some(CurrentCall { documents, settings, unavailable, refused_write, .. }) = &mut guest.call else {
        return Err(ReadModelError::Unavailable(NO_CALL.to_owned()));
    };
    let trouble = Trouble { unavailable, refused: refused_write };
    match documents {
        Some(documents) => Ok(Open { documents, limits: &settings.limits, trouble }),
        None => Err(trouble.told(DocumentError::Unavailable("the host gave the call none".to_owned()))),
    }
}

// === impl Trouble ===

impl Trouble<'_> {
    fn read<T>(self, result: Result<T, DocumentError>) -> Result<T, ReadModelError> {
        result.map_err(|error| self.told(error))
    }

    fn write(self, result: Result<(), DocumentError>) -> Result<(), ReadModelError> {
        result.map_err(|error| {
            if !error.is_unavailable() {
                self.refused.get_or_insert_with(|| error.clone());
            }
            self.told(error)
        })
    }

    fn told(self, error: DocumentError) -> ReadModelError {
        let text = error.to_string();
        match error {
            DocumentError::NoCollection(_) => ReadModelError::NoCollection(text),
            DocumentError::NoIndex { .. } => ReadModelError::NoIndex(text),
            DocumentError::BadKey(_)
            | DocumentError::NoObject { .. }
            | DocumentError::LongIndexedText { .. }
            | DocumentError::BadValue(_) => ReadModelError::Invalid(text),
            DocumentError::ReadOnly => ReadModelError::ReadOnly(text),
            DocumentError::Limit { .. } => ReadModelError::Limit(text),
            DocumentError::Unavailable(_) => {
                self.unavailable.get_or_insert_with(|| text.clone());
                ReadModelError::Unavailable(text)
            }
        }
    }
}
