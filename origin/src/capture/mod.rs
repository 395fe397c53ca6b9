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
//! resolve along the chain, each table on the way recording its own moves. A foreign key is followed
//! in either direction: a product belongs to the orders whose items refer to it, and the argument is
//! the same, with "the product is in an item of M's" in place of "the order belongs to M".
//!
//! # Updates that change no answer
//!
//! For each thing that a row may touch, an update counts if it changes a column that some query uses
//! that depends on the row in this way, or one that decides about whose the row is ([`function`]).
//! So a product's new price is news for the price list, and for no order that only shows its name.

mod function;
mod mark;
mod name;
mod path;
mod relation;
mod trigger;
mod verification;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tidemark_shared::{
    catalog::{Capture, Catalog, Touches},
    digest::Digest,
};

use crate::usage::Columns;
use function::{Record, Target, Updates};
use mark::Mark;
use name::literal;
pub(crate) use name::quoted;
pub(crate) use path::Step;
use relation::{Relation, Relative};
use verification::Planned;
pub(crate) use verification::unchanged;

/// The schema, outbox and bookkeeping tables; safe to run again.
const SCHEMA: &str = include_str!("schema.sql");

/// For each query, which columns of each table in its `reads` matter to it.
pub type Uses = BTreeMap<String, BTreeMap<String, Columns>>;

/// Everything that `install` would do for one catalog on one database.
#[derive(Debug)]
pub struct Installation {
    /// The tables with triggers, as the catalog names them.
    pub tables: Vec<String>,
    catalog: Catalog,
    uses: Uses,
    /// The foreign keys that its paths follow.
    steps: BTreeSet<Step>,
    /// By which columns the rows of a table belong to members of a family.
    membership: BTreeMap<(String, String), Vec<String>>,
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
    #[error(
        "there are {count} foreign keys between {here:?} and {there:?}, and the scope needs exactly one"
    )]
    ForeignKeys {
        /// How many there are.
        count: usize,
        /// The table at which the step begins.
        here: String,
        /// The table that it leads to.
        there: String,
    },
    /// A member's column whose texts are not those of the parameter.
    #[error(
        "{table:?} has {column:?} of type {column_type}, but the member is the {param_type} parameter {param:?} of query {query:?}, and its text would not be the same; a member's column is smallint, integer or bigint for int, uuid for uuid, text, varchar or an enum type for text and enum",
        table = .0.table, column = .0.column, column_type = .0.column_type, query = .0.query, param = .0.param, param_type = .0.param_type
    )]
    Member(Unfit),
    /// A facet's column whose values are not those of the parameter.
    #[error(
        "{table:?} has {column:?} of type {column_type}, but the facet {facet:?} is the {param_type} parameter {param:?} of query {query:?}; a facet's column is date for days, and else smallint, integer or bigint for int, uuid for uuid, text, varchar or an enum type for text and enum",
        table = .unfit.table, column = .unfit.column, column_type = .unfit.column_type, query = .unfit.query, param = .unfit.param, param_type = .unfit.param_type
    )]
    Facet {
        /// The facet.
        facet: String,
        /// What does not fit.
        unfit: Unfit,
    },
    /// A row would have several values of a facet.
    #[error(
        "the facet {facet:?} leads to {there:?}, of which several rows may refer to one; its path has to follow what a row refers to"
    )]
    FacetAgainst {
        /// The facet.
        facet: String,
        /// The table whose rows refer.
        there: String,
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

/// A column that is compared with a parameter, and has other texts.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// Its type.
    pub column_type: String,
    /// A query that compares it.
    pub query: String,
    /// The query's parameter.
    pub param: String,
    /// The parameter's type.
    pub param_type: String,
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
    /// Where `uses` does not say which columns of a table matter to a query, all do.
    ///
    /// # Errors
    /// A table or column does not exist or is of a type that can't tell members, or there is no
    /// single foreign key along a declared path.
    pub async fn plan(
        connection: &mut PgConnection,
        catalog: &Catalog,
        uses: &Uses,
    ) -> Result<Self, CaptureError> {
        let captures = catalog.captures();
        let mut captured = Vec::new();
        let mut paths = BTreeMap::new();
        let mut steps = BTreeSet::new();
        let mut deciding = Deciding::new();
        for (table, captures) in &captures {
            let relation = Relation::named(connection, table).await?;
            let mut marks = Vec::with_capacity(captures.len());
            for capture in captures {
                let (source, facets) = match &capture.touches {
                    Touches::Table => {
                        marks.push((Mark::Table, capture));
                        continue;
                    }
                    Touches::Family(source) => (source, &[][..]),
                    Touches::Parts(source, facets) => (source, facets.as_slice()),
                };
                let resolved =
                    path::resolve(connection, catalog, &relation, source, facets).await?;
                marks.push((resolved.mark, capture));
                steps.extend(resolved.steps);
                let named = |path: path::Path| (path.name().to_owned(), path);
                paths.extend(resolved.paths.into_iter().map(named));
                for (table, columns) in resolved.deciding {
                    let of_family = deciding.entry((table, source.family.clone()));
                    of_family.or_default().extend(columns);
                }
            }
            captured.push((relation, marks));
        }

        let tables: Vec<_> = captured
            .iter()
            .map(|(relation, _)| relation.sql_name.clone())
            .collect();
        // Read before the relatives: one that comes in between is noticed by the next look.
        let links = verification::links(connection, &tables).await?;
        let mut sql = path::members_function(&paths);
        let mut triggers = Vec::new();
        let mut membership = BTreeMap::new();
        for (relation, marks) in captured {
            for (mark, capture) in &marks {
                if let (Some(family), false) = (mark.family(), capture.queries.is_empty()) {
                    let place = (relation.name.clone(), family.to_owned());
                    membership.insert(place, mark.whole().columns().to_vec());
                }
            }
            let relatives = relation.relatives(connection).await?;
            let matters = |(mark, capture): (Mark, &Capture<'_>)| {
                let columns = matters(&relation.name, &mark, capture, uses, &deciding);
                (mark, columns)
            };
            let marks = marks.into_iter().map(matters).collect();
            let target = target(connection, &relation, &relatives, marks).await?;
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
            steps,
            membership,
            triggers: sql,
            planned: Planned {
                tables,
                triggers,
                links,
            },
            digest,
        })
    }

    /// The foreign keys that the catalog's paths follow.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }

    /// The columns by which the rows of a table belong to members of a family, if they do.
    pub(crate) fn membership(&self, table: &str, family: &str) -> Option<&[String]> {
        let place = (table.to_owned(), family.to_owned());
        self.membership.get(&place).map(Vec::as_slice)
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

/// For each table and family, the columns that decide about whose rows are whose.
type Deciding = BTreeMap<(String, String), BTreeSet<String>>;

/// The columns of a table that matter to a mark.
fn matters(
    table: &str,
    mark: &Mark,
    capture: &Capture<'_>,
    uses: &Uses,
    deciding: &Deciding,
) -> Columns {
    let decides = mark.family().and_then(|family| {
        let place = (table.to_owned(), family.to_owned());
        deciding.get(&place).cloned()
    });
    let used = capture.queries.iter().map(|query| {
        let used = uses.get(*query).and_then(|tables| tables.get(table));
        used.cloned().unwrap_or(Columns::All)
    });
    used.fold(Columns::Named(decides.unwrap_or_default()), Columns::union)
}

/// What the triggers of a table record, where these columns matter to each mark.
async fn target<'r>(
    connection: &mut PgConnection,
    relation: &'r Relation,
    relatives: &[Relative],
    marks: Vec<(Mark, Columns)>,
) -> Result<Target<'r>, CaptureError> {
    let there = relation.columns(connection).await?;
    let key = relation.key(connection).await?;
    // By an update of the table that it is a partition of, a row may leave it.
    let may_leave = relatives.iter().any(|relative| relative.above);
    let mut records = Vec::with_capacity(marks.len());
    for (mark, matters) in marks {
        let updates = match matters {
            Columns::All => Updates::Each,
            Columns::Named(_) if may_leave => Updates::Each,
            Columns::Named(columns) if columns.is_empty() => Updates::Ignored,
            Columns::Named(columns) => {
                if let Some(column) = columns.iter().find(|column| !there.contains(*column)) {
                    return Err(CaptureError::of(
                        &relation.name,
                        PathError::NoColumn {
                            table: relation.name.clone(),
                            column: column.clone(),
                        },
                    ));
                }
                if key.is_empty() {
                    Updates::Each
                } else {
                    Updates::Changed(columns)
                }
            }
        };
        records.push(Record { mark, updates });
    }
    Ok(Target {
        table: &relation.name,
        records,
        key,
    })
}

/// Records every scope that a captured table could touch.
fn invalidate_all(captures: &BTreeMap<&str, Vec<Capture<'_>>>) -> String {
    let mut scopes = BTreeSet::new();
    for (table, captures) in captures {
        scopes.extend(
            captures
                .iter()
                .map(|capture| match capture.touches.source() {
                    None => format!("('t', {})", literal(table)),
                    Some(source) => format!("('f', {})", literal(&source.family)),
                }),
        );
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
