//! PostgreSQL: the triggers, the outbox, who leads, and its clock.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Row as _};

use super::{Expectation, Observation, Part};
use crate::{capture::CaptureError, check, clock, database::Database, relay::LEADER_LOCK};

/// So many rows are more than a relay leaves behind that keeps up.
const MANY_ROWS: i64 = 10_000;

/// How far this machine's clock may be from the database's before it matters.
const SKEW: Duration = Duration::from_millis(250);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Looks at PostgreSQL.
pub async fn database(database: &Database, expected: Expectation<'_>) -> Part {
    let mut observations = Vec::new();
    if let Err(error) = look(database, expected, &mut observations).await {
        observations.push(Observation::problem(
            "server",
            error.to_string(),
            "start it, or correct --database-url",
        ));
    }
    Part {
        name: "PostgreSQL".to_owned(),
        observations,
    }
}

/// Why PostgreSQL could not be looked at.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("no connection within {CONNECT:?}")]
    Timeout,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

async fn look(
    database: &Database,
    expected: Expectation<'_>,
    seen: &mut Vec<Observation>,
) -> Result<(), LookError> {
    let connecting = PgConnection::connect_with(database.options());
    let mut connection = tokio::time::timeout(CONNECT, connecting)
        .await
        .map_err(|_| LookError::Timeout)??;
    seen.push(server(&mut connection).await?);
    seen.push(catalog(&mut connection, expected).await?);
    let installed: bool = sqlx::query_scalar("SELECT to_regclass('tidemark.outbox') IS NOT NULL")
        .fetch_one(&mut connection)
        .await?;
    if installed {
        seen.push(outbox(&mut connection).await?);
    }
    seen.push(relay(&mut connection).await?);
    seen.push(time(&mut connection).await?);
    // It may already be gone; what matters has been read.
    let _ = connection.close().await;
    Ok(())
}

async fn server(connection: &mut PgConnection) -> Result<Observation, sqlx::Error> {
    let row = sqlx::query("SELECT current_setting('server_version'), pg_is_in_recovery()")
        .fetch_one(connection)
        .await?;
    let version: String = row.try_get(0)?;
    Ok(if row.try_get(1)? {
        Observation::problem(
            "server",
            format!("{version}, a standby"),
            "let Tidemark connect to the primary: only there changes can be captured",
        )
    } else {
        Observation::ok("server", version)
    })
}

/// The catalog against the schema, and the triggers against the catalog.
async fn catalog(
    connection: &mut PgConnection,
    expected: Expectation<'_>,
) -> Result<Observation, CaptureError> {
    let examination = check::examine(connection, expected.repository).await?;
    let warnings = examination.warnings.len();
    let installation = match examination.sound() {
        Ok(installation) => installation,
        Err(unsound) => {
            return Ok(Observation::problem(
                "capture",
                format!(
                    "the catalog does not fit the database ({} findings)",
                    unsound.0.len()
                ),
                "run tidemark-origin check, which says what to write",
            ));
        }
    };
    Ok(match installation.verify(connection).await {
        Err(CaptureError::NotInstalled) => Observation::problem(
            "capture",
            "not all triggers that the catalog needs are in place",
            "run tidemark-origin install; until then nothing is proven",
        ),
        Err(error) => return Err(error),
        Ok(()) if warnings > 0 => Observation::warning(
            "capture",
            format!("all triggers are in place; {warnings} warnings about the catalog"),
            "run tidemark-origin check",
        ),
        Ok(()) => Observation::ok("capture", "all triggers are in place"),
    })
}

async fn outbox(connection: &mut PgConnection) -> Result<Observation, sqlx::Error> {
    let rows: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT FROM tidemark.outbox LIMIT $1) AS waiting",
    )
    .bind(MANY_ROWS)
    .fetch_one(connection)
    .await?;
    Ok(judged_rows(rows))
}

fn judged_rows(rows: i64) -> Observation {
    match rows {
        0 => Observation::ok("outbox", "empty"),
        rows if rows < MANY_ROWS => Observation::ok("outbox", format!("{rows} rows to be relayed")),
        _ => Observation::warning(
            "outbox",
            format!("{MANY_ROWS} rows or more to be relayed"),
            "see whether a relay leads and a Redis answers; it catches up by itself",
        ),
    }
}

async fn relay(connection: &mut PgConnection) -> Result<Observation, sqlx::Error> {
    let leader = sqlx::query(
        "SELECT a.pid, coalesce(host(a.client_addr), 'a local socket'), a.backend_start::text
         FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
           AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
           AND l.classid::bigint = $1 >> 32 AND l.objid::bigint = $1 & 4294967295",
    )
    .bind(LEADER_LOCK)
    .fetch_optional(connection)
    .await?;
    Ok(match leader {
        Some(row) => {
            let (pid, from): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
            let since: String = row.try_get(2)?;
            Observation::ok(
                "relay",
                format!("one leads, from {from} (backend {pid}), connected since {since}"),
            )
        }
        None => Observation::problem(
            "relay",
            "none leads",
            "run tidemark-origin serve, or relay; until then no change reaches any cache, and hits end \
             as promises run out",
        ),
    })
}

async fn time(connection: &mut PgConnection) -> Result<Observation, sqlx::Error> {
    let before = clock::now_ms();
    let theirs: i64 =
        sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
            .fetch_one(connection)
            .await?;
    Ok(judged_clocks(before, theirs, clock::now_ms()))
}

/// By how much the database's clock differs at least, if it was read between these two moments.
fn judged_clocks(before_ms: i64, theirs_ms: i64, after_ms: i64) -> Observation {
    let ahead = (theirs_ms - after_ms).max(0);
    let behind = (before_ms - theirs_ms).max(0);
    let skew = Duration::from_millis(ahead.max(behind).unsigned_abs());
    let text = format!("{skew:?} from this machine's at least");
    if skew < SKEW {
        Observation::ok("clock", "as this machine's")
    } else {
        Observation::warning(
            "clock",
            text,
            "let both follow the same time servers: a promise is held against both clocks",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Level;

    #[test]
    fn clocks_differ_only_by_what_the_reading_does_not_explain() {
        for (before, theirs, after, level) in [
            (1_000, 1_005, 1_010, Level::Ok),
            (1_000, 1_005, 9_000, Level::Ok),
            (1_000, 1_240, 1_010, Level::Ok),
            (1_000, 1_260, 1_010, Level::Warning),
            (1_000, 740, 1_010, Level::Warning),
        ] {
            assert_eq!(
                judged_clocks(before, theirs, after).level,
                level,
                "{theirs}"
            );
        }
    }

    #[test]
    fn an_outbox_that_only_grows_is_a_warning() {
        assert_eq!(judged_rows(0).level, Level::Ok);
        assert_eq!(judged_rows(MANY_ROWS - 1).level, Level::Ok);
        assert_eq!(judged_rows(MANY_ROWS).level, Level::Warning);
    }
}
