//! Documents for `tidemill projection query`, as the gateway would answer. There may be no gateway, and a host's own user needs
//! no token. And single documents for `tidemill invoke`, which reads as the projection itself would.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tidemill_core::config::HttpLimits;
use tidemill_core::read_model::{
    self, Condition, CopyId, Document, IndexValue, Operator, Parameter, Positions, Query, QueryOptions, WaitFor,
};
use tidemill_gateway::{ReadModel, Runtime as _, Waited};
use tokio::time::{Instant, sleep, timeout};

use super::wire::WireError;
use crate::app::App;

/// After an answer from a copy that is behind, until the next is asked for.
const PAUSE: Duration = Duration::from_millis(20);

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
    let deadline = Instant::now() + patience;
    loop {
        let behind = |positions: &Positions, target: &WaitFor| {
            let at = positions.get(&target.stream).copied().unwrap_or(0);
            let text =
                format!("after {patience:?} the read model is at {}:{at}; `--timeout` waits longer", target.stream);
            WireError::Unavailable(text)
        };
        if let Some(target) = &options.wait_for
            && let Waited::Behind(positions) = app.wait_for(&model.projection, target, deadline).await
            && !options.stale
        {
            return Err(behind(&positions, target));
        }
        let (answer, positions) = read(app, collection, key.as_deref(), params, patience).await?;
        // It may be of another copy than the one that was waited for.
        match options.wait_for.as_ref().filter(|target| !target.is_reached(&positions)) {
            Some(_) if Instant::now() < deadline => sleep(PAUSE).await,
            Some(target) if !options.stale => return Err(behind(&positions, target)),
            _ => return answer.ok_or_else(|| no_document(collection, key.as_deref().unwrap_or_default())),
        }
    }
}

/// From the copy that answers now; `None` where it has no such document.
async fn read(
    app: &App,
    collection: &str,
    key: Option<&str>,
    params: &[Parameter],
    patience: Duration,
) -> Result<(Option<Value>, Positions), WireError> {
    let model = find(app, collection)?;
    let copy = active(&model, collection)?;
    let Some(key) = key else {
        let (query, options) = Query::parse(params, &model.collection).map_err(refused)?;
        let page = read_model::page(&*model.store, copy, &model.collection, &query, &options, patience).await;
        let page = page.map_err(refused)?;
        return Ok((Some(serde_json::to_value(&page).map_err(refused)?), page.positions));
    };
    let options = QueryOptions::parse(params).map_err(refused)?;
    let got = timeout(patience, model.store.get(copy, &model.collection, key)).await;
    let (body, positions) = got.map_err(refused)?.map_err(refused)?;
    let Some(body) = body else { return Ok((None, positions)) };
    let item = read_model::item(key.to_owned(), &body, &options.fields).map_err(refused)?;
    let standing: Vec<String> = positions.iter().map(|(stream, at)| format!("{stream}:{at}")).collect();
    Ok((Some(json!({ "key": item.key, "document": item.document, "positions": standing })), positions))
}

/// A document of the copy that answers, as its projection would read it.
pub(super) async fn read_one(app: &App, collection: &str, key: &str) -> Result<Option<Bytes>, WireError> {
    let model = find(app, collection)?;
    let found = model.store.get(active(&model, collection)?, &model.collection, key).await;
    found.map(|(body, _)| body).map_err(refused)
}

/// Documents whose column equals a value, in the order of their keys, as their projection would find them.
pub(super) async fn find_equal(
    app: &App,
    collection: &str,
    (column, value): (usize, IndexValue),
    after: Option<String>,
    limit: usize,
) -> Result<Vec<Document>, WireError> {
    let model = find(app, collection)?;
    let query = Query {
        conditions: vec![Condition { column, operator: Operator::In(vec![value]) }],
        after: after.map(|key| (Vec::new(), key)),
        limit,
        ..Query::default()
    };
    let patience = HttpLimits::default().query_timeout;
    let found = model.store.query(active(&model, collection)?, &model.collection, &query, patience).await;
    Ok(found.map_err(refused)?.documents.into_iter().map(|(document, _)| document).collect())
}

fn find(app: &App, collection: &str) -> Result<ReadModel, WireError> {
    let declared = || {
        let catalogue = app.catalogue();
        let names = catalogue.projections.iter().flat_map(|it| it.collections.iter()).map(|it| it.name.to_string());
        names.collect::<Vec<_>>().join(", ")
    };
    app.read_model(collection).ok_or_else(|| {
        if !app.runs() {
            return WireError::Unavailable("the host is starting, no projection has begun".to_owned());
        }
        WireError::Refused(format!("there is no collection `{collection}`; there are: {}", declared()))
    })
}

fn active<'m>(model: &'m ReadModel, collection: &str) -> Result<&'m CopyId, WireError> {
    let none = || WireError::Unavailable(format!("the projection of `{collection}` has no copy that answers yet"));
    model.copy.as_ref().ok_or_else(none)
}

fn no_document(collection: &str, key: &str) -> WireError {
    WireError::Refused(format!("the collection `{collection}` has no document `{key}`"))
}

fn refused(error: impl Display) -> WireError {
    WireError::Refused(error.to_string())
}
