//! The one decision that everything else serves: may this cached answer be given to this client?
//!
//! # Why a fresh entry is proven
//!
//! The relay stamps every scope that a commit touched *before* it writes a tidemark whose `as_of`
//! covers that commit. A filler reads the stamps *before* it asks the origin. So if the entry's
//! stamps are still the current ones next to a tidemark `W`, no commit visible at `W` touched its
//! scopes after the stamps were read, and the answer was read later than that: it reflects every
//! commit visible at `W` (invariant I1). That `W` is at most `max_staleness` old gives I2.

use bytes::Bytes;

use crate::{
    entry::Entry,
    fill::Permit,
    flight::{Claim, Observed},
    key::{Key, Keyspace},
    outcome::Outcome,
    policy::Policy,
    scope::Scope,
    stamp::{Stamp, Witness},
    tidemark::Tidemark,
};

/// What one `MGET` saw of the keys that govern an answer, all at the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The tidemark, if there was a legible one.
    pub tidemark: Option<Tidemark>,
    /// The stamps in the order of the scopes; `None` where one was missing or illegible.
    pub stamps: Vec<Option<Stamp>>,
}

impl Observation {
    /// What a reply holds: the tidemark's value, then each stamp's.
    pub fn read<'a>(
        tidemark: Option<&[u8]>,
        stamps: impl IntoIterator<Item = Option<&'a [u8]>>,
    ) -> Self {
        Self {
            tidemark: tidemark.and_then(Tidemark::parse),
            stamps: stamps
                .into_iter()
                .map(|bytes| bytes.and_then(Stamp::parse))
                .collect(),
        }
    }

    /// What the reply to an `MGET` of [`Demand::names`] holds: the entry, and what governs it.
    pub fn of_reply(values: Vec<Option<Bytes>>) -> (Option<Bytes>, Self) {
        let mut values = values.into_iter();
        let entry = values.next().flatten();
        (entry, Self::of_governing(values.as_slice()))
    }

    /// What the reply to an `MGET` of [`Demand::governing_names`] holds.
    pub fn of_governing(values: &[Option<Bytes>]) -> Self {
        let mut values = values.iter().map(Option::as_deref);
        Self::read(values.next().flatten(), values)
    }

    /// The places of the scopes that have no stamp.
    pub fn missing(&self) -> impl Iterator<Item = usize> {
        self.stamps
            .iter()
            .enumerate()
            .filter_map(|(place, stamp)| stamp.is_none().then_some(place))
    }

    /// The witness of the stamps, if all are there.
    pub fn witness(&self, scopes: &[Scope]) -> Option<Witness> {
        Witness::of(scopes, &self.stamps)
    }

    /// Whether the tidemark proves everything up to `at_least`, if the request demands that.
    pub fn covers(&self, at_least_ms: Option<i64>) -> bool {
        at_least_ms.is_none_or(|at_least| {
            self.tidemark
                .is_some_and(|tidemark| tidemark.as_of >= at_least)
        })
    }

    /// What a request with this demand may claim of a running load. Where the tidemark is missing or
    /// older than the promise, unchanged stamps do not show that nothing has changed.
    pub fn claim(&self, demand: &Demand<'_>, now_ms: i64) -> Claim {
        let recent = self
            .tidemark
            .is_some_and(|tidemark| is_recent(tidemark.as_of, &demand.policy, now_ms));
        let epoch = self.tidemark.map(|tidemark| tidemark.epoch);
        Claim {
            observed: epoch
                .zip(self.witness(demand.scopes))
                .map(|(epoch, witness)| Observed::of(epoch, witness)),
            covered: recent && self.covers(demand.at_least_ms),
        }
    }

    /// The right to store what the origin is asked for after this observation; `None` where a
    /// stamp or the tidemark's epoch is missing, since such an entry could never be proven.
    pub fn permit(&self, key: &Key, scopes: &[Scope]) -> Option<Permit> {
        Some(Permit::grant(
            key,
            self.tidemark.as_ref()?,
            scopes,
            self.witness(scopes)?,
        ))
    }
}

/// What a request asks for and what it insists on.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// Where the answer would be cached.
    pub key: &'a Key,
    /// The scopes that it depends on.
    pub scopes: &'a [Scope],
    /// The query's policy.
    pub policy: Policy,
    /// The request's `Tidemark-At-Least`, in ms since the Unix epoch by the database's clock.
    pub at_least_ms: Option<i64>,
}

impl Demand<'_> {
    /// The names in Redis that are read at once to judge what is cached: see
    /// [`Observation::of_reply`].
    pub fn names(&self, keyspace: &Keyspace) -> Vec<String> {
        let mut names = vec![keyspace.entry(self.key)];
        names.extend(self.governing_names(keyspace));
        names
    }

    /// The same without the entry: what governs it, the tidemark and the stamps.
    pub fn governing_names(&self, keyspace: &Keyspace) -> Vec<String> {
        let stamps = self.scopes.iter().map(|scope| keyspace.stamp(scope));
        std::iter::once(keyspace.tidemark()).chain(stamps).collect()
    }
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is proven: serve it.
    Fresh {
        /// The answer.
        entry: Entry,
        /// When it was proven true: the tidemark's `as_of`.
        proven_at_ms: i64,
    },
    /// Ask the origin; the outcome says why.
    Fill(Outcome),
}

/// Decides whether what is cached may be served (design §5.4).
///
/// `now_ms` is the edge's clock, in ms since the Unix epoch. The answer is fresh only if all of
/// these hold, and the first that does not is the outcome:
///
/// 1. the entry is there, intact, of this version and this key;
/// 2. there is a tidemark, and the entry is of its epoch;
/// 3. every scope has a stamp, and the entry was filled under exactly these;
/// 4. its ttl has not ended;
/// 5. the tidemark is at most `max_staleness` old, and not from a future as far away: then the clocks
///    of database and edge are too far apart to tell;
/// 6. the tidemark is not before the request's `Tidemark-At-Least`.
pub fn decide(
    demand: &Demand<'_>,
    entry: Option<&Bytes>,
    observed: &Observation,
    now_ms: i64,
) -> Verdict {
    match prove(demand, entry, observed, now_ms) {
        Ok((entry, proven_at_ms)) => Verdict::Fresh {
            entry,
            proven_at_ms,
        },
        Err(outcome) => Verdict::Fill(outcome),
    }
}

fn prove(
    demand: &Demand<'_>,
    entry: Option<&Bytes>,
    observed: &Observation,
    now_ms: i64,
) -> Result<(Entry, i64), Outcome> {
    if !demand.policy.is_cacheable() {
        return Err(Outcome::Uncacheable);
    }
    let entry = entry.ok_or(Outcome::Miss)?;
    let entry = Entry::decode(entry, demand.key).map_err(|_| Outcome::Corrupt)?;
    let proven_at_ms = judge(demand, &entry, observed, now_ms)?;
    Ok((entry, proven_at_ms))
}

/// The conditions 2 to 6 of [`decide`], for an entry that has been decoded: when it is proven, or
/// what it fails by.
///
/// # Errors
/// The first condition that does not hold.
pub fn judge(
    demand: &Demand<'_>,
    entry: &Entry,
    observed: &Observation,
    now_ms: i64,
) -> Result<i64, Outcome> {
    let tidemark = observed.tidemark.ok_or(Outcome::Unproven)?;
    if entry.epoch != tidemark.epoch {
        return Err(Outcome::Epoch);
    }
    let witness = observed.witness(demand.scopes).ok_or(Outcome::Unstamped)?;
    if entry.witness != witness {
        return Err(Outcome::Changed);
    }
    if now_ms >= entry.fresh_until_ms {
        return Err(Outcome::Expired);
    }
    if !is_recent(tidemark.as_of, &demand.policy, now_ms) {
        return Err(Outcome::Unproven);
    }
    if !observed.covers(demand.at_least_ms) {
        return Err(Outcome::AtLeast);
    }
    Ok(tidemark.as_of)
}

/// Whether what was proven at `as_of_ms` is within the promise, by the edge's clock.
fn is_recent(as_of_ms: i64, policy: &Policy, now_ms: i64) -> bool {
    now_ms.abs_diff(as_of_ms) <= policy.max_staleness_ms().unsigned_abs()
}

/// A moment by two clocks, in ms: one tells the time and may be set, the other only goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since the Unix epoch.
    pub now_ms: i64,
    /// Since whenever that clock began.
    pub ticks_ms: i64,
}

impl Moment {
    /// How many ms have passed since then, by the clock that says more: so neither one that is set
    /// back nor one that stands still while the machine sleeps makes anything younger than it is.
    pub fn ms_since(self, then: Self) -> i64 {
        let by_time = self.now_ms.saturating_sub(then.now_ms);
        let by_ticks = self.ticks_ms.saturating_sub(then.ticks_ms);
        by_time.max(by_ticks)
    }
}

/// What a look-up has proven, to be served again by the same instance (design §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The answer.
    pub entry: Entry,
    /// When it was proven true: the tidemark's `as_of`.
    pub proven_at_ms: i64,
    /// A moment before Redis was asked.
    pub looked_up: Moment,
}

/// Decides whether what a look-up has proven may be served again without another one.
///
/// What was true at `as_of` remains so; the question is only for how long that is good enough:
///
/// 1. the look-up was at most the query's `l1` ago;
/// 2. the answer's ttl has not ended;
/// 3. it was proven at most `max_staleness` ago;
/// 4. and not before the request's `Tidemark-At-Least`.
pub fn is_still_good(demand: &Demand<'_>, proven: &Proven, now: Moment) -> bool {
    let passed_ms = now.ms_since(proven.looked_up);
    let now_ms = proven.looked_up.now_ms.saturating_add(passed_ms);
    demand.policy.has_l1()
        && (0..=demand.policy.l1_ms()).contains(&passed_ms)
        && now_ms < proven.entry.fresh_until_ms
        && is_recent(proven.proven_at_ms, &demand.policy, now_ms)
        && demand
            .at_least_ms
            .is_none_or(|at_least| proven.proven_at_ms >= at_least)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        digest::Digest,
        entry::tests::key,
        epoch::Epoch,
        event::EventId,
        fill::{Answer, Provenance},
    };

    const NOW: i64 = 1_763_863_200_000;
    const POLICY: Policy = Policy {
        ttl: Duration::from_secs(300),
        max_staleness: Duration::from_secs(1),
        l1: Duration::from_millis(250),
    };

    fn catalog() -> Digest {
        Digest::of(b"catalog")
    }

    /// Each field breaks one condition of §5.4.
    #[derive(Clone, Debug, Default)]
    struct Broken {
        absent: bool,
        corrupt: bool,
        other_key: bool,
        no_tidemark: bool,
        epoch: bool,
        stamp_missing: bool,
        stamp_changed: bool,
        expired: bool,
        tidemark_old: bool,
        tidemark_of_the_future: bool,
        at_least_later: bool,
        uncacheable: bool,
    }

    fn verdict(broken: &Broken) -> Verdict {
        let scopes = [Scope::member("org", "42"), Scope::Family("org".into())];
        let tidemark = |epoch, as_of| Tidemark {
            term: 1,
            epoch: Epoch::new(epoch),
            as_of,
            event: EventId { term: 1, seq: 1 },
            catalog: catalog(),
            upstream: None,
        };
        let stamps = vec![Some(Stamp::new(NOW, 1)), Some(Stamp::new(NOW, 2))];
        let filled_under = Observation {
            tidemark: Some(tidemark(7, NOW - 90)),
            stamps: stamps.clone(),
        };
        let stored_as = if broken.other_key { key("b") } else { key("a") };
        let filled_at = if broken.expired {
            NOW - POLICY.ttl_ms()
        } else {
            NOW - 80
        };
        let permit = filled_under.permit(&stored_as, &scopes).unwrap();
        let answer = Answer::new(
            200,
            NOW - 85,
            Provenance::of(catalog(), &scopes),
            Bytes::from_static(b"{}"),
        );
        let sealed = permit.seal(&POLICY, None, &answer, filled_at).unwrap();
        let mut bytes = sealed.bytes().to_vec();
        if broken.corrupt {
            bytes[90 % sealed.bytes().len()] ^= 1;
        }
        let bytes = Bytes::from(bytes);

        let mut age = POLICY.max_staleness_ms() + i64::from(broken.tidemark_old);
        if broken.tidemark_of_the_future {
            age = -POLICY.max_staleness_ms() - 1;
        }
        let mut observed = Observation {
            tidemark: (!broken.no_tidemark)
                .then(|| tidemark(7 + u64::from(broken.epoch), NOW - age)),
            stamps,
        };
        if broken.stamp_missing {
            observed.stamps[0] = None;
        }
        if broken.stamp_changed {
            observed.stamps[1] = Some(Stamp::new(NOW, 3));
        }
        let key = key("a");
        let demand = Demand {
            key: &key,
            scopes: &scopes,
            policy: Policy {
                max_staleness: if broken.uncacheable {
                    Duration::ZERO
                } else {
                    POLICY.max_staleness
                },
                ..POLICY
            },
            at_least_ms: Some(NOW - age + i64::from(broken.at_least_later)),
        };
        decide(&demand, (!broken.absent).then_some(&bytes), &observed, NOW)
    }

    #[test]
    fn i1_an_answer_of_another_catalog_or_other_scopes_is_not_stored() {
        let observed = Observation {
            tidemark: Some(Tidemark {
                term: 1,
                epoch: Epoch::new(7),
                as_of: NOW,
                event: EventId::default(),
                catalog: catalog(),
                upstream: None,
            }),
            stamps: vec![Some(Stamp::new(NOW, 1))],
        };
        let scopes = [Scope::Table("orders".into())];
        let permit = observed.permit(&key("a"), &scopes).unwrap();
        let answer = |provenance| Answer::new(200, NOW, provenance, Bytes::from_static(b"{}"));
        let sealed = |answer: &Answer| permit.seal(&POLICY, None, answer, NOW);
        assert!(sealed(&answer(Provenance::of(catalog(), &scopes))).is_some());
        let older = answer(Provenance::of(Digest::of(b"older catalog"), &scopes));
        assert_eq!(sealed(&older), None);
        // An edge that has not got the new catalog watches other scopes than the origin means.
        let wider = [Scope::Table("orders".into()), Scope::Table("items".into())];
        let newer = answer(Provenance::of(catalog(), &wider));
        assert_eq!(sealed(&newer), None);
    }

    #[test]
    fn i1_each_broken_condition_has_its_outcome() {
        let whole = Broken::default();
        assert!(
            matches!(verdict(&whole), Verdict::Fresh { proven_at_ms, .. } if proven_at_ms == NOW - 1_000)
        );
        for (broken, outcome) in [
            (
                Broken {
                    uncacheable: true,
                    ..whole.clone()
                },
                Outcome::Uncacheable,
            ),
            (
                Broken {
                    absent: true,
                    ..whole.clone()
                },
                Outcome::Miss,
            ),
            (
                Broken {
                    corrupt: true,
                    ..whole.clone()
                },
                Outcome::Corrupt,
            ),
            (
                Broken {
                    other_key: true,
                    ..whole.clone()
                },
                Outcome::Corrupt,
            ),
            (
                Broken {
                    no_tidemark: true,
                    ..whole.clone()
                },
                Outcome::Unproven,
            ),
            (
                Broken {
                    epoch: true,
                    ..whole.clone()
                },
                Outcome::Epoch,
            ),
            (
                Broken {
                    stamp_missing: true,
                    ..whole.clone()
                },
                Outcome::Unstamped,
            ),
            (
                Broken {
                    stamp_changed: true,
                    ..whole.clone()
                },
                Outcome::Changed,
            ),
            (
                Broken {
                    expired: true,
                    ..whole.clone()
                },
                Outcome::Expired,
            ),
            (
                Broken {
                    tidemark_old: true,
                    ..whole.clone()
                },
                Outcome::Unproven,
            ),
            (
                Broken {
                    tidemark_of_the_future: true,
                    ..whole.clone()
                },
                Outcome::Unproven,
            ),
            (
                Broken {
                    at_least_later: true,
                    ..whole.clone()
                },
                Outcome::AtLeast,
            ),
        ] {
            assert_eq!(verdict(&broken), Verdict::Fill(outcome), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn i1_fresh_only_if_every_condition_holds(flags in any::<[bool; 12]>()) {
            let [absent, corrupt, other_key, no_tidemark, epoch, stamp_missing, stamp_changed,
                 expired, tidemark_old, tidemark_of_the_future, at_least_later, uncacheable] = flags;
            let broken = Broken {
                absent, corrupt, other_key, no_tidemark, epoch, stamp_missing, stamp_changed,
                expired, tidemark_old, tidemark_of_the_future, at_least_later, uncacheable,
            };
            let any_broken = flags.contains(&true);
            prop_assert_eq!(any_broken, matches!(verdict(&broken), Verdict::Fill(_)));
        }
    }

    const AS_OF: i64 = NOW - 40;

    /// Proven 40 ms ago, as seen by a look-up that begins now.
    fn proven() -> Proven {
        let Verdict::Fresh { entry, .. } = verdict(&Broken::default()) else {
            panic!("an entry that is whole is fresh");
        };
        Proven {
            entry,
            proven_at_ms: AS_OF,
            looked_up: Moment {
                now_ms: NOW,
                ticks_ms: 0,
            },
        }
    }

    /// Whether a request may have it, so long after the look-up by each of the clocks.
    fn good_after(
        policy: Policy,
        proven: &Proven,
        at_least_ms: Option<i64>,
        by: (i64, i64),
    ) -> bool {
        let key = key("a");
        let demand = Demand {
            key: &key,
            scopes: &[],
            policy,
            at_least_ms,
        };
        let now = Moment {
            now_ms: proven.looked_up.now_ms + by.0,
            ticks_ms: proven.looked_up.ticks_ms + by.1,
        };
        is_still_good(&demand, proven, now)
    }

    #[test]
    fn i2_what_was_proven_is_good_for_l1_and_within_the_promise() {
        let good = |policy, at_least, by| good_after(policy, &proven(), at_least, by);
        assert!(good(POLICY, None, (0, 0)));
        assert!(good(POLICY, None, (250, 250)));
        assert!(!good(POLICY, None, (251, 251)));
        // The clock was set back, or stood still.
        assert!(!good(POLICY, None, (-3_600_000, 251)));
        assert!(!good(POLICY, None, (251, 0)));
        assert!(good(POLICY, None, (-3_600_000, 250)));
        assert!(!good(POLICY, None, (-1, -1)), "of the future");

        assert!(good(POLICY, Some(AS_OF), (0, 0)));
        assert!(!good(POLICY, Some(AS_OF + 1), (0, 0)));

        let off = Policy {
            l1: Duration::ZERO,
            ..POLICY
        };
        assert!(!good(off, None, (0, 0)));
        let whole = Policy {
            l1: POLICY.max_staleness,
            ..POLICY
        };
        assert!(good(whole, None, (960, 960)));
        assert!(!good(whole, None, (961, 961)), "proven 1 001 ms ago");
        assert!(!good(whole, None, (-3_600_000, 961)));
        let mut expiring = proven();
        expiring.entry.fresh_until_ms = NOW + 100;
        assert!(good_after(POLICY, &expiring, None, (99, 99)));
        assert!(!good_after(POLICY, &expiring, None, (100, 100)));
    }

    proptest! {
        #[test]
        fn i2_no_clock_makes_an_answer_good_for_longer(
            l1 in 0..3_000_u64,
            beyond in 0..3_000_u64,
            age in -2_000..8_000_i64,
            ttl_left in -10..8_000_i64,
            at_least in proptest::option::of(-100..100_i64),
            passed in 0..10_000_i64,
            clock_set_by in prop_oneof![Just(0), -20_000..20_000_i64],
        ) {
            let policy = Policy {
                max_staleness: Duration::from_millis(l1 + beyond),
                l1: Duration::from_millis(l1),
                ..POLICY
            };
            let mut proven = proven();
            proven.proven_at_ms = NOW - age;
            proven.entry.fresh_until_ms = NOW + ttl_left;
            let at_least = at_least.map(|later| proven.proven_at_ms + later);
            let good = good_after(policy, &proven, at_least, (passed + clock_set_by, passed));

            let may_be_good = l1 > 0
                && passed <= policy.l1_ms()
                && passed < ttl_left
                && (passed + age).abs() <= policy.max_staleness_ms()
                && at_least.is_none_or(|at_least| at_least <= proven.proven_at_ms);
            prop_assert!(may_be_good || !good, "served too long");
            prop_assert!(clock_set_by > 0 || good == may_be_good, "not served");
        }
    }
}
