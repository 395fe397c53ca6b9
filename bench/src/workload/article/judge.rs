//! The judge: knows the commits, and tells of every answer which of them it lacks.
//!
//! Orders only add up. Those of the application have one unit each and those of others 1 001, so an answer's
//! totals tell how many of either it has. One that has fewer than had been acknowledged when the read began is
//! stale. By how much: of k + 1 acknowledged orders an answer with k lacks at least one, so it is older than
//! the (k + 1)th acknowledgement. Both are lower bounds: nobody is blamed for what did not happen.
//!
//! The judge is on guard against itself: an answer with more orders than had been sent when it ended, or with
//! fewer than there were in the beginning, is impossible, and voids the run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    log::{Log, Moment, Read},
    setting::{Key, Totals, Variant, Way},
};

/// How old an answer may be, as the query declares it (`max_staleness = "1s"`): µs.
pub const PROMISE: Moment = 1_000_000;

/// Knows what was committed.
#[derive(Debug)]
pub struct Judge {
    /// By [`Key::place`].
    keys: Vec<Known>,
}

/// What is known about a dashboard.
#[derive(Clone, Debug, Default)]
struct Known {
    baseline: Totals,
    application: Sent,
    elsewhere: Sent,
}

/// Orders of one way that a dashboard shows; both lists in the order of time.
#[derive(Clone, Debug, Default)]
struct Sent {
    begun: Vec<Moment>,
    acknowledged: Vec<Moment>,
}

/// How many orders an answer has beyond those of the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Has {
    /// Those of the application.
    pub application: u64,
    /// Those of others.
    pub elsewhere: u64,
}

impl Has {
    /// All.
    pub const fn orders(self) -> u64 {
        self.application + self.elsewhere
    }
}

/// What the judge says about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it has.
    pub has: Has,
    /// By how much it is older than the read, in µs, for lack of an acknowledged order of the application.
    pub lacks_application: Option<Moment>,
    /// The same for orders of others.
    pub lacks_elsewhere: Option<Moment>,
}

impl Verdict {
    /// Whether it has everything that had been acknowledged.
    pub const fn is_fresh(self) -> bool {
        self.lacks_application.is_none() && self.lacks_elsewhere.is_none()
    }
}

/// An answer that can't be. The judge does not know all commits, or the contender makes things up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// Which answer.
    pub read: Read,
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Read { key, seen, .. } = self.read;
        write!(f, "{} can't have been {seen:?}", key.path())
    }
}

impl std::error::Error for Impossible {}

impl Sent {
    /// How many of them an answer must have.
    fn due(&self, moment: Moment) -> u64 {
        self.acknowledged.partition_point(|&at| at < moment) as u64
    }

    /// How many of them an answer may have.
    fn allowed(&self, moment: Moment) -> u64 {
        self.begun.partition_point(|&at| at <= moment) as u64
    }

    /// By how much an answer with so many of them is older than `moment`.
    fn lacks(&self, has: u64, moment: Moment) -> Option<Moment> {
        let first = self.acknowledged.get(usize::try_from(has).ok()?)?;
        (*first < moment).then(|| moment - first)
    }
}

impl Judge {
    /// Learns the commits of a run.
    pub fn new(log: &Log) -> Self {
        let known = |&baseline| Known {
            baseline,
            ..Known::default()
        };
        let mut keys: Vec<_> = log.baseline.iter().map(known).collect();
        for commit in &log.commits {
            let order = &commit.order;
            for variant in Variant::all().filter(|variant| variant.shows(order)) {
                let key = Key {
                    org: order.org,
                    variant,
                };
                let Some(known) = keys.get_mut(key.place()) else {
                    continue;
                };
                let sent = known.of_mut(order.way);
                sent.begun.push(commit.begun);
                sent.acknowledged.extend(commit.acknowledged);
            }
        }
        for known in &mut keys {
            for way in Way::ALL {
                let sent = known.of_mut(way);
                sent.begun.sort_unstable();
                sent.acknowledged.sort_unstable();
            }
        }
        Self { keys }
    }

    /// Judges an answer.
    ///
    /// # Errors
    /// It is impossible.
    pub fn verdict(&self, read: &Read) -> Result<Verdict, Impossible> {
        let impossible = Impossible { read: *read };
        let known = self.keys.get(read.key.place()).ok_or(impossible)?;
        let has = known.has(read.seen).ok_or(impossible)?;
        let sent = [
            (&known.application, has.application),
            (&known.elsewhere, has.elsewhere),
        ];
        if sent
            .iter()
            .any(|(sent, has)| *has > sent.allowed(read.ended))
        {
            return Err(impossible);
        }
        Ok(Verdict {
            has,
            lacks_application: known.application.lacks(has.application, read.begun),
            lacks_elsewhere: known.elsewhere.lacks(has.elsewhere, read.begun),
        })
    }

    /// How many orders an answer must have beyond those of the beginning, if its read begins now.
    pub fn due(&self, key: Key, moment: Moment) -> u64 {
        let known = self.keys.get(key.place());
        known.map_or(0, |known| {
            known.application.due(moment) + known.elsewhere.due(moment)
        })
    }

    /// What a dashboard says once everything that was sent is in it, or at least what was acknowledged; to
    /// be compared with the database after the run.
    pub fn finally(&self, key: Key) -> Option<(Totals, Totals)> {
        let known = self.keys.get(key.place())?;
        let with = |count: fn(&Sent) -> usize| {
            let (application, elsewhere) = (
                count(&known.application) as u64,
                count(&known.elsewhere) as u64,
            );
            Totals {
                orders: known.baseline.orders + application + elsewhere,
                units: known.baseline.units
                    + application * Way::Application.units()
                    + elsewhere * Way::Elsewhere.units(),
            }
        };
        Some((with(|it| it.acknowledged.len()), with(|it| it.begun.len())))
    }
}

impl Known {
    fn of_mut(&mut self, way: Way) -> &mut Sent {
        match way {
            Way::Application => &mut self.application,
            Way::Elsewhere => &mut self.elsewhere,
        }
    }

    /// Solves for both numbers: a + e = orders, 1 a + 1 001 e = units.
    fn has(&self, seen: Totals) -> Option<Has> {
        let orders = seen.orders.checked_sub(self.baseline.orders)?;
        let units = seen.units.checked_sub(self.baseline.units)?;
        let [one, more] = [Way::Application.units(), Way::Elsewhere.units()];
        let beyond = units.checked_sub(orders * one)?;
        let elsewhere = beyond / (more - one);
        let application = orders.checked_sub(elsewhere)?;
        (elsewhere * (more - one) == beyond).then_some(Has {
            application,
            elsewhere,
        })
    }
}

/// Stale answers of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Staleness {
    /// How many answers were judged.
    pub judged: u64,
    /// Answers that lacked an order of the application's own.
    pub application: Lacking,
    /// Answers that lacked somebody else's order.
    pub elsewhere: Lacking,
}

/// Answers that lacked an order which had been acknowledged before they were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lacking {
    /// All of them.
    pub answers: u64,
    /// Those that were older than [`PROMISE`].
    pub beyond_promise: u64,
    /// By how much the worst of them was too old, in ms; 0 if there is none.
    pub longest_ms: f64,
}

impl Staleness {
    /// Of the answers that count.
    ///
    /// # Errors
    /// One of them is impossible.
    pub fn of(log: &Log, judge: &Judge) -> Result<Self, Impossible> {
        let mut this = Self::default();
        for read in log.measured() {
            let verdict = judge.verdict(read)?;
            this.judged += 1;
            this.application.add(verdict.lacks_application);
            this.elsewhere.add(verdict.lacks_elsewhere);
        }
        Ok(this)
    }

    /// Answers that broke a promise of the catalog: older than its `max_staleness`, whoever wrote.
    pub const fn beyond_promise(&self) -> u64 {
        self.application.beyond_promise + self.elsewhere.beyond_promise
    }
}

impl Lacking {
    fn add(&mut self, lag: Option<Moment>) {
        let Some(lag) = lag else { return };
        self.answers += 1;
        self.beyond_promise += u64::from(lag > PROMISE);
        self.longest_ms = self.longest_ms.max(lag as f64 / 1e3);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tidemark_tests::consistency::random::Chance;

    use super::*;
    use crate::workload::article::{
        log::Commit,
        setting::{Day, Order, Period, Region},
    };

    const KEY: fn() -> Key = || Key {
        org: 1,
        variant: Variant::of(Period::Year, Region::All),
    };

    const BASE: Totals = Totals {
        orders: 10,
        units: 5_000,
    };

    pub(in crate::workload::article) fn commit(
        way: Way,
        begun: Moment,
        acknowledged: Moment,
    ) -> Commit {
        Commit {
            order: Order {
                org: 1,
                customer: 1,
                region: Region::North,
                day: Day { month: 12, day: 1 },
                product: 1,
                way,
            },
            begun,
            acknowledged: Some(acknowledged),
        }
    }

    fn log(commits: Vec<Commit>) -> Log {
        Log {
            baseline: vec![BASE; Key::count(1)],
            commits,
            ..Log::default()
        }
    }

    fn read(begun: Moment, application: u64, elsewhere: u64) -> Read {
        Read {
            key: KEY(),
            begun,
            ended: begun + 500,
            served: None,
            seen: Totals {
                orders: BASE.orders + application + elsewhere,
                units: BASE.units + application + 1_001 * elsewhere,
            },
        }
    }

    #[test]
    fn an_answer_with_everything_acknowledged_is_fresh() {
        let judge = Judge::new(&log(vec![commit(Way::Application, 100, 200)]));
        assert!(
            judge.verdict(&read(150, 0, 0)).unwrap().is_fresh(),
            "not yet acknowledged"
        );
        assert!(
            judge.verdict(&read(150, 1, 0)).unwrap().is_fresh(),
            "committed already"
        );
        assert!(judge.verdict(&read(201, 1, 0)).unwrap().is_fresh());
    }

    #[test]
    fn an_answer_that_lacks_an_acknowledged_order_is_stale_since_its_acknowledgement() {
        let commits = vec![
            commit(Way::Application, 100, 200),
            commit(Way::Application, 300, 400),
            commit(Way::Elsewhere, 500, 600),
        ];
        let judge = Judge::new(&log(commits));
        let verdict = judge.verdict(&read(1_000, 1, 0)).unwrap();
        assert_eq!(verdict.lacks_application, Some(600), "the second one");
        assert_eq!(verdict.lacks_elsewhere, Some(400));
        let verdict = judge.verdict(&read(1_000, 2, 0)).unwrap();
        assert_eq!(verdict.lacks_application, None);
        assert_eq!(verdict.lacks_elsewhere, Some(400));
    }

    #[test]
    fn an_answer_from_the_future_or_before_the_beginning_is_impossible() {
        let judge = Judge::new(&log(vec![commit(Way::Application, 2_000, 2_100)]));
        assert!(judge.verdict(&read(1_000, 1, 0)).is_err(), "not yet sent");
        assert!(
            judge.verdict(&read(2_050, 0, 1)).is_err(),
            "of the other way"
        );
        let mut before = read(1_000, 0, 0);
        before.seen.orders -= 1;
        assert!(judge.verdict(&before).is_err());
    }

    #[test]
    fn an_order_that_nobody_acknowledged_may_be_there_or_not() {
        let mut unsure = commit(Way::Application, 100, 0);
        unsure.acknowledged = None;
        let judge = Judge::new(&log(vec![unsure]));
        for has in [0, 1] {
            assert!(judge.verdict(&read(9_000, has, 0)).unwrap().is_fresh());
        }
        let (least, most) = judge.finally(KEY()).unwrap();
        assert_eq!((least.orders, most.orders), (10, 11));
    }

    #[test]
    fn what_an_order_does_not_alter_can_t_lack_it() {
        let judge = Judge::new(&log(vec![commit(Way::Application, 100, 200)]));
        let mut other = read(9_000, 0, 0);
        other.key.variant = Variant::of(Period::Year, Region::South);
        assert!(judge.verdict(&other).unwrap().is_fresh());
    }

    /// A cache that serves the truth as of some time ago, against any history of commits: it is found
    /// stale exactly when a commit that it hides had been acknowledged, and never by more than it hides.
    #[test]
    fn whoever_serves_the_past_is_found_and_whoever_serves_the_present_is_not() {
        let mut found = 0;
        for seed in 0..2_000 {
            let mut chance = Chance::new(seed, 1);
            let commits: Vec<_> = (0..chance.below(12))
                .map(|_| {
                    let begun = chance.between(0, 10_000_000);
                    let way = Way::ALL[chance.below(2)];
                    commit(way, begun, begun + chance.between(1, 50_000))
                })
                .collect();
            let judge = Judge::new(&log(commits.clone()));
            let begun = chance.between(0, 11_000_000);
            let age = chance.between(0, 3_000_000);
            let as_of = begun.saturating_sub(age);
            // Committed at some time between its sending and its acknowledgement: here at once before that.
            let visible = |way, by: Moment| {
                let all = commits.iter().filter(|it| it.order.way == way);
                all.filter(|it| it.acknowledged.unwrap() <= by).count() as u64
            };
            let present = read(
                begun,
                visible(Way::Application, begun),
                visible(Way::Elsewhere, begun),
            );
            assert!(judge.verdict(&present).unwrap().is_fresh(), "seed {seed}");

            let past = read(
                begun,
                visible(Way::Application, as_of),
                visible(Way::Elsewhere, as_of),
            );
            let verdict = judge.verdict(&past).unwrap();
            for (way, lag) in [
                (Way::Application, verdict.lacks_application),
                (Way::Elsewhere, verdict.lacks_elsewhere),
            ] {
                let hidden = |it: &&Commit| {
                    let acknowledged = it.acknowledged.unwrap();
                    it.order.way == way && as_of < acknowledged && acknowledged < begun
                };
                let first = commits
                    .iter()
                    .filter(hidden)
                    .map(|it| it.acknowledged.unwrap());
                assert_eq!(
                    lag,
                    first.min().map(|at| begun - at),
                    "seed {seed}, {way:?}"
                );
                assert!(lag.is_none_or(|lag| lag <= age), "seed {seed}");
                found += u32::from(lag.is_some());
            }
        }
        assert!(found > 500, "only {found} were stale at all");
    }

    #[test]
    fn stale_answers_are_counted_by_who_wrote_and_by_the_promise() {
        let mut log = log(vec![
            commit(Way::Application, 100, 200),
            commit(Way::Elsewhere, 100, 200),
        ]);
        log.measured_from = 50;
        log.reads = vec![
            read(0, 0, 0), // the warm-up does not count
            read(1_200, 0, 1),
            read(PROMISE + 300, 1, 0),
            read(PROMISE + 300, 1, 1),
        ];
        let staleness = Staleness::of(&log, &Judge::new(&log)).unwrap();
        assert_eq!(staleness.judged, 3);
        let application = staleness.application;
        assert_eq!((application.answers, application.beyond_promise), (1, 0));
        assert!((application.longest_ms - 1.0).abs() < 1e-9);
        let elsewhere = staleness.elsewhere;
        assert_eq!((elsewhere.answers, elsewhere.beyond_promise), (1, 1));
        assert_eq!(staleness.beyond_promise(), 1);
    }
}
