//! Whether what is installed is still what was planned.
//!
//! Besides dropped and disabled triggers there is what fires no trigger at all: a partition that is
//! attached or detached changes what its table shows. So the tables that share rows with a captured
//! one, and the transactions that made it so, are part of what has to be as it was planned.

use sqlx::{AssertSqlSafe, PgConnection};
use tidemark_shared::digest::Digest;

/// The links by which tables share rows with those in `$1`, as one text. A link that was removed
/// and made again is another one: `xmin` tells which transaction made it.
const LINKS: &str = "WITH RECURSIVE captured (oid) AS (
    SELECT DISTINCT to_regclass(name)::oid FROM unnest($1::text[]) AS name
), below (child, parent, made_by) AS (
    SELECT i.inhrelid, i.inhparent, i.xmin::text
    FROM captured c JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid
    UNION SELECT i.inhrelid, i.inhparent, i.xmin::text
    FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.child
), above (child, parent, made_by) AS (
    SELECT i.inhrelid, i.inhparent, i.xmin::text
    FROM captured c JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
    UNION SELECT i.inhrelid, i.inhparent, i.xmin::text
    FROM above a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.parent
)
SELECT md5(coalesce(string_agg(concat_ws(' ', child, parent, made_by), ',' ORDER BY child, parent), ''))
FROM (SELECT * FROM below UNION SELECT * FROM above) AS links";

/// Whether an installation is recorded (`$2`: its digest), and the tables that share rows with those
/// in `$1` do so by the links of `$3`. Cheap enough for every look at the outbox, and exact there: in
/// the snapshot that has a row of the outbox, it has everything that fired no trigger before.
pub(crate) fn unchanged() -> String {
    format!("(coalesce((SELECT digest = $2 FROM tidemark.installed), false) AND ({LINKS}) = $3)")
}

/// What has to be found in the database.
#[derive(Debug)]
pub(super) struct Planned {
    /// The captured tables' names, with schema and quoted.
    pub(super) tables: Vec<String>,
    /// The relation and name of each trigger.
    pub(super) triggers: Vec<(String, String)>,
    /// What [`links`] said.
    pub(super) links: String,
}

/// Names the tables that share rows with these, at this moment.
pub(super) async fn links(
    connection: &mut PgConnection,
    tables: &[String],
) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(LINKS)
        .bind(tables)
        .fetch_one(connection)
        .await
}

impl Planned {
    /// Whether an installation of this digest is in place: its triggers are where they have to be
    /// (they stay with a table that is renamed), fire whatever `session_replication_role` says, and
    /// cover all tables that share rows. One statement.
    pub(super) async fn is_in_place(
        &self,
        connection: &mut PgConnection,
        digest: &Digest,
    ) -> Result<bool, sqlx::Error> {
        let (relations, names): (Vec<_>, Vec<_>) = self.triggers.iter().cloned().unzip();
        let in_place = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT {unchanged}
               AND cardinality($4::text[]) = (
                 WITH planned AS MATERIALIZED (
                   SELECT to_regclass(relation)::oid AS relation, name::name AS name
                   FROM unnest($4::text[], $5::text[]) AS planned (relation, name)
                 )
                 -- OFFSET keeps it one look-up for each, however many partitions there are.
                 SELECT count(*) FROM planned CROSS JOIN LATERAL (
                   SELECT FROM pg_catalog.pg_trigger t
                   JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
                   WHERE t.tgrelid = planned.relation AND t.tgname = planned.name
                     AND p.pronamespace = 'tidemark'::regnamespace AND t.tgenabled = 'A' OFFSET 0
                 ) AS firing)",
            unchanged = unchanged()
        )))
        .bind(&self.tables)
        .bind(digest.to_string())
        .bind(&self.links)
        .bind(relations)
        .bind(names)
        .fetch_one(connection)
        .await;
        match in_place {
            // The schema or one of its tables is not there.
            Err(sqlx::Error::Database(error))
                if matches!(error.code().as_deref(), Some("42P01" | "3F000")) =>
            {
                Ok(false)
            }
            in_place => in_place,
        }
    }
}
