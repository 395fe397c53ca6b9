//! Capture: the outbox, and the triggers that write every change's scopes to it.
//!
//! The triggers run in the writer's own transaction, whoever the writer is: `psql`, a migration,
//! another service. What they record commits or rolls back with the change itself.
//!
//! # Rows that belong to a member along foreign keys
//!
//! Whose row an order's item is, its order tells; and the order may be moving to another member in
//! a transaction that is still open, which the item's writer can't see and must not wait for. So
//! the item's trigger does not look. It records the *keys* that its old and new rows refer to, and
//! the relay resolves them when it drains the outbox, in the very snapshot in which it reads the
//! rows ([`path`]). That misses nothing. Say an answer of member M was read in a snapshot F without
//! an item's change, and the change is drained in a later snapshot S:
//!
//! - if the item's order belongs to M in S, the key resolves to M;
//! - if it does not, but did in F, it has moved between the two, and the move has recorded M, with
//!   the change of the order itself. That is in S as well, and was not in F;
//! - if it did in neither, the item, as far as the change goes, was never in M's answer.
//!
//! A row that is gone resolves to nothing: its deletion has recorded its member. Several steps
//! resolve along the chain, each table on the way recording its own moves.
//!
//! # Updates that change no answer
//!
//! An update of columns that no query uses, and that decide about no membership, records nothing
//! ([`function`]).

mod function;
mod name;
mod path;
mod relation;
mod trigger;
mod verification;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tidemark_shared::{
    catalog::{Capture, Catalog},
    digest::Digest,
};

use crate::usage::Columns;
use function::{Target, Updates};
use name::literal;
pub(crate) use name::quoted;
use relation::Relation;
use verification::Planned;
pub(crate) use verification::unchanged;

/// The schema, outbox and bookkeeping tables; safe to run again.
const SCHEMA: &str = include_str!("schema.sql");

/// Everything that `install` would do for one catalog on one database.
#[derive(Debug)]
pub struct Installation {
    /// The tables with triggers, as the catalog names them.
    pub tables: Vec<String>,
    catalog: Catalog,
    uses: BTreeMap<String, Columns>,
    triggers: String,
    planned: Planned,
    digest: Digest,
}

/// What `install` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// It was all there already.
    Unchanged,
    /// Made or renewed.
    Renewed,
}

/// Why capture can't be installed, or is not what the catalog needs.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A table can't be captured as declared.
    #[error("table {table:?}: {source}")]
    Table {
        /// The table, as the catalog names it.
        table: String,
        /// Why.
        source: Box<PathError>,
    },
    /// The triggers are missing, disabled or of another catalog, or don't cover a partition.
    #[error(
        "the triggers in the database are not those of this catalog, or partitions have changed since they were made; run: tidemark-origin install"
    )]
    NotInstalled,
    /// PostgreSQL refused.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
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
    #[error("{table:?} has no column {column:?}; correct the scope that names it")]
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
    /// A member's column whose texts are not those of the parameter.
    #[error(
        "{table:?} has {column:?} of type {column_type}, but the member is the {param_type} parameter {param:?} of query {query:?}, and its text would not be the same; a member's column is smallint, integer or bigint for int, uuid for uuid, text, varchar or an enum type for text and enum"
    )]
    Member {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        column_type: String,
        /// A query whose scope is of that family.
        query: String,
        /// Its parameter.
        param: String,
        /// The parameter's type.
        param_type: String,
    },
    /// A foreign key on the path whose values have no single text.
    #[error(
        "the scope's path uses {table:?}.{column:?} of type {column_type}, whose values have no single text; a path's foreign keys are of smallint, integer, bigint, uuid, text, varchar, boolean or an enum type"
    )]
    Key {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        column_type: String,
    },
    /// Forced row-level security could hide rows on the path.
    #[error(
        "the scope's path leads through {table:?}, whose row-level security is forced and would hide rows; run: ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, or install as a role with BYPASSRLS"
    )]
    RowSecurity {
        /// The table.
        table: String,
    },
}

impl CaptureError {
    fn of(table: &str, source: PathError) -> Self {
        Self::Table {
            table: table.to_owned(),
            source: Box::new(source),
        }
    }
}

impl Installation {
    /// Works out the triggers that a catalog needs, looking up foreign keys in the database.
    ///
    /// `uses` has, for tables as the catalog names them, the columns that matter to any query: an
    /// update of others records nothing. Where it has no entry, every update counts.
    ///
    /// # Errors
    /// A table or column does not exist or is of a type that can't tell members, or there is no
    /// single foreign key along a declared path.
    pub async fn plan(
        connection: &mut PgConnection,
        catalog: &Catalog,
        uses: &BTreeMap<String, Columns>,
    ) -> Result<Self, CaptureError> {
        let captures = catalog.captures();
        let mut captured = Vec::new();
        let mut paths = BTreeMap::new();
        let mut deciding: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
        for (table, capture) in &captures {
            let relation = Relation::named(connection, table).await?;
            let mut marks = Vec::with_capacity(capture.families.len());
            for source in &capture.families {
                let resolved = path::resolve(connection, catalog, &relation, source).await?;
                marks.push(resolved.mark);
                if let Some(path) = resolved.path {
                    paths.insert(path.name().to_owned(), path);
                }
                for (table, columns) in resolved.deciding {
                    deciding.entry(table).or_default().extend(columns);
                }
            }
            captured.push((relation, capture, marks));
        }

        let tables: Vec<_> = captured
            .iter()
            .map(|(relation, ..)| relation.sql_name.clone())
            .collect();
        // Read before the relatives: one that comes in between is noticed by the next look.
        let links = verification::links(connection, &tables).await?;
        let mut sql = path::members_function(&paths);
        let mut triggers = Vec::new();
        for (relation, capture, marks) in captured {
            let relatives = relation.relatives(connection).await?;
            let decides = deciding.get(&relation.oid).cloned().unwrap_or_default();
            let matters = match uses.get(&relation.name) {
                // Only on a path: nothing else of its rows is in any answer.
                None if !capture.read => Columns::Named(BTreeSet::new()),
                None => Columns::All,
                Some(columns) => columns.clone(),
            };
            let target = Target {
                table: &relation.name,
                whole_table: capture.whole_table,
                marks,
                updates: updates(
                    connection,
                    &relation,
                    &relatives,
                    matters.union(Columns::Named(decides)),
                )
                .await?,
            };
            let capture = trigger::of_table(&relation, &relatives, &target);
            sql.push_str(&capture.sql);
            triggers.extend(capture.triggers);
        }
        // What changed while triggers were missing or disabled has been recorded nowhere.
        sql.push_str(&invalidate_all(&captures));
        let digest = Digest::of_fields([
            Some(SCHEMA.as_bytes()),
            Some(sql.as_bytes()),
            Some(links.as_bytes()),
        ]);
        Ok(Self {
            tables: captures.keys().map(|table| (*table).to_owned()).collect(),
            catalog: catalog.clone(),
            uses: uses.clone(),
            triggers: sql,
            planned: Planned {
                tables,
                triggers,
                links,
            },
            digest,
        })
    }

    /// The whole SQL, as `install --dry-run` prints it.
    pub fn sql(&self) -> String {
        format!(
            "BEGIN;\n{SCHEMA}\n{}\n{}\n{}\nCOMMIT;\n",
            trigger::DROP_ALL,
            self.triggers,
            self.record()
        )
    }

    /// Installs all of it in one transaction, unless it is there already.
    ///
    /// # Errors
    /// PostgreSQL refuses; then nothing was changed.
    pub async fn install(&self, connection: &mut PgConnection) -> Result<Installed, CaptureError> {
        if self
            .planned
            .is_in_place(&mut *connection, &self.digest)
            .await?
        {
            return Ok(Installed::Unchanged);
        }
        let mut transaction = connection.begin().await?;
        for sql in [SCHEMA, trigger::DROP_ALL, &self.triggers, &self.record()] {
            // Made from the catalog, whose identifiers are checked and quoted.
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(Installed::Renewed)
    }

    /// Fails unless every trigger that the catalog needs is in place and fires always, on every
    /// table that shares rows with a captured one. Cheap enough to be asked again and again: one
    /// statement, see `docs/operations.md`.
    ///
    /// # Errors
    /// [`CaptureError::NotInstalled`], or PostgreSQL can't tell.
    pub async fn verify(&self, connection: &mut PgConnection) -> Result<(), CaptureError> {
        if self.planned.is_in_place(connection, &self.digest).await? {
            Ok(())
        } else {
            Err(CaptureError::NotInstalled)
        }
    }

    /// The same for the tables as they are linked now: after a partition has come or gone, and
    /// `install` has run again.
    ///
    /// # Errors
    /// As [`Installation::plan`].
    pub async fn replanned(&self, connection: &mut PgConnection) -> Result<Self, CaptureError> {
        Self::plan(connection, &self.catalog, &self.uses).await
    }

    /// What [`unchanged`] is asked about.
    pub(crate) fn watched(&self) -> (&[String], String, &str) {
        let Planned { tables, links, .. } = &self.planned;
        (tables, self.digest.to_string(), links)
    }

    fn record(&self) -> String {
        format!(
            "INSERT INTO tidemark.installed (digest) VALUES ('{digest}') ON CONFLICT (only_row) DO UPDATE SET digest = '{digest}', at = now();",
            digest = self.digest
        )
    }
}

/// Which updates of a table count, where these columns matter.
async fn updates(
    connection: &mut PgConnection,
    relation: &Relation,
    relatives: &[relation::Relative],
    matters: Columns,
) -> Result<Updates, CaptureError> {
    let Columns::Named(columns) = matters else {
        return Ok(Updates::Each);
    };
    // By an update of the table that it is a partition of, a row may leave it.
    if relatives.iter().any(|relative| relative.above) {
        return Ok(Updates::Each);
    }
    if columns.is_empty() {
        return Ok(Updates::Ignored);
    }
    let there = relation.columns(connection).await?;
    if let Some(column) = columns.iter().find(|column| !there.contains(*column)) {
        return Err(CaptureError::of(
            &relation.name,
            PathError::NoColumn {
                table: relation.name.clone(),
                column: column.clone(),
            },
        ));
    }
    let key = relation.key(connection).await?;
    if key.is_empty() {
        return Ok(Updates::Each);
    }
    Ok(Updates::Changed {
        key,
        columns: columns.into_iter().collect(),
    })
}

/// Records every scope that a captured table could touch.
fn invalidate_all(captures: &BTreeMap<&str, Capture>) -> String {
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

/// Removes everything that `install` made, in one transaction.
///
/// # Errors
/// PostgreSQL refuses; then nothing was changed.
pub async fn uninstall(connection: &mut PgConnection) -> Result<(), CaptureError> {
    sqlx::raw_sql("DROP SCHEMA IF EXISTS tidemark CASCADE")
        .execute(connection)
        .await?;
    Ok(())
}
