//! Connections to PostgreSQL: who they say they are, how long they wait, what they may do.

use std::time::Duration;

use sqlx::{
    Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// A connection that was used more recently than this is handed out without a ping, which would
/// cost every query a round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How long PostgreSQL may take to show that it is there.
pub(crate) const PROBE: Duration = Duration::from_secs(2);

/// How often PostgreSQL looks whether the client of a running statement is still there.
pub(crate) const ABANDONED_CHECK: Duration = Duration::from_millis(100);

/// How the origin talks to PostgreSQL.
#[derive(Clone, Debug)]
pub struct Database {
    options: PgConnectOptions,
}

impl Database {
    /// A database by its URL, `postgres://user:password@host:port/name?sslmode=…`.
    ///
    /// # Errors
    /// The text is no such URL. The error does not repeat it, since it may hold a password.
    pub fn parse(url: &str) -> Result<Self, InvalidDatabaseUrl> {
        let options: PgConnectOptions = url.parse().map_err(|_| InvalidDatabaseUrl)?;
        Ok(Self {
            options: options.application_name("tidemark-origin"),
        })
    }

    /// Options of a single connection for administration and the relay.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The pool for queries: read-only, each statement at most `statement_timeout`.
    pub fn query_pool(&self, limits: &PoolLimits) -> PgPool {
        self.pool(limits, true)
    }

    /// The pool for commands, under the same limits.
    pub fn command_pool(&self, limits: &PoolLimits) -> PgPool {
        self.pool(limits, false)
    }

    /// A single connection to see whether the database is there, which no request waits for.
    pub fn probe_pool(&self) -> PgPool {
        let limits = PoolLimits {
            connections: 1,
            acquire_timeout: PROBE,
            statement_timeout: PROBE,
        };
        self.pool(&limits, true)
    }

    fn pool(&self, limits: &PoolLimits, read_only: bool) -> PgPool {
        let timeout = format!("{}ms", limits.statement_timeout.as_millis());
        let read_only = if read_only { "on" } else { "off" };
        let options = self.options.clone().options([
            ("statement_timeout", timeout.as_str()),
            ("idle_in_transaction_session_timeout", timeout.as_str()),
            ("default_transaction_read_only", read_only),
            // On a misestimated join, compiling it takes longer than running it.
            ("jit", "off"),
        ]);
        PgPoolOptions::new()
            .max_connections(limits.connections)
            .acquire_timeout(limits.acquire_timeout)
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // Unlike a start-up option, this does not fail where the setting is unknown, as
                    // before PostgreSQL 14.
                    sqlx::query(
                        "SELECT set_config(name, $2, false) FROM pg_catalog.pg_settings WHERE name = $1",
                    )
                    .bind("client_connection_check_interval")
                    .bind(format!("{}ms", ABANDONED_CHECK.as_millis()))
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .before_acquire(|connection, idle| {
                Box::pin(async move {
                    if idle.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options)
    }
}

/// Bounds of a connection pool.
#[derive(Clone, Debug)]
pub struct PoolLimits {
    /// The most connections, and so the most statements at a time.
    pub connections: u32,
    /// How long a request waits for a connection before it is shed.
    pub acquire_timeout: Duration,
    /// How long PostgreSQL works on one statement.
    pub statement_timeout: Duration,
}

/// The database URL can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the database URL can't be read; write postgres://user:password@host:5432/name")]
pub struct InvalidDatabaseUrl;
