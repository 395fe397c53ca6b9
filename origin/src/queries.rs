//! The one way of a query to PostgreSQL: shared with others that ask the same, through the gate, on a
//! connection of the pool, ended when nobody waits for it any more.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tidemark_shared::{
    catalog::Query,
    digest::Digest,
    fill::{Answer, Provenance},
    flight::Claim,
    freshness::Demand,
    key::Key,
    param::Params,
    scope::Scope,
};
use tokio::{runtime::Handle, time};
use tracing::{Instrument as _, Span};

use crate::{
    answer, clock,
    database::{ABANDONED_CHECK, Database, PoolLimits},
    flight::Flights,
    gate::{Gate, GateLimits, Shed, Slot, TooHeavy},
    memory::Memory,
    metrics,
    question::Question,
    repository::Repository,
    statement::Statement,
    trace::TraceParent,
};

/// How long the slot of an abandoned statement is kept after its connection was closed: PostgreSQL looks
/// only now and then whether the client is still there.
const LINGER: Duration = ABANDONED_CHECK.saturating_mul(3);

/// How long a connection may take to be closed.
const CLOSING: Duration = Duration::from_secs(1);

/// How much longer than the statement timeout the answer may take: PostgreSQL ends a statement by itself,
/// but one that is frozen or cut off ends nothing.
const SILENCE: Duration = Duration::from_secs(1);

/// Since when PostgreSQL can notice that the client of a running statement is gone.
const NOTICES_CLIENTS: u32 = 140_000;

/// Bounds of what queries may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// The most statements at a time, and as many connections.
    pub connections: u32,
    /// The most queries that wait.
    pub queue: u32,
    /// How long a query waits before it is shed.
    pub wait: Duration,
    /// How long PostgreSQL works on one statement.
    pub statement_timeout: Duration,
    /// The longest answer, in bytes.
    pub answer_bytes: u32,
}

/// Why a query has no answer; shared by all that share it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// It may not run now.
    #[error(transparent)]
    Shed(#[from] Shed),
    /// PostgreSQL or the way to it.
    #[error(transparent)]
    Database(Arc<sqlx::Error>),
    /// Its answer is longer than permitted.
    #[error("the answer has {bytes} bytes, more than the {limit} of --max-answer-bytes")]
    AnswerTooLong {
        /// How long it would be, in bytes.
        bytes: i64,
        /// How long it may be, in bytes.
        limit: u32,
    },
    /// PostgreSQL says nothing any more.
    #[error("the database has not answered within {0:?}")]
    Silent(Duration),
    /// A defect of this service.
    #[error("it was given up")]
    GivenUp,
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<answer::AnswerError> for QueryError {
    fn from(error: answer::AnswerError) -> Self {
        match error {
            answer::AnswerError::Database(error) => error.into(),
            answer::AnswerError::TooLong { bytes, limit } => Self::AnswerTooLong { bytes, limit },
        }
    }
}

/// An answer, which may be that there is no row.
pub type Outcome = Result<Answer, QueryError>;

/// The catalog's queries and what they run on.
pub struct Queries {
    runner: Arc<Runner>,
    flights: Flights<Outcome>,
}

/// What every load needs.
struct Runner {
    pool: PgPool,
    gate: Gate,
    /// How long PostgreSQL may say nothing.
    patience: Duration,
    answer_bytes: u32,
    prepared: BTreeMap<String, Arc<Prepared>>,
    catalog: Digest,
    memory: Arc<Memory>,
}

/// A query with its statement.
struct Prepared {
    query: Query,
    statement: Statement,
}

/// A question with its statement, on its own feet: a load may outlive who asked.
#[derive(Clone)]
struct Load {
    prepared: Arc<Prepared>,
    params: Params,
    key: Key,
    scopes: Vec<Scope>,
    trace: Option<TraceParent>,
}

impl Queries {
    /// The queries of a catalog on a database, where nothing is connected yet. What they answer is for
    /// `memory` to keep.
    ///
    /// # Errors
    /// One of them is heavier than what may run at a time.
    pub fn new(
        repository: &Repository,
        database: &Database,
        limits: &QueryLimits,
        memory: Arc<Memory>,
    ) -> Result<Self, TooHeavy> {
        let queries = repository.catalog.queries.values();
        let gate = Gate::new(
            queries.clone(),
            GateLimits {
                slots: limits.connections,
                queue: limits.queue,
                wait: limits.wait,
            },
        )?;
        let prepared = queries.filter_map(|query| {
            let prepared = Prepared {
                query: query.clone(),
                statement: repository.queries.get(&query.name)?.clone(),
            };
            Some((query.name.clone(), Arc::new(prepared)))
        });
        Ok(Self {
            runner: Arc::new(Runner {
                pool: database.query_pool(&PoolLimits {
                    connections: limits.connections,
                    acquire_timeout: limits.wait,
                    statement_timeout: limits.statement_timeout,
                }),
                gate,
                patience: limits.statement_timeout.saturating_add(SILENCE),
                answer_bytes: limits.answer_bytes,
                prepared: prepared.collect(),
                catalog: repository.digest,
                memory,
            }),
            flights: Flights::default(),
        })
    }

    /// The answer for whoever has this claim; a query that is never cached is of its own moment, and
    /// so shares nothing.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub(crate) async fn ask(
        &self,
        question: &Question<'_>,
        claim: Claim,
        trace: Option<TraceParent>,
    ) -> Outcome {
        let query = question.query;
        let load = self.load(question, trace)?;
        if !query.policy.is_cacheable() {
            return self.runner.run(&load).await;
        }
        let runner = self.runner.clone();
        // Whoever is the cause of a load has it in his trace, though it runs in a task of its own.
        let cause = Span::current();
        let start = move || {
            let (runner, load) = (runner.clone(), load.clone());
            async move { runner.load(&load).await }.instrument(cause.clone())
        };
        let aboard = self.flights.board(question.key.clone(), claim, start);
        if aboard.shared {
            metrics::count_coalesced(&query.name);
        }
        aboard.result().await.unwrap_or(Err(QueryError::GivenUp))
    }

    /// The answer of a statement that is run now, for nobody else.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn run(&self, question: &Question<'_>) -> Outcome {
        self.runner.run(&self.load(question, None)?).await
    }

    /// A moment after everything that the caller has seen: see [`clock::moment_after`].
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn moment_after(&self) -> Result<i64, QueryError> {
        let slot = self.runner.gate.enter_unnamed().await?;
        self.runner
            .on_connection(slot, "", async |connection| {
                Ok(clock::moment_after(connection).await?)
            })
            .await
    }

    /// Waits until this query could run without being in any request's way. Whoever asks for nobody's
    /// sake waits for it *before* that, since a request may come to share what has been asked.
    pub(crate) async fn room(&self, query: &Query) {
        self.runner.gate.room(query).await;
    }

    /// Closes the connections, once they are free.
    pub async fn close(&self) {
        self.runner.pool.close().await;
    }

    fn load(
        &self,
        question: &Question<'_>,
        trace: Option<TraceParent>,
    ) -> Result<Load, QueryError> {
        let prepared = self.runner.prepared.get(&question.query.name);
        Ok(Load {
            prepared: prepared.ok_or(QueryError::GivenUp)?.clone(),
            params: question.params.clone(),
            key: question.key.clone(),
            scopes: question.scopes.clone(),
            trace,
        })
    }
}

impl Load {
    /// What a cached answer would have to meet.
    fn demand(&self) -> Demand<'_> {
        Demand {
            key: &self.key,
            scopes: &self.scopes,
            policy: self.prepared.query.policy,
            at_least_ms: None,
        }
    }
}

impl Runner {
    /// Runs a load that others may share, and has it remembered.
    async fn load(&self, load: &Load) -> Outcome {
        let demand = load.demand();
        self.memory.remembering(&demand, self.run(load)).await
    }

    async fn run(&self, load: &Load) -> Outcome {
        let Prepared { query, statement } = &*load.prepared;
        let entering = self.gate.enter(query);
        let slot = entering.instrument(tracing::info_span!("gate")).await?;
        let answering = self.on_connection(slot, &query.name, async |connection| {
            let (params, limit) = (&load.params, self.answer_bytes);
            let trace = TraceParent::here(load.trace);
            let begun = Instant::now();
            let answered = answer::query(connection, statement, params, limit, trace).await;
            metrics::count_sql(&query.name, begun.elapsed());
            answered.map_err(QueryError::from)
        });
        let span = tracing::info_span!("sql", db.system.name = "postgresql", query = query.name);
        let given = answering.instrument(span).await?;
        // The connection is free again: this needs none.
        let provenance = Provenance::of(self.catalog, &load.scopes);
        let answer = given.into_answer(provenance).await;
        answer.map_err(|_| QueryError::GivenUp)
    }

    async fn on_connection<T>(
        &self,
        slot: Slot,
        query: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let connection = self.pool.acquire().await?;
        let mut running = Running {
            on: Some((connection, slot)),
            query,
        };
        let Some((connection, _)) = &mut running.on else {
            return Err(QueryError::GivenUp);
        };
        let Ok(worked) = time::timeout(self.patience, work(connection)).await else {
            return Err(QueryError::Silent(self.patience));
        };
        // What has ended needs no end.
        running.on = None;
        worked
    }
}

/// A connection on which a statement runs.
struct Running<'a> {
    on: Option<(PoolConnection<Postgres>, Slot)>,
    query: &'a str,
}

impl Drop for Running<'_> {
    /// Nobody waits for the statement any more. PostgreSQL ends it when it notices that its client is
    /// gone; until then the slot is kept, since it still runs.
    fn drop(&mut self) {
        let Some((mut connection, slot)) = self.on.take() else {
            return;
        };
        metrics::count_abandoned(self.query);
        let Ok(runtime) = Handle::try_current() else {
            // The process ends. The pool would want to spawn a task.
            drop(connection.detach());
            return;
        };
        runtime.spawn(async move {
            if notices_clients(&connection) {
                // Of no use to anybody if it fails: then it is closed already.
                let _ = time::timeout(CLOSING, connection.close()).await;
                time::sleep(LINGER).await;
            } else {
                let _ = sqlx::Connection::ping(&mut *connection).await;
            }
            drop(slot);
        });
    }
}

fn notices_clients(connection: &PgConnection) -> bool {
    connection
        .server_version_num()
        .is_some_and(|version| version >= NOTICES_CLIENTS)
}
