//! How many hits were possible: the run again, with a cache that knows the future.
//!
//! That cache loads a dashboard when it is first asked for, and again only when it is asked for after a commit
//! that alters this very answer. A read that begins while such a load runs can only wait for it; it needs no
//! load of its own, and is counted as joined. All other reads could have been hits. The times are those of
//! the run itself; a load takes as long as the read did that stands in its place.
//!
//! The same is counted for a cache that knows only whose order it was, as a catalog declares it that has a
//! scope and no `where` (`scope = "org:{org}"`): every order of an organization then concerns all of its
//! dashboards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    judge::{Impossible, Judge, Verdict},
    log::{Log, Moment, Read, Served},
    setting::Key,
};

/// What could have become of the reads of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Possible {
    /// Could have been hits.
    pub hits: u64,
    /// The first of their key.
    pub first: u64,
    /// The first after a change.
    pub changed: u64,
    /// Came while an unavoidable load ran.
    pub joined: u64,
}

/// Why reads were no hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misses {
    /// Nobody had asked before.
    pub first: u64,
    /// The answer is another one than before: unavoidable.
    pub changed: u64,
    /// An earlier read of the same key was still waiting for the database.
    pub joined: u64,
    /// The organization has a new order, which this dashboard does not show: avoidable by knowing what an order concerns.
    pub outside: u64,
    /// None of these: expired, evicted, not stored.
    pub other: u64,
}

/// What a cache saved in a run, against what could have been saved.
///
/// A read is saved if PostgreSQL runs no statement for it. That is counted at PostgreSQL, so that it means the
/// same for everybody, and nobody has to be believed. A read that shares another one's statement is saved as
/// well, as it is in what was possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Efficiency {
    /// All reads that count.
    pub reads: u64,
    /// Statements that PostgreSQL ran for them.
    pub statements: u64,
    /// Reads whose answer lacked an order that had been acknowledged before: nothing was saved there.
    pub stale: u64,
    /// With a cache that knows which answers an order alters.
    pub possible: Possible,
    /// With one that knows whose order it is.
    pub possible_by_organization: Possible,
    /// Why reads were no hits, where the contender says which ones.
    pub misses: Option<Misses>,
}

/// What an order is taken to concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Precision {
    /// The answers that it alters.
    Answer,
    /// All answers about its organization.
    Organization,
}

impl Efficiency {
    /// Of a run in which PostgreSQL ran so many statements for the reads that count.
    ///
    /// # Errors
    /// An answer is impossible.
    pub fn of(log: &Log, judge: &Judge, statements: u64) -> Result<Self, Impossible> {
        let orders = Orders::of(log);
        let from = log.measured_from;
        let mut this = Self {
            statements,
            ..Self::default()
        };
        let mut misses = Misses::default();
        for reads in by_key(log).values() {
            let judged = reads
                .iter()
                .map(|read| Ok((*read, judge.verdict(read)?)))
                .collect::<Result<Vec<_>, Impossible>>()?;
            let possible = &mut this.possible;
            possible.add(&judged, from, judge, &orders, Precision::Answer);
            let possible = &mut this.possible_by_organization;
            possible.add(&judged, from, judge, &orders, Precision::Organization);
            misses.add(&judged, from, &orders);
            for (_, verdict) in judged.iter().filter(|(read, _)| read.begun >= from) {
                this.reads += 1;
                this.stale += u64::from(!verdict.is_fresh());
            }
        }
        let told = log.reads.iter().all(|read| read.served.is_some());
        this.misses = told.then_some(misses);
        Ok(this)
    }

    /// The share of reads that were saved, stale answers included: what is called the hit ratio.
    pub fn hit_ratio(&self) -> f64 {
        share(self.reads.saturating_sub(self.statements), self.reads)
    }

    /// Reads saved, with answers that lacked nothing ÷ reads that could have been.
    pub fn ratio(&self) -> f64 {
        share(self.saved(), self.possible.savable())
    }

    /// The same against a cache that knows only whose order it was.
    pub fn ratio_by_organization(&self) -> f64 {
        share(self.saved(), self.possible_by_organization.savable())
    }

    /// Reads that cost no statement, with answers that lacked nothing.
    pub fn saved(&self) -> u64 {
        self.reads
            .saturating_sub(self.statements)
            .saturating_sub(self.stale)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Reads of each key in the order in which they began.
fn by_key(log: &Log) -> BTreeMap<Key, Vec<&Read>> {
    let mut keys = BTreeMap::<_, Vec<&Read>>::new();
    for read in &log.reads {
        keys.entry(read.key).or_default().push(read);
    }
    for reads in keys.values_mut() {
        reads.sort_unstable_by_key(|read| read.begun);
    }
    keys
}

/// The orders of each organization.
struct Orders(BTreeMap<u16, Times>);

/// When orders were sent and acknowledged; both lists in the order of time.
#[derive(Default)]
struct Times {
    begun: Vec<Moment>,
    acknowledged: Vec<Moment>,
}

impl Orders {
    fn of(log: &Log) -> Self {
        let mut orders = BTreeMap::<_, Times>::new();
        for commit in &log.commits {
            let times = orders.entry(commit.order.org).or_default();
            times.begun.push(commit.begun);
            let acknowledged = commit.acknowledged.unwrap_or(Moment::MAX);
            times.acknowledged.push(acknowledged);
        }
        for times in orders.values_mut() {
            times.begun.sort_unstable();
            times.acknowledged.sort_unstable();
        }
        Self(orders)
    }

    fn acknowledged_by(&self, org: u16, moment: Moment) -> u64 {
        let times = self.0.get(&org);
        times.map_or(0, |it| {
            it.acknowledged.partition_point(|&at| at < moment) as u64
        })
    }

    /// Whether one may have been committed between two moments.
    fn any_between(&self, org: u16, from: Moment, to: Moment) -> bool {
        let times = self.0.get(&org);
        times.is_some_and(|it| {
            let sent = it.begun.partition_point(|&at| at <= to);
            let settled = it.acknowledged.partition_point(|&at| at < from);
            sent > settled
        })
    }
}

impl Possible {
    /// Reads that needed no statement of their own.
    pub const fn savable(&self) -> u64 {
        self.hits + self.joined
    }

    /// Follows the reads of one key.
    fn add(
        &mut self,
        reads: &[(&Read, Verdict)],
        from: Moment,
        judge: &Judge,
        orders: &Orders,
        precision: Precision,
    ) {
        /// What the cache holds.
        struct Held {
            orders: u64,
            since: Moment,
        }
        let mut held: Option<Held> = None;
        for (read, verdict) in reads {
            let due = match precision {
                Precision::Answer => judge.due(read.key, read.begun),
                Precision::Organization => orders.acknowledged_by(read.key.org, read.begun),
            };
            let load = |has: u64| Held {
                orders: due.max(has),
                since: read.ended,
            };
            // An order may be in an answer before anybody was told; it needs no other load then.
            let has = match precision {
                Precision::Answer => verdict.has.orders(),
                Precision::Organization => 0,
            };
            let became = match &held {
                None => &mut self.first,
                Some(it) if it.orders < due => &mut self.changed,
                Some(it) if read.begun < it.since => &mut self.joined,
                Some(_) => {
                    self.hits += u64::from(read.begun >= from);
                    continue;
                }
            };
            *became += u64::from(read.begun >= from);
            if held.as_ref().is_none_or(|it| it.orders < due) {
                held = Some(load(has));
            }
        }
    }
}

impl Misses {
    /// Follows the reads of one key.
    fn add(&mut self, reads: &[(&Read, Verdict)], from: Moment, orders: &Orders) {
        let mut loaded: Option<(&Read, Verdict)> = None;
        for &(read, verdict) in reads {
            if read.served == Some(Served::Cache) {
                continue;
            }
            let reason = match loaded {
                None => &mut self.first,
                Some((_, before)) if verdict.has.orders() > before.has.orders() => {
                    &mut self.changed
                }
                Some((before, _)) if read.begun < before.ended => &mut self.joined,
                Some((before, _)) if orders.any_between(read.key.org, before.begun, read.ended) => {
                    &mut self.outside
                }
                Some(_) => &mut self.other,
            };
            *reason += u64::from(read.begun >= from);
            loaded = Some((read, verdict));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::article::{
        judge,
        log::Commit,
        setting::{Period, Region, Totals, Variant, Way},
    };

    /// Each read takes this long.
    const TAKES: Moment = 10;

    fn key(region: Region) -> Key {
        Key {
            org: 1,
            variant: Variant::of(Period::Month, region),
        }
    }

    fn read(key: Key, begun: Moment, has: u64, served: Served) -> Read {
        Read {
            key,
            begun,
            ended: begun + TAKES,
            served: Some(served),
            seen: Totals {
                orders: has,
                units: has,
            },
        }
    }

    /// An order from the north.
    fn commit(begun: Moment, acknowledged: Moment) -> Commit {
        judge::tests::commit(Way::Application, begun, acknowledged)
    }

    fn efficiency(reads: Vec<Read>, commits: Vec<Commit>, measured_from: Moment) -> Efficiency {
        let log = Log {
            baseline: vec![Totals::default(); Key::count(1)],
            reads,
            commits,
            measured_from,
            ..Log::default()
        };
        let loads = |read: &&Read| read.served == Some(Served::Database);
        let statements = log.measured().filter(loads).count() as u64;
        Efficiency::of(&log, &Judge::new(&log), statements).unwrap()
    }

    use Served::{Cache, Database};

    #[test]
    fn a_perfect_cache_has_all_hits_that_were_possible() {
        let north = key(Region::North);
        let reads = vec![
            read(north, 0, 0, Database),
            read(north, 20, 0, Cache),
            read(north, 200, 1, Database),
            read(north, 220, 1, Cache),
        ];
        let found = efficiency(reads, vec![commit(100, 110)], 0);
        let expected = Possible {
            hits: 2,
            first: 1,
            changed: 1,
            joined: 0,
        };
        assert_eq!(found.possible, expected);
        assert_eq!(found.possible_by_organization, expected);
        assert_eq!((found.reads, found.stale), (4, 0));
        assert!((found.ratio() - 1.0).abs() < 1e-9);
        let misses = Misses {
            first: 1,
            changed: 1,
            ..Misses::default()
        };
        assert_eq!(found.misses, Some(misses));
    }

    #[test]
    fn an_order_that_the_answer_does_not_show_makes_a_miss_that_was_avoidable() {
        let south = key(Region::South);
        let reads = vec![
            read(south, 0, 0, Database),
            read(south, 200, 0, Database),
            read(south, 220, 0, Cache),
        ];
        let found = efficiency(reads, vec![commit(100, 110)], 0);
        assert_eq!(found.possible.hits, 2);
        assert_eq!(found.possible_by_organization.hits, 1);
        assert_eq!(found.misses.unwrap().outside, 1);
        assert!((found.ratio() - 0.5).abs() < 1e-9);
        assert!((found.ratio_by_organization() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn who_comes_while_a_load_runs_can_only_wait_but_needs_no_load() {
        let north = key(Region::North);
        let reads = vec![
            read(north, 0, 0, Database),
            read(north, 5, 0, Database),
            read(north, 50, 0, Cache),
        ];
        let found = efficiency(reads, vec![], 0);
        assert_eq!((found.possible.joined, found.possible.hits), (1, 1));
        assert_eq!(found.misses.unwrap().joined, 1);
    }

    #[test]
    fn what_was_read_in_the_warm_up_is_there_but_does_not_count() {
        let north = key(Region::North);
        let reads = vec![read(north, 0, 0, Database), read(north, 50, 0, Cache)];
        let found = efficiency(reads, vec![], 40);
        assert_eq!((found.possible.first, found.possible.hits), (0, 1));
        assert_eq!(found.misses, Some(Misses::default()));
    }

    #[test]
    fn an_order_seen_before_its_acknowledgement_forces_no_second_load() {
        let north = key(Region::North);
        let reads = vec![read(north, 105, 1, Database), read(north, 200, 1, Cache)];
        let found = efficiency(reads, vec![commit(100, 110)], 0);
        assert_eq!((found.possible.hits, found.possible.changed), (1, 0));
    }

    #[test]
    fn a_stale_hit_is_none_of_those_that_were_possible() {
        let north = key(Region::North);
        let reads = vec![
            read(north, 0, 0, Database),
            read(north, 200, 0, Cache),
            read(north, 300, 0, Cache),
        ];
        let found = efficiency(reads, vec![commit(100, 110)], 0);
        assert_eq!((found.stale, found.statements), (2, 1));
        assert_eq!((found.possible.hits, found.possible.changed), (1, 1));
        assert!(found.ratio().abs() < 1e-9);
    }

    #[test]
    fn a_miss_without_a_cause_is_told_as_such() {
        let north = key(Region::North);
        let reads = vec![read(north, 0, 0, Database), read(north, 50, 0, Database)];
        let found = efficiency(reads, vec![], 0);
        assert_eq!(found.misses.unwrap().other, 1);
    }
}
