//! Audit: is what the cache calls fresh really what the database says?
//!
//! An auditor takes a cached answer that is proven fresh, runs its query again and compares the
//! bodies. Equal ones are well. Different ones are innocent as long as something may have changed
//! since the entry was judged, and the change is still on its way to Redis. So the auditor waits for
//! a tidemark that covers everything the re-run can have seen, and looks again ([`explain`]):
//!
//! - the entry is gone or another one, a stamp or the epoch has changed: no edge would serve it any
//!   more, and something did change in between;
//! - everything is as it was: Redis says that nothing has touched the answer up to that tidemark, and
//!   the database says otherwise. That is a violation of invariant I1.
//!
//! A query that does not answer the same twice (no total `ORDER BY`, `random()`, `now()`) looks just
//! like a violation.

use bytes::Bytes;

use crate::{entry::Entry, freshness::Observation, key::Key, scope::Scope};

/// What came of one sample: the names are log fields and metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finding {
    /// The database still gives the cached answer.
    Equal,
    /// It gives another one, and the cache knows that something has changed.
    Explained,
    /// It gives another one, and the cache vouches for the old one.
    Violation,
    /// It could not be judged: not fresh, not an entry, or the query could not run.
    Skipped,
}

impl Finding {
    /// Every finding, for documentation and metrics.
    pub const ALL: [Self; 4] = [Self::Equal, Self::Explained, Self::Violation, Self::Skipped];

    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Explained => "explained",
            Self::Violation => "violation",
            Self::Skipped => "skipped",
        }
    }
}

/// A cached answer from which the database's has turned out to differ.
#[derive(Clone, Copy, Debug)]
pub struct Difference<'a> {
    /// Where it is cached.
    pub key: &'a Key,
    /// The scopes that it depends on.
    pub scopes: &'a [Scope],
    /// The entry, as it was proven fresh before the query ran again.
    pub entry: &'a Entry,
    /// A moment *after* the re-run's snapshot, in ms since the Unix epoch by the database's clock,
    /// rounded up: whatever the re-run saw was visible then. (Its `as_of` won't do: that lies before
    /// the snapshot, which may hold commits that no tidemark up to it has to cover.)
    pub seen_by_ms: i64,
}

/// What a later look at Redis says about a [`Difference`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// The tidemark does not cover the re-run yet: look again.
    Pending,
    /// No edge serves the old answer any more.
    Changed,
    /// Every edge goes on serving it: a violation.
    None,
}

/// Judges a difference by a later look: the `entry` under the key now, and what governs it.
pub fn explain(
    difference: &Difference<'_>,
    entry: Option<&Bytes>,
    observed: &Observation,
) -> Explanation {
    let held = entry.and_then(|bytes| Entry::decode(bytes, difference.key).ok());
    if held.as_ref() != Some(difference.entry) {
        return Explanation::Changed;
    }
    if observed.witness(difference.scopes) != Some(difference.entry.witness) {
        return Explanation::Changed;
    }
    match observed.tidemark {
        // Evicted: the relay writes the next one in a moment.
        None => Explanation::Pending,
        Some(tidemark) if tidemark.epoch != difference.entry.epoch => Explanation::Changed,
        Some(tidemark) if tidemark.as_of < difference.seen_by_ms => Explanation::Pending,
        Some(_) => Explanation::None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        digest::Digest,
        entry::tests::key,
        epoch::Epoch,
        event::EventId,
        fill::{Answer, Provenance},
        freshness::{Demand, Verdict, decide},
        policy::Policy,
        stamp::Stamp,
        tidemark::Tidemark,
    };

    const SEEN_BY: i64 = 1_000;
    const POLICY: Policy = Policy {
        ttl: Duration::from_secs(300),
        max_staleness: Duration::from_secs(1),
        l1: Duration::ZERO,
    };

    fn tidemark(epoch: u64, as_of: i64) -> Option<Tidemark> {
        Some(Tidemark {
            term: 1,
            epoch: Epoch::new(epoch),
            as_of,
            event: EventId { term: 1, seq: 1 },
            catalog: Digest::of(b"catalog"),
            upstream: None,
        })
    }

    fn observed(tidemark: Option<Tidemark>, stamp: Option<u128>) -> Observation {
        Observation {
            tidemark,
            stamps: vec![stamp.map(|token| Stamp::new(1, token))],
        }
    }

    fn scopes() -> [Scope; 1] {
        [Scope::Table("orders".into())]
    }

    /// What a filler stores that saw this stamp in this epoch.
    fn stored(epoch: u64, stamp: u128, body: &'static str) -> Bytes {
        let permit = observed(tidemark(epoch, 0), Some(stamp)).permit(&key("a"), &scopes());
        let answer = Answer::new(
            200,
            0,
            Provenance::of(Digest::of(b"catalog"), &scopes()),
            Bytes::from_static(body.as_bytes()),
        );
        let sealed = permit.unwrap().seal(&POLICY, Some("/".into()), &answer, 0);
        Bytes::copy_from_slice(sealed.unwrap().bytes())
    }

    fn verdict(entry: Option<&Bytes>, observed: &Observation) -> Explanation {
        let (key, scopes) = (key("a"), scopes());
        let difference = Difference {
            key: &key,
            scopes: &scopes,
            entry: &Entry::decode(&stored(7, 1, "old"), &key).unwrap(),
            seen_by_ms: SEEN_BY,
        };
        explain(&difference, entry, observed)
    }

    #[test]
    fn only_what_the_cache_vouches_for_at_the_re_run_is_a_violation() {
        let same = stored(7, 1, "old");
        let covering = tidemark(7, SEEN_BY);
        for (what, entry, observation, expected) in [
            (
                "vouched for",
                Some(&same),
                observed(covering, Some(1)),
                Explanation::None,
            ),
            (
                "the tidemark is before the re-run",
                Some(&same),
                observed(tidemark(7, SEEN_BY - 1), Some(1)),
                Explanation::Pending,
            ),
            (
                "no tidemark",
                Some(&same),
                observed(None, Some(1)),
                Explanation::Pending,
            ),
            (
                "stamped",
                Some(&same),
                observed(covering, Some(2)),
                Explanation::Changed,
            ),
            (
                "stamped before the tidemark covers it",
                Some(&same),
                observed(tidemark(7, 0), Some(2)),
                Explanation::Changed,
            ),
            (
                "no stamp",
                Some(&same),
                observed(covering, None),
                Explanation::Changed,
            ),
            (
                "gone",
                None,
                observed(covering, Some(1)),
                Explanation::Changed,
            ),
            (
                "another entry",
                Some(&stored(7, 2, "new")),
                observed(covering, Some(2)),
                Explanation::Changed,
            ),
            (
                "another answer under the same stamps",
                Some(&stored(7, 1, "new")),
                observed(covering, Some(1)),
                Explanation::Changed,
            ),
            (
                "garbage",
                Some(&Bytes::from_static(b"x")),
                observed(covering, Some(1)),
                Explanation::Changed,
            ),
            (
                "another epoch",
                Some(&same),
                observed(tidemark(8, SEEN_BY), Some(1)),
                Explanation::Changed,
            ),
        ] {
            assert_eq!(verdict(entry, &observation), expected, "{what}");
        }
    }

    /// A violation is exactly an answer that an edge would serve at that moment.
    #[test]
    fn i1_a_violation_is_what_an_edge_would_serve() {
        let (key, scopes) = (key("a"), scopes());
        let demand = Demand {
            key: &key,
            scopes: &scopes,
            policy: POLICY,
            at_least_ms: Some(SEEN_BY),
        };
        let entries = [None, Some(stored(7, 1, "old")), Some(stored(7, 2, "old"))];
        for entry in &entries {
            for tidemark in [
                None,
                tidemark(7, SEEN_BY - 1),
                tidemark(7, SEEN_BY),
                tidemark(8, SEEN_BY),
            ] {
                for stamp in [None, Some(1), Some(2)] {
                    let observed = observed(tidemark, stamp);
                    let served = match decide(&demand, entry.as_ref(), &observed, SEEN_BY) {
                        Verdict::Fresh { entry, .. } => entry.witness == demand_witness(&scopes),
                        Verdict::Fill(_) => false,
                    };
                    assert_eq!(
                        verdict(entry.as_ref(), &observed) == Explanation::None,
                        served,
                        "{entry:?} {observed:?}"
                    );
                }
            }
        }
    }

    /// The witness of the entry in question.
    fn demand_witness(scopes: &[Scope]) -> crate::stamp::Witness {
        observed(None, Some(1)).witness(scopes).unwrap()
    }

    #[test]
    fn findings_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> =
            Finding::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), Finding::ALL.len());
    }
}
