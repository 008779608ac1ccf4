//! What the plugin finds: the state and the documents that a broker and a store hold now, those of a file, or none.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::{Map, Value};
use tidemill_core::port::{Admin, Handler as _};
use tidemill_core::read_model::{CopyId, CopyReader, FoldView, ReadModelStore};
use tidemill_core::state::StateSpace;
use tidemill_engine::Plugin;

use crate::exit::{Coded, Kind};
use crate::rehearse::{self, GivenDocument, Ground, Part};

/// Where state and documents come from.
pub enum Setting {
    /// There are none.
    Empty,
    /// As they stand now.
    Live {
        admin: Arc<dyn Admin>,
        documents: Live,
    },
    Given {
        state: Vec<(String, Bytes)>,
        documents: Vec<GivenDocument>,
        from: String,
    },
}

/// The documents of a projection as they stand.
pub enum Live {
    /// The part has none.
    None,
    /// A running host answers for them.
    Host(Arc<dyn CopyReader>),
    Store(Arc<dyn ReadModelStore>),
}

// === impl Setting ===

impl Setting {
    /// Values of the state, and documents, as JSON files hold them: `{"KEY": VALUE}` and `{"COLLECTION": {"KEY": DOCUMENT}}`.
    pub fn of_files(state: Option<&Path>, documents: Option<&Path>) -> Result<Self> {
        let from = state.or(documents).map(|path| path.display().to_string()).unwrap_or_default();
        let state = state.map(|path| read(path).and_then(|object| values(object).with_context(|| named(path))));
        let documents = documents.map(|path| read(path).and_then(|it| collections(it).with_context(|| named(path))));
        let state = state.transpose().coded(Kind::BadData)?.unwrap_or_default();
        let documents = documents.transpose().coded(Kind::BadData)?.unwrap_or_default();
        Ok(Self::Given { state, documents, from })
    }

    /// The same for each call: what one writes, the next does not find.
    pub(super) async fn ground(&self, part: &Part, plugin: &Plugin) -> Result<Ground> {
        let state = match self {
            _ if !plugin.uses_state() => None,
            Setting::Live { admin, .. } => Some(StateSpace::new(part.plugin().clone(), Arc::clone(admin))),
            Setting::Given { state, .. } => Some(rehearse::state_space(part.plugin(), state.clone()).await?),
            Setting::Empty => Some(rehearse::state_space(part.plugin(), Vec::new()).await?),
        };
        let documents = match part {
            Part::Route(_) => None,
            Part::Projection(projection) => {
                let (name, collections) = (&projection.name, &projection.collections);
                let live = match self {
                    Setting::Live { documents, .. } => documents.reader(name).await?,
                    Setting::Given { .. } | Setting::Empty => None,
                };
                Some(match (live, self) {
                    (Some((reader, copy)), _) => FoldView::new(reader, copy, Arc::clone(collections)),
                    (None, Setting::Given { documents, .. }) => {
                        let view = rehearse::view_of(name, collections, documents.clone()).await;
                        view.context("putting the documents there").coded(Kind::BadData)?
                    }
                    (None, _) => rehearse::view_of(name, collections, Vec::new()).await?,
                })
            }
        };
        Ok(Ground { state, documents })
    }

    /// In words, for the report.
    pub(super) fn describe(&self, part: &Part, plugin: &Plugin, was_folded: bool) -> String {
        let folds = matches!(part, Part::Projection(_));
        match self {
            _ if !folds && !plugin.uses_state() => "the plugin uses no state".to_owned(),
            Setting::Empty if folds => "no documents".to_owned(),
            Setting::Empty => "no state".to_owned(),
            Setting::Given { from, .. } => format!("what `{from}` holds"),
            Setting::Live { .. } if !folds => "the state as it stands now".to_owned(),
            Setting::Live { .. } if was_folded => {
                "the documents as they stand now, what this event has done among them; `--empty` begins without any"
                    .to_owned()
            }
            Setting::Live { .. } => "the documents as they stand now".to_owned(),
        }
    }
}

// === impl Live ===

impl Live {
    /// Who reads the copy that answers now; `None` where no event was folded yet.
    async fn reader(
        &self,
        projection: &tidemill_core::name::ProjectionName,
    ) -> Result<Option<(Arc<dyn CopyReader>, CopyId)>> {
        Ok(match self {
            Live::None => None,
            // Whichever copy is named, the host reads the active one.
            Live::Host(host) => Some((Arc::clone(host), CopyId { projection: projection.clone(), number: 0 })),
            Live::Store(store) => {
                let ledger =
                    store.ledger(projection).await.context("reading the read model").coded(Kind::Unavailable)?;
                let active = ledger.active().map(|copy| copy.id.clone());
                active.map(|copy| (Arc::clone(store) as Arc<dyn CopyReader>, copy))
            }
        })
    }
}

fn named(path: &Path) -> String {
    format!("reading `{}`", path.display())
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read(path).with_context(|| named(path))?;
    let read = || format!("`{}` does not hold a JSON object", path.display());
    serde_json::from_slice(&text).with_context(read)
}

fn values(object: Map<String, Value>) -> Result<Vec<(String, Bytes)>> {
    let value = |(key, json): (String, Value)| {
        let value = rehearse::of_json(&json).with_context(|| format!("the key `{key}`"))?;
        Ok((key, value))
    };
    object.into_iter().map(value).collect()
}

fn collections(object: Map<String, Value>) -> Result<Vec<GivenDocument>> {
    let mut given = Vec::new();
    for (collection, documents) in object {
        let Value::Object(documents) = documents else {
            anyhow::bail!("the collection `{collection}` must be an object: a document under each key");
        };
        for (key, document) in documents {
            let body = serde_json::to_vec(&document).context("writing JSON")?.into();
            given.push(GivenDocument { collection: collection.clone(), key, body });
        }
    }
    Ok(given)
}
