//! Running a query: one prepared statement, one row, JSON passed through unparsed.

use axum::http::StatusCode;
use bytes::Bytes;
use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query as SqlxQuery,
};
use tidemark_shared::{
    fill::{Answer, Provenance},
    param::{Params, Value},
    problem::{Kind, Problem},
};

use crate::statement::Statement;

/// Runs a query's statement. That its shape needs a row and there is none is an answer like any
/// other: 404, with [`no_row`] as its body.
///
/// # Errors
/// Whatever PostgreSQL or the pool reports.
pub async fn query(
    pool: &PgPool,
    provenance: Provenance,
    statement: &Statement,
    params: &Params,
) -> Result<Answer, sqlx::Error> {
    let row = bound(statement, params).fetch_one(pool).await?;
    let as_of_ms = row.try_get(0)?;
    Ok(match body(&row)? {
        Some(body) => Answer::new(StatusCode::OK.as_u16(), as_of_ms, provenance, body),
        None => {
            let problem = no_row();
            let status = problem.kind.status().as_u16();
            Answer::new(status, as_of_ms, provenance, problem.to_json().into())
        }
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
) -> Result<Option<Bytes>, sqlx::Error> {
    body(&bound(statement, params).fetch_one(connection).await?)
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

fn body(row: &PgRow) -> Result<Option<Bytes>, sqlx::Error> {
    let body: Option<&str> = row.try_get(1)?;
    Ok(body.map(|body| Bytes::copy_from_slice(body.as_bytes())))
}
