//! Who may join whose load (design §5.5b).
//!
//! Misses on one key share loads, but not blindly. Whoever joined a load that began before a
//! change, and stored its answer under the stamps after that change, would have stored old data as
//! new. So a request may join a running load only if it observed the very stamps, of the very epoch,
//! under which that load began; otherwise it shares the *next* load, which has not begun yet. A key
//! therefore has at most one running and one waiting load.
//!
//! The epoch matters because a Redis that falls back to an older state holds *old* stamps again. In
//! the new epoch they say nothing of what has changed since a load began under them in the old one.

use crate::{digest::Digest, epoch::Epoch, stamp::Witness};

/// What a request observed before it needed a load: the stamps of all its scopes and the epoch that
/// they belong to, as one digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Observed(Digest);

impl Observed {
    /// Of these stamps in this epoch.
    pub fn of(epoch: Epoch, witness: Witness) -> Self {
        let (epoch, witness) = (epoch.token().to_le_bytes(), witness.digest().to_bytes());
        Self(Digest::of_fields([
            Some(epoch.as_slice()),
            Some(witness.as_slice()),
        ]))
    }
}

/// What a request that needs a load knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What it observed, if it could observe the epoch and all stamps.
    pub observed: Option<Observed>,
    /// Whether its tidemark is within the promise and covers the request's `Tidemark-At-Least`.
    /// Where it is not, a write that the client may count on can be newer than a running load
    /// although its invalidation, and so the change of the stamps, is still on the way.
    pub covered: bool,
}

/// Which load serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// None is running: begin one.
    Begin,
    /// The one that is running.
    Running,
    /// The one after that, which all who can't join the running one share.
    Next,
}

/// Decides which load serves a request: `running` is what had been observed when the key's running
/// load began, if there is such a load.
pub fn join(claim: Claim, running: Option<Option<Observed>>) -> Join {
    match running {
        None => Join::Begin,
        Some(began_under) => {
            if claim.covered && claim.observed.is_some() && claim.observed == began_under {
                Join::Running
            } else {
                Join::Next
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(epoch: u64, stamps: u8) -> Option<Observed> {
        let witness = Witness::from_digest(Digest::from_bytes([stamps; 16]));
        Some(Observed::of(Epoch::new(epoch), witness))
    }

    #[test]
    fn only_the_same_stamps_of_the_same_epoch_join_a_running_load() {
        let claim = |observed, covered| Claim { observed, covered };
        let running = Some(observed(1, 1));
        for (claim, running, expected) in [
            (claim(observed(1, 1), true), None, Join::Begin),
            (claim(None, false), None, Join::Begin),
            (claim(observed(1, 1), true), running, Join::Running),
            (claim(observed(1, 2), true), running, Join::Next),
            // A Redis fell back: the old stamps again, and a change in between.
            (claim(observed(2, 1), true), running, Join::Next),
            (claim(observed(1, 1), true), Some(None), Join::Next),
            (claim(None, true), Some(None), Join::Next),
            (claim(observed(1, 1), false), running, Join::Next),
        ] {
            assert_eq!(join(claim, running), expected, "{claim:?} {running:?}");
        }
    }
}
