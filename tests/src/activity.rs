//! What PostgreSQL does: how many statements of one kind run at a time, and how many have run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sqlx::PgConnection;
use tokio::{task::JoinHandle, time};

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Watches how many statements that hold a word run at the same time. It ends with its drop.
#[derive(Debug)]
pub struct Activity {
    most: Arc<AtomicI64>,
    task: JoinHandle<()>,
}

impl Activity {
    /// Watches by this connection. While the server does not answer, nothing is seen.
    pub fn of(mut connection: PgConnection, word: &'static str) -> Self {
        let most = Arc::new(AtomicI64::new(0));
        let seen = most.clone();
        let task = tokio::spawn(async move {
            let mut pace = time::interval(LOOK);
            loop {
                pace.tick().await;
                let running = sqlx::query_scalar(
                    "SELECT count(*) FROM pg_stat_activity
                     WHERE state = 'active' AND datname = current_database()
                       AND pid <> pg_backend_pid() AND position($1 IN query) > 0",
                )
                .bind(word)
                .fetch_one(&mut connection);
                match running.await {
                    Ok(running) => seen.fetch_max(running, Ordering::Relaxed),
                    Err(_) => return,
                };
            }
        });
        Self { most, task }
    }

    /// The most that have been seen at a time.
    pub fn most(&self) -> i64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How often statements that hold a word have been run to their end in this database, by
/// `pg_stat_statements`.
///
/// # Errors
/// The extension is not there, or the server.
pub async fn executions(connection: &mut PgConnection, word: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements AS s
         JOIN pg_database AS d ON d.oid = s.dbid
         WHERE d.datname = current_database() AND position($1 IN s.query) > 0
           AND position('pg_stat_statements' IN s.query) = 0",
    )
    .bind(word)
    .fetch_one(connection)
    .await
}
