//! The relay's side of the outbox: take what is visible, delete what is applied.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tidemark_shared::{event::EventId, scope::Scope};

use super::RelayError;
use crate::statement::AS_OF;

/// The most rows that one cycle takes, to bound its memory.
const BATCH: i64 = 10_000;

/// What one cycle took.
pub(super) struct Drained {
    /// Every commit visible at this moment is among the rows, if they are all; ms since the Unix
    /// epoch by the database's clock.
    pub(super) as_of: i64,
    /// The rows.
    pub(super) ids: Vec<i64>,
    /// Their distinct scopes.
    pub(super) scopes: Vec<Scope>,
    /// Whether these were all.
    pub(super) whole: bool,
}

/// Takes all visible rows, up to a bound.
///
/// `as_of` and the rows come from one statement, whose snapshot is taken after the moment that
/// `as_of` names: see [`AS_OF`].
pub(super) async fn drain(database: &mut PgConnection) -> Result<Drained, RelayError> {
    type Row = (
        i64,
        Option<i64>,
        Option<String>,
        Option<String>,
        Option<String>,
    );
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {AS_OF}, o.id, o.kind::text, o.name, o.member
         FROM (SELECT) AS always
         LEFT JOIN LATERAL (SELECT * FROM tidemark.outbox ORDER BY id LIMIT {BATCH}) AS o ON true"
    )))
    .fetch_all(database)
    .await?;
    let mut as_of = 0;
    let mut ids = Vec::with_capacity(rows.len());
    let mut scopes = BTreeSet::new();
    for (row_as_of, id, kind, name, member) in rows {
        as_of = row_as_of;
        let (Some(id), Some(kind), Some(name)) = (id, kind, name) else {
            continue;
        };
        ids.push(id);
        scopes.insert(match (kind.as_str(), member) {
            ("t", None) => Scope::Table(name),
            ("f", None) => Scope::Family(name),
            ("m", Some(member)) => Scope::member(&name, &member),
            _ => return Err(RelayError::Illegible("outbox")),
        });
    }
    Ok(Drained {
        as_of,
        whole: ids.len() < usize::try_from(BATCH).unwrap_or(usize::MAX),
        ids,
        scopes: scopes.into_iter().collect(),
    })
}

/// Deletes rows that have been applied and records the event that did it.
pub(super) async fn settle(
    database: &mut PgConnection,
    ids: &[i64],
    event: EventId,
) -> Result<(), sqlx::Error> {
    let mut transaction = database.begin().await?;
    sqlx::query("DELETE FROM tidemark.outbox WHERE id = ANY($1)")
        .bind(ids)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "INSERT INTO tidemark.progress (event) VALUES ($1)
         ON CONFLICT (only_row) DO UPDATE SET event = EXCLUDED.event",
    )
    .bind(event.to_string())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// The last event whose scopes left the outbox.
pub(super) async fn last_event(database: &mut PgConnection) -> Result<EventId, RelayError> {
    let event: Option<String> = sqlx::query_scalar("SELECT event FROM tidemark.progress")
        .fetch_optional(database)
        .await?;
    match event {
        None => Ok(EventId::default()),
        Some(event) => event.parse().map_err(|_| RelayError::Illegible("progress")),
    }
}

/// The number of a new leadership.
pub(super) async fn next_term(database: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT nextval('tidemark.term')")
        .fetch_one(database)
        .await
}

/// The number of a leadership that comes after a term which this database may not have given out.
pub(super) async fn next_term_after(
    database: &mut PgConnection,
    term: i64,
) -> Result<i64, sqlx::Error> {
    sqlx::query("SELECT setval('tidemark.term', $1)")
        .bind(term)
        .execute(&mut *database)
        .await?;
    next_term(database).await
}
