//! The triggers of one table: which scopes its changed rows touch, and how they are recorded.
//!
//! Statement-level triggers with transition tables: their cost is a statement's, not a row's. Such
//! a trigger serves one operation only, so there is one for each, all calling one function.
//!
//! They record rows in the outbox and do no `NOTIFY`: its lock at commit serialises all writers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use sqlx::PgConnection;
use tidemark_shared::catalog::{Capture, FamilySource};

use super::{
    literal, quoted_part,
    relation::{self, ForeignKey, PathError, Relation},
};

/// A statement that touches more members of a family than this records the family as a whole.
const FOLD_AT: u32 = 1_000;

/// What a table has a trigger for.
const OPERATIONS: [&str; 4] = ["insert", "update", "delete", "truncate"];

/// Drops the functions of an earlier installation, and with them their triggers.
pub(super) const DROP_ALL: &str = r"DO $$
DECLARE
    capture regprocedure;
BEGIN
    FOR capture IN
        SELECT oid FROM pg_catalog.pg_proc
        WHERE pronamespace = 'tidemark'::regnamespace AND proname LIKE 'capture %'
    LOOP
        EXECUTE 'DROP FUNCTION ' || capture || ' CASCADE';
    END LOOP;
END $$;
";

/// Counts those of the planned triggers ($1: relations, $2: names) that are in place and fire
/// whatever `session_replication_role` says. A trigger stays with its table when that is renamed,
/// so each is looked for where it has to be.
pub(super) const COUNT_FIRING: &str = "SELECT count(*)
    FROM unnest($1::text[], $2::text[]) AS planned (relation, name)
    JOIN pg_catalog.pg_trigger t
      ON t.tgrelid = to_regclass(planned.relation) AND t.tgname = planned.name::name
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    WHERE p.pronamespace = 'tidemark'::regnamespace AND t.tgenabled = 'A'";

pub(super) enum TriggerError {
    Path(PathError),
    Database(sqlx::Error),
}

impl From<PathError> for TriggerError {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<sqlx::Error> for TriggerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// A table's capture.
pub(super) struct TableCapture {
    /// The SQL that makes its function and triggers.
    pub(super) sql: String,
    /// The relation and name of each trigger.
    pub(super) triggers: Vec<(String, String)>,
}

/// Works out the capture of one table, and of its partitions and inheriting tables: who writes to
/// one of those by its own name fires no trigger of the parent, and yet changes what it shows.
pub(super) async fn for_table(
    connection: &mut PgConnection,
    table: &str,
    capture: &Capture,
) -> Result<TableCapture, TriggerError> {
    let relation = relation(connection, table).await?;
    let mut families = Vec::with_capacity(capture.families.len());
    for source in &capture.families {
        families.push(Family {
            name: &source.family,
            steps: resolve(connection, table, source).await?,
            column: &source.column,
        });
    }
    let mut sql = function(table, capture.whole_table, &families);
    let descendants = relation::descendants(connection, &relation).await?;
    let mut planned = Vec::new();
    for relation in std::iter::once(&relation).chain(&descendants) {
        sql.push_str(&triggers(table, &relation.sql_name));
        for operation in OPERATIONS {
            planned.push((relation.sql_name.clone(), trigger_name(operation, table)));
        }
    }
    Ok(TableCapture {
        sql,
        triggers: planned,
    })
}

/// A family and the way from a row to its member.
struct Family<'a> {
    name: &'a str,
    steps: Vec<Step>,
    column: &'a str,
}

/// One foreign key on that way, and the quoted name of the table that it leads to.
struct Step {
    key: ForeignKey,
    to: String,
}

async fn relation(connection: &mut PgConnection, table: &str) -> Result<Relation, TriggerError> {
    let relation = relation::find(connection, table).await?;
    Ok(relation.ok_or_else(|| PathError::NoTable {
        table: table.to_owned(),
    })?)
}

/// Follows a family's path through the database, step by step.
async fn resolve(
    connection: &mut PgConnection,
    table: &str,
    source: &FamilySource,
) -> Result<Vec<Step>, TriggerError> {
    let (mut name, mut here) = (table, relation(connection, table).await?);
    let mut steps = Vec::with_capacity(source.via.len());
    for next in &source.via {
        let there = relation(connection, next).await?;
        let keys = relation::between(connection, &here, &there).await?;
        let [key] = <[ForeignKey; 1]>::try_from(keys).map_err(|keys| PathError::ForeignKeys {
            count: keys.len(),
            from: name.to_owned(),
            to: next.clone(),
        })?;
        steps.push(Step {
            key,
            to: there.sql_name.clone(),
        });
        (name, here) = (next, there);
    }
    if !relation::has_column(connection, &here, &source.column).await? {
        return Err(PathError::NoColumn {
            table: name.to_owned(),
            column: source.column.clone(),
        }
        .into());
    }
    Ok(steps)
}

fn function_name(table: &str) -> String {
    format!("tidemark.{}", quoted_part(&format!("capture {table}")))
}

fn function(table: &str, whole_table: bool, families: &[Family<'_>]) -> String {
    let record = |transitions: &[&str]| record(table, whole_table, families, transitions);
    format!(
        "CREATE FUNCTION {name}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $capture$
BEGIN
  IF TG_OP = 'INSERT' THEN
{insert}
  ELSIF TG_OP = 'UPDATE' THEN
{update}
  ELSIF TG_OP = 'DELETE' THEN
{delete}
  ELSE
{truncate}
  END IF;
  RETURN NULL;
END
$capture$;
",
        name = function_name(table),
        insert = record(&["new_rows"]),
        update = record(&["old_rows", "new_rows"]),
        delete = record(&["old_rows"]),
        truncate = record_truncate(table, whole_table, families),
    )
}

fn trigger_name(operation: &str, table: &str) -> String {
    format!("tidemark {operation} {table}")
}

/// The triggers of one relation. Their names hold the table's, since a partition may be captured
/// for its own sake as well.
fn triggers(table: &str, relation: &str) -> String {
    let function = function_name(table);
    let mut sql = String::new();
    for operation in OPERATIONS {
        let referencing = match operation {
            "insert" => " REFERENCING NEW TABLE AS new_rows",
            "update" => " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
            "delete" => " REFERENCING OLD TABLE AS old_rows",
            _ => "",
        };
        let name = quoted_part(&trigger_name(operation, table));
        // Writing to a string can't fail.
        let _ = write!(
            sql,
            "CREATE TRIGGER {name} AFTER {operation} ON {relation}{referencing}\n  \
             FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n\
             ALTER TABLE {relation} ENABLE ALWAYS TRIGGER {name};\n"
        );
    }
    sql
}

/// Records the scopes of the rows in these transition tables.
fn record(table: &str, whole_table: bool, families: &[Family<'_>], transitions: &[&str]) -> String {
    let mut sql = String::new();
    if whole_table {
        let touched: Vec<_> = transitions
            .iter()
            .map(|rows| format!("EXISTS (SELECT FROM {rows})"))
            .collect();
        let _ = writeln!(
            sql,
            "    INSERT INTO tidemark.outbox (kind, name) SELECT 't', {} WHERE {};",
            literal(table),
            touched.join(" OR ")
        );
    }
    for family in families {
        let members: Vec<_> = transitions
            .iter()
            .map(|rows| members(family, rows))
            .collect();
        // LIMIT bounds the work as well as the result: one more than FOLD_AT is enough to know.
        let _ = writeln!(
            sql,
            "    WITH members AS MATERIALIZED (
      SELECT DISTINCT member FROM ({members}) AS touched WHERE member IS NOT NULL LIMIT {limit}
    ), folds AS (SELECT count(*) > {FOLD_AT} AS yes FROM members)
    INSERT INTO tidemark.outbox (kind, name, member)
      SELECT 'f', {name}, NULL FROM folds WHERE yes
      UNION ALL SELECT 'm', {name}, member FROM members, folds WHERE NOT yes;",
            members = members.join(" UNION ALL "),
            limit = FOLD_AT + 1,
            name = literal(family.name),
        );
    }
    sql
}

/// The members of a family that the rows of a transition table belong to.
fn members(family: &Family<'_>, rows: &str) -> String {
    let mut joins = String::new();
    let mut here = "r".to_owned();
    for (number, step) in family.steps.iter().enumerate() {
        let next = format!("p{number}");
        let on: Vec<_> = step
            .key
            .columns
            .iter()
            .map(|(from, to)| format!("{next}.{} = {here}.{}", quoted_part(to), quoted_part(from)))
            .collect();
        let _ = write!(joins, " JOIN {} {next} ON {}", step.to, on.join(" AND "));
        here = next;
    }
    format!(
        "SELECT {here}.{}::text AS member FROM {rows} r{joins}",
        quoted_part(family.column)
    )
}

/// Records every scope that a captured table could touch.
pub(super) fn invalidate_all(captures: &BTreeMap<&str, Capture>) -> String {
    let mut scopes = BTreeSet::new();
    for (table, capture) in captures {
        if capture.whole_table {
            scopes.insert(format!("('t', {})", literal(table)));
        }
        for family in &capture.families {
            scopes.insert(format!("('f', {})", literal(&family.family)));
        }
    }
    if scopes.is_empty() {
        return String::new();
    }
    let scopes: Vec<_> = scopes.into_iter().collect();
    format!(
        "INSERT INTO tidemark.outbox (kind, name) VALUES {};\n",
        scopes.join(", ")
    )
}

fn record_truncate(table: &str, whole_table: bool, families: &[Family<'_>]) -> String {
    let mut scopes = Vec::new();
    if whole_table {
        scopes.push(format!("('t', {})", literal(table)));
    }
    for family in families {
        scopes.push(format!("('f', {})", literal(family.name)));
    }
    format!(
        "    INSERT INTO tidemark.outbox (kind, name) VALUES {};",
        scopes.join(", ")
    )
}
