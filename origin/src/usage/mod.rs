//! What a query's SQL really uses, as PostgreSQL itself understands it.
//!
//! A temporary view is made of the query, in a transaction that is rolled back, and what PostgreSQL
//! stores of a view is read: `pg_depend` for columns, the rule tree for everything that has no
//! dependency ([`rule`]). Views inside are followed to the tables that they show.

mod lookup;
mod rule;
mod tree;
mod unseen;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::statement::Statement;
use lookup::{Relation, Rule};
use unseen::{FIRST_OF_USERS, Function};
pub use {
    tree::IllegibleTree,
    unseen::{Source, Unseen},
};

/// The temporary view; no table of anybody's is called that and would be hidden by it.
const VIEW: &str = "pg_temp.\"tidemark examines\"";

/// Which columns of a table matter to a query, or to several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// These, by name: an update of none of them changes no answer.
    Named(BTreeSet<String>),
    /// The row as a whole, or something of it that every update changes (a system column).
    All,
}

impl Columns {
    /// No column: only insertions and deletions matter.
    #[must_use]
    pub fn none() -> Self {
        Self::Named(BTreeSet::new())
    }

    /// What matters to either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Named(mut these), Self::Named(those)) => {
                these.extend(those);
                Self::Named(these)
            }
            _ => Self::All,
        }
    }

    fn add(&mut self, column: String) {
        if let Self::Named(columns) = self {
            columns.insert(column);
        }
    }
}

/// What one statement uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The tables to be watched, by OID. Of a partition or an inheriting table that is its topmost
    /// parent: whoever writes by the parent's name fires no trigger of the child.
    pub tables: BTreeMap<i64, UsedTable>,
    /// All tables that are used, with their parents.
    pub touched: BTreeSet<i64>,
    /// What no trigger sees.
    pub sources: BTreeSet<Source>,
    /// Whether it locks rows (FOR UPDATE and its like).
    pub locks: bool,
}

/// A table and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedTable {
    /// Its name, with the schema if the `search_path` does not lead to it.
    pub name: String,
    /// The columns used.
    pub columns: Columns,
}

/// Why it can't be told what a statement uses.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// It is no pure read.
    #[error(
        "it changes data (INSERT, UPDATE or DELETE in its WITH), and a query only reads; make it a command"
    )]
    ChangesData,
    /// PostgreSQL makes no view of it.
    #[error("PostgreSQL can't make a temporary view of it, to see what it uses: {0}")]
    NoView(String),
    /// PostgreSQL's description of the view is not as expected.
    #[error("{0}; is this version of PostgreSQL a newer one?")]
    Tree(#[from] IllegibleTree),
    /// PostgreSQL can't be asked.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What a statement uses.
///
/// # Errors
/// It can't be told.
pub async fn of(connection: &mut PgConnection, statement: &Statement) -> Result<Usage, UsageError> {
    let mut transaction = connection.begin().await?;
    let usage = of_temporary_view(&mut transaction, &statement.for_view()).await;
    // Also where something failed: the transaction can only be rolled back then.
    transaction.rollback().await?;
    usage
}

async fn of_temporary_view(
    connection: &mut PgConnection,
    query: &str,
) -> Result<Usage, UsageError> {
    // The catalog's own SQL: one statement, and PostgreSQL has already prepared it.
    let create = AssertSqlSafe(format!("CREATE TEMPORARY VIEW {VIEW} AS {query}"));
    sqlx::query(create)
        .persistent(false)
        .execute(&mut *connection)
        .await
        .map_err(refused)?;
    let view: i64 = sqlx::query_scalar("SELECT to_regclass($1)::oid::bigint")
        .bind(VIEW)
        .fetch_one(&mut *connection)
        .await?;
    of_view(connection, view).await
}

fn refused(error: sqlx::Error) -> UsageError {
    let sqlx::Error::Database(error) = &error else {
        return error.into();
    };
    match error.code().as_deref() {
        Some("0A000") => UsageError::ChangesData,
        Some("42501") => UsageError::NoView(format!(
            "{}; GRANT TEMPORARY ON DATABASE … TO this role",
            error.message()
        )),
        Some("25006") => UsageError::NoView(format!("{}; ask the primary", error.message())),
        _ => UsageError::NoView(error.message().to_owned()),
    }
}

/// What a view of the database uses.
///
/// # Errors
/// It can't be told.
pub async fn of_view(connection: &mut PgConnection, view: i64) -> Result<Usage, UsageError> {
    let role = lookup::own_role(connection).await?;
    let mut found = Found::default();
    let mut seen = BTreeSet::from([(view, role)]);
    let mut ahead = vec![(view, role)];
    while let Some((view, role)) = ahead.pop() {
        for inner in found.read_view(connection, view, role).await? {
            if seen.insert(inner) {
                ahead.push(inner);
            }
        }
    }
    found.sources.extend(
        lookup::functions(connection, &found.functions, &found.operators)
            .await?
            .iter()
            .filter_map(Function::source),
    );
    found.into_usage(connection).await
}

/// What has been found so far, in the views read so far.
#[derive(Default)]
struct Found {
    tables: BTreeMap<i64, Columns>,
    functions: BTreeSet<i64>,
    operators: BTreeSet<i64>,
    sources: BTreeSet<Source>,
    locks: bool,
}

impl Found {
    /// Reads one view, as this role would; answers the views in it, each with its reader.
    async fn read_view(
        &mut self,
        connection: &mut PgConnection,
        view: i64,
        role: i64,
    ) -> Result<Vec<(i64, i64)>, UsageError> {
        let Rule { columns, tree } = lookup::rule(connection, view).await?;
        let mut references = rule::references(&tree)?;
        // Older versions list the view itself beside what it reads.
        references.relations.remove(&view);
        let relations = lookup::relations(connection, &references.relations, role).await?;

        let mut views = Vec::new();
        for relation in relations {
            match unseen_kind(&relation) {
                Some(why) => {
                    self.add_relation(&relation, why);
                }
                None if relation.kind == "v" => views.push((relation.oid, relation.reader)),
                None => {
                    let used = self
                        .tables
                        .entry(relation.oid)
                        .or_insert_with(Columns::none);
                    if references.whole.contains(&relation.oid) {
                        *used = Columns::All;
                    }
                    for (_, column) in columns.iter().filter(|(oid, _)| *oid == relation.oid) {
                        used.add(column.clone());
                    }
                    if relation.secured {
                        // What a policy looks at is not in the rule.
                        *used = Columns::All;
                        self.add_relation(&relation, Unseen::RowSecurity);
                    }
                }
            }
        }
        self.functions.append(&mut references.functions);
        self.operators.append(&mut references.operators);
        let value_functions = references.value_functions.iter();
        self.sources
            .extend(value_functions.map(|name| unseen::value_function(name)));
        self.locks |= references.locks;
        if references.samples {
            self.sources.insert(Source {
                name: "TABLESAMPLE".to_owned(),
                why: Unseen::Sample,
                aliases: Vec::new(),
            });
        }
        Ok(views)
    }

    fn add_relation(&mut self, relation: &Relation, why: Unseen) {
        self.sources.insert(Source {
            name: relation.name.clone(),
            why,
            aliases: vec![relation.qualified.clone()],
        });
    }

    /// Looks for what must be watched so that no change of a table goes unseen.
    async fn into_usage(mut self, connection: &mut PgConnection) -> Result<Usage, UsageError> {
        let used: Vec<i64> = self.tables.keys().copied().collect();
        for (name, qualified) in lookup::foreign_below(connection, &used).await? {
            self.sources.insert(Source {
                name,
                why: Unseen::ForeignTable,
                aliases: vec![qualified],
            });
        }
        let lineages = lookup::lineages(connection, &used).await?;
        let mut usage = Usage {
            sources: self.sources,
            locks: self.locks,
            ..Usage::default()
        };
        for lineage in lineages {
            usage.touched.insert(lineage.ancestor);
            if !lineage.is_topmost {
                continue;
            }
            let columns = match self.tables.get(&lineage.used) {
                // A column that the parent lacks: its triggers can't look at it.
                Some(Columns::Named(columns))
                    if columns
                        .iter()
                        .all(|column| lineage.columns.contains(column)) =>
                {
                    Columns::Named(columns.clone())
                }
                _ => Columns::All,
            };
            let table = usage
                .tables
                .entry(lineage.ancestor)
                .or_insert_with(|| UsedTable {
                    name: lineage.name,
                    columns: Columns::none(),
                });
            table.columns = std::mem::replace(&mut table.columns, Columns::All).union(columns);
        }
        Ok(usage)
    }
}

/// Why no trigger sees changes of a relation; none of a table or view.
fn unseen_kind(relation: &Relation) -> Option<Unseen> {
    if relation.oid < FIRST_OF_USERS {
        return Some(Unseen::SystemCatalog);
    }
    match relation.kind.as_str() {
        "m" => Some(Unseen::MaterializedView),
        "f" => Some(Unseen::ForeignTable),
        "S" => Some(Unseen::Sequence),
        // Ordinary and partitioned tables, and views.
        "r" | "p" | "v" => None,
        // TOAST tables, say.
        _ => Some(Unseen::SystemCatalog),
    }
}
