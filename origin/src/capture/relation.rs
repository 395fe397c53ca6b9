//! Tables as PostgreSQL knows them: their columns, their foreign keys, what inherits from what.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::{CaptureError, PathError, name::quoted};

/// A table as PostgreSQL knows it.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    /// The table, as the catalog names it.
    pub(super) name: String,
    /// What PostgreSQL tells it by.
    pub(super) oid: i64,
    /// Its name with its schema, quoted: right whatever the `search_path`.
    pub(super) sql_name: String,
}

/// A table whose writes may change what another one shows.
#[derive(Clone, Debug)]
pub(super) struct Relative {
    /// Its name with its schema, quoted.
    pub(super) sql_name: String,
    /// Whether the captured table is a partition of it, or inherits from it.
    pub(super) above: bool,
    /// Whether its rows have the columns of the captured table: all of them do, but those that an
    /// ordinary table inherits from.
    pub(super) same_columns: bool,
}

/// A column whose texts may tell members or keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its type, for people.
    pub(super) shown_type: String,
    /// Its type without domains, with its schema, quoted.
    pub(super) sql_type: String,
    /// What kind of texts it has.
    pub(super) texts: Texts,
}

/// The texts of a type, as far as it has exactly one for each value, in every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texts {
    /// Of integers.
    Integer,
    /// Of UUIDs.
    Uuid,
    /// Of texts, and the words of an enum type: themselves.
    Text,
    /// `true` and `false`.
    Bool,
    /// Of days; they depend on settings, unless they are asked for in one form.
    Day,
    /// Not one for each value, or dependent on settings.
    Unstable,
}

/// The foreign key between two tables, as seen from one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its columns in this table.
    pub(super) here: Vec<String>,
    /// The columns in the other one that have the same values, in the same order.
    pub(super) there: Vec<String>,
    /// Which of the tables refers to the other.
    pub(super) direction: Direction,
    /// Whether the referring columns have an index.
    pub(super) is_indexed: bool,
}

/// Which way a foreign key is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the one row that a row refers to.
    Referred,
    /// To all rows that refer to it.
    Referring,
}

/// A column of a unique index, and the operator by which the index tells its values apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyColumn {
    pub(super) name: String,
    /// As it stands between two operands.
    pub(super) equals: String,
}

impl Relation {
    /// The ordinary or partitioned table that the catalog's name stands for.
    pub(super) async fn find(
        connection: &mut PgConnection,
        table: &str,
    ) -> Result<Option<Self>, sqlx::Error> {
        let found: Option<(i64, String)> = sqlx::query_as(
            "SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname)
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p')",
        )
        .bind(quoted(table))
        .fetch_optional(connection)
        .await?;
        Ok(found.map(|(oid, sql_name)| Self {
            name: table.to_owned(),
            oid,
            sql_name,
        }))
    }

    /// As [`Relation::find`], for a table that has to be there.
    pub(super) async fn named(
        connection: &mut PgConnection,
        table: &str,
    ) -> Result<Self, CaptureError> {
        Self::find(connection, table).await?.ok_or_else(|| {
            CaptureError::of(
                table,
                PathError::NoTable {
                    table: table.to_owned(),
                },
            )
        })
    }

    /// The tables that share rows with this one: its partitions and inheriting tables, at every
    /// level, and those that it is a partition of or inherits from. A statement fires the triggers
    /// of the table that it names and of no other.
    pub(super) async fn relatives(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Vec<Relative>, sqlx::Error> {
        let found: Vec<(String, bool, bool)> = sqlx::query_as(
            "WITH RECURSIVE below (oid) AS (
                 SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = $1::bigint::oid
                 UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN below b ON i.inhparent = b.oid
             ), above (oid) AS (
                 SELECT inhparent FROM pg_catalog.pg_inherits WHERE inhrelid = $1::bigint::oid
                 UNION SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN above a ON i.inhrelid = a.oid
             )
             SELECT format('%I.%I', n.nspname, c.relname), relatives.above, NOT relatives.above OR c.relkind = 'p'
             FROM (SELECT oid, false AS above FROM below UNION SELECT oid, true FROM above) relatives
             JOIN pg_catalog.pg_class c ON c.oid = relatives.oid
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') ORDER BY 1",
        )
        .bind(self.oid)
        .fetch_all(connection)
        .await?;
        Ok(found
            .into_iter()
            .map(|(sql_name, above, same_columns)| Relative {
                sql_name,
                above,
                same_columns,
            })
            .collect())
    }

    /// A column by its name.
    pub(super) async fn column(
        &self,
        connection: &mut PgConnection,
        column: &str,
    ) -> Result<Option<Column>, sqlx::Error> {
        let found: Option<(String, String, String, bool)> = sqlx::query_as(
            "WITH RECURSIVE type (oid) AS (
                 SELECT a.atttypid FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = $1::bigint::oid AND a.attname = $2
                   AND a.attnum > 0 AND NOT a.attisdropped
                 UNION ALL
                 SELECT t.typbasetype FROM type JOIN pg_catalog.pg_type t ON t.oid = type.oid
                 WHERE t.typtype = 'd'
             )
             SELECT format_type(a.atttypid, a.atttypmod), format('%I.%I', n.nspname, t.typname),
                    CASE WHEN t.typtype = 'e' THEN 'enum'
                         WHEN n.nspname = 'pg_catalog' THEN t.typname ELSE '' END,
                    coalesce(c.collisdeterministic, true)
             FROM pg_catalog.pg_attribute a
             CROSS JOIN type JOIN pg_catalog.pg_type t ON t.oid = type.oid AND t.typtype <> 'd'
             JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
             LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
             WHERE a.attrelid = $1::bigint::oid AND a.attname = $2",
        )
        .bind(self.oid)
        .bind(column)
        .fetch_optional(connection)
        .await?;
        Ok(
            found.map(|(shown_type, sql_type, base, deterministic)| Column {
                shown_type: if deterministic {
                    shown_type
                } else {
                    format!("{shown_type} with a nondeterministic collation")
                },
                sql_type,
                texts: match base.as_str() {
                    "int2" | "int4" | "int8" => Texts::Integer,
                    "uuid" => Texts::Uuid,
                    "text" | "varchar" if deterministic => Texts::Text,
                    "enum" => Texts::Text,
                    "bool" => Texts::Bool,
                    "date" => Texts::Day,
                    _ => Texts::Unstable,
                },
            }),
        )
    }

    /// The names of all columns.
    pub(super) async fn columns(
        &self,
        connection: &mut PgConnection,
    ) -> Result<BTreeSet<String>, sqlx::Error> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT attname::text FROM pg_catalog.pg_attribute
             WHERE attrelid = $1::bigint::oid AND attnum > 0 AND NOT attisdropped",
        )
        .bind(self.oid)
        .fetch_all(connection)
        .await?;
        Ok(names.into_iter().collect())
    }

    /// Columns that tell the rows of this table apart, also while a statement's triggers run: those
    /// of its primary key or another unique index that is immediate and covers all rows. None if
    /// there are none, or other tables share its rows so that no index covers them all.
    ///
    /// No column that an action of a foreign key may change: a cascade may update one row several
    /// times under one trigger, and then its key must not have been several others in between.
    pub(super) async fn key(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Vec<KeyColumn>, sqlx::Error> {
        let columns: Vec<(String, String)> = sqlx::query_as(
            "WITH key AS (
                 SELECT i.* FROM pg_catalog.pg_index i
                 JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
                 JOIN pg_catalog.pg_class r ON r.oid = i.indrelid
                 JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname = 'btree'
                 WHERE i.indrelid = $1::bigint::oid AND i.indisunique AND i.indisvalid
                   AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h
                        WHERE h.inhrelid = r.oid OR (h.inhparent = r.oid AND r.relkind = 'r'))
                   AND NOT EXISTS (SELECT FROM generate_series(0, i.indnkeyatts - 1) AS n
                        JOIN pg_catalog.pg_attribute a
                          ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n]
                        WHERE NOT a.attnotnull OR EXISTS (SELECT FROM pg_catalog.pg_constraint f
                            WHERE f.contype = 'f' AND f.conrelid = i.indrelid
                              AND a.attnum = ANY (f.conkey)
                              AND (f.confupdtype NOT IN ('a', 'r') OR f.confdeltype IN ('n', 'd'))))
                 ORDER BY i.indisprimary DESC, i.indnkeyatts, c.relname
                 LIMIT 1
             )
             SELECT a.attname::text, format('OPERATOR(%I.%s)', s.nspname, o.oprname)
             FROM key CROSS JOIN generate_series(0, key.indnkeyatts - 1) AS n
             JOIN pg_catalog.pg_attribute a ON a.attrelid = key.indrelid AND a.attnum = key.indkey[n]
             JOIN pg_catalog.pg_opclass c ON c.oid = key.indclass[n]
             JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
              AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
             JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
             JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
             ORDER BY n",
        )
        .bind(self.oid)
        .fetch_all(connection)
        .await?;
        Ok(columns
            .into_iter()
            .map(|(name, equals)| KeyColumn { name, equals })
            .collect())
    }

    /// The one foreign key between this table and another. A table that refers to itself is
    /// followed to what is referred to.
    pub(super) async fn link_to(
        &self,
        connection: &mut PgConnection,
        there: &Self,
    ) -> Result<Link, CaptureError> {
        // A partition has its own copy of its table's foreign key, with a parent; so has a foreign
        // key one for each partition of what it refers to, which is no key of its own.
        let keys: Vec<(bool, Vec<String>, Vec<String>, bool)> = sqlx::query_as(
            "SELECT c.conrelid = $1::bigint::oid,
                    array_agg(a.attname::text ORDER BY k.n), array_agg(b.attname::text ORDER BY k.n),
                    EXISTS (SELECT FROM pg_catalog.pg_index i
                        WHERE i.indrelid = c.conrelid AND i.indisvalid AND i.indpred IS NULL
                          AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey)
             FROM pg_catalog.pg_constraint c
             CROSS JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY AS k (referring, referred, n)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.referring
             JOIN pg_catalog.pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.referred
             WHERE c.contype = 'f'
               AND (c.conrelid, c.confrelid) IN (($1::bigint::oid, $2::bigint::oid), ($2::bigint::oid, $1::bigint::oid))
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint p
                   WHERE p.oid = c.conparentid AND p.conrelid = c.conrelid)
             GROUP BY c.oid ORDER BY c.conname",
        )
        .bind(self.oid)
        .bind(there.oid)
        .fetch_all(connection)
        .await?;
        let count = keys.len();
        let Ok([(refers, referring, referred, is_indexed)]) = <[_; 1]>::try_from(keys) else {
            return Err(CaptureError::of(
                &self.name,
                PathError::ForeignKeys {
                    count,
                    here: self.name.clone(),
                    there: there.name.clone(),
                },
            ));
        };
        Ok(if refers {
            Link {
                here: referring,
                there: referred,
                direction: Direction::Referred,
                is_indexed,
            }
        } else {
            Link {
                here: referred,
                there: referring,
                direction: Direction::Referring,
                is_indexed,
            }
        })
    }

    /// Whether row-level security would hide rows of this table from the role that capture runs
    /// as: the one that has installed it or, before that, the current one. An owner, which that
    /// role is, is subject to it only where it is forced.
    pub(super) async fn hides_rows(
        &self,
        connection: &mut PgConnection,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT c.relrowsecurity AND c.relforcerowsecurity AND NOT (r.rolsuper OR r.rolbypassrls)
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_roles r ON r.oid = coalesce(
                 (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'tidemark'),
                 current_user::regrole::oid)
             WHERE c.oid = $1::bigint::oid",
        )
        .bind(self.oid)
        .fetch_one(connection)
        .await
    }
}
