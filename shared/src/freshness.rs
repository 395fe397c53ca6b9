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
            .is_some_and(|tidemark| is_recent(&tidemark, &demand.policy, now_ms));
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
    if !is_recent(&tidemark, &demand.policy, now_ms) {
        return Err(Outcome::Unproven);
    }
    if !observed.covers(demand.at_least_ms) {
        return Err(Outcome::AtLeast);
    }
    Ok(tidemark.as_of)
}

/// Whether a tidemark is within the promise, by the edge's clock.
fn is_recent(tidemark: &Tidemark, policy: &Policy, now_ms: i64) -> bool {
    now_ms.abs_diff(tidemark.as_of) <= policy.max_staleness_ms().unsigned_abs()
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
}
