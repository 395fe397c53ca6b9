//! What a change would invalidate: it is made, looked at, and rolled back.
//!
//! The triggers themselves tell: nothing here knows how scopes come out of rows.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tidemark_shared::{
    catalog::{Catalog, Query},
    part,
    scope::Scope,
};

use crate::{
    relay::{RelayError, outbox},
    statement::{self, StatementError},
};

/// How long a change may wait for locks and run: it holds locks that others wait for.
const LIMITS: &str = "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '30s'";

/// What a statement may begin with. Nothing of that can end the transaction.
const CHANGES: [&str; 8] = [
    "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "WITH", "SELECT", "CALL",
];

/// What came of a change that was rolled back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// For each statement its first word, and how many rows it touched.
    pub statements: Vec<(String, u64)>,
    /// The scopes that it would invalidate; of parts the finest.
    pub scopes: Vec<Scope>,
}

/// Why a change can't be tried.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It is no SQL.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// It is no change of rows.
    #[error(
        "{0} is no change that can be tried; write one or more of INSERT, UPDATE, DELETE, MERGE, TRUNCATE, CALL, SELECT or WITH, without BEGIN and COMMIT: the change is rolled back in any case"
    )]
    NotAChange(String),
    /// PostgreSQL refuses the change.
    #[error("PostgreSQL refuses the change: {0}")]
    Refused(String),
    /// What the triggers recorded can't be read.
    #[error(transparent)]
    Outbox(#[from] RelayError),
    /// The database can't be asked.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Makes a change in a transaction that is rolled back, and tells what it would invalidate.
///
/// What is no part of the transaction stays: sequences go on, and others may have waited for the
/// rows that it locked.
///
/// # Errors
/// The SQL is no change, PostgreSQL refuses it, or can't be asked; nothing was changed then either.
pub async fn attempt(connection: &mut PgConnection, sql: &str) -> Result<Effect, ChangeError> {
    let statements = statement::split(sql)?;
    for (word, _) in &statements {
        if !CHANGES.contains(&word.as_str()) {
            return Err(ChangeError::NotAChange(word.clone()));
        }
    }
    // One snapshot: what others record meanwhile stays out of sight.
    let mut transaction = connection
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await?;
    let effect = in_transaction(&mut transaction, &statements).await;
    transaction.rollback().await?;
    effect
}

async fn in_transaction(
    connection: &mut PgConnection,
    statements: &[(String, &str)],
) -> Result<Effect, ChangeError> {
    sqlx::raw_sql(LIMITS).execute(&mut *connection).await?;
    // In this transaction's one snapshot no more of them will appear.
    let others = outbox::visible(connection).await?;
    let others: BTreeSet<i64> = others.into_iter().map(|row| row.id).collect();
    let mut ran = Vec::new();
    for (word, sql) in statements {
        // One statement at a time, by the protocol that takes no second one.
        let done = sqlx::query(AssertSqlSafe(*sql))
            .persistent(false)
            .execute(&mut *connection)
            .await
            .map_err(refused)?;
        ran.push((word.clone(), done.rows_affected()));
    }
    // Deferred triggers would otherwise fire at a commit, which never comes.
    sqlx::raw_sql("SET CONSTRAINTS ALL IMMEDIATE")
        .execute(&mut *connection)
        .await
        .map_err(refused)?;
    let recorded = outbox::visible(connection).await?;
    let own = recorded.into_iter().filter(|row| !others.contains(&row.id));
    let scopes: BTreeSet<_> = own.flat_map(|row| row.scopes).collect();
    let scopes: Vec<_> = scopes.into_iter().collect();
    Ok(Effect {
        statements: ran,
        scopes: part::finest(&scopes).into_iter().cloned().collect(),
    })
}

fn refused(error: sqlx::Error) -> ChangeError {
    match error {
        sqlx::Error::Database(error) => ChangeError::Refused(error.message().to_owned()),
        error => error.into(),
    }
}

/// What a scope's invalidation does to the queries of a catalog, e.g. `dashboard of org 42`.
#[must_use]
pub fn invalidated(catalog: &Catalog, scope: &Scope) -> Vec<String> {
    let queries = catalog.queries.values();
    let touched = queries.filter(|query| query.policy.is_cacheable() && query.depends_on(scope));
    touched
        .map(|Query { name, .. }| match scope {
            Scope::Table(_) => name.clone(),
            Scope::Member { family, id } => format!("{name} of {family} {id}"),
            Scope::Part { family, id, facets } => format!("{name} of {family} {id}, {facets}"),
            Scope::Family(family) => format!("{name} of every {family}"),
        })
        .collect()
}
