//! Who may join whose load (design §5.5b).
//!
//! Misses on one key share loads, but not blindly. Whoever joined a load that began before a
//! change, and stored its answer under the stamps after that change, would have stored old data as
//! new. So a request may join a running load only if it observed the very stamps under which that
//! load began; otherwise it shares the *next* load, which has not begun yet. A key therefore has at
//! most one running and one waiting load.

use crate::stamp::Witness;

/// What a request that needs a load knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The witness of the stamps it observed, if it could observe them all.
    pub witness: Option<Witness>,
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

/// Decides which load serves a request: `running` is the witness under which the key's running
/// load began, if there is such a load.
pub fn join(claim: Claim, running: Option<Option<Witness>>) -> Join {
    match running {
        None => Join::Begin,
        Some(began_under) => {
            if claim.covered && claim.witness.is_some() && claim.witness == began_under {
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
    use crate::digest::Digest;

    #[test]
    fn only_the_same_stamps_join_a_running_load() {
        let witness = |byte| Some(Witness::from_digest(Digest::from_bytes([byte; 16])));
        let claim = |witness, covered| Claim { witness, covered };
        for (claim, running, expected) in [
            (claim(witness(1), true), None, Join::Begin),
            (claim(None, false), None, Join::Begin),
            (claim(witness(1), true), Some(witness(1)), Join::Running),
            (claim(witness(2), true), Some(witness(1)), Join::Next),
            (claim(witness(1), true), Some(None), Join::Next),
            (claim(None, true), Some(None), Join::Next),
            (claim(witness(1), false), Some(witness(1)), Join::Next),
        ] {
            assert_eq!(join(claim, running), expected, "{claim:?} {running:?}");
        }
    }
}
