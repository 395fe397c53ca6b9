//! What PostgreSQL's catalogs tell of views, relations and functions.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::unseen::Function;

/// A relation as a view refers to it.
pub(super) struct Relation {
    pub(super) oid: i64,
    /// `pg_class.relkind`.
    pub(super) kind: String,
    /// Its name, with the schema if the `search_path` does not lead to it.
    pub(super) name: String,
    /// Its name with the schema.
    pub(super) qualified: String,
    /// Whether row-level security restricts the role by which it is read.
    pub(super) secured: bool,
    /// If it is a view: the role by which it reads what it shows.
    pub(super) reader: i64,
}

/// What is stored of a view.
pub(super) struct Rule {
    /// Relations and the names of their columns that the view depends on.
    pub(super) columns: Vec<(i64, String)>,
    /// The rule tree.
    pub(super) tree: String,
}

/// A table that is used, and one that it descends from, or itself.
pub(super) struct Lineage {
    pub(super) used: i64,
    pub(super) ancestor: i64,
    /// Whether the ancestor descends from no other.
    pub(super) is_topmost: bool,
    /// The ancestor's name, with the schema if the `search_path` does not lead to it.
    pub(super) name: String,
    /// The ancestor's columns.
    pub(super) columns: Vec<String>,
}

pub(super) async fn own_role(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT oid::bigint FROM pg_catalog.pg_roles WHERE rolname = current_user")
        .fetch_one(connection)
        .await
}

pub(super) async fn rule(connection: &mut PgConnection, view: i64) -> Result<Rule, sqlx::Error> {
    let (rule, tree): (i64, String) = sqlx::query_as(
        "SELECT oid::bigint, ev_action::text FROM pg_catalog.pg_rewrite
         WHERE ev_class = $1::bigint::oid AND ev_type = '1'",
    )
    .bind(view)
    .fetch_one(&mut *connection)
    .await?;
    let columns = sqlx::query_as(
        "SELECT d.refobjid::bigint, a.attname::text
         FROM pg_catalog.pg_depend d
         JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
         WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = $1::bigint::oid
           AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0",
    )
    .bind(rule)
    .fetch_all(connection)
    .await?;
    Ok(Rule { columns, tree })
}

/// The relations with these OIDs, as this role reads them.
pub(super) async fn relations(
    connection: &mut PgConnection,
    oids: &BTreeSet<i64>,
    role: i64,
) -> Result<Vec<Relation>, sqlx::Error> {
    let rows: Vec<(i64, String, String, String, bool, i64)> = sqlx::query_as(
        "SELECT c.oid::bigint, c.relkind::text,
                CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname::text
                     ELSE n.nspname || '.' || c.relname END,
                n.nspname || '.' || c.relname,
                c.relrowsecurity
                    AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles
                                    WHERE oid = $2::bigint::oid AND (rolsuper OR rolbypassrls))
                    AND (c.relforcerowsecurity
                         OR NOT pg_catalog.pg_has_role($2::bigint::oid, c.relowner, 'USAGE')),
                CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_options_to_table(c.reloptions)
                                  WHERE option_name = 'security_invoker' AND option_value::boolean)
                     THEN $2::bigint ELSE c.relowner::bigint END
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = ANY ($1::bigint[]::oid[])",
    )
    .bind(list(oids))
    .bind(role)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(oid, kind, name, qualified, secured, reader)| Relation {
            oid,
            kind,
            name,
            qualified,
            secured,
            reader,
        })
        .collect())
}

/// The foreign tables among the partitions and inheriting tables of these: name as the
/// `search_path` has it, and name with schema.
pub(super) async fn foreign_below(
    connection: &mut PgConnection,
    tables: &[i64],
) -> Result<Vec<(String, String)>, sqlx::Error> {
    sqlx::query_as(
        "WITH RECURSIVE below (oid) AS (
             SELECT unnest($1::bigint[])::oid
             UNION SELECT i.inhrelid FROM below
             JOIN pg_catalog.pg_inherits i ON i.inhparent = below.oid
         )
         SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname::text
                     ELSE n.nspname || '.' || c.relname END,
                n.nspname || '.' || c.relname
         FROM below JOIN pg_catalog.pg_class c ON c.oid = below.oid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'f'",
    )
    .bind(tables)
    .fetch_all(connection)
    .await
}

/// These tables, each with itself and everything that it is a partition of or inherits from.
pub(super) async fn lineages(
    connection: &mut PgConnection,
    tables: &[i64],
) -> Result<Vec<Lineage>, sqlx::Error> {
    let rows: Vec<(i64, i64, bool, String, Vec<String>)> = sqlx::query_as(
        "WITH RECURSIVE up (used, ancestor) AS (
             SELECT oid, oid FROM unnest($1::bigint[]) AS given (oid)
             UNION SELECT up.used, i.inhparent::bigint FROM up
             JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.ancestor::oid
         )
         SELECT up.used, up.ancestor,
                NOT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = up.ancestor::oid),
                CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname::text
                     ELSE n.nspname || '.' || c.relname END,
                ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute
                      WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
         FROM up JOIN pg_catalog.pg_class c ON c.oid = up.ancestor::oid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
    )
    .bind(tables)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(used, ancestor, is_topmost, name, columns)| Lineage {
            used,
            ancestor,
            is_topmost,
            name,
            columns,
        })
        .collect())
}

/// The functions with these OIDs, those behind the operators, and those that aggregates are made of.
pub(super) async fn functions(
    connection: &mut PgConnection,
    functions: &BTreeSet<i64>,
    operators: &BTreeSet<i64>,
) -> Result<Vec<Function>, sqlx::Error> {
    let rows: Vec<(i64, String, String, String, String)> = sqlx::query_as(
        "WITH used (oid) AS (
             SELECT unnest($1::bigint[])::oid
             UNION SELECT oprcode FROM pg_catalog.pg_operator WHERE oid = ANY ($2::bigint[]::oid[])
         ), behind (oid) AS (
             SELECT oid FROM used
             UNION SELECT f FROM pg_catalog.pg_aggregate a JOIN used ON used.oid = a.aggfnoid
             CROSS JOIN LATERAL unnest(ARRAY[aggtransfn, aggfinalfn, aggmtransfn, aggmfinalfn]::oid[]) AS f
         )
         SELECT p.oid::bigint, n.nspname::text, p.proname::text, oidvectortypes(p.proargtypes),
                p.provolatile::text
         FROM behind JOIN pg_catalog.pg_proc p ON p.oid = behind.oid
         JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace",
    )
    .bind(list(functions))
    .bind(list(operators))
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(oid, schema, name, arguments, volatility)| Function {
            oid,
            schema,
            name,
            arguments,
            volatility,
        })
        .collect())
}

fn list(oids: &BTreeSet<i64>) -> Vec<i64> {
    oids.iter().copied().collect()
}
