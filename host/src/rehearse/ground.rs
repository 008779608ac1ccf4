//! What a plugin finds and leaves behind: its keyed state, or the documents of its read model.
//!
//! As JSON a value of the state is itself where it is JSON, and otherwise `{"$text": …}` or `{"$base64": …}`; so a page that was
//! printed can be given back.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tidemill_core::clock::WallClock;
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::name::{PluginName, ProjectionName, RouteName};
use tidemill_core::port::{Admin, Broker as _, Commit, Handler as _, Origin, Receipt, StateCommit, StateWrite};
use tidemill_core::read_model::{
    Batch, Claim, Collections, CopyId, CopyReader, DocumentError, DocumentSession, DocumentWrite, DocumentWrites,
    FoldView, MemoryStore, NewCopy, Positions, ReadModelStore as _, Written,
};
use tidemill_core::state::{StateSession, StateSpace, StateWrites};
use tidemill_embedded::EmbeddedBroker;
use tidemill_engine::Plugin;

use super::{Change, DocumentChange};

/// What is there before the call. Writes are seen by later calls, and reach no store.
#[derive(Default)]
pub struct Ground {
    pub state: Option<Arc<StateSpace>>,
    pub documents: Option<Arc<FoldView>>,
}

// === impl Ground ===

impl Ground {
    pub(super) fn sessions(&self, plugin: &Plugin) -> (Option<StateSession>, Option<DocumentSession>) {
        let state = self.state.as_ref().filter(|_| plugin.uses_state());
        (state.map(StateSpace::session), self.documents.as_ref().map(FoldView::session))
    }

    /// Takes over what a call wrote, and shows what was there before.
    pub(super) async fn accept_state(
        &self,
        route: &RouteName,
        origin: &Origin,
        writes: Option<StateWrites>,
    ) -> Result<Vec<Change>, Failure> {
        let (Some(space), Some(writes)) = (&self.state, writes) else { return Ok(Vec::new()) };
        let mut before = space.session();
        let mut changes = Vec::new();
        for (key, after) in writes.writes() {
            let before = before.get(key).await.map_err(|error| unavailable(&error))?;
            changes.push(Change { key: key.clone(), before, after: after.clone() });
        }
        let receipt = Receipt::new("rehearsal");
        let commit = Commit { route: route.clone(), origin: origin.clone(), receipt, emits: Arc::default() };
        // Nobody commits: what was submitted is seen by later calls and gone with the space.
        space.submit(commit, writes);
        Ok(changes)
    }

    pub(super) async fn accept_documents(&self, writes: DocumentWrites) -> Result<Vec<DocumentChange>, Failure> {
        let Some(view) = &self.documents else { return Ok(Vec::new()) };
        let mut before = view.read_only_session();
        let mut changes = Vec::new();
        for write in writes.list() {
            let collection = write.collection.to_string();
            let before = before.get(&collection, &write.key).await.map_err(|error| unavailable(&error))?;
            let after = write.document.map(|document| document.body);
            changes.push(DocumentChange { collection, key: write.key, before, after });
        }
        view.accept(writes);
        Ok(changes)
    }
}

fn unavailable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Unavailable, error.to_string())
}

/// The state of a plugin that holds these values and no other.
pub async fn state_space(plugin: &PluginName, values: Vec<(String, Bytes)>) -> Result<Arc<StateSpace>> {
    let broker = EmbeddedBroker::in_memory();
    put_state(&broker, plugin, values).await?;
    Ok(StateSpace::new(plugin.clone(), broker as Arc<dyn Admin>))
}

/// Writes values into an empty state.
pub async fn put_state(broker: &EmbeddedBroker, plugin: &PluginName, values: Vec<(String, Bytes)>) -> Result<()> {
    let write = |(key, value)| StateWrite { key, value: Some(value), expected: None };
    let writes = values.into_iter().map(write).collect();
    let batch = StateCommit { space: plugin.clone(), commits: Vec::new(), writes };
    broker.commit_state(batch).await.context("writing the state that is given")?;
    Ok(())
}

/// The read model of a projection that holds these documents and no other.
pub async fn view_of(
    name: &ProjectionName,
    collections: &Collections,
    documents: Vec<GivenDocument>,
) -> Result<Arc<FoldView>> {
    let store = MemoryStore::new(WallClock::System);
    let copy = put_documents(&store, name, collections, documents, String::new()).await?;
    Ok(FoldView::new(store as Arc<dyn CopyReader>, copy, Arc::clone(collections)))
}

/// A document that is there before anything is folded.
#[derive(Debug, Clone)]
pub struct GivenDocument {
    pub collection: String,
    pub key: String,
    pub body: Bytes,
}

/// Makes a copy that holds these documents the active one. `digest` is the build that has filled it.
pub async fn put_documents(
    store: &MemoryStore,
    name: &ProjectionName,
    collections: &Collections,
    documents: Vec<GivenDocument>,
    digest: String,
) -> Result<CopyId> {
    let writes: Vec<DocumentWrite> =
        documents.into_iter().map(|given| checked(collections, given)).collect::<Result<_>>()?;
    let Claim::Granted(fence) = store.claim(name, "given").await? else { bail!("`{name}` is claimed") };
    let new = NewCopy { digest, collections: Arc::clone(collections), positions: Positions::new() };
    let copy = store.create(&fence, new).await?;
    store.commit(&fence, &copy, Batch { writes, ..Batch::default() }).await?;
    store.activate(&fence, &copy).await?;
    store.release(&fence).await?;
    Ok(copy)
}

fn checked(collections: &Collections, given: GivenDocument) -> Result<DocumentWrite> {
    let GivenDocument { collection, key, body } = given;
    let known = collections.iter().find(|known| known.name.as_str() == collection);
    let Some(known) = known else { return Err(DocumentError::NoCollection(collection).into()) };
    let document = Some(Written::check(known, body)?);
    Ok(DocumentWrite { collection: known.name.clone(), key, document })
}

/// A value of the state as JSON.
pub fn to_json(value: &[u8]) -> Value {
    match serde_json::from_slice(value) {
        Ok(json) if !is_wrapped(&json) => json,
        _ => match str::from_utf8(value) {
            Ok(text) => json!({ "$text": text }),
            Err(_) => json!({ "$base64": STANDARD.encode(value) }),
        },
    }
}

/// The value of the state that JSON stands for.
pub fn of_json(json: &Value) -> Result<Bytes> {
    let object = json.as_object().filter(|_| is_wrapped(json));
    Ok(match object.and_then(|object| object.iter().next()) {
        Some((word, Value::String(text))) if word == "$text" => text.clone().into(),
        Some((_, Value::String(text))) => STANDARD.decode(text).context("`$base64` holds no Base64")?.into(),
        Some((word, _)) => bail!("`{word}` holds a text"),
        None => serde_json::to_vec(json).context("writing JSON")?.into(),
    })
}

fn is_wrapped(json: &Value) -> bool {
    let object = json.as_object().filter(|object| object.len() == 1);
    object.is_some_and(|object| object.contains_key("$text") || object.contains_key("$base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_it_was() {
        for bytes in [&b"41"[..], b"{\"a\":1}", b"\"text\"", b"plain", b"\xff\x00", b"{\"$text\":\"x\"}", b""] {
            assert_eq!(of_json(&to_json(bytes)).unwrap(), bytes, "{bytes:?}");
        }
        assert_eq!(to_json(b"41"), json!(41));
        assert_eq!(to_json(b"plain"), json!({ "$text": "plain" }));
    }
}
