//! What a fold knows of the store without asking it, and when it must ask.

use std::sync::Arc;

use bytes::Bytes;
use tidemill_core::limits::Limits;
use tidemill_core::name::{CollectionName, ProjectionName};
use tidemill_core::read_model::{
    Batch, Claim, Collection, Collections, CopyId, CopyReader as _, DocumentError, Fence, FoldView, NewCopy, Positions,
    ReadModelStore as _,
};

use crate::faulty::Fault;
use crate::memory_store::{MemoryStore, Room};

struct Table {
    store: Arc<MemoryStore>,
    collections: Collections,
    fence: Fence,
    copy: CopyId,
}

impl Table {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let Ok(Claim::Granted(fence)) = store.claim(&ProjectionName::try_new("view").unwrap(), "test").await else {
            panic!("the claim is held")
        };
        let collections: Collections = [Collection::new(CollectionName::try_new("notes").unwrap(), Vec::new())].into();
        let new = NewCopy { digest: String::new(), collections: Arc::clone(&collections), positions: Positions::new() };
        let copy = store.create(&fence, new).await.unwrap();
        Self { store, collections, fence, copy }
    }

    fn view(&self) -> Arc<FoldView> {
        FoldView::new(Arc::clone(&self.store) as _, self.copy.clone(), Arc::clone(&self.collections))
    }

    /// An event that writes one document.
    fn write(view: &Arc<FoldView>, body: &'static str) {
        let mut session = view.session();
        session.put("notes", "n", Bytes::from_static(body.as_bytes()), &Limits::default()).unwrap();
        view.accept(session.finish());
    }

    async fn commit(&self, view: &FoldView) {
        let batch = Batch { writes: view.seal(), ..Batch::default() };
        self.store.commit(&self.fence, &self.copy, batch).await.unwrap();
    }

    /// What the next event reads; the store does not answer.
    async fn read_without_store(&self, view: &Arc<FoldView>) -> Result<Option<Bytes>, DocumentError> {
        self.store.fail(Room::Read, Fault::Unavailable, 1);
        let read = view.session().get("notes", "n").await;
        // Whoever was not asked is there again.
        if read.is_ok() {
            let copy = self.store.read(&self.copy, &self.collections[0], "n").await;
            assert!(copy.is_err(), "the store was asked");
        }
        read
    }
}

#[tokio::test]
async fn what_was_read_or_committed_is_not_asked_for_again() {
    let table = Table::new().await;
    let view = table.view();
    assert_eq!(view.session().get("notes", "n").await, Ok(None));
    assert_eq!(table.read_without_store(&view).await, Ok(None));
    Table::write(&view, "{}");
    table.commit(&view).await;
    view.settle();
    assert_eq!(table.read_without_store(&view).await, Ok(Some("{}".into())));

    let mut session = view.session();
    session.delete("notes", "n", &Limits::default()).unwrap();
    view.accept(session.finish());
    table.commit(&view).await;
    view.settle();
    assert_eq!(table.read_without_store(&view).await, Ok(None));
}

#[tokio::test]
async fn after_a_commit_that_is_not_known_to_have_happened_the_store_is_asked() {
    let table = Table::new().await;
    let view = table.view();
    assert_eq!(view.session().get("notes", "n").await, Ok(None));
    Table::write(&view, r#"{"by":"me"}"#);
    table.commit(&view).await;
    view.forget();
    assert!(table.read_without_store(&view).await.is_err());
    assert_eq!(view.session().get("notes", "n").await, Ok(Some(r#"{"by":"me"}"#.into())));

    let other = table.view();
    Table::write(&other, r#"{"by":"another host"}"#);
    table.commit(&other).await;
    view.forget();
    assert_eq!(view.session().get("notes", "n").await, Ok(Some(r#"{"by":"another host"}"#.into())));
}

#[tokio::test]
async fn what_an_event_of_the_batch_wrote_is_seen_before_what_is_known() {
    let table = Table::new().await;
    let view = table.view();
    Table::write(&view, r#"{"n":1}"#);
    table.commit(&view).await;
    view.settle();
    Table::write(&view, r#"{"n":2}"#);
    assert_eq!(view.session().get("notes", "n").await, Ok(Some(r#"{"n":2}"#.into())));
    table.commit(&view).await;
    assert_eq!(view.session().get("notes", "n").await, Ok(Some(r#"{"n":2}"#.into())));
    Table::write(&view, r#"{"n":3}"#);
    view.settle();
    assert_eq!(view.session().get("notes", "n").await, Ok(Some(r#"{"n":3}"#.into())));
}
