//! A database of a run.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};
use tidemark_tests::{
    activity,
    origin::OriginConfig,
    port::local,
    postgres::{Postgres, USER},
    tools,
};

/// A database on the site's PostgreSQL.
#[derive(Clone, Debug)]
pub struct Database {
    name: &'static str,
    url: String,
    options: PgConnectOptions,
    environment: [(&'static str, String); 5],
}

impl Database {
    pub(super) fn of(postgres: &Postgres, name: &'static str) -> Self {
        Self {
            name,
            url: postgres.url(name),
            options: postgres.options(name).application_name("tidemark-bench"),
            environment: [
                ("PGHOST", "127.0.0.1".to_owned()),
                ("PGPORT", postgres.port().to_string()),
                ("PGUSER", USER.to_owned()),
                ("PGPASSWORD", postgres.password().to_owned()),
                ("PGDATABASE", name.to_owned()),
            ],
        }
    }

    /// Its name on the server.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its URL, with the password in it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What PostgreSQL's own programs have to find in their environment to get here.
    pub fn environment(&self) -> &[(&'static str, String)] {
        &self.environment
    }

    /// A connection to it.
    ///
    /// # Errors
    /// The server is not there.
    pub async fn connect(&self) -> anyhow::Result<PgConnection> {
        let connected = PgConnection::connect_with(&self.options).await;
        connected.with_context(|| format!("can't connect to database {}", self.name))
    }

    /// Runs SQL in it, any number of statements.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub async fn run(&self, sql: &str) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        // This crate's own words.
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        Ok(connection.close().await?)
    }

    /// A number that a statement gives.
    ///
    /// # Errors
    /// PostgreSQL refuses, or it is no `bigint`.
    pub async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let mut connection = self.connect().await?;
        // This crate's own words.
        let number = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(number)
    }

    /// How often statements that hold a word have been run to their end in it, since its server started.
    ///
    /// # Errors
    /// The server is not there.
    pub async fn executions(&self, word: &str) -> anyhow::Result<i64> {
        let mut connection = self.connect().await?;
        sqlx::raw_sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            .execute(&mut connection)
            .await?;
        let count = activity::executions(&mut connection, word).await?;
        connection.close().await?;
        Ok(count)
    }

    /// Installs the triggers of a catalog.
    ///
    /// # Errors
    /// `tidemark-origin` is not built, or refuses.
    pub(super) fn install(&self, catalog: &Path) -> anyhow::Result<()> {
        let origin = OriginConfig {
            catalog: catalog.to_owned(),
            database_url: self.url.clone(),
            redis_url: String::new(),
            listen: local(0),
            log: PathBuf::new(),
            lease: None,
            environment: Vec::new(),
        };
        tools::output(&mut origin.command(&["install"])?)?;
        Ok(())
    }
}
