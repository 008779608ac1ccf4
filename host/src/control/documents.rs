//! Documents for `tidemill projection query`, as the gateway would answer. There may be no gateway, and a host's own user needs
//! no token.

use std::fmt::Display;

use serde_json::{Value, json};
use tidemill_core::config::HttpLimits;
use tidemill_core::read_model::{self, CopyId, Parameter, Query, QueryOptions};
use tidemill_gateway::{ReadModel, Runtime as _, Waited};
use tokio::time::{Instant, timeout};

use super::wire::WireError;
use crate::app::App;

/// One document where a key is given, a page of documents otherwise.
pub(super) async fn answer(
    app: &App,
    collection: &str,
    key: Option<String>,
    params: &[Parameter],
) -> Result<Value, WireError> {
    let model = find(app, collection)?;
    let options = match key {
        Some(_) => QueryOptions::parse(params).map_err(refused)?,
        None => Query::parse(params, &model.collection).map_err(refused)?.1,
    };
    let limits = app.config().http.as_ref().map_or_else(HttpLimits::default, |http| http.limits.clone());
    let patience = options.timeout.unwrap_or(limits.query_timeout);
    if let Some(target) = &options.wait_for
        && let Waited::Behind(positions) = app.wait_for(&model.projection, target, Instant::now() + patience).await
        && !options.stale
    {
        let at = positions.get(&target.stream).copied().unwrap_or(0);
        let text = format!("after {patience:?} the read model is at {}:{at}; `--timeout` waits longer", target.stream);
        return Err(WireError::Unavailable(text));
    }
    // It may be another copy by now.
    let model = find(app, collection)?;
    let copy = active(&model, collection)?;
    let Some(key) = key else {
        let (query, options) = Query::parse(params, &model.collection).map_err(refused)?;
        let page = read_model::page(&*model.store, copy, &model.collection, &query, &options, patience).await;
        return serde_json::to_value(page.map_err(refused)?).map_err(refused);
    };
    let got = timeout(patience, model.store.get(copy, &model.collection, &key)).await;
    let (body, positions) = got.map_err(refused)?.map_err(refused)?;
    let body =
        body.ok_or_else(|| WireError::Refused(format!("the collection `{collection}` has no document `{key}`")))?;
    let item = read_model::item(key, &body, &options.fields).map_err(refused)?;
    let positions: Vec<String> = positions.iter().map(|(stream, at)| format!("{stream}:{at}")).collect();
    Ok(json!({ "key": item.key, "document": item.document, "positions": positions }))
}

fn find(app: &App, collection: &str) -> Result<ReadModel, WireError> {
    let declared = || {
        let catalogue = app.catalogue();
        let names = catalogue.projections.iter().flat_map(|it| it.collections.iter()).map(|it| it.name.to_string());
        names.collect::<Vec<_>>().join(", ")
    };
    let found = app.read_model(collection);
    found.ok_or_else(|| WireError::Refused(format!("there is no collection `{collection}`; there are: {}", declared())))
}

fn active<'m>(model: &'m ReadModel, collection: &str) -> Result<&'m CopyId, WireError> {
    let none = || WireError::Unavailable(format!("the projection of `{collection}` has no copy that answers yet"));
    model.copy.as_ref().ok_or_else(none)
}

fn refused(error: impl Display) -> WireError {
    WireError::Refused(error.to_string())
}
