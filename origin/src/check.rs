//! Holding a catalog against a database: does every statement prepare, does every table exist?

use std::{collections::BTreeMap, fmt};

use sqlx::{AssertSqlSafe, Executor as _, PgConnection, SqlSafeStr as _};

use crate::{
    capture::{self, CaptureError, Installation},
    repository::Repository,
    statement::Statement,
};

/// Something in the catalog that does not fit the database.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Everything in the catalog that does not fit the database.
///
/// # Errors
/// The database can't be asked.
pub async fn findings(
    database: &mut PgConnection,
    repository: &Repository,
) -> Result<Vec<Finding>, CaptureError> {
    let mut findings = Vec::new();
    for (name, query) in &repository.catalog.queries {
        for table in &query.reads {
            if !capture::is_table(database, table).await? {
                findings.push(Finding {
                    subject: format!("query {name:?}"),
                    problem: format!(
                        "reads names {table:?}, which is no table of this database; correct the name, or create the table"
                    ),
                });
            }
        }
        if let Some(statement) = repository.queries.get(name) {
            let subject = format!("query {name:?} ({})", query.sql);
            findings.extend(unprepared(database, subject, statement).await?);
        }
    }
    for (name, command) in &repository.catalog.commands {
        for statement in repository.commands.get(name).into_iter().flatten() {
            let subject = format!("command {name:?} ({})", command.sql);
            findings.extend(unprepared(database, subject, statement).await?);
        }
    }
    match Installation::plan(database, &repository.catalog, &BTreeMap::new()).await {
        Ok(_) => {}
        Err(CaptureError::Table { table, source }) => findings.push(Finding {
            subject: format!("table {table:?}"),
            problem: source.to_string(),
        }),
        Err(error) => return Err(error),
    }
    Ok(findings)
}

/// What PostgreSQL says if it can't prepare the statement.
async fn unprepared(
    database: &mut PgConnection,
    subject: String,
    statement: &Statement,
) -> Result<Option<Finding>, sqlx::Error> {
    let sql = AssertSqlSafe(statement.sql.clone()).into_sql_str();
    match database.prepare(sql).await {
        Ok(_) => Ok(None),
        Err(sqlx::Error::Database(error)) => Ok(Some(Finding {
            subject,
            problem: format!("PostgreSQL can't prepare it: {}", error.message()),
        })),
        Err(error) => Err(error),
    }
}
