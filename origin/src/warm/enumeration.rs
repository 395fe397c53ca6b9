//! The arguments of a query that are worth warming, as its `warm` SQL enumerates them.
//!
//! The SQL's columns are named as the query's parameters. Its rows stay with PostgreSQL, in a cursor that
//! outlives its transaction: no transaction is open for as long as the answers take to load, and a
//! million rows sit in nobody's memory.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tidemark_shared::{
    catalog::Query,
    param::{ParamError, Params},
};

use crate::{question::Question, statement::Statement};

/// How many rows are taken at a time.
const FETCH: &str = "FETCH 1000 FROM tidemark_warm";

/// The rows of a query's `warm` SQL, each a question.
pub struct Enumeration<'a> {
    query: &'a Query,
    database: PgConnection,
    fetched: std::vec::IntoIter<Row>,
    /// How many rows have been taken.
    row: u64,
}

/// A row: its columns' names, and their values as texts.
type Row = (Vec<String>, Vec<Option<String>>);

/// Why arguments can't be enumerated.
#[derive(Debug, thiserror::Error)]
pub enum EnumerationError {
    /// PostgreSQL refuses, or does not answer.
    #[error("{file}: {source}")]
    Database {
        /// The SQL's file.
        file: String,
        /// Why.
        source: sqlx::Error,
    },
    /// A column is named as none of the query's parameters.
    #[error("{file}: the column {column:?} is no parameter of {query}; it has {known}")]
    UnknownColumn {
        /// The SQL's file.
        file: String,
        /// The column.
        column: String,
        /// The query's name.
        query: String,
        /// Its parameters.
        known: String,
    },
    /// A row's values are no arguments of the query.
    #[error("{file}: row {row}: {reason}")]
    Arguments {
        /// The SQL's file.
        file: String,
        /// Which row, from 1.
        row: u64,
        /// What is wrong with them.
        reason: ParamError,
    },
}

impl<'a> Enumeration<'a> {
    /// Has PostgreSQL work the rows out, in a transaction that can't change anything.
    ///
    /// # Errors
    /// It refuses.
    pub async fn begin(
        query: &'a Query,
        statement: &Statement,
        mut database: PgConnection,
    ) -> Result<Self, EnumerationError> {
        let declared = declare(&mut database, &statement.sql).await;
        declared.map_err(|source| failed(query, source))?;
        Ok(Self {
            query,
            database,
            fetched: Vec::new().into_iter(),
            row: 0,
        })
    }

    /// The next question, if there is one.
    ///
    /// # Errors
    /// PostgreSQL does not answer, or the row holds no arguments.
    pub(super) async fn next(&mut self) -> Result<Option<Question<'a>>, EnumerationError> {
        if self.fetched.as_slice().is_empty() {
            let rows = sqlx::query_as(FETCH).fetch_all(&mut self.database).await;
            let rows: Vec<Row> = rows.map_err(|source| failed(self.query, source))?;
            self.fetched = rows.into_iter();
        }
        let Some((names, texts)) = self.fetched.next() else {
            return Ok(None);
        };
        self.row += 1;
        let specs = &self.query.params;
        if let Some(column) = names.iter().find(|name| !specs.contains_key(*name)) {
            let known: Vec<_> = specs.keys().map(String::as_str).collect();
            return Err(EnumerationError::UnknownColumn {
                file: file(self.query),
                column: column.clone(),
                query: self.query.name.clone(),
                known: match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                },
            });
        }
        let texts: BTreeMap<_, _> = names.into_iter().zip(texts).collect();
        let params = Params::from_texts(specs, |name| texts.get(name).cloned().flatten());
        let params = params.map_err(|reason| EnumerationError::Arguments {
            file: file(self.query),
            row: self.row,
            reason,
        })?;
        Ok(Some(Question::new(self.query, params)))
    }
}

async fn declare(database: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    // JSON has one text for each value, whatever the session's DateStyle.
    let cursor = format!(
        "DECLARE tidemark_warm NO SCROLL CURSOR WITH HOLD FOR
         SELECT tidemark_columns.* FROM (\n{sql}\n) AS tidemark_rows, LATERAL (
             SELECT coalesce(array_agg(key), '{{}}') AS names, coalesce(array_agg(value), '{{}}') AS texts
             FROM jsonb_each_text(to_jsonb(tidemark_rows))
         ) AS tidemark_columns"
    );
    let mut transaction = database.begin().await?;
    for statement in ["SET TRANSACTION READ ONLY", &cursor] {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *transaction)
            .await?;
    }
    // The rows are worked out here.
    transaction.commit().await
}

fn failed(query: &Query, source: sqlx::Error) -> EnumerationError {
    EnumerationError::Database {
        file: file(query),
        source,
    }
}

fn file(query: &Query) -> String {
    query.warm.clone().unwrap_or_default()
}
