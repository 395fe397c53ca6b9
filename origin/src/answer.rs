//! Running a query: one prepared statement, one row, JSON passed through unparsed.

use bytes::Bytes;
use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query as SqlxQuery,
};
use tidemark_shared::{
    fill::{Answer, Provenance},
    param::{Params, Value},
};

use crate::statement::Statement;

/// Runs a query's statement; `None` where its shape needs a row and there is none.
///
/// # Errors
/// Whatever PostgreSQL or the pool reports.
pub async fn query(
    pool: &PgPool,
    provenance: Provenance,
    statement: &Statement,
    params: &Params,
) -> Result<Option<Answer>, sqlx::Error> {
    let row = bound(statement, params).fetch_optional(pool).await?;
    row.map(|row| Ok(Answer::new(200, row.try_get(0)?, provenance, body(&row)?)))
        .transpose()
}

/// Runs the answering statement of a command on its transaction's connection, for the body.
pub(crate) async fn command(
    connection: &mut PgConnection,
    statement: &Statement,
    params: &Params,
) -> Result<Option<Bytes>, sqlx::Error> {
    let row = bound(statement, params).fetch_optional(connection).await?;
    row.as_ref().map(body).transpose()
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

fn body(row: &PgRow) -> Result<Bytes, sqlx::Error> {
    let body: &str = row.try_get(1)?;
    Ok(Bytes::copy_from_slice(body.as_bytes()))
}
