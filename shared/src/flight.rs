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
//!
//! The same rule holds twice. Inside an edge, requests share a question to the origin; at the origin,
//! questions of several edges share a statement. What an edge's question may claim there is what
//! *all* who share it could claim: [`Account::claim`].

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
};

use crate::{digest::Digest, epoch::Epoch, fill::Permit, key::Key, stamp::Witness};

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

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Digest::parse(text).map(Self)
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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

impl Claim {
    /// Of whoever could observe nothing, or does not say.
    pub const NONE: Self = Self {
        observed: None,
        covered: false,
    };

    /// Of a question that is asked with a [`header::WITNESS`](crate::header::WITNESS), if it has one.
    pub fn of_question(observed: Option<Observed>) -> Self {
        Self {
            observed,
            covered: observed.is_some(),
        }
    }

    /// What joins running loads, if it may join any.
    fn joins(self) -> Option<Observed> {
        self.observed.filter(|_| self.covered)
    }
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
            let joins = claim.joins();
            if joins.is_some() && joins == began_under {
                Join::Running
            } else {
                Join::Next
            }
        }
    }
}

/// Who is aboard which load. Nothing is kept of a key without a load.
///
/// `P` is what somebody keeps of those who share a load, to give them its result; what that is, and
/// who waits how, is not this account's business.
#[derive(Debug)]
pub struct Account<P>(BTreeMap<Key, Loads<P>>);

/// The loads of one key. The running one has begun; the waiting one begins when that has ended.
#[derive(Debug)]
struct Loads<P> {
    running: Load<P>,
    waiting: Option<Load<P>>,
}

#[derive(Debug)]
struct Load<P> {
    /// What was observed before it begins: of those who share it and are covered, the latest. Where
    /// nobody is, a cache of the origin may answer, and nobody joins what is not read anew.
    observed: Option<Observed>,
    /// What all who share it could claim of a load that runs elsewhere.
    claim: Option<Observed>,
    /// What its answer will be stored by: of those who share it, the latest.
    permit: Option<Permit>,
    passengers: P,
}

/// A request's place.
#[derive(Debug)]
pub struct Boarded<'a, P> {
    /// Which it is.
    pub seat: Seat,
    /// Those who share the load; the request is to be one of them.
    pub passengers: &'a mut P,
}

/// Which place a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Aboard a load that begins with it; it has to see to it that this is run, and lands.
    Begins,
    /// The first aboard the load that begins when the running one has landed.
    Waits,
    /// Aboard a load that others are the cause of.
    Shares,
}

/// What remains to be done after a load.
#[derive(Debug)]
pub struct Landed<P> {
    /// Those who wait for its result.
    pub passengers: P,
    /// The right to store its answer.
    pub permit: Option<Permit>,
    /// Whether a load has waited for this one; it is the running one now.
    pub goes_on: bool,
}

impl<P> Default for Account<P> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<P> Account<P> {
    /// Whether a load of this key is under way.
    pub fn is_loading(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }
}

impl<P: Default> Account<P> {
    /// Finds the load that serves a request.
    ///
    /// The permit is an argument because it has to be granted *before* the origin is asked: there
    /// is no load to run for whoever has not brought here what was observed for it. (Who stores
    /// nothing has none.)
    pub fn board(&mut self, key: &Key, claim: Claim, permit: Option<Permit>) -> Boarded<'_, P> {
        let running = self.0.get(key).map(|loads| loads.running.observed);
        let decided = join(claim, running);
        let (seat, load) = match self.0.entry(key.clone()) {
            btree_map::Entry::Vacant(none) => {
                let running = Load::new(claim, permit);
                let waiting = None;
                (
                    Seat::Begins,
                    &mut none.insert(Loads { running, waiting }).running,
                )
            }
            btree_map::Entry::Occupied(loads) => {
                let Loads { running, waiting } = loads.into_mut();
                match (decided, waiting) {
                    (Join::Running, _) => (Seat::Shares, running),
                    (_, Some(waiting)) => {
                        waiting.admit(claim, permit);
                        (Seat::Shares, waiting)
                    }
                    (_, none) => (Seat::Waits, none.insert(Load::new(claim, permit))),
                }
            }
        };
        let passengers = &mut load.passengers;
        Boarded { seat, passengers }
    }
}

impl<P> Account<P> {
    /// What a key's running load may claim, to be asked when it begins: what all aboard have observed.
    /// Those who do not agree on that share a load only because it has not begun yet; so nobody may
    /// answer them from one that has.
    pub fn claim(&self, key: &Key) -> Option<Observed> {
        self.0.get(key)?.running.claim
    }

    /// Whether others may join a key's running load: then its answer has to be read from the database
    /// after the load has begun, whatever a cache on the way could prove.
    pub fn is_joinable(&self, key: &Key) -> bool {
        let loads = self.0.get(key);
        loads.is_some_and(|loads| loads.running.observed.is_some())
    }

    /// Those aboard a key's running load.
    pub fn passengers(&self, key: &Key) -> Option<&P> {
        Some(&self.0.get(key)?.running.passengers)
    }

    /// Ends a key's running load; the one that waits begins.
    pub fn land(&mut self, key: &Key) -> Option<Landed<P>> {
        let (key, Loads { running, waiting }) = self.0.remove_entry(key)?;
        let goes_on = waiting.is_some();
        if let Some(running) = waiting {
            let waiting = None;
            self.0.insert(key, Loads { running, waiting });
        }
        Some(Landed {
            passengers: running.passengers,
            permit: running.permit,
            goes_on,
        })
    }

    /// Forgets both of a key's loads, where nobody runs them any more; gives those aboard.
    pub fn give_up(&mut self, key: &Key) -> Vec<P> {
        let Some(Loads { running, waiting }) = self.0.remove(key) else {
            return Vec::new();
        };
        let loads = [Some(running), waiting].into_iter().flatten();
        loads.map(|load| load.passengers).collect()
    }

    /// Whether there is no load.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<P: Default> Load<P> {
    fn new(claim: Claim, permit: Option<Permit>) -> Self {
        Self {
            observed: claim.joins(),
            claim: claim.joins(),
            permit,
            passengers: P::default(),
        }
    }
}

impl<P> Load<P> {
    /// Lets another request aboard, before the load begins. Every permit granted by then is good
    /// for its answer; the latest is the likeliest to be of stamps that are still the current ones.
    fn admit(&mut self, claim: Claim, permit: Option<Permit>) {
        self.observed = claim.joins().or(self.observed);
        self.claim = self.claim.filter(|agreed| claim.joins() == Some(*agreed));
        self.permit = permit.or(self.permit.take());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::tests::key;

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

    #[test]
    fn what_was_observed_reads_back() {
        let observed = observed(1, 2).unwrap();
        assert_eq!(Observed::parse(&observed.to_string()), Some(observed));
        assert_eq!(Observed::parse("none"), None);
    }

    #[test]
    fn a_question_claims_what_all_who_share_it_have_observed() {
        let claim = |stamps, covered| Claim {
            observed: observed(1, stamps),
            covered,
        };
        // What waits for a running load: first one, then the other.
        let claimed = |first: Claim, second: Claim| {
            let mut account = Account::<()>::default();
            account.board(&key("a"), claim(1, true), None);
            assert_eq!(account.claim(&key("a")), observed(1, 1));
            assert_eq!(account.board(&key("a"), first, None).seat, Seat::Waits);
            assert_eq!(account.board(&key("a"), second, None).seat, Seat::Shares);
            assert!(account.land(&key("a")).unwrap().goes_on);
            account.claim(&key("a"))
        };
        assert_eq!(claimed(claim(2, true), claim(2, true)), observed(1, 2));
        assert_eq!(claimed(claim(2, true), claim(3, true)), None);
        assert_eq!(claimed(claim(3, true), claim(2, true)), None);
        assert_eq!(claimed(claim(2, true), claim(2, false)), None);
        assert_eq!(claimed(claim(2, false), claim(2, true)), None);
        assert_eq!(claimed(Claim::NONE, claim(2, true)), None);
    }

    #[test]
    fn i3_a_load_of_those_who_are_not_covered_is_not_joined_once_it_runs() {
        let claim = |covered| Claim {
            observed: observed(1, 1),
            covered,
        };
        let key = key("a");
        let mut account = Account::<()>::default();
        account.board(&key, claim(false), None);
        assert!(!account.is_joinable(&key));
        assert_eq!(account.board(&key, claim(true), None).seat, Seat::Waits);
        assert_eq!(account.board(&key, claim(false), None).seat, Seat::Shares);
        account.land(&key);
        assert!(account.is_joinable(&key), "by those who are covered");
        assert_eq!(account.claim(&key), None, "not all are");
        assert_eq!(account.board(&key, claim(true), None).seat, Seat::Shares);
    }

    /// What may happen, in any order, to two edges and two origins, of one key.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// Something changes: stamps and database.
        Change,
        /// A request observes the stamps; whether its claim is covered.
        Observe { edge: usize, covered: bool },
        /// The request that has observed first, or last, boards.
        Board { edge: usize, first: bool },
        /// An edge's running question reaches an origin.
        Ask { edge: usize, origin: usize },
        /// An origin's running statement answers.
        Answer { origin: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        let one = || 0..2_usize;
        prop_oneof![
            1 => Just(Step::Change),
            3 => (one(), prop::bool::weighted(0.8))
                .prop_map(|(edge, covered)| Step::Observe { edge, covered }),
            3 => (one(), any::<bool>()).prop_map(|(edge, first)| Step::Board { edge, first }),
            3 => (one(), one()).prop_map(|(edge, origin)| Step::Ask { edge, origin }),
            2 => one().prop_map(|origin| Step::Answer { origin }),
        ]
    }

    /// A request: what it claims, and the least that its answer may show.
    #[derive(Clone, Copy, Debug)]
    struct Request {
        claim: Claim,
        must_show: u8,
    }

    /// Data and stamps are numbers that grow.
    #[derive(Default)]
    struct World {
        now: u8,
        edges: [Edge; 2],
        origins: [Origin; 2],
    }

    #[derive(Default)]
    struct Edge {
        /// Requests that have observed and not boarded.
        pending: Vec<Request>,
        loads: Account<Vec<Request>>,
        asked: bool,
    }

    #[derive(Default)]
    struct Origin {
        /// The edges whose questions wait.
        loads: Account<Vec<usize>>,
        /// What the running statement sees: its snapshot is as old as can be.
        snapshot: u8,
    }

    impl World {
        fn take(&mut self, step: Step) {
            let key = key("a");
            match step {
                Step::Change => self.now += 1,
                Step::Observe { edge, covered } => {
                    let claim = Claim {
                        observed: observed(1, self.now),
                        covered,
                    };
                    let must_show = self.now;
                    self.edges[edge].pending.push(Request { claim, must_show });
                }
                Step::Board { edge, first } => {
                    let Edge { pending, loads, .. } = &mut self.edges[edge];
                    let last = pending.len().saturating_sub(1);
                    let at = if first { 0 } else { last };
                    if pending.is_empty() {
                        return;
                    }
                    let mut request = pending.remove(at);
                    if !request.claim.covered {
                        // It may count on what its stamps do not show.
                        request.must_show = self.now;
                    }
                    loads
                        .board(&key, request.claim, None)
                        .passengers
                        .push(request);
                }
                Step::Ask { edge, origin } => {
                    let Edge { loads, asked, .. } = &mut self.edges[edge];
                    if loads.is_empty() || std::mem::replace(asked, true) {
                        return;
                    }
                    let claim = Claim::of_question(loads.claim(&key));
                    let Origin { loads, snapshot } = &mut self.origins[origin];
                    let boarded = loads.board(&key, claim, None);
                    boarded.passengers.push(edge);
                    if boarded.seat == Seat::Begins {
                        *snapshot = self.now;
                    }
                }
                Step::Answer { origin } => {
                    let Origin { loads, snapshot } = &mut self.origins[origin];
                    let Some(landed) = loads.land(&key) else {
                        return;
                    };
                    let shown = std::mem::replace(snapshot, self.now);
                    for edge in landed.passengers {
                        let Edge { loads, asked, .. } = &mut self.edges[edge];
                        *asked = false;
                        for request in loads.land(&key).unwrap().passengers {
                            assert!(shown >= request.must_show, "{shown} to {request:?}");
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn i3_whoever_shares_gets_what_it_has_observed(steps in prop::collection::vec(step(), 1..120)) {
            let mut world = World::default();
            for step in steps {
                world.take(step);
            }
        }
    }
}
