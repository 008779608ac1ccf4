//! The port on top of sessions.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidemill_core::config::PostgresConfig;
use tidemill_core::name::ProjectionName;
use tidemill_core::read_model::{
    Batch, Claim, Collection, CopyId, CopyReader, Document, Fence, Found, IndexValue, Ledger, NewCopy, Positions,
    Query, ReadModelStore, StoreError,
};

use crate::copies::{self, CopyTables};
use crate::problem::{KIND, answer_problem, copy_problem, problem, unavailable};
use crate::question::Question;
use crate::schema::Schema;
use crate::session::Session;
use crate::sessions::{Held, Sessions};
use crate::tls::Tls;
use crate::url::Address;
use crate::{batch, lease};

/// Sessions of the folds, and those of questions: a slow query holds up no fold.
const FOLDS: usize = 8;
const QUESTIONS: usize = 8;

/// As many projections as may renew at the same moment; each takes a round trip.
const RENEWALS: usize = 2;

/// How much longer than its own limit a question's answer is waited for, until the server counts as silent.
const GRACE: Duration = Duration::from_secs(2);

/// How long a single document may take.
const LOOK_UP: Duration = Duration::from_secs(10);

/// Read models in a schema of a PostgreSQL database.
pub struct PostgresStore {
    schema: Schema,
    lease: Duration,
    /// How long anything but a question may take.
    patience: Duration,
    folds: Arc<Sessions>,
    /// For renewing: whatever else goes on, a host that lives can say so.
    renewals: Arc<Sessions>,
    questions: Arc<Sessions>,
    copies: Mutex<HashMap<CopyId, Arc<CopyTables>>>,
}

// === impl PostgresStore ===

impl PostgresStore {
    /// Connects, checks the server and makes the schema if it is missing.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the server cannot be reached now, `Refused` if it, or the address, will not do.
    pub async fn connect(config: &PostgresConfig) -> Result<Arc<Self>, StoreError> {
        let store = Self::new(config)?;
        store.bounded(store.begin()).await?;
        Ok(Arc::new(store))
    }

    /// Connects and checks the server, to read what a host keeps there; `None` where there is nothing. Makes nothing, so that
    /// whoever only looks needs no right to.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_to_existing(config: &PostgresConfig) -> Result<Option<Arc<Self>>, StoreError> {
        let store = Self::new(config)?;
        let is_there = store.bounded(store.find()).await?;
        Ok(is_there.then(|| Arc::new(store)))
    }

    fn new(config: &PostgresConfig) -> Result<Self, StoreError> {
        // Longer than the lease, so that a slow server is not taken for a dead one before another host may take over.
        let patience = config.lease * 3;
        let address = Arc::new(Address::parse(config.url.reveal(), patience)?);
        let tls = Tls::new(&address.trust)?;
        let sessions = |settings, count| Sessions::new(Arc::clone(&address), tls.clone(), settings, count);
        Ok(Self {
            schema: Schema::new(&config.schema),
            lease: config.lease,
            patience,
            folds: sessions(fold_settings(config.lease, patience), FOLDS),
            renewals: sessions(fold_settings(config.lease, patience), RENEWALS),
            questions: sessions(question_settings(), QUESTIONS),
            copies: Mutex::default(),
        })
    }

    async fn find(&self) -> Result<bool, StoreError> {
        let session = self.folds.take().await?;
        let is_there = self.schema.is_there(&session).await?;
        session.keep();
        Ok(is_there)
    }

    async fn begin(&self) -> Result<(), StoreError> {
        let session = self.folds.take().await?;
        self.schema.prepare(&session).await?;
        session.keep();
        Ok(())
    }

    /// An answer that does not come in time is an unavailable server. The session goes with it.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        within(self.patience, work).await
    }

    async fn copy(&self, session: &Session, id: &CopyId) -> Result<Arc<CopyTables>, StoreError> {
        let known = self.copies.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(copy) = known {
            return Ok(copy);
        }
        let copy = Arc::new(CopyTables::load(session, &self.schema, id).await?);
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Arc::clone(&copy));
        Ok(copy)
    }

    /// Forgets what it knew of a copy that turns out to be gone.
    fn note<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::NoCopy(id)) = &answer {
            self.forget(id);
        }
        answer
    }

    fn forget(&self, id: &CopyId) {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Whatever was removed is not known any more, by whichever host it was.
    async fn sweep(&self, session: Held) {
        match copies::sweep(&session, &self.schema).await {
            Ok(()) => session.keep(),
            Err(error) => {
                let error = problem(&error);
                tracing::warn!(%error, "the tables of a removed copy of a read model stay for now");
            }
        }
    }

    async fn try_query(
        &self,
        id: &CopyId,
        collection: &Collection,
        query: &Query,
        timeout: Duration,
    ) -> Result<Found, StoreError> {
        let taken = tokio::time::timeout(timeout, self.questions.take()).await;
        let session = taken.map_err(|_| StoreError::TooSlow(timeout))??;
        let copy = self.copy(&session, id).await?;
        let question = Question::new(&self.schema, &copy, copy.table(&collection.name)?, query)?;
        let limit = set_limit(timeout);
        let rows = async {
            session.prepare(&question.sql).await?;
            let (set, rows) =
                futures_util::future::join(session.run(&limit), session.rows(&question.sql, &question.parameters()))
                    .await;
            set.and(rows)
        };
        let found = match rows.await {
            Ok(rows) => question.found(&copy, &rows),
            Err(error) => Err(answer_problem(id, timeout, &error)),
        };
        if matches!(found, Ok(_) | Err(StoreError::TooSlow(_))) {
            session.keep();
        }
        found
    }

    async fn try_get(
        &self,
        id: &CopyId,
        collection: &Collection,
        key: &str,
    ) -> Result<(Option<Bytes>, Positions), StoreError> {
        let session = self.questions.take().await?;
        let copy = self.copy(&session, id).await?;
        let sql = format!(
            "SELECT copies.positions, found.body FROM {} AS copies LEFT JOIN {} AS found ON found.key = $2
             WHERE copies.id = $1",
            self.schema.copies(),
            copy.table(&collection.name)?.name
        );
        let limit = set_limit(LOOK_UP);
        let row = async {
            session.prepare(&sql).await?;
            let (set, row) =
                futures_util::future::join(session.run(&limit), session.row(&sql, &[&copy.row, &key])).await;
            set.and(row)
        };
        let row = row.await.map_err(|error| answer_problem(id, LOOK_UP, &error))?;
        let row = row.ok_or_else(|| StoreError::NoCopy(id.clone()))?;
        session.keep();
        Ok((row.get::<_, Option<&[u8]>>(1).map(Bytes::copy_from_slice), copies::positions(&row.get(0))?))
    }
}

/// Runs on a session of the folds, which is kept if all went well.
macro_rules! on_session {
    ($self:ident, |$session:ident| $work:expr) => {{
        let work = async {
            let $session = $self.folds.take().await?;
            let done = $work?;
            $session.keep();
            Ok(done)
        };
        $self.note($self.bounded(Box::pin(work)).await)
    }};
}

#[async_trait]
impl CopyReader for PostgresStore {
    async fn read(&self, copy: &CopyId, collection: &Collection, key: &str) -> Result<Option<Bytes>, StoreError> {
        on_session!(self, |session| async {
            let known = self.copy(&session, copy).await?;
            let sql = format!("SELECT body FROM {} WHERE key = $1", known.table(&collection.name)?.name);
            let row = session.row(&sql, &[&key]).await.map_err(|error| copy_problem(copy, &error))?;
            Ok::<_, StoreError>(row.map(|row| Bytes::copy_from_slice(row.get(0))))
        }
        .await)
    }

    async fn find(
        &self,
        copy: &CopyId,
        collection: &Collection,
        column: usize,
        value: &IndexValue,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        on_session!(self, |session| async {
            let known = self.copy(&session, copy).await?;
            let table = &known.table(&collection.name)?.name;
            let sql = format!("SELECT key, body FROM {table} WHERE c{column} = $1 AND key > $2 ORDER BY key LIMIT $3");
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            // No key is empty, so all of them are after that.
            let rows = session.rows(&sql, &[&value.as_bytes(), &after.unwrap_or_default(), &limit]).await;
            let rows = rows.map_err(|error| copy_problem(copy, &error))?;
            let document =
                |row: &tokio_postgres::Row| Document { key: row.get(0), body: Bytes::copy_from_slice(row.get(1)) };
            Ok::<_, StoreError>(rows.iter().map(document).collect())
        }
        .await)
    }
}

#[async_trait]
impl ReadModelStore for PostgresStore {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn ledger(&self, projection: &ProjectionName) -> Result<Ledger, StoreError> {
        on_session!(self, |session| async {
            let known = lease::known(&session, &self.schema, projection).await?;
            let copies = copies::list(&session, &self.schema, projection).await?;
            let (paused, holder) = known.map_or((false, None), |known| (known.paused, known.holder));
            Ok::<_, StoreError>(Ledger { copies, paused, holder })
        }
        .await)
    }

    async fn claim(&self, projection: &ProjectionName, holder: &str) -> Result<Claim, StoreError> {
        on_session!(self, |session| lease::claim(&session, &self.schema, projection, holder, self.lease).await)
    }

    async fn renew(&self, fence: &Fence) -> Result<(), StoreError> {
        let work = async {
            let session = self.renewals.take().await?;
            lease::renew(&session, &self.schema, fence, self.lease).await?;
            session.keep();
            Ok(())
        };
        self.bounded(work).await
    }

    fn renew_every(&self) -> Option<Duration> {
        Some(self.lease / 3)
    }

    async fn release(&self, fence: &Fence) -> Result<(), StoreError> {
        on_session!(self, |session| lease::release(&session, &self.schema, fence).await)
    }

    async fn create(&self, fence: &Fence, copy: NewCopy) -> Result<CopyId, StoreError> {
        on_session!(self, |session| copies::create(&session, &self.schema, fence, &copy).await)
    }

    async fn activate(&self, fence: &Fence, copy: &CopyId) -> Result<(), StoreError> {
        same_projection(fence, copy)?;
        let activate = async {
            let session = self.folds.take().await?;
            let tables = self.copy(&session, copy).await?;
            copies::activate(&session, &self.schema, fence, &tables).await?;
            Ok(session)
        };
        let session = self.note(self.bounded(Box::pin(activate)).await)?;
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| id == copy);
        // Bounded by the session's own limits.
        self.sweep(session).await;
        Ok(())
    }

    async fn remove(&self, fence: &Fence, copy: &CopyId) -> Result<(), StoreError> {
        same_projection(fence, copy)?;
        let remove = async {
            let session = self.folds.take().await?;
            copies::remove(&session, &self.schema, fence, copy).await?;
            Ok(session)
        };
        let session = self.bounded(Box::pin(remove)).await?;
        self.forget(copy);
        self.sweep(session).await;
        Ok(())
    }

    async fn set_paused(&self, fence: &Fence, paused: bool) -> Result<(), StoreError> {
        on_session!(self, |session| lease::set_paused(&session, &self.schema, fence, paused).await)
    }

    async fn commit(&self, fence: &Fence, copy: &CopyId, batch: Batch) -> Result<(), StoreError> {
        same_projection(fence, copy)?;
        on_session!(self, |session| async {
            let copy = self.copy(&session, copy).await?;
            batch::commit(&session, &self.schema, fence, &copy, &batch).await
        }
        .await)
    }

    async fn positions(&self, copy: &CopyId) -> Result<Positions, StoreError> {
        on_session!(self, |session| copies::standing(&session, &self.schema, copy).await)
    }

    async fn get(
        &self,
        copy: &CopyId,
        collection: &Collection,
        key: &str,
    ) -> Result<(Option<Bytes>, Positions), StoreError> {
        self.note(within(LOOK_UP + GRACE, Box::pin(self.try_get(copy, collection, key))).await)
    }

    async fn query(
        &self,
        copy: &CopyId,
        collection: &Collection,
        query: &Query,
        timeout: Duration,
    ) -> Result<Found, StoreError> {
        self.note(within(timeout + GRACE, Box::pin(self.try_query(copy, collection, query, timeout))).await)
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(limit, work).await;
    answer.unwrap_or_else(|_| Err(unavailable(format!("the server did not answer within {limit:?}"))))
}

/// A transaction that a stopped host leaves open keeps the claim locked; the server ends it before the lease does.
fn fold_settings(lease: Duration, patience: Duration) -> String {
    let (lease, patience) = (lease.as_millis(), patience.as_millis());
    format!(
        "SET jit = off; SET statement_timeout = {patience}; SET lock_timeout = {patience};
         SET idle_in_transaction_session_timeout = {}",
        lease / 2
    )
}

/// Each question is planned for its own values: what is right for a frequent one is not for a rare one.
fn question_settings() -> String {
    "SET jit = off; SET plan_cache_mode = force_custom_plan; SET default_transaction_read_only = on".to_owned()
}

/// At least a millisecond: 0 would be no limit.
fn set_limit(timeout: Duration) -> String {
    format!("SET statement_timeout = {}", timeout.as_millis().clamp(1, i32::MAX as u128))
}

fn same_projection(fence: &Fence, copy: &CopyId) -> Result<(), StoreError> {
    if fence.projection == copy.projection {
        return Ok(());
    }
    Err(StoreError::Refused(format!("a claim of `{}` does not allow to write the copy {copy}", fence.projection)))
}
