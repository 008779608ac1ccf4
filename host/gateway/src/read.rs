//! What is read: documents, one or many, and the answers of plugins.
//!
//! Every answer says in `Tidemill-Position` where the copy stood that it was read from. With `wait_for` it holds what was stored
//! up to there; where that does not come in time the answer is 504, or, with `stale=allow`, what there is.

mod wait;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tidemill_core::failure::{Blame, Failure, FailureKind};
use tidemill_core::read_model::{
    self, CopyId, Page, PageError, Parameter, Query, QueryError, QueryOptions, StoreError,
};

use crate::parameters;
use crate::problem::{Problem, ProblemKind};
use crate::reply::{self, Answered, POSITION};
use crate::runtime::ReadModel;
use crate::service::Service;

use wait::Freshness;

const RETRY_SECONDS: u64 = 1;

/// A copy may be replaced between the moment that it is chosen and the moment that it is read; then the next one is read.
const COPIES_TRIED: usize = 3;

/// `GET /v1/read-models/{collection}`.
pub(crate) async fn documents<B>(service: &Service, request: &Request<B>, collection: &str) -> Answered {
    let model = read_model(service, collection)?;
    let params = parameters::parse(request.uri().query())?;
    let (_, options) = Query::parse(&params, &model.collection).map_err(bad_query)?;
    let freshness = Freshness::new(service, &model.projection, &options)?;
    loop {
        freshness.wait().await?;
        let page = some_page(service, collection, &params, wait::timeout(service, &options)).await?;
        if freshness.accepts(&page.positions).await? {
            let mut response = reply::json(StatusCode::OK, &page)?;
            response.headers_mut().insert(POSITION, reply::position(&page.positions));
            return Ok(response);
        }
    }
}

async fn some_page(
    service: &Service,
    collection: &str,
    params: &[Parameter],
    timeout: std::time::Duration,
) -> Result<Page, Problem> {
    for _ in 1..COPIES_TRIED {
        match page(service, collection, params, timeout).await {
            Err(PageOrProblem::Page(PageError::Store(StoreError::NoCopy(_)))) => {}
            other => return other.map_err(PageOrProblem::into_problem),
        }
    }
    page(service, collection, params, timeout).await.map_err(PageOrProblem::into_problem)
}

/// One try. The question is read again, because another copy may have other indexes.
async fn page(
    service: &Service,
    collection: &str,
    params: &[Parameter],
    timeout: std::time::Duration,
) -> Result<Page, PageOrProblem> {
    let model = read_model(service, collection)?;
    let copy = active(&model)?;
    let (query, options) = Query::parse(params, &model.collection).map_err(bad_query)?;
    Ok(read_model::page(&*model.store, copy, &model.collection, &query, &options, timeout).await?)
}

/// `GET /v1/read-models/{collection}/{key}`.
pub(crate) async fn document<B>(service: &Service, request: &Request<B>, collection: &str, key: String) -> Answered {
    let model = read_model(service, collection)?;
    let options = QueryOptions::parse(&parameters::parse(request.uri().query())?).map_err(bad_query)?;
    let freshness = Freshness::new(service, &model.projection, &options)?;
    freshness.wait().await?;
    // No such key was ever written, and not every store takes one.
    if key.chars().any(char::is_control) {
        return Err(no_document(collection, &key));
    }
    let timeout = wait::timeout(service, &options);
    let mut found = get(service, collection, &key, timeout).await?;
    while !freshness.accepts(&found.1).await? {
        freshness.wait().await?;
        found = get(service, collection, &key, timeout).await?;
    }
    let (body, positions) = found;
    let position = reply::position(&positions);
    let Some(body) = body else {
        return Err(no_document(collection, &key).header(POSITION, position));
    };
    let item = read_model::item(key, &body, &options.fields).map_err(store_problem)?;
    let mut response = reply::json(StatusCode::OK, &item)?;
    let tag = tag(&item);
    if is_known(request.headers(), &tag) {
        *response.body_mut() = Full::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    let headers = response.headers_mut();
    headers.insert(POSITION, position);
    headers.insert(header::ETAG, tag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

async fn get(
    service: &Service,
    collection: &str,
    key: &str,
    timeout: std::time::Duration,
) -> Result<(Option<Bytes>, read_model::Positions), Problem> {
    for tried in 1.. {
        let model = read_model(service, collection)?;
        let copy = active(&model)?;
        let got = tokio::time::timeout(timeout, model.store.get(copy, &model.collection, key)).await;
        match got.unwrap_or(Err(StoreError::TooSlow(timeout))) {
            Err(StoreError::NoCopy(_)) if tried < COPIES_TRIED => {}
            other => return other.map_err(store_problem),
        }
    }
    Err(not_ready(collection))
}

/// `GET /v1/queries/{projection}/{name}`.
pub(crate) async fn question<B>(service: &Service, request: &Request<B>, projection: &str, name: &str) -> Answered {
    let catalogue = service.runtime.catalogue();
    let known = catalogue.projection(projection).ok_or_else(|| {
        let detail =
            format!("there is no projection `{projection}`; `projections` in runtime.yaml declares projections");
        unknown(service, Problem::new(ProblemKind::NoProjection, detail))
    })?;
    let params = parameters::parse(request.uri().query())?;
    let (options, rest) = QueryOptions::take(&params).map_err(bad_query)?;
    let freshness = Freshness::new(service, &known.name, &options)?;
    let params = Bytes::from(Value::Object(object(&rest)?).to_string());
    let timeout = wait::timeout(service, &options);
    let answer = loop {
        freshness.wait().await?;
        let asked = tokio::time::timeout(timeout, service.runtime.ask(&known.name, name, params.clone())).await;
        let answer = asked.map_err(|_| too_slow(timeout))?.map_err(|failure| unanswered(&failure))?;
        if freshness.accepts(&answer.positions).await? {
            break answer;
        }
    };
    let is_json = serde_json::from_slice::<IgnoredAny>(&answer.body).is_ok();
    let media_type = if is_json { "application/json" } else { "application/octet-stream" };
    let mut response = reply::with_type(StatusCode::OK, media_type, answer.body);
    response.headers_mut().insert(POSITION, reply::position(&answer.positions));
    Ok(response)
}

/// Parameters as a JSON object: one that is given more than once is an array.
fn object(params: &[&Parameter]) -> Result<Map<String, Value>, Problem> {
    let mut object: Map<String, Value> = Map::new();
    for (name, text) in params {
        let value = read_model::typed(name, text).map_err(bad_query)?;
        match object.get_mut(name) {
            None => drop(object.insert(name.clone(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Ok(object)
}

fn read_model(service: &Service, collection: &str) -> Result<ReadModel, Problem> {
    service.runtime.read_model(collection).ok_or_else(|| {
        let detail = format!(
            "there is no collection `{collection}`; `projections[].collections` in runtime.yaml declares collections"
        );
        unknown(service, Problem::new(ProblemKind::NoCollection, detail))
    })
}

/// A name that nobody knows, which a host that has not begun says of every name.
fn unknown(service: &Service, problem: Problem) -> Problem {
    if service.runtime.has_begun() {
        return problem;
    }
    let detail = "the host is starting, no projection has begun";
    Problem::new(ProblemKind::NotReady, detail).retry_after(RETRY_SECONDS)
}

fn active(model: &ReadModel) -> Result<&CopyId, Problem> {
    model.copy.as_ref().ok_or_else(|| not_ready(model.collection.name.as_str()))
}

fn no_document(collection: &str, key: &str) -> Problem {
    Problem::new(ProblemKind::NoDocument, format!("the collection `{collection}` has no document `{key}`"))
}

fn not_ready(collection: &str) -> Problem {
    let detail = format!("the collection `{collection}` has no copy that answers yet; its projection is starting");
    Problem::new(ProblemKind::NotReady, detail).retry_after(RETRY_SECONDS)
}

/// The answer's fingerprint: the same document, the same fields.
fn tag(item: &read_model::Item) -> HeaderValue {
    let digest = Sha256::new().chain_update(&item.key).chain_update([0]).chain_update(item.document.get()).finalize();
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{hex}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let tag = tag.to_str().unwrap_or_default();
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|list| list.split(',')).map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

fn bad_query(error: QueryError) -> Problem {
    Problem::new(ProblemKind::BadQuery, error.to_string())
}

fn store_problem(error: StoreError) -> Problem {
    let kind = match &error {
        StoreError::Unavailable { .. } | StoreError::Fenced(_) | StoreError::Moved { .. } => {
            ProblemKind::StoreUnavailable
        }
        StoreError::NoCopy(_) => ProblemKind::NotReady,
        StoreError::TooSlow(_) => ProblemKind::TooSlow,
        StoreError::Refused(_) => ProblemKind::StoreRefused,
    };
    let problem = Problem::new(kind, error.to_string());
    match kind {
        ProblemKind::StoreUnavailable | ProblemKind::NotReady => problem.retry_after(RETRY_SECONDS),
        _ => problem,
    }
}

fn too_slow(timeout: std::time::Duration) -> Problem {
    let detail = format!("the plugin has not answered within {timeout:?}");
    Problem::new(ProblemKind::TooSlow, detail)
}

/// Why a plugin did not answer a question.
fn unanswered(failure: &Failure) -> Problem {
    let kind = match failure.kind {
        FailureKind::Rejected => ProblemKind::QueryRefused,
        FailureKind::RetryRequested { .. } => ProblemKind::NotReady,
        FailureKind::Timeout => ProblemKind::TooSlow,
        other if other.blame() == Blame::Host => ProblemKind::StoreUnavailable,
        _ => ProblemKind::PluginFailed,
    };
    let problem = Problem::new(kind, &failure.text);
    match kind {
        ProblemKind::NotReady | ProblemKind::StoreUnavailable => problem.retry_after(RETRY_SECONDS),
        _ => problem,
    }
}

/// Why there is no page: to be tried again, or to be told.
enum PageOrProblem {
    Page(PageError),
    Problem(Problem),
}

// === impl PageOrProblem ===

impl PageOrProblem {
    fn into_problem(self) -> Problem {
        match self {
            Self::Problem(problem) => problem,
            Self::Page(error @ PageError::CursorExpired) => Problem::new(ProblemKind::CursorExpired, error.to_string()),
            Self::Page(error @ PageError::UnindexedSort { .. }) => {
                Problem::new(ProblemKind::UnindexedSort, error.to_string())
            }
            Self::Page(PageError::Store(error)) => store_problem(error),
        }
    }
}

impl From<Problem> for PageOrProblem {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<PageError> for PageOrProblem {
    fn from(error: PageError) -> Self {
        Self::Page(error)
    }
}
