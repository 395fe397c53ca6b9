//! The hot sample: which answers are read most, for whoever fills them before they are asked for.
//!
//! It is a sorted set in Redis. A member is a canonical request, as [`crate::route::target`] makes it;
//! its score counts its reads, an older read for less: half as much for each [`HALF_LIFE`] of age.
//!
//! The decay is a *forward* one (Cormode, Shkapenyuk, Srivastava, Xu: Forward Decay, ICDE 2009). A read
//! weighs more the later it comes after a landmark, 2^(time since / half-life), and is never weighed
//! again: all scores are sums to which anybody adds, and their order is that of the decayed counts. The
//! weights grow without end, so the landmark moves on with each [`Era`], which has a set of its own.
//!
//! It is a sample, not an account: edges drop what they can't write.

use std::{cmp::Ordering, collections::HashMap, fmt, time::Duration};

/// After so long a read counts for half.
pub const HALF_LIFE: Duration = Duration::from_secs(60 * 60);

/// The most requests that are kept of an era: the least read ones go first.
pub const MEMBERS: usize = 10_000;

/// How long an era's set is kept after the last read that was counted in it: until the next era has a
/// full sample of its own.
pub const LIFE: Duration = ERA;

/// How long an era is: 336 half-lives. A read then weighs less than 2^336, so that no sum of them comes
/// near the largest number (2^1024).
const ERA: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The time from one landmark to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Era(i64);

impl Era {
    /// That of this moment, in ms since the Unix epoch.
    pub const fn at(now_ms: i64) -> Self {
        Self(now_ms.div_euclid(ERA.as_millis() as i64))
    }

    /// The one before.
    pub const fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// When it began: the landmark, in ms since the Unix epoch.
    const fn began_ms(self) -> i64 {
        self.0 * ERA.as_millis() as i64
    }
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What this many reads at this moment (in ms since the Unix epoch) add to a score of that moment's era.
pub fn weight(now_ms: i64, reads: u32) -> f64 {
    let since_ms = now_ms - Era::at(now_ms).began_ms();
    f64::from(reads) * half_lives(since_ms as f64).exp2()
}

/// The hottest requests with their scores, hottest first and at most so many, of what an era and the one
/// before it have. Right after the landmark has moved, the older one still has most of them.
pub fn hottest(
    current: Vec<(String, f64)>,
    previous: Vec<(String, f64)>,
    most: usize,
) -> Vec<(String, f64)> {
    let fade = half_lives(-(ERA.as_millis() as f64)).exp2();
    let faded = previous
        .into_iter()
        .map(|(target, score)| (target, score * fade));
    let mut scores = HashMap::<_, f64>::new();
    for (target, score) in current.into_iter().chain(faded) {
        *scores.entry(target).or_default() += score;
    }
    let mut ranking: Vec<_> = scores.into_iter().collect();
    ranking.sort_unstable_by(|(one, ones), (other, others)| {
        by_heat(*ones, *others).then(one.cmp(other))
    });
    ranking.truncate(most);
    ranking
}

fn by_heat(one: f64, other: f64) -> Ordering {
    other.total_cmp(&one)
}

fn half_lives(ms: f64) -> f64 {
    ms / HALF_LIFE.as_millis() as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR_MS: i64 = 60 * 60 * 1_000;
    const ERA_MS: i64 = 14 * 24 * HOUR_MS;
    /// Some landmark.
    const BEGAN_MS: i64 = 1_459 * ERA_MS;

    fn sample(scores: &[(&str, f64)]) -> Vec<(String, f64)> {
        let owned = |(target, score): &(&str, f64)| ((*target).to_owned(), *score);
        scores.iter().map(owned).collect()
    }

    #[test]
    fn a_read_counts_for_half_after_an_hour() {
        assert_eq!(weight(BEGAN_MS, 1), 1.0);
        assert_eq!(weight(BEGAN_MS + HOUR_MS, 1), 2.0 * weight(BEGAN_MS, 1));
        assert_eq!(weight(BEGAN_MS + HOUR_MS, 3), weight(BEGAN_MS, 6));
    }

    #[test]
    fn an_era_ends_where_the_next_one_begins() {
        let era = Era::at(BEGAN_MS);
        assert_eq!(era.to_string(), "1459");
        assert_eq!(Era::at(BEGAN_MS + ERA_MS - 1), era);
        assert_eq!(Era::at(BEGAN_MS - 1), era.previous());
    }

    #[test]
    fn the_hottest_come_first_from_whichever_era() {
        let late = weight(BEGAN_MS - 1, 8);
        let early = weight(BEGAN_MS - 10 * HOUR_MS, 8);
        let hottest = |most| {
            let hottest = hottest(
                sample(&[("/new", 3.0), ("/both", 1.0)]),
                sample(&[("/old", early), ("/both", late), ("/late", late)]),
                most,
            );
            let targets = hottest.into_iter().map(|(target, _)| target);
            targets.collect::<Vec<_>>()
        };
        assert_eq!(hottest(9), ["/both", "/late", "/new", "/old"]);
        assert_eq!(hottest(1), ["/both"]);
    }

    proptest! {
        #[test]
        fn no_score_ever_overflows(since_ms in 0..ERA_MS, reads in any::<u32>()) {
            let added = weight(BEGAN_MS + since_ms, reads);
            // As many such reads as there are milliseconds in an era.
            prop_assert!((added * ERA_MS as f64).is_finite());
        }

        /// The defining property: what an order of scores says now, it says for ever.
        #[test]
        fn the_order_is_that_of_the_decayed_counts(
            one in prop::collection::vec((0..ERA_MS, 1..9_u32), 1..9),
            other in prop::collection::vec((0..ERA_MS, 1..9_u32), 1..9),
        ) {
            let score = |reads: &[(i64, u32)]| -> f64 {
                reads.iter().map(|(since, reads)| weight(BEGAN_MS + since, *reads)).sum()
            };
            let decayed = |reads: &[(i64, u32)]| -> f64 {
                let age = |since| (ERA_MS - since) as f64 / HOUR_MS as f64;
                reads.iter().map(|(since, reads)| f64::from(*reads) * (-age(*since)).exp2()).sum()
            };
            let ratio = decayed(&one) / decayed(&other);
            prop_assume!(!(0.999..1.001).contains(&ratio));
            prop_assert_eq!(score(&one) > score(&other), ratio > 1.0);
        }
    }
}
