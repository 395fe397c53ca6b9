//! Foreign keys, as PostgreSQL knows them: the steps from a row to the family it belongs to.

use sqlx::PgConnection;

use super::quoted;

/// A foreign key between two tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The referring columns and, in the same order, the columns they refer to.
    pub columns: Vec<(String, String)>,
}

/// Why rows of a table can't tell which member they belong to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No such table, or not an ordinary one.
    #[error("{table:?} is no table of this database; correct its name, or create it first")]
    NoTable {
        /// The name, as the catalog has it.
        table: String,
    },
    /// No such column.
    #[error("{table:?} has no column {column:?}; correct the scope in [table.{table}]")]
    NoColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// No foreign key, or more than one.
    #[error("{count} foreign keys lead from {from:?} to {to:?}, and the scope needs exactly one")]
    ForeignKeys {
        /// How many there are.
        count: usize,
        /// The referring table.
        from: String,
        /// The table referred to.
        to: String,
    },
}

/// The OID of an ordinary or partitioned table by the catalog's name for it.
pub(super) async fn table_oid(
    connection: &mut PgConnection,
    table: &str,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT oid::bigint FROM pg_catalog.pg_class
         WHERE oid = to_regclass($1) AND relkind IN ('r', 'p')",
    )
    .bind(quoted(table))
    .fetch_optional(connection)
    .await
}

/// Whether a table has a column.
pub(super) async fn has_column(
    connection: &mut PgConnection,
    table: i64,
    column: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute
         WHERE attrelid = $1::bigint::oid AND attname = $2 AND attnum > 0 AND NOT attisdropped)",
    )
    .bind(table)
    .bind(column)
    .fetch_one(connection)
    .await
}

/// All foreign keys from one table to another.
pub(super) async fn between(
    connection: &mut PgConnection,
    from: i64,
    to: i64,
) -> Result<Vec<ForeignKey>, sqlx::Error> {
    let keys: Vec<(Vec<String>, Vec<String>)> = sqlx::query_as(
        "SELECT array_agg(a.attname::text ORDER BY k.n), array_agg(b.attname::text ORDER BY k.n)
         FROM pg_catalog.pg_constraint c
         CROSS JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY AS k (here, there, n)
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.here
         JOIN pg_catalog.pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.there
         WHERE c.contype = 'f' AND c.conrelid = $1::bigint::oid AND c.confrelid = $2::bigint::oid
           AND c.conparentid = 0
         GROUP BY c.oid, c.conname
         ORDER BY c.conname",
    )
    .bind(from)
    .bind(to)
    .fetch_all(connection)
    .await?;
    Ok(keys
        .into_iter()
        .map(|(here, there)| ForeignKey {
            columns: here.into_iter().zip(there).collect(),
        })
        .collect())
}
