//! Running a query: one prepared statement, one row, JSON passed through unparsed.

use axum::http::StatusCode;
use bytes::Bytes;
use sqlx::{
    AssertSqlSafe, PgConnection, Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query as SqlxQuery,
};
use tidemark_shared::{
    fill::{Answer, Provenance},
    param::{Params, Value},
    problem::{Kind, Problem},
};
use tokio::task::{self, JoinError};

use crate::{statement::Statement, trace::TraceParent};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// PostgreSQL or the way to it.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// It is longer than permitted; PostgreSQL has kept it.
    #[error("the answer has {bytes} bytes, more than {limit}")]
    TooLong {
        /// How long it would be, in bytes.
        bytes: i64,
        /// How long it may be, in bytes.
        limit: u32,
    },
}

/// From this length on, in bytes, hashing and compressing a body would keep others waiting for their
/// thread.
const LONG: usize = 64 * 1024;

/// What a query's statement has given.
#[derive(Debug)]
pub(crate) struct Given {
    as_of_ms: i64,
    /// `None` where the query's shape needs a row and there is none.
    body: Option<Bytes>,
}

impl Given {
    /// The answer, ready to be stored. No row is an answer like any other: 404, with [`no_row`] as its
    /// body.
    ///
    /// # Errors
    /// The process ends meanwhile.
    pub(crate) async fn into_answer(self, provenance: Provenance) -> Result<Answer, JoinError> {
        let (status, body) = match self.body {
            Some(body) => (StatusCode::OK, body),
            None => {
                let problem = no_row();
                (problem.kind.status(), problem.to_json().into())
            }
        };
        let (status, length, as_of_ms) = (status.as_u16(), body.len(), self.as_of_ms);
        let answer = move || Answer::new(status, as_of_ms, provenance, body);
        if length < LONG {
            Ok(answer())
        } else {
            task::spawn_blocking(answer).await
        }
    }
}

/// Runs a query's statement.
///
/// # Errors
/// Whatever PostgreSQL reports, and that the answer has more than `limit` bytes.
pub(crate) async fn query(
    connection: &mut PgConnection,
    statement: &Statement,
    params: &Params,
    limit: u32,
    trace: Option<TraceParent>,
) -> Result<Given, AnswerError> {
    let row = answering(connection, statement, params, limit, trace).await?;
    Ok(Given {
        as_of_ms: row.try_get(0)?,
        body: body(&row, limit)?,
    })
}

/// What a client is told where a query finds no row.
pub(crate) fn no_row() -> Problem {
    Problem::new(Kind::NoRow, "nothing has these arguments")
}

/// Runs the answering statement of a command on its transaction's connection, for the body; `None`
/// where its shape needs a row and there is none.
pub(crate) async fn command(
    connection: &mut PgConnection,
    statement: &Statement,
    params: &Params,
    limit: u32,
    trace: Option<TraceParent>,
) -> Result<Option<Bytes>, AnswerError> {
    let row = answering(connection, statement, params, limit, trace).await?;
    body(&row, limit)
}

/// The row of a statement that [`Statement::answering`] has made.
async fn answering(
    connection: &mut PgConnection,
    statement: &Statement,
    params: &Params,
    limit: u32,
    trace: Option<TraceParent>,
) -> Result<PgRow, sqlx::Error> {
    let query = bound(statement, params, trace).bind(i64::from(limit));
    query.fetch_one(connection).await
}

/// A statement with its arguments bound as canonical texts, and with its trace where that is recorded:
/// then it is prepared for this once.
pub(crate) fn bound<'q>(
    statement: &'q Statement,
    params: &'q Params,
    trace: Option<TraceParent>,
) -> SqlxQuery<'q, Postgres, PgArguments> {
    // Made from the operator's own SQL files; clients only ever supply bound values, and the digits of
    // their traces.
    let query = match trace.and_then(TraceParent::comment) {
        None => sqlx::query(AssertSqlSafe(statement.sql.clone())),
        Some(comment) => {
            // In front: `pg_stat_activity` shows only how a long statement begins.
            let sql = format!("{comment} {}", statement.sql);
            sqlx::query(AssertSqlSafe(sql)).persistent(false)
        }
    };
    statement.params.iter().fold(query, |query, name| {
        query.bind(params.get(name).map(Value::as_str))
    })
}

/// The body; `None` where there is nothing to answer.
fn body(row: &PgRow, limit: u32) -> Result<Option<Bytes>, AnswerError> {
    if let Some(body) = row.try_get::<Option<&str>, _>(1)? {
        return Ok(Some(Bytes::copy_from_slice(body.as_bytes())));
    }
    match row.try_get(2)? {
        Some(bytes) => Err(AnswerError::TooLong { bytes, limit }),
        None => Ok(None),
    }
}
