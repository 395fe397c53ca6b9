//! What happened in the database: every version of every row, and when it was there to be seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context as _;
use sqlx::PgConnection;

use super::{
    moments::{BEGINNING, END, Moments},
    observer::{Sightings, Transaction},
    workload::{Object, Table},
};

/// One committed change of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The transaction's tag, never used twice.
    pub tag: i64,
    /// The row.
    pub object: Object,
    /// The row's new version, never used twice.
    pub version: i64,
    /// Where the row is from now on; nowhere if it was deleted.
    pub place: Option<i64>,
}

/// When a commit became visible, as far as anybody can tell: after the first of these moments, and
/// not after the second one. In µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visible {
    /// It was not visible yet.
    pub not_at: i64,
    /// It was visible.
    pub at: i64,
}

/// A version of a row that could be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The change that made it.
    pub change: Change,
    /// When it became visible.
    pub visible: Visible,
}

/// Everything that was committed.
#[derive(Debug, Default)]
pub struct History {
    /// The versions of each row in order; before the first one, it was not there.
    rows: BTreeMap<Object, Vec<Version>>,
    /// Where in its row's versions a version is, by its number.
    places: HashMap<i64, (Object, usize)>,
    /// When each transaction became visible.
    transactions: HashMap<i64, Visible>,
    /// The rows that each transaction has changed, and the places of their versions.
    written: HashMap<i64, Vec<(Object, usize)>>,
}

impl History {
    /// A history of changes in their order, with a word on each transaction's visibility.
    ///
    /// What a transaction overwrites itself nobody can ever see, so it is left out.
    pub fn new(
        changes: impl IntoIterator<Item = Change>,
        transactions: HashMap<i64, Visible>,
    ) -> Self {
        let mut rows: BTreeMap<Object, Vec<Version>> = BTreeMap::new();
        for change in changes {
            let Some(&visible) = transactions.get(&change.tag) else {
                continue;
            };
            let row = rows.entry(change.object).or_default();
            let version = Version { change, visible };
            match row.last_mut() {
                Some(last) if last.change.tag == change.tag => *last = version,
                _ => row.push(version),
            }
        }
        let mut places = HashMap::new();
        let mut written: HashMap<_, Vec<_>> = HashMap::new();
        for (&object, row) in &mut rows {
            tighten(row);
            for (place, version) in row.iter().enumerate() {
                places.insert(version.change.version, (object, place));
                let by = written.entry(version.change.tag).or_default();
                by.push((object, place));
            }
        }
        Self {
            rows,
            places,
            transactions,
            written,
        }
    }

    /// Reads what the workload's triggers have written down, at the end.
    ///
    /// `known_by` has, for each transaction that somebody was told had been committed, when that
    /// was: it was visible by then.
    ///
    /// # Errors
    /// PostgreSQL does not answer, or holds what no trigger has written, or a transaction that the
    /// observer has never seen.
    pub async fn read(
        database: &mut PgConnection,
        sightings: &Sightings,
        known_by: &HashMap<i64, i64>,
    ) -> anyhow::Result<Self> {
        type Row = (i64, i64, i64, String, i64, i64, Option<i64>);
        let written: Vec<Row> = sqlx::query_as(
            "SELECT tag, xid, life, tab, id, version, place FROM judge.history ORDER BY seq",
        )
        .fetch_all(database)
        .await?;
        let mut changes = Vec::with_capacity(written.len());
        let mut transactions = HashMap::new();
        for (tag, xid, life, table, id, version, place) in written {
            let table = Table::named(&table).with_context(|| format!("no table {table}"))?;
            let object = Object { table, id };
            changes.push(Change {
                tag,
                object,
                version,
                place,
            });
            if transactions.contains_key(&tag) {
                continue;
            }
            let mut visible = sightings
                .visible(Transaction { life, xid })
                .with_context(|| format!("transaction {tag} (xid {xid}) was never seen"))?;
            if let Some(&known) = known_by.get(&tag) {
                visible.at = visible.at.min(known);
            }
            transactions.insert(tag, visible);
        }
        Ok(Self::new(changes, transactions))
    }

    /// How many transactions were committed.
    pub fn transactions(&self) -> usize {
        self.transactions.len()
    }

    /// How many versions could be seen.
    pub fn versions(&self) -> usize {
        self.places.len()
    }

    /// When a transaction became visible, if it was committed.
    pub fn transaction(&self, tag: i64) -> Option<Visible> {
        self.transactions.get(&tag).copied()
    }

    /// A table's rows, with their versions.
    pub fn rows(&self, table: Table) -> impl Iterator<Item = (Object, &[Version])> {
        let least = |id| Object { table, id };
        self.rows
            .range(least(i64::MIN)..=least(i64::MAX))
            .map(|(&object, row)| (object, row.as_slice()))
    }

    /// The version of this number, and its successor in the same row.
    pub fn version(&self, number: i64) -> Option<(&Version, Option<&Version>)> {
        let (object, place) = *self.places.get(&number)?;
        let row = self.rows.get(&object)?;
        Some((row.get(place)?, row.get(place + 1)))
    }

    /// The place of a version among those of its row.
    pub fn place(&self, number: i64) -> Option<usize> {
        self.places.get(&number).map(|&(_, place)| place)
    }

    /// Who sees these transactions sees these rows at these places of theirs, or later ones.
    pub fn at_least(&self, transactions: &BTreeSet<i64>) -> HashMap<Object, usize> {
        let mut at_least = HashMap::new();
        for tag in transactions {
            for &(object, place) in self.written.get(tag).into_iter().flatten() {
                let least = at_least.entry(object).or_insert(place);
                *least = place.max(*least);
            }
        }
        at_least
    }
}

impl Version {
    /// When this version can have been its row's current one, before its successor.
    pub fn current(&self, successor: Option<&Self>) -> (i64, i64) {
        let until = successor.map_or(END, |successor| successor.visible.at);
        (self.visible.not_at, until)
    }
}

/// Where a row was (nowhere, or somewhere) at every moment between two, if that is certain: the
/// common case, and quickly told.
pub fn certain_place(
    row: &[Version],
    least: Option<usize>,
    (from, to): (i64, i64),
) -> Option<Option<i64>> {
    let next = row.partition_point(|version| version.visible.at <= from);
    let stays = row
        .get(next)
        .is_none_or(|version| version.visible.not_at >= to);
    let settled = least.is_none_or(|least| least < next);
    (stays && settled).then(|| {
        let current = next.checked_sub(1).map(|current| &row[current]);
        current.and_then(|version| version.change.place)
    })
}

/// When a row can have been in a state that `accept` takes (nowhere, or somewhere), as far as that
/// matters between two moments, and not before the version in the place `least`.
pub fn moments_of(
    row: &[Version],
    least: Option<usize>,
    (from, to): (i64, i64),
    accept: impl Fn(Option<i64>) -> bool,
) -> Moments {
    // Versions follow each other, so those that matter are next to each other.
    let first = row
        .partition_point(|version| version.visible.at <= from)
        .saturating_sub(1)
        .max(least.unwrap_or(0));
    let mut intervals = Vec::new();
    if first == 0 && least.is_none() && accept(None) {
        let until = row.first().map_or(END, |version| version.visible.at);
        intervals.push((BEGINNING, until));
    }
    for (place, version) in row.iter().enumerate().skip(first) {
        if version.visible.not_at >= to {
            break;
        }
        if accept(version.change.place) {
            intervals.push(version.current(row.get(place + 1)));
        }
    }
    Moments::union(intervals)
}

/// A row's versions became visible one after the other, which says more about each of them.
fn tighten(row: &mut [Version]) {
    let mut latest = BEGINNING;
    for version in row.iter_mut() {
        latest = latest.max(version.visible.not_at);
        version.visible.not_at = latest;
    }
    let mut earliest = END;
    for version in row.iter_mut().rev() {
        earliest = earliest.min(version.visible.at);
        version.visible.at = earliest;
    }
}
