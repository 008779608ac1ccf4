//! The read side: documents that projections write and people query.
//!
//! ```text
//! event ──▶ plugin ──▶ session ──▶ view ──▶ store ◀── query ◀── a person
//!           (guest)    (one event) (one batch)  (SQLite, PostgreSQL)
//! ```
//!
//! A guest's writes are collected, like every other effect: the [`session`](DocumentSession) holds those of one event and
//! forgets them when the event fails, the [`view`](FoldView) those of the batch, and [`ReadModelStore::commit`] makes the
//! batch durable together with the position that it reaches. So a store needs no savepoints and holds no lock while a guest
//! runs, and a document that a batch changes a hundred times is written once.
//!
//! Documents are found and sorted by [`IndexValue`]s, which are made here and compared as bytes. Every store orders them the
//! same way, whatever it thinks of types, collations and nulls.

mod collection;
mod document;
mod field;
mod index_value;
mod known;
mod memory;
mod query;
mod session;
mod store;
mod view;

pub use collection::{Collection, Collections, Index};
pub use document::{Document, DocumentError, DocumentWrite, Written};
pub use field::{FieldError, FieldPath};
pub use index_value::IndexValue;
pub use memory::MemoryStore;
pub use query::{
    Condition, Direction, Item, Operator, Page, PageError, Parameter, Query, QueryError, QueryOptions, WaitFor, item,
    page, typed,
};
pub use session::{DocumentSession, DocumentWrites};
pub use store::{
    Batch, Claim, Copy, CopyId, CopyReader, CopyState, Fence, Found, Ledger, NewCopy, Positions, ReadModelStore,
    StoreError,
};
pub use view::FoldView;

pub(crate) use store::Standing;
