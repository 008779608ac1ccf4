//! The documents of a projection: collections of JSON objects, found by key or by an indexed field.
//!
//! Collections and their indexes are declared in `runtime.yaml`, under the projection. An event sees its own writes and those of
//! all events before it. A refused write fails the event, even if the projection ignores it; a refused read is its own to judge.
//!
//! ```
//! # use tidemill_sdk::prelude::*;
//! # fn f(id: &str) -> Outcome {
//! #[derive(Serialize, Deserialize)]
//! struct Customer {
//!     name: String,
//!     orders: u32,
//! }
//!
//! if let Some(mut customer) = read_model::get::<Customer>("customers", id)? {
//!     customer.orders += 1;
//!     read_model::put("customers", id, &customer)?;
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::imports;

/// How many documents [`find`] asks the host for at once.
const PAGE: u32 = 100;

/// Why a document function did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadModelError {
    /// The collection is not declared. The text names the line that would declare it.
    NoCollection(String),
    /// The field is not indexed. The text names the line that would index it.
    NoIndex(String),
    /// The document is no JSON object, or a key, a field or a value breaks a rule: keys have 1 to 256 bytes and no control
    /// characters.
    Invalid(String),
    /// [`Queries::query`](crate::Queries::query) reads and does not write.
    ReadOnly(String),
    /// A limit is used up: the size of a document, the bytes or the number of writes of an event. The text names it.
    Limit(String),
    /// The store cannot be reached. The host folds the event again without counting an attempt, whatever it returns.
    Unavailable(String),
    /// The document is not what the projection expects, or a value cannot be written as JSON.
    Json { collection: String, key: String, problem: String },
}

/// A document that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<T> {
    pub key: String,
    pub body: T,
}

/// A document, if there is one under the key.
pub fn get<T: DeserializeOwned>(collection: &str, key: &str) -> Result<Option<T>, ReadModelError> {
    let Some(body) = imports::document_get(collection, key)? else { return Ok(None) };
    serde_json::from_slice(&body).map(Some).map_err(|error| unfit(collection, key, &error))
}

/// Sets a document. It must be written as a JSON object.
pub fn put<T: Serialize + ?Sized>(collection: &str, key: &str, document: &T) -> Result<(), ReadModelError> {
    let body = serde_json::to_vec(document).map_err(|error| unfit(collection, key, &error))?;
    imports::document_put(collection, key, &body)
}

/// Removes a document. Removing what is not there is no error.
pub fn delete(collection: &str, key: &str) -> Result<(), ReadModelError> {
    imports::document_delete(collection, key)
}

/// Reads a document, changes it and writes it back. Gives the new one.
///
/// ```
/// # use tidemill_sdk::prelude::*;
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Customer { orders: u32 }
/// # fn f(id: &str) -> Outcome {
/// read_model::update("customers", id, |customer: Option<Customer>| {
///     let mut customer = customer.unwrap_or_default();
///     customer.orders += 1;
///     customer
/// })?;
/// # Ok(())
/// # }
/// ```
pub fn update<T>(collection: &str, key: &str, change: impl FnOnce(Option<T>) -> T) -> Result<T, ReadModelError>
where
    T: Serialize + DeserializeOwned,
{
    let changed = change(get(collection, key)?);
    put(collection, key, &changed)?;
    Ok(changed)
}

/// All documents whose indexed `field` (`status`, `address.city`) equals `value`, in the order of their keys. They are fetched a
/// page at a time, so an early end costs nothing.
///
/// ```
/// # use tidemill_sdk::prelude::*;
/// # fn f() -> Outcome {
/// for order in read_model::find::<Value>("orders", "status", "pending") {
///     let order = order?;
///     info!("{} is pending", order.key);
/// }
/// # Ok(())
/// # }
/// ```
pub fn find<T: DeserializeOwned>(collection: &str, field: &str, value: &(impl Serialize + ?Sized)) -> Find<T> {
    let (page, end) = match serde_json::to_vec(value) {
        Ok(value) => (Vec::new(), End::Ahead { value }),
        Err(error) => (vec![Err(unfit(collection, field, &error))], End::Reached),
    };
    Find {
        collection: collection.to_owned(),
        field: field.to_owned(),
        last: None,
        page: page.into_iter(),
        end,
        body: PhantomData,
    }
}

/// The documents that [`find`] finds. After an error there are no more.
#[derive(Debug)]
#[must_use = "nothing is asked for until the first document is"]
pub struct Find<T> {
    collection: String,
    field: String,
    /// The key of the last document that was fetched.
    last: Option<String>,
    page: std::vec::IntoIter<Result<(String, Vec<u8>), ReadModelError>>,
    end: End,
    body: PhantomData<fn() -> T>,
}

/// Whether there may be another page.
#[derive(Debug)]
enum End {
    Ahead { value: Vec<u8> },
    Reached,
}

// === impl Find ===

impl<T> Find<T> {
    /// Fetches a page; an error is its only item, and the last.
    fn turn(&mut self) {
        let End::Ahead { value } = &self.end else { return };
        let found = imports::document_find(&self.collection, &self.field, value, self.last.as_deref(), PAGE);
        let last = found.as_ref().map_or(true, |found| found.len() < PAGE as usize);
        let page: Vec<_> = match found {
            Ok(found) => found.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        if let Some(Ok((key, _))) = page.last() {
            self.last = Some(key.clone());
        }
        if last {
            self.end = End::Reached;
        }
        self.page = page.into_iter();
    }
}

impl<T: DeserializeOwned> Iterator for Find<T> {
    type Item = Result<Document<T>, ReadModelError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.as_slice().is_empty() {
            self.turn();
        }
        let read = |(key, body): (String, Vec<u8>)| match serde_json::from_slice(&body) {
            Ok(body) => Ok(Document { key, body }),
            Err(error) => Err(unfit(&self.collection, &key, &error)),
        };
        let document = self.page.next()?.and_then(read);
        if document.is_err() {
            self.page = Vec::new().into_iter();
            self.end = End::Reached;
        }
        Some(document)
    }
}

fn unfit(collection: &str, key: &str, error: &serde_json::Error) -> ReadModelError {
    ReadModelError::Json { collection: collection.to_owned(), key: key.to_owned(), problem: error.to_string() }
}

// === impl ReadModelError ===

impl fmt::Display for ReadModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadModelError::NoCollection(text)
            | ReadModelError::NoIndex(text)
            | ReadModelError::Invalid(text)
            | ReadModelError::ReadOnly(text)
            | ReadModelError::Limit(text)
            | ReadModelError::Unavailable(text) => f.write_str(text),
            ReadModelError::Json { collection, key, problem } => {
                write!(f, "the document `{key}` of the collection `{collection}`: {problem}")
            }
        }
    }
}

impl std::error::Error for ReadModelError {}
