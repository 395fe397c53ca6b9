//! The lease: how a herd of misses on one key, at many instances, is kept from asking the origin all
//! at once (design §5.5b).
//!
//! Who has a key's lease asks the origin. Who finds it taken waits a moment and looks whether the
//! answer is there, a few times, and then asks all the same. So a lease guards nothing: where it is
//! lost, outlived by a slow query, or taken by somebody who died, the price is one query more, or a
//! pause that was in vain.

use std::time::Duration;

use crate::flight::Claim;

/// How long a lease lasts that is not given back: what others lose at most if its taker has died is
/// still only their [`pauses`].
pub const LIFE: Duration = Duration::from_secs(3);

/// The pauses before each further look, in ms: in step with how long the query may take, so that nobody waits
/// for much longer than it did. Most queries take less than all of them together; beyond that, whoever waits is
/// better off in the queue of the origin, which coalesces as well.
const PAUSES_MS: [u64; 7] = [5, 10, 20, 35, 50, 80, 100];

/// Whether a request takes part: only if what another one stores could serve it. Where the tidemark is
/// behind the promise, or behind the request's `Tidemark-At-Least`, it could not, and where a stamp is
/// missing nothing can be stored.
pub fn is_worth_waiting_for(claim: &Claim) -> bool {
    claim.covered && claim.observed.is_some()
}

/// How long to wait before each further look; then the origin is asked, whoever has the lease.
pub fn pauses() -> impl Iterator<Item = Duration> {
    PAUSES_MS.into_iter().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest::Digest, epoch::Epoch, flight::Observed, stamp::Witness};

    #[test]
    fn the_wait_is_bounded_and_its_pauses_grow() {
        let all: Vec<_> = pauses().collect();
        assert!(all.is_sorted());
        assert_eq!(all.iter().sum::<Duration>(), Duration::from_millis(300));
        assert!(all.iter().sum::<Duration>() < LIFE);
    }

    #[test]
    fn nobody_waits_for_what_could_not_serve_him() {
        let witness = Witness::from_digest(Digest::of(b"stamps"));
        let observed = Some(Observed::of(Epoch::new(1), witness));
        for (observed, covered, expected) in [
            (observed, true, true),
            (observed, false, false),
            (None, true, false),
            (None, false, false),
        ] {
            let claim = Claim { observed, covered };
            assert_eq!(is_worth_waiting_for(&claim), expected, "{claim:?}");
        }
    }
}
