//! The time of this machine, and of the database.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{AssertSqlSafe, PgExecutor};

use crate::statement::AS_OF;

/// Now, in ms since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// A moment after every snapshot and every commit that the caller has seen, in ms since the Unix epoch
/// by the database's clock, rounded up: what a tidemark proves at this moment includes them all.
///
/// # Errors
/// The database can't be asked.
pub(crate) async fn moment_after(database: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    let now: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT {AS_OF}")))
        .fetch_one(database)
        .await?;
    Ok(now + 1)
}
