//! A store of read models in memory, of which a fold needs two questions, and calls of a projection that reads it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidemill_core::config::PluginConfig;
use tidemill_core::effect::Effects;
use tidemill_core::event::Event;
use tidemill_core::failure::Failure;
use tidemill_core::name::{CollectionName, ProjectionName};
use tidemill_core::port::{Call, CallSettings, Handler as _, Question, Role};
use tidemill_core::read_model::{
    Batch, Claim, Collection, CopyId, CopyReader, Document, DocumentWrite, Fence, FieldPath, FoldView, Found, Index,
    IndexValue, Ledger, NewCopy, Positions, Query, ReadModelStore, StoreError,
};
use tidemill_engine::Plugin;

use crate::rig::{event, origin, standard_route, try_load_as};

/// How the store answers.
#[derive(Clone, Copy, Default)]
pub(crate) enum Mood {
    #[default]
    Well,
    Unreachable,
    Silent,
    Panicking,
}

#[derive(Default)]
struct Shelf {
    documents: Mutex<BTreeMap<(String, String), Bytes>>,
    mood: Mood,
}

/// A read model with the collections `orders`, found by `status`, and `customers`, and with these documents.
pub(crate) fn view(documents: &[(&str, &str, &str)]) -> Arc<FoldView> {
    view_in(Mood::Well, documents)
}

pub(crate) fn view_in(mood: Mood, documents: &[(&str, &str, &str)]) -> Arc<FoldView> {
    view_of(&[("orders", &["status"]), ("customers", &[])], mood, documents)
}

/// A read model with these collections, each with the fields that it is indexed by, and these documents.
pub(crate) fn view_of(collections: &[(&str, &[&str])], mood: Mood, documents: &[(&str, &str, &str)]) -> Arc<FoldView> {
    let documents = documents.iter().map(|(collection, key, body)| {
        ((collection.to_string(), key.to_string()), Bytes::copy_from_slice(body.as_bytes()))
    });
    let store = Shelf { documents: Mutex::new(documents.collect()), mood };
    let copy = CopyId { projection: ProjectionName::try_new("orders").unwrap(), number: 1 };
    let index = |field: &&str| Index { fields: vec![FieldPath::try_new(field).unwrap()] };
    let collection = |(name, indexes): &(&str, &[&str])| {
        Collection::new(CollectionName::try_new(name).unwrap(), indexes.iter().map(index).collect())
    };
    FoldView::new(Arc::new(store), copy, collections.iter().map(collection).collect())
}

pub(crate) fn load_projection(component: &[u8]) -> Plugin {
    let loaded = try_load_as(Role::Projection, component, &PluginConfig::default());
    loaded.unwrap_or_else(|why| panic!("the guest {why}"))
}

/// Folds one event; what it wrote is the caller's to accept.
pub(crate) async fn fold(plugin: &Plugin, view: &Arc<FoldView>) -> Result<Effects, Failure> {
    fold_under(plugin, view, &standard_route()).await
}

pub(crate) async fn fold_under(
    plugin: &Plugin,
    view: &Arc<FoldView>,
    settings: &Arc<CallSettings>,
) -> Result<Effects, Failure> {
    fold_event(plugin, view, settings, &event("{}")).await
}

pub(crate) async fn fold_event(
    plugin: &Plugin,
    view: &Arc<FoldView>,
    settings: &Arc<CallSettings>,
    event: &Event,
) -> Result<Effects, Failure> {
    let (documents, origin) = (Some(view.session()), origin());
    plugin.handle(Call { event, route: settings, attempt: 1, origin: &origin, state: None, documents }).await
}

/// Asks a projection the question `revenue` about this read model.
pub(crate) async fn ask(plugin: &Plugin, view: &Arc<FoldView>, params: &str) -> Result<Bytes, Failure> {
    ask_under(plugin, view, params, &standard_route()).await
}

pub(crate) async fn ask_under(
    plugin: &Plugin,
    view: &Arc<FoldView>,
    params: &str,
    projection: &Arc<CallSettings>,
) -> Result<Bytes, Failure> {
    let documents = view.read_only_session();
    plugin.query(Question { projection, name: "revenue", params: params.as_bytes(), documents }).await
}

/// What waits to be committed: `collection/key` and body, without one for a deleted document.
pub(crate) fn pending(view: &FoldView) -> Vec<(String, Option<String>)> {
    let text = |body: Bytes| String::from_utf8(body.to_vec()).unwrap();
    let write = |write: DocumentWrite| {
        (format!("{}/{}", write.collection, write.key), write.document.map(|document| text(document.body)))
    };
    view.writes().into_iter().map(write).collect()
}

impl Shelf {
    async fn answer(&self) -> Result<(), StoreError> {
        match self.mood {
            Mood::Well => Ok(()),
            Mood::Unreachable => Err(StoreError::Unavailable { store: "test", reason: "nobody answers".to_owned() }),
            Mood::Silent => std::future::pending().await,
            Mood::Panicking => panic!("a defect of the store"),
        }
    }
}

#[async_trait]
impl CopyReader for Shelf {
    async fn read(&self, _: &CopyId, collection: &Collection, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.answer().await?;
        let place = (collection.name.to_string(), key.to_owned());
        Ok(self.documents.lock().unwrap().get(&place).cloned())
    }

    async fn find(
        &self,
        _: &CopyId,
        collection: &Collection,
        column: usize,
        value: &IndexValue,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.answer().await?;
        let fits = |body: &Bytes| {
            let document: serde_json::Value = serde_json::from_slice(body).unwrap();
            IndexValue::of(collection.fields()[column].of(document.as_object().unwrap())).as_ref() == Ok(value)
        };
        let documents = self.documents.lock().unwrap();
        let of_collection = documents.iter().filter(|((name, _), _)| name == collection.name.as_str());
        let later =
            of_collection.filter(|((_, key), body)| after.is_none_or(|after| key.as_str() > after) && fits(body));
        Ok(later.take(limit).map(|((_, key), body)| Document { key: key.clone(), body: body.clone() }).collect())
    }
}

#[async_trait]
impl ReadModelStore for Shelf {
    fn kind(&self) -> &'static str {
        "test"
    }

    async fn ledger(&self, _: &ProjectionName) -> Result<Ledger, StoreError> {
        not_asked()
    }

    async fn claim(&self, _: &ProjectionName, _: &str) -> Result<Claim, StoreError> {
        not_asked()
    }

    async fn renew(&self, _: &Fence) -> Result<(), StoreError> {
        not_asked()
    }

    fn renew_every(&self) -> Option<Duration> {
        None
    }

    async fn release(&self, _: &Fence) -> Result<(), StoreError> {
        not_asked()
    }

    async fn create(&self, _: &Fence, _: NewCopy) -> Result<CopyId, StoreError> {
        not_asked()
    }

    async fn activate(&self, _: &Fence, _: &CopyId) -> Result<(), StoreError> {
        not_asked()
    }

    async fn remove(&self, _: &Fence, _: &CopyId) -> Result<(), StoreError> {
        not_asked()
    }

    async fn set_paused(&self, _: &Fence, _: bool) -> Result<(), StoreError> {
        not_asked()
    }

    async fn commit(&self, _: &Fence, _: &CopyId, _: Batch) -> Result<(), StoreError> {
        not_asked()
    }

    async fn positions(&self, _: &CopyId) -> Result<Positions, StoreError> {
        not_asked()
    }

    async fn get(&self, _: &CopyId, _: &Collection, _: &str) -> Result<(Option<Bytes>, Positions), StoreError> {
        not_asked()
    }

    async fn query(&self, _: &CopyId, _: &Collection, _: &Query, _: Duration) -> Result<Found, StoreError> {
        not_asked()
    }
}

fn not_asked<T>() -> Result<T, StoreError> {
    Err(StoreError::Refused("a call asks for documents only".to_owned()))
}
