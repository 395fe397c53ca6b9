//! An edge instance: requests that need a load, and the loads that they share.
//!
//! Who may share which load is the shared decision; the account of it is the edge's.

use tidemark_shared::flight::{Claim, Join};

use crate::{
    decisions::{Basis, Cached, Commits, Seen, Shown, join},
    mutant::Mutant,
};

/// A request that is not aboard a load yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) seen: Seen,
    pub(crate) at_least: Option<Commits>,
    pub(crate) must: Must,
    pub(crate) stage: Stage,
}

/// How far its observation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Some stamps are missing.
    Unstamped,
    /// It has set the missing ones, and will read what is there now.
    Stamped,
    /// It has all it can have.
    Ready,
}

/// What an answer has to reflect, so that no promise to those who get it is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Must {
    /// Commits that they may count on (I3).
    pub(crate) written: Commits,
    /// Commits that are older than the promise (I2).
    pub(crate) promised: Commits,
}

/// A load: one question to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Load {
    /// The epoch and stamps it began under, where all were there.
    pub(crate) under: Option<Basis>,
    pub(crate) permit: Option<Basis>,
    pub(crate) must: Must,
    /// Whether more than one request is aboard.
    pub(crate) shared: bool,
    /// What the origin read, once it has.
    pub(crate) shown: Option<Shown>,
}

/// The instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Edge {
    pub(crate) requests: [Option<Request>; 2],
    pub(crate) running: Option<Load>,
    pub(crate) waiting: Option<Load>,
    /// Answers that have been given and will be stored, at any time or never.
    pub(crate) stores: [Option<Cached>; 2],
}

impl Edge {
    pub(crate) const fn new() -> Self {
        Self {
            requests: [None; 2],
            running: None,
            waiting: None,
            stores: [None; 2],
        }
    }

    /// Puts a request aboard the load that serves it.
    pub(crate) fn board(
        &mut self,
        claim: Claim,
        under: Option<Basis>,
        permit: Option<Basis>,
        must: Must,
        mutant: Option<Mutant>,
    ) {
        let mut seat = join(claim, self.running.map(|load| load.under));
        let older = matches!(
            mutant,
            Some(Mutant::JoinsOlderLoad | Mutant::StoresOlderLoad)
        );
        if older && seat == Join::Next {
            seat = Join::Running;
        }
        if mutant == Some(Mutant::JoinsOtherEpoch) && claim.covered {
            let stamps = |basis: Option<Basis>| basis.map(|basis| basis.stamps);
            let running = self.running.and_then(|load| stamps(load.under));
            if running.is_some() && running == stamps(under) {
                seat = Join::Running;
            }
        }
        let new = Load {
            under,
            permit,
            must,
            shared: false,
            shown: None,
        };
        match (seat, &mut self.running, &mut self.waiting) {
            (Join::Running, Some(running), _) => {
                running.admit(must);
                if mutant == Some(Mutant::StoresOlderLoad) {
                    running.permit = permit.or(running.permit);
                }
            }
            (Join::Next, Some(_), Some(waiting)) => {
                waiting.admit(must);
                // It has not begun: the latest permit is as good as the first.
                waiting.under = under.or(waiting.under);
                waiting.permit = permit.or(waiting.permit);
            }
            (Join::Next, Some(_), none) => *none = Some(new),
            (_, running, _) => *running = Some(new),
        }
    }

    /// Remembers to store an answer; where there is no place left, that store fails.
    pub(crate) fn store_later(&mut self, cached: Cached) {
        if let Some(place) = self.stores.iter_mut().find(|place| place.is_none()) {
            *place = Some(cached);
        }
    }
}

impl Load {
    fn admit(&mut self, must: Must) {
        self.shared = true;
        self.must.written = self.must.written.max(must.written);
        self.must.promised = self.must.promised.max(must.promised);
    }
}
