//! What an answer is still good for that is not proven fresh.
//!
//! - It need not be wrong: most changes leave most answers as they are. So the origin is asked by the
//!   answer's entity tag ([`Held::validator`]), and where it is the same nothing but the word of it
//!   comes back.
//! - It was right once, and it is known until when ([`Held::proven_at_ms`]). A query may permit such
//!   an answer for as long as that moment is within the promise (`on_change = "revalidate"`), or
//!   somewhat longer while the origin fails (`stale_if_error`).
//!
//! # When an answer was right
//!
//! An entry reflects every commit that was visible at its own `as_of`: the origin read that moment
//! before it took the snapshot that the answer is from. And if its stamps are still the current ones
//! beside a tidemark `W` of its epoch, it reflects every commit visible at `W` as well
//! ([`crate::freshness`]), up to the end of its ttl, which stands for changes that no stamp tells of.
//!
//! An entry of another epoch is not vouched for at all: it may be the answer of another catalog, or
//! of a database that has since been restored.

use std::time::Duration;

use crate::{
    entry::Entry,
    etag::ETag,
    freshness::{Demand, Observation},
    policy::{OnChange, Policy},
};

/// Whether an answer that is served is to be loaded anew behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// It will do for now.
    NotDue,
    /// Time to.
    Due,
}

/// An intact entry of the right key that is not proven fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The entry.
    pub entry: Entry,
    /// The latest moment at which it is known to have been true, in ms since the Unix epoch by the
    /// database's clock; `None` where nothing vouches for it.
    pub proven_at_ms: Option<i64>,
}

impl Held {
    pub(crate) fn new(entry: Entry, demand: &Demand<'_>, observed: &Observation) -> Self {
        Self {
            proven_at_ms: proven_at_ms(&entry, demand, observed),
            entry,
        }
    }

    /// The tag by which the origin may be asked whether the answer is still the same (RFC 9110
    /// §13.1.2). Only what was found has one.
    pub fn validator(&self) -> Option<ETag> {
        (self.entry.status == 200).then_some(self.entry.etag)
    }

    /// When the answer was proven true that may be given while it is loaded anew: within the very
    /// promise. `now_ms` is the edge's clock, in ms since the Unix epoch.
    pub fn while_revalidated(&self, demand: &Demand<'_>, now_ms: i64) -> Option<i64> {
        match demand.policy.on_change {
            OnChange::Expire | OnChange::Refresh => None,
            OnChange::Revalidate => self.within(demand.policy.max_staleness, demand, now_ms),
        }
    }

    /// When the answer was proven true that may be given because the origin fails: at most
    /// `stale_if_error` beyond the promise. `now_ms` is the edge's clock, in ms since the Unix epoch,
    /// when it is given.
    pub fn if_error(&self, demand: &Demand<'_>, now_ms: i64) -> Option<i64> {
        let Demand { policy, .. } = demand;
        if policy.stale_if_error.is_zero() {
            return None;
        }
        let bound = policy.max_staleness.saturating_add(policy.stale_if_error);
        self.within(bound, demand, now_ms)
    }

    /// A moment from a future as far away as the bound proves nothing: the clocks of database and edge
    /// are too far apart to tell.
    fn within(&self, bound: Duration, demand: &Demand<'_>, now_ms: i64) -> Option<i64> {
        let proven_at_ms = self.proven_at_ms?;
        let distance = Duration::from_millis(now_ms.abs_diff(proven_at_ms));
        let is_late_enough = demand.at_least_ms.is_none_or(|ms| ms <= proven_at_ms);
        (distance <= bound && is_late_enough).then_some(proven_at_ms)
    }
}

impl Refresh {
    /// Of a fresh answer: once a fifth of its ttl is left, so that a key that is asked for never has to
    /// wait for its ttl. `now_ms` is the edge's clock, in ms since the Unix epoch.
    pub(crate) fn ahead(entry: &Entry, policy: &Policy, now_ms: i64) -> Self {
        let left = entry.fresh_until_ms.saturating_sub(now_ms);
        Self::due_if(left.saturating_mul(5) <= policy.ttl_ms())
    }

    /// Of an answer within the promise: once half of that is over. So a key that changes all the time
    /// is not loaded all the time, and there is time left to load it before the promise ends.
    pub(crate) fn behind(proven_at_ms: i64, policy: &Policy, now_ms: i64) -> Self {
        let age = now_ms.saturating_sub(proven_at_ms);
        Self::due_if(age.saturating_mul(2) >= policy.max_staleness_ms())
    }

    fn due_if(due: bool) -> Self {
        if due { Self::Due } else { Self::NotDue }
    }
}

fn proven_at_ms(entry: &Entry, demand: &Demand<'_>, observed: &Observation) -> Option<i64> {
    let tidemark = observed.tidemark?;
    if entry.epoch != tidemark.epoch {
        return None;
    }
    if observed.witness(demand.scopes) != Some(entry.witness) {
        return Some(entry.as_of_ms);
    }
    Some(entry.as_of_ms.max(tidemark.as_of.min(entry.fresh_until_ms)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        digest::Digest,
        entry::tests::key,
        epoch::Epoch,
        event::EventId,
        fill::{Answer, Provenance},
        freshness::{Verdict, decide},
        scope::Scope,
        stamp::Stamp,
        tidemark::Tidemark,
    };

    const NOW: i64 = 1_763_863_200_000;

    /// A cached answer and what is observed beside it; times in ms before [`NOW`].
    #[derive(Clone, Debug)]
    struct Case {
        as_of_age: i64,
        filled_age: i64,
        /// `None`: no tidemark.
        tidemark_age: Option<i64>,
        other_epoch: bool,
        stamp: Option<u128>,
        at_least_age: Option<i64>,
        status: u16,
        policy: Policy,
    }

    /// Filled a second ago, touched since, and in every other respect as it should be.
    fn touched() -> Case {
        Case {
            as_of_age: 1_000,
            filled_age: 990,
            tidemark_age: Some(20),
            other_epoch: false,
            stamp: Some(2),
            at_least_age: None,
            status: 200,
            policy: Policy {
                max_staleness: Duration::from_secs(10),
                on_change: OnChange::Revalidate,
                ..Policy::DEFAULT
            },
        }
    }

    fn scopes() -> [Scope; 1] {
        [Scope::Table("orders".into())]
    }

    fn observed(epoch: u64, as_of: Option<i64>, stamp: Option<u128>) -> Observation {
        Observation {
            tidemark: as_of.map(|as_of| Tidemark {
                term: 1,
                epoch: Epoch::new(epoch),
                as_of,
                event: EventId { term: 1, seq: 1 },
                catalog: Digest::of(b"catalog"),
                upstream: None,
            }),
            stamps: vec![stamp.map(|token| Stamp::new(1, token))],
        }
    }

    impl Case {
        fn on<T>(&self, then: impl FnOnce(&Demand<'_>, &Bytes, &Observation) -> T) -> T {
            let (key, scopes) = (key("a"), scopes());
            let provenance = Provenance::of(Digest::of(b"catalog"), &scopes);
            let body = Bytes::from_static(b"{}");
            let answer = Answer::new(self.status, NOW - self.as_of_age, provenance, body);
            let permit = observed(7, Some(0), Some(1)).permit(&key, &scopes).unwrap();
            let sealed = permit.seal(&self.policy, None, &answer, NOW - self.filled_age, 0);
            let bytes = Bytes::copy_from_slice(sealed.unwrap().bytes());
            let demand = Demand {
                key: &key,
                scopes: &scopes,
                policy: self.policy,
                at_least_ms: self.at_least_age.map(|age| NOW - age),
            };
            let tidemark = self.tidemark_age.map(|age| NOW - age);
            let epoch = 7 + u64::from(self.other_epoch);
            then(&demand, &bytes, &observed(epoch, tidemark, self.stamp))
        }

        fn verdict(&self) -> Verdict {
            self.on(|demand, bytes, observed| decide(demand, Some(bytes), observed, NOW))
        }

        fn held(&self) -> Held {
            self.on(|demand, bytes, observed| {
                Held::new(Entry::decode(bytes, demand.key).unwrap(), demand, observed)
            })
        }

        /// When it was proven that is given while it is loaded anew, and whether that is due.
        fn while_revalidated(&self) -> Option<(i64, Refresh)> {
            match self.verdict() {
                Verdict::Stale {
                    proven_at_ms,
                    refresh,
                    ..
                } => Some((NOW - proven_at_ms, refresh)),
                _ => None,
            }
        }

        fn if_error(&self) -> Option<i64> {
            let held = self.held();
            let proven = self.on(|demand, _, _| held.if_error(demand, NOW));
            proven.map(|proven_at_ms| NOW - proven_at_ms)
        }
    }

    #[test]
    fn a_touched_answer_is_as_old_as_its_snapshot() {
        let due = |case: Case| case.while_revalidated();
        assert_eq!(due(touched()), Some((1_000, Refresh::NotDue)));
        for (age, expected) in [
            (4_999, Some((4_999, Refresh::NotDue))),
            (5_000, Some((5_000, Refresh::Due))),
            (10_000, Some((10_000, Refresh::Due))),
            (10_001, None),
            (-10_001, None),
        ] {
            let case = Case {
                as_of_age: age,
                ..touched()
            };
            assert_eq!(due(case), expected, "{age}");
        }
        for case in [
            Case {
                other_epoch: true,
                ..touched()
            },
            Case {
                tidemark_age: None,
                ..touched()
            },
            Case {
                at_least_age: Some(999),
                ..touched()
            },
            Case {
                policy: Policy {
                    on_change: OnChange::Expire,
                    ..touched().policy
                },
                ..touched()
            },
            Case {
                policy: Policy {
                    on_change: OnChange::Refresh,
                    ..touched().policy
                },
                ..touched()
            },
        ] {
            assert_eq!(due(case.clone()), None, "{case:?}");
        }
    }

    #[test]
    fn an_untouched_answer_is_vouched_for_until_its_ttl_ends() {
        let expired_for = |ms| Case {
            as_of_age: 400_000,
            filled_age: Policy::DEFAULT_TTL.as_millis() as i64 + ms,
            stamp: Some(1),
            ..touched()
        };
        assert_eq!(
            expired_for(0).while_revalidated(),
            Some((20, Refresh::NotDue))
        );
        assert_eq!(
            expired_for(6_000).while_revalidated(),
            Some((6_000, Refresh::Due))
        );
        assert_eq!(expired_for(10_001).while_revalidated(), None);
    }

    #[test]
    fn while_the_origin_fails_the_bound_is_longer() {
        let policy = Policy {
            on_change: OnChange::Expire,
            stale_if_error: Duration::from_secs(60),
            ..touched().policy
        };
        let aged = |as_of_age| Case {
            as_of_age,
            policy,
            ..touched()
        };
        assert_eq!(aged(70_000).if_error(), Some(70_000));
        assert_eq!(aged(70_001).if_error(), None);
        let unproven = Case {
            tidemark_age: Some(65_000),
            stamp: Some(1),
            ..aged(80_000)
        };
        assert_eq!(unproven.if_error(), Some(65_000));
        let insisting = Case {
            at_least_age: Some(64_999),
            ..unproven
        };
        assert_eq!(insisting.if_error(), None);
        assert_eq!(touched().if_error(), None, "it is off by default");
    }

    #[test]
    fn only_what_was_found_has_a_validator() {
        let tag = ETag::of(b"{}");
        assert_eq!(touched().held().validator(), Some(tag));
        let missing = Case {
            status: 404,
            ..touched()
        };
        assert_eq!(missing.held().validator(), None);
    }

    #[test]
    fn a_fresh_answer_is_refreshed_ahead_of_the_end_of_its_ttl() {
        let filled = |filled_age| Case {
            filled_age,
            stamp: Some(1),
            ..touched()
        };
        for (age, expected) in [
            (0, Refresh::NotDue),
            (239_999, Refresh::NotDue),
            (240_000, Refresh::Due),
            (299_999, Refresh::Due),
        ] {
            let Verdict::Fresh { refresh, .. } = filled(age).verdict() else {
                panic!("not fresh after {age} ms");
            };
            assert_eq!(refresh, expected, "{age}");
        }
    }

    prop_compose! {
        fn cases()(
            as_of_age in -5_000..30_000_i64,
            filled_for in 0..30_000_i64,
            tidemark_age in prop::option::of(-5_000..30_000_i64),
            other_epoch in prop::bool::weighted(0.2),
            stamp in prop::option::of(1..3_u128),
            at_least_age in prop::option::of(-5_000..30_000_i64),
            max_staleness in 1..5_000_u64,
            ttl in 5_000..20_000_u64,
            stale_if_error in 0..10_000_u64,
            revalidate in any::<bool>(),
        ) -> Case {
            Case {
                as_of_age,
                filled_age: as_of_age.min(filled_for),
                tidemark_age,
                other_epoch,
                stamp,
                at_least_age,
                status: 200,
                policy: Policy {
                    ttl: Duration::from_millis(ttl),
                    max_staleness: Duration::from_millis(max_staleness),
                    on_change: if revalidate { OnChange::Revalidate } else { OnChange::Expire },
                    stale_if_error: Duration::from_millis(stale_if_error),
                    ..Policy::DEFAULT
                },
            }
        }
    }

    proptest! {
        #[test]
        fn i2_nothing_is_given_beyond_its_bound_nor_before_at_least(case in cases()) {
            let promise = case.policy.max_staleness_ms();
            let under_error = promise + case.policy.stale_if_error.as_millis() as i64;
            let given = [
                (case.while_revalidated().map(|(age, _)| age), promise),
                (case.if_error(), under_error),
            ];
            for (age, bound) in given {
                let Some(age) = age else { continue };
                prop_assert!(age.abs() <= bound);
                prop_assert!(case.at_least_age.is_none_or(|at_least| age <= at_least));
                // Something vouches for that very moment.
                prop_assert!(!case.other_epoch);
                let untouched = case.stamp == Some(1);
                let tidemark_age = case.tidemark_age.unwrap();
                prop_assert!(age >= case.as_of_age || (untouched && age >= tidemark_age));
            }
        }
    }
}
