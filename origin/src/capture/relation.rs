//! Tables as PostgreSQL knows them, and the foreign keys between them: the steps from a row to the
//! family it belongs to.

use sqlx::PgConnection;

use super::quoted;

/// A foreign key between two tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForeignKey {
    /// The referring columns and, in the same order, the columns they refer to.
    pub(super) columns: Vec<(String, String)>,
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

/// A table as PostgreSQL knows it.
pub(super) struct Relation {
    oid: i64,
    /// Its name with its schema, quoted: right whatever the `search_path`.
    pub(super) sql_name: String,
}

/// The ordinary or partitioned table that the catalog's name stands for.
pub(super) async fn find(
    connection: &mut PgConnection,
    table: &str,
) -> Result<Option<Relation>, sqlx::Error> {
    let found: Option<(i64, String)> = sqlx::query_as(
        "SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p')",
    )
    .bind(quoted(table))
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|(oid, sql_name)| Relation { oid, sql_name }))
}

/// The partitions and inheriting tables of a table, at every level.
pub(super) async fn descendants(
    connection: &mut PgConnection,
    table: &Relation,
) -> Result<Vec<Relation>, sqlx::Error> {
    let found: Vec<(i64, String)> = sqlx::query_as(
        "WITH RECURSIVE below (oid) AS (
             SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = $1::bigint::oid
             UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN below ON i.inhparent = below.oid
         )
         SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname)
         FROM below JOIN pg_catalog.pg_class c ON c.oid = below.oid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') ORDER BY 2",
    )
    .bind(table.oid)
    .fetch_all(connection)
    .await?;
    Ok(found
        .into_iter()
        .map(|(oid, sql_name)| Relation { oid, sql_name })
        .collect())
}

/// Whether a table has a column.
pub(super) async fn has_column(
    connection: &mut PgConnection,
    table: &Relation,
    column: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute
         WHERE attrelid = $1::bigint::oid AND attname = $2 AND attnum > 0 AND NOT attisdropped)",
    )
    .bind(table.oid)
    .bind(column)
    .fetch_one(connection)
    .await
}

/// All foreign keys from one table to another.
pub(super) async fn between(
    connection: &mut PgConnection,
    from: &Relation,
    to: &Relation,
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
    .bind(from.oid)
    .bind(to.oid)
    .fetch_all(connection)
    .await?;
    Ok(keys
        .into_iter()
        .map(|(here, there)| ForeignKey {
            columns: here.into_iter().zip(there).collect(),
        })
        .collect())
}
