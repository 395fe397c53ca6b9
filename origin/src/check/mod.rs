//! Holding a catalog against a database: does every statement prepare, is `reads` all that a query
//! reads, and is there anything that no trigger sees?
//!
//! The database is examined once, and what comes of it is what everything else works with: only a
//! sound catalog has an [`Installation`].

pub mod fix;
mod names;
mod paths;
mod query;

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, SqlSafeStr as _, Statement as _};
use tidemark_shared::catalog::Shape;

use crate::{
    capture::{CaptureError, Installation, PathError},
    repository::Repository,
    statement::Statement,
    usage::{self, UsageError},
};
use names::Names;
pub use query::QueryUse;

/// Something in the catalog that does not fit the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The query, command or table, e.g. `query "dashboard" (sql/dashboard.sql)`.
    pub subject: String,
    /// What is wrong and what to do about it.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.problem)
    }
}

/// What came of holding a catalog against a database.
#[derive(Debug)]
pub struct Examination {
    /// What must not be: with any of these, answers could be staler than promised.
    pub findings: Vec<Finding>,
    /// What is suspicious or slow, and yet may be as it should.
    pub warnings: Vec<Finding>,
    /// What each query uses, by the query's name; without those that PostgreSQL refuses.
    pub uses: BTreeMap<String, QueryUse>,
    installation: Option<Installation>,
}

/// A catalog that does not fit the database.
#[derive(Debug, thiserror::Error)]
#[error("the catalog does not fit the database:\n{}", list(.0))]
pub struct Unsound(pub Vec<Finding>);

fn list(findings: &[Finding]) -> String {
    let lines: Vec<_> = findings.iter().map(Finding::to_string).collect();
    lines.join("\n")
}

impl Examination {
    /// The triggers that the catalog needs.
    ///
    /// # Errors
    /// [`Unsound`], with all findings.
    pub fn sound(self) -> Result<Installation, Unsound> {
        match self.installation {
            Some(installation) if self.findings.is_empty() => Ok(installation),
            _ => Err(Unsound(self.findings)),
        }
    }

    /// Logs the warnings.
    pub fn log_warnings(&self) {
        for Finding { subject, problem } in &self.warnings {
            tracing::warn!(%subject, %problem, "the catalog may not be as it should");
        }
    }
}

/// Holds a catalog against a database.
///
/// # Errors
/// The database can't be asked.
pub async fn examine(
    database: &mut PgConnection,
    repository: &Repository,
) -> Result<Examination, CaptureError> {
    let catalog = &repository.catalog;
    let names = Names::resolve(database, catalog).await?;
    let mut findings = Vec::new();
    let mut uses = BTreeMap::new();
    for (name, query) in &catalog.queries {
        let subject = format!("query {name:?} ({})", query.sql);
        let mut found = |problem: String| {
            findings.push(Finding {
                subject: subject.clone(),
                problem,
            });
        };
        for problem in query::unwatchable(database, &names, query).await? {
            found(problem);
        }
        let Some(statement) = repository.queries.get(name) else {
            continue;
        };
        if let Some(problem) = misfit(database, statement, query.shape).await? {
            found(problem);
            continue;
        }
        match usage::of(database, statement).await {
            Ok(usage) => {
                let (used, problems) = QueryUse::compare(&names, query, usage);
                problems.into_iter().for_each(&mut found);
                uses.insert(name.clone(), used);
            }
            Err(UsageError::Database(error)) => return Err(error.into()),
            Err(error) => found(error.to_string()),
        }
    }
    for (name, command) in &catalog.commands {
        let statements = repository.commands.get(name).map_or(&[][..], Vec::as_slice);
        for (number, statement) in statements.iter().enumerate() {
            // Only the last one answers.
            let shape = match number + 1 == statements.len() {
                true => command.shape,
                false => Shape::Rows,
            };
            if let Some(problem) = misfit(database, statement, shape).await? {
                findings.push(Finding {
                    subject: format!("command {name:?} ({})", command.sql),
                    problem,
                });
            }
        }
    }

    let used = |(name, used): (&String, &QueryUse)| (name.clone(), used.columns.clone());
    let used = uses.iter().map(used).collect();
    let installation = match Installation::plan(database, catalog, &used).await {
        Ok(installation) => Some(installation),
        Err(CaptureError::Table { table, source }) => {
            // A name in reads that is no table has been found fault with already.
            let in_reads = |name: &String| {
                let mut queries = catalog.queries.values();
                queries.any(|query| query.reads.contains(name))
            };
            if !matches!(&*source, PathError::NoTable { table } if in_reads(table)) {
                findings.push(Finding {
                    subject: format!("table {table:?}"),
                    problem: source.to_string(),
                });
            }
            None
        }
        Err(error) => return Err(error),
    };
    let mut warnings = Vec::new();
    if let Some(installation) = &installation {
        warnings.extend(paths::unused_members(installation, catalog, &uses));
        warnings.extend(paths::unused_facets(catalog, &uses));
        warnings.extend(paths::without_index(installation));
    }
    Ok(Examination {
        findings,
        warnings,
        uses,
        installation,
    })
}

/// What is wrong with a statement by itself.
async fn misfit(
    database: &mut PgConnection,
    statement: &Statement,
    shape: Shape,
) -> Result<Option<String>, sqlx::Error> {
    let sql = AssertSqlSafe(&*statement.sql).into_sql_str();
    match database.prepare(sql).await {
        Ok(_) if shape != Shape::Json => return Ok(None),
        Ok(_) => {}
        Err(sqlx::Error::Database(error)) => {
            return Ok(Some(format!(
                "PostgreSQL can't prepare it: {}",
                error.message()
            )));
        }
        Err(error) => return Err(error),
    }
    let sql = AssertSqlSafe(statement.as_written()).into_sql_str();
    let prepared = database.prepare(sql).await?;
    let types: Vec<_> = prepared
        .columns()
        .iter()
        .map(|column| sqlx::Column::type_info(column).to_string())
        .collect();
    Ok(match types.as_slice() {
        [one] if ["json", "jsonb"].contains(&one.to_lowercase().as_str()) => None,
        [other] => Some(format!(
            "shape = \"json\" takes one column of type json or jsonb, and this one is {}; make JSON of it, say with to_json(…), or write shape = \"rows\"",
            other.to_lowercase()
        )),
        columns => Some(format!(
            "shape = \"json\" takes one column, and the SQL has {}; make one of them with json_build_object(…), or write shape = \"rows\"",
            columns.len()
        )),
    })
}
