//! Purging by hand: recorded in the outbox like any change, so that it reaches every region in the
//! same way; and, where the bytes have to go as well, deleting them.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use sqlx::PgConnection;
use tidemark_shared::{
    catalog::Catalog,
    key::Keyspace,
    purge::{Target, Touched},
    scope::Scope,
};

use crate::clock;

/// How many names one step of a scan looks at, about.
const SCAN: usize = 1_000;

/// How long Redis may take for one step.
const STEP: Duration = Duration::from_secs(10);

/// How often a long deletion says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// Why a purge can't be recorded.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// There is no outbox.
    #[error("there is no outbox in this database; run: tidemark-origin install")]
    NotInstalled,
    /// PostgreSQL refused.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for PurgeError {
    fn from(error: sqlx::Error) -> Self {
        const UNDEFINED_TABLE: &str = "42P01";
        match &error {
            sqlx::Error::Database(reason) if reason.code().as_deref() == Some(UNDEFINED_TABLE) => {
                Self::NotInstalled
            }
            _ => Self::Database(error),
        }
    }
}

/// Records changes as the triggers would, and gives a moment after that, in ms since the Unix epoch by
/// the database's clock: a tidemark that is not before it has them.
///
/// # Errors
/// There is no outbox, or PostgreSQL refuses; then nothing was recorded.
pub async fn record(
    database: &mut PgConnection,
    touched: &BTreeSet<Touched>,
) -> Result<i64, PurgeError> {
    let (mut kinds, mut names, mut members) = (Vec::new(), Vec::new(), Vec::new());
    for touched in touched {
        let (kind, name, member) = match touched {
            Touched::Table(table) => ("t", table, None),
            Touched::Family(family) => ("f", family, None),
            Touched::Member { family, id } => ("m", family, Some(id)),
        };
        kinds.push(kind);
        names.push(name.as_str());
        members.push(member.map(String::as_str));
    }
    sqlx::query(
        r#"INSERT INTO tidemark.outbox (kind, name, members)
           SELECT kind::"char", name, array_remove(ARRAY[member], NULL)
           FROM unnest($1::text[], $2::text[], $3::text[]) AS touched (kind, name, member)"#,
    )
    .bind(kinds)
    .bind(names)
    .bind(members)
    .execute(&mut *database)
    .await?;
    Ok(clock::moment_after(database).await?)
}

/// What has been deleted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Names that were looked at.
    pub seen: u64,
    /// Entries that were deleted.
    pub entries: u64,
}

/// Deletes the entries of these targets from a Redis, in small steps that hold up nobody else; tells
/// `progress` from time to time.
///
/// # Errors
/// Redis fails; what was deleted by then is gone.
pub async fn delete(
    client: &redis::Client,
    keyspace: &Keyspace,
    catalog: &Catalog,
    targets: &[Target],
    mut progress: impl FnMut(Deleted),
) -> redis::RedisResult<Deleted> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(STEP));
    let mut redis = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let pattern = pattern(keyspace, targets);
    let mut deleted = Deleted::default();
    let mut told = Instant::now();
    let mut cursor = 0_u64;
    loop {
        let (next, names): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(SCAN)
            .query_async(&mut redis)
            .await?;
        deleted.seen += names.len() as u64;
        let doomed: Vec<&[u8]> = names
            .iter()
            .map(Vec::as_slice)
            .filter(|name| is_doomed(name, keyspace, catalog, targets))
            .collect();
        deleted.entries += unlink(&mut redis, &doomed).await?;
        if next == 0 {
            return Ok(deleted);
        }
        cursor = next;
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            progress(deleted);
        }
    }
}

/// A glob pattern for the names of at least the entries of these targets: one scan for all, since each
/// goes through the whole Redis.
pub(crate) fn pattern(keyspace: &Keyspace, targets: &[Target]) -> String {
    match targets {
        [Target::Member { family, id }] => keyspace.entries_of_member(&Scope::member(family, id)),
        [Target::Family(family)] => keyspace.entries_of_family(family),
        _ => keyspace.entries(),
    }
}

fn is_doomed(name: &[u8], keyspace: &Keyspace, catalog: &Catalog, targets: &[Target]) -> bool {
    let name = std::str::from_utf8(name).ok();
    let entry = name.and_then(|name| keyspace.parse_entry(name));
    entry.is_some_and(|entry| targets.iter().any(|target| target.holds(&entry, catalog)))
}

async fn unlink(redis: &mut MultiplexedConnection, names: &[&[u8]]) -> redis::RedisResult<u64> {
    if names.is_empty() {
        return Ok(0);
    }
    redis::cmd("UNLINK").arg(names).query_async(redis).await
}
