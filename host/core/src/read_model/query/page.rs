//! A page of documents: what a query found, cut to size, with the cursor of the next.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::collection::Collection;
use super::super::document::Document;
use super::super::field::FieldPath;
use super::super::index_value::IndexValue;
use super::super::store::{CopyId, Found, Positions, ReadModelStore, StoreError};
use super::cursor::Cursor;
use super::error::PageError;
use super::options::QueryOptions;
use super::parse::{MAX_UNINDEXED, Unindexed};
use super::{Direction, Query};

/// Documents of one page, together: a page of large documents ends early, so that no answer is larger than a few of them.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Documents, and where to go on.
#[derive(Debug, Serialize)]
pub struct Page {
    pub items: Vec<Item>,
    /// What `cursor` takes for the next page; `None` at the end.
    pub next: Option<String>,
    /// Where the copy stood: what each stream was folded up to.
    #[serde(serialize_with = "positions")]
    pub positions: Positions,
}

/// A document and its key.
#[derive(Debug, Serialize)]
pub struct Item {
    pub key: String,
    /// As it is stored, or the fields that were asked for.
    pub document: Box<RawValue>,
}

/// A document with the values that it is sorted by.
type Sorted = (Document, Vec<IndexValue>);

/// Asks the store, and makes a page of what it answers. Cancel-safe: it only reads.
pub async fn page(
    store: &dyn ReadModelStore,
    copy: &CopyId,
    collection: &Collection,
    query: &Query,
    options: &QueryOptions,
    timeout: Duration,
) -> Result<Page, PageError> {
    let paging = &options.paging;
    if paging.copy.is_some_and(|of| of != copy.number) {
        return Err(PageError::CursorExpired);
    }
    let Found { mut documents, positions } = store.query(copy, collection, query, timeout).await?;
    if let Some(unindexed) = &paging.unindexed {
        documents = unindexed.sort(documents, collection, query.direction)?;
    }
    let fitting = fitting(&documents).min(paging.limit);
    let more = documents.len() > fitting;
    documents.truncate(fitting);
    let next = documents.last().filter(|_| more).map(|(document, values)| {
        let (values, key) = (values.clone(), document.key.clone());
        Cursor { copy: copy.number, question: paging.question, values, key }.encode()
    });
    let items = documents.into_iter().map(|(document, _)| item(document.key, &document.body, &options.fields));
    Ok(Page { items: items.collect::<Result<_, _>>()?, next, positions })
}

/// How many of the first documents make a page; one at least.
fn fitting(documents: &[Sorted]) -> usize {
    let mut bytes = 0;
    let fits = |(document, _): &&Sorted| {
        bytes += document.body.len();
        bytes <= MAX_PAGE_BYTES
    };
    documents.iter().take_while(fits).count().max(1)
}

/// A document as it is given: whole, or the members at `fields` where there are any.
pub fn item(key: String, body: &Bytes, fields: &[FieldPath]) -> Result<Item, StoreError> {
    let broken = |error: serde_json::Error| StoreError::Refused(format!("the document `{key}` is no JSON: {error}"));
    let document: Box<RawValue> = if fields.is_empty() {
        serde_json::from_slice(body).map_err(broken)?
    } else {
        let whole: Map<String, Value> = serde_json::from_slice(body).map_err(broken)?;
        serde_json::value::to_raw_value(&picked(&whole, fields)).map_err(broken)?
    };
    Ok(Item { key, document })
}

/// The members of a document that are asked for, where they were; what is not there is left out.
fn picked(whole: &Map<String, Value>, fields: &[FieldPath]) -> Map<String, Value> {
    let mut picked = Map::new();
    for field in fields {
        if let Some(value) = field.of(whole) {
            let names: Vec<&str> = field.as_str().split('.').collect();
            put(&mut picked, &names, value);
        }
    }
    picked
}

fn put(object: &mut Map<String, Value>, names: &[&str], value: &Value) {
    match names {
        [] => {}
        [last] => drop(object.insert((*last).to_owned(), value.clone())),
        [first, rest @ ..] => {
            let inner = object.entry(*first).or_insert_with(|| Value::Object(Map::new()));
            if let Some(inner) = inner.as_object_mut() {
                put(inner, rest, value);
            }
        }
    }
}

fn positions<S: serde::Serializer>(positions: &Positions, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(positions.iter().map(|(stream, sequence)| (stream.as_str(), sequence)))
}

// === impl Unindexed ===

impl Unindexed {
    /// The documents in this order, those after the cursor; refused if there are too many to sort.
    fn sort(
        &self,
        found: Vec<Sorted>,
        collection: &Collection,
        direction: Direction,
    ) -> Result<Vec<Sorted>, PageError> {
        if found.len() > MAX_UNINDEXED {
            return Err(self.too_many(collection));
        }
        let mut sorted = Vec::with_capacity(found.len());
        for (document, _) in found {
            let values = self.values(&document)?;
            sorted.push((document, values));
        }
        let place = |(document, values): &Sorted| (values.clone(), document.key.clone());
        sorted.sort_by_cached_key(place);
        if direction == Direction::Descending {
            sorted.reverse();
        }
        if let Some(after) = &self.after {
            sorted.retain(|one| match direction {
                Direction::Ascending => place(one) > *after,
                Direction::Descending => place(one) < *after,
            });
        }
        Ok(sorted)
    }

    fn values(&self, document: &Document) -> Result<Vec<IndexValue>, PageError> {
        let whole: Map<String, Value> = serde_json::from_slice(&document.body)
            .map_err(|error| StoreError::Refused(format!("the document `{}` is no JSON: {error}", document.key)))?;
        Ok(self.fields.iter().map(|field| sortable(field.of(&whole))).collect())
    }

    fn too_many(&self, collection: &Collection) -> PageError {
        let names: Vec<&str> = self.fields.iter().map(FieldPath::as_str).collect();
        let index = if names.len() == 1 { names[0].to_owned() } else { format!("[{}]", names.join(", ")) };
        let (collection, fields) = (collection.name.to_string(), names.join(","));
        PageError::UnindexedSort { collection, fields, index, most: MAX_UNINDEXED }
    }
}

/// A field that is not indexed may hold a text of any length; its beginning sorts it.
fn sortable(value: Option<&Value>) -> IndexValue {
    IndexValue::of(value).unwrap_or_else(|_| {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        let beginning = &text[..text.floor_char_boundary(IndexValue::MAX_TEXT_BYTES)];
        IndexValue::of(Some(&Value::from(beginning))).unwrap_or_else(|_| IndexValue::missing())
    })
}
