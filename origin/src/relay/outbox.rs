//! The relay's side of the outbox: take what is visible, delete what is applied.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sqlx::{AssertSqlSafe, PgConnection, Row as _, postgres::PgRow};
use tidemark_shared::{
    event::EventId,
    part::{self, FacetValue, Facets},
    scope::Scope,
};

use super::RelayError;
use crate::{
    capture::{self, CaptureError, Installation},
    statement::AS_OF,
};

/// The most rows that one cycle takes, to bound its memory: a row has at most 1 000 members.
const BATCH: i64 = 2_000;

/// The first transaction whose rows have not all been taken: older ones have ended, and whatever
/// they recorded has been seen.
///
/// Rows below are never looked at. So it costs nothing that they can't be vacuumed while some old
/// snapshot, of a backup say, might still see them.
#[derive(Clone, Debug)]
pub(super) struct Horizon(String);

/// Prepares a new leader's connection, which is to look at all rows.
///
/// Plans are made while the outbox is empty, when reading all of it looks cheapest, and are kept. So
/// the planner is told that by the index is always right; and to compile nothing, since what has no
/// index would then seem dear enough for that.
pub(super) async fn begin(database: &mut PgConnection) -> Result<Horizon, sqlx::Error> {
    sqlx::raw_sql("SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off")
        .execute(database)
        .await?;
    Ok(Horizon("0".to_owned()))
}

/// A horizon for whoever need not know what is visible by now.
pub(super) async fn present(database: &mut PgConnection) -> Result<Horizon, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        .fetch_one(database)
        .await
        .map(Horizon)
}

/// What one cycle took.
pub(super) struct Drained {
    /// Every commit visible at this moment is among the rows, if they are all; ms since the Unix
    /// epoch by the database's clock.
    pub(super) as_of: i64,
    /// The rows.
    pub(super) rows: Taken,
    /// Their distinct scopes.
    pub(super) scopes: Vec<Scope>,
    /// How many rows the changes of each table have left; those of no table are not among them.
    pub(super) changes: BTreeMap<String, u64>,
    /// Whether these were all.
    pub(super) whole: bool,
    /// Where to go on once they have been settled.
    pub(super) next: Horizon,
}

/// Rows that are to be deleted once they are applied.
pub(super) struct Taken {
    ids: Vec<i64>,
    from: Horizon,
}

impl Taken {
    /// Whether there were none.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A row of the outbox, and the scopes that it stands for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its number; a later row of the same transaction has a higher one.
    pub id: i64,
    /// The scopes; none where rows that it referred to are gone, whose own deletion is recorded.
    pub scopes: BTreeSet<Scope>,
}

/// The kind of a row whose keys have been resolved.
const RESOLVED: &str = "translate(kind::text, 'pq', 'rs')";

/// What a path to parts of members leads to.
#[derive(Deserialize)]
struct Found {
    member: String,
    /// None where there was too much to tell parts apart.
    facets: Option<Vec<FoundFacet>>,
}

#[derive(Deserialize)]
struct FoundFacet {
    facet: String,
    day: Option<String>,
    word: Option<String>,
}

impl Found {
    fn row(self) -> (String, Option<Facets>) {
        let facet = |FoundFacet { facet, day, word }| {
            let day = day.and_then(|day| FacetValue::day(&day));
            Some((facet, day.or(word.map(FacetValue::Word))?))
        };
        let known = self
            .facets
            .map(|facets| facets.into_iter().map(facet).collect());
        (self.member, known.flatten())
    }
}

/// The scopes that a row names. Keys of a path name none, until they are resolved: that is a row of
/// kind `r`, or `s` for parts.
fn scopes(row: &PgRow) -> Result<BTreeSet<Scope>, RelayError> {
    let kind: String = row.try_get("kind")?;
    let name: String = row.try_get("name")?;
    let members: Option<Vec<Option<String>>> = row.try_get("members")?;
    // A path is called FAMILY:{…}.
    let family = name.split(':').next().unwrap_or_default();
    Ok(match (kind.as_str(), members) {
        ("t", _) => BTreeSet::from([Scope::Table(name)]),
        ("f", _) => BTreeSet::from([Scope::Family(name)]),
        ("m" | "r", Some(members)) => {
            let members = members.iter().flatten();
            members
                .map(|member| Scope::member(family, member))
                .collect()
        }
        ("s", Some(found)) => {
            let found = found.iter().flatten();
            let found: Vec<Found> = found
                .map(|found| serde_json::from_str(found))
                .collect::<Result<_, _>>()
                .map_err(|_| RelayError::Illegible("outbox"))?;
            part::touched(family, found.into_iter().map(Found::row))
        }
        // Too many to name, or a path of an installation that is gone: nobody knows where it led.
        ("r" | "s", None) => BTreeSet::from([Scope::Family(family.to_owned())]),
        ("p" | "q", _) => BTreeSet::new(),
        _ => return Err(RelayError::Illegible("outbox")),
    })
}

/// Takes all visible rows, up to a bound. Keys become the members that they belong to in this
/// statement's own snapshot, for each path all of them at once.
///
/// `as_of` and the rows come from one statement, whose snapshot is taken after the moment that
/// `as_of` names: see [`AS_OF`].
///
/// # Errors
/// [`CaptureError::NotInstalled`] where, in this very snapshot, something may have changed unrecorded.
pub(super) async fn drain(
    database: &mut PgConnection,
    installation: &Installation,
    from: &Horizon,
) -> Result<Drained, RelayError> {
    let (tables, digest, links) = installation.watched();
    let rows = sqlx::query(AssertSqlSafe(format!(
        "WITH batch AS MATERIALIZED (
             SELECT id, kind, name, members, source FROM tidemark.outbox
             WHERE xact >= $4::xid8 ORDER BY xact, id LIMIT {BATCH}
         ), keys AS (
             SELECT kind, name, array_agg(key ORDER BY id, place) AS keys
             FROM batch CROSS JOIN LATERAL unnest(members) WITH ORDINALITY AS k (key, place)
             WHERE kind IN ('p', 'q') GROUP BY kind, name
         )
         SELECT {AS_OF} AS as_of, pg_snapshot_xmin(pg_current_snapshot())::text AS horizon,
             {unchanged} AS unchanged, o.*
         FROM (SELECT) AS always
         LEFT JOIN LATERAL (
             SELECT id, kind::text AS kind, name, CASE WHEN kind NOT IN ('p', 'q') THEN members END AS members, source FROM batch
             UNION ALL SELECT NULL, {RESOLVED}, name, tidemark.members(name, keys), NULL FROM keys
         ) AS o ON true",
        unchanged = capture::unchanged()
    )))
    .bind(tables)
    .bind(digest)
    .bind(links)
    .bind(&from.0)
    .fetch_all(database)
    .await?;
    let mut drained = Drained {
        as_of: 0,
        rows: Taken {
            ids: Vec::with_capacity(rows.len()),
            from: from.clone(),
        },
        scopes: Vec::new(),
        changes: BTreeMap::new(),
        whole: true,
        next: from.clone(),
    };
    let mut distinct = BTreeSet::new();
    for row in &rows {
        if !row.try_get::<bool, _>("unchanged")? {
            return Err(CaptureError::NotInstalled.into());
        }
        drained.as_of = row.try_get("as_of")?;
        drained.next = Horizon(row.try_get("horizon")?);
        if row.try_get::<Option<&str>, _>("kind")?.is_some() {
            drained
                .rows
                .ids
                .extend(row.try_get::<Option<i64>, _>("id")?);
            distinct.extend(scopes(row)?);
            if let Some(source) = row.try_get::<Option<String>, _>("source")? {
                *drained.changes.entry(source).or_default() += 1;
            }
        }
    }
    drained.scopes = distinct.into_iter().collect();
    drained.whole = drained.rows.ids.len() < usize::try_from(BATCH).unwrap_or(usize::MAX);
    if !drained.whole {
        drained.next = from.clone();
    }
    Ok(drained)
}

/// Deletes rows that have been applied and records the event that did it, in one statement.
pub(super) async fn settle(
    database: &mut PgConnection,
    rows: &Taken,
    event: EventId,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH gone AS (
             DELETE FROM tidemark.outbox WHERE xact >= $1::xid8 AND id = ANY($2)
         )
         INSERT INTO tidemark.progress (event) VALUES ($3)
         ON CONFLICT (only_row) DO UPDATE SET event = EXCLUDED.event",
    )
    .bind(&rows.from.0)
    .bind(&rows.ids)
    .bind(event.to_string())
    .execute(database)
    .await?;
    Ok(())
}

/// All rows that are visible now, those of the connection's own transaction among them.
///
/// # Errors
/// PostgreSQL refuses, capture may not be installed; or a row is of another version.
pub async fn visible(database: &mut PgConnection) -> Result<Vec<Recorded>, RelayError> {
    let rows = sqlx::query(
        AssertSqlSafe(format!(
            "SELECT id, {RESOLVED} AS kind, name,
             CASE WHEN kind IN ('p', 'q') THEN tidemark.members(name, ARRAY(SELECT unnest(members))) ELSE members END AS members
         FROM tidemark.outbox ORDER BY xact, id"
        )),
    )
    .fetch_all(database)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Recorded {
                id: row.try_get("id")?,
                scopes: scopes(row)?,
            })
        })
        .collect()
}

/// The last event whose scopes left the outbox.
pub(super) async fn last_event(database: &mut PgConnection) -> Result<EventId, RelayError> {
    let event: Option<String> = sqlx::query_scalar("SELECT event FROM tidemark.progress")
        .fetch_optional(database)
        .await?;
    match event {
        None => Ok(EventId::default()),
        Some(event) => event.parse().map_err(|_| RelayError::Illegible("progress")),
    }
}

/// The number of a new leadership.
pub(super) async fn next_term(database: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT nextval('tidemark.term')")
        .fetch_one(database)
        .await
}

/// The number of a leadership that comes after a term which this database may not have given out.
pub(super) async fn next_term_after(
    database: &mut PgConnection,
    term: i64,
) -> Result<i64, sqlx::Error> {
    sqlx::query("SELECT setval('tidemark.term', $1)")
        .bind(term)
        .execute(&mut *database)
        .await?;
    next_term(database).await
}
