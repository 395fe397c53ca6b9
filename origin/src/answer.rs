//! Running a query: one prepared statement, one row, JSON passed through unparsed.

use bytes::Bytes;
use sqlx::{
    AssertSqlSafe, PgConnection, Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query as SqlxQuery,
};
use tidemark_shared::{
    fill::{Answer, Provenance},
    param::{Params, Value},
};

use crate::statement::Statement;

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

/// Runs a query's statement; `None` where its shape needs a row and there is none.
///
/// # Errors
/// Whatever PostgreSQL reports, and that the answer has more than `limit` bytes.
pub async fn query(
    connection: &mut PgConnection,
    provenance: Provenance,
    statement: &Statement,
    params: &Params,
    limit: u32,
) -> Result<Option<Answer>, AnswerError> {
    let row = answering(connection, statement, params, limit).await?;
    row.map(|row| {
        let body = body(&row, limit)?;
        Ok(Answer::new(200, row.try_get(0)?, provenance, body))
    })
    .transpose()
}

/// Runs the answering statement of a command on its transaction's connection, for the body.
pub(crate) async fn command(
    connection: &mut PgConnection,
    statement: &Statement,
    params: &Params,
    limit: u32,
) -> Result<Option<Bytes>, AnswerError> {
    let row = answering(connection, statement, params, limit).await?;
    row.map(|row| body(&row, limit)).transpose()
}

/// The row of a statement that [`Statement::answering`] has made.
async fn answering(
    connection: &mut PgConnection,
    statement: &Statement,
    params: &Params,
    limit: u32,
) -> Result<Option<PgRow>, sqlx::Error> {
    let query = bound(statement, params).bind(i64::from(limit));
    query.fetch_optional(connection).await
}

/// A statement with its arguments bound as canonical texts.
pub(crate) fn bound<'q>(
    statement: &'q Statement,
    params: &'q Params,
) -> SqlxQuery<'q, Postgres, PgArguments> {
    // Made from the operator's own SQL files; clients only ever supply bound values.
    let query = sqlx::query(AssertSqlSafe(statement.sql.clone()));
    statement.params.iter().fold(query, |query, name| {
        query.bind(params.get(name).map(Value::as_str))
    })
}

fn body(row: &PgRow, limit: u32) -> Result<Bytes, AnswerError> {
    match row.try_get::<Option<&str>, _>(1)? {
        Some(body) => Ok(Bytes::copy_from_slice(body.as_bytes())),
        None => Err(AnswerError::TooLong {
            bytes: row.try_get(2)?,
            limit,
        }),
    }
}
