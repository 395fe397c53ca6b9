//! A state of everything, in few bytes.

use super::{
    action::Side,
    config::{Config, Faults},
};
use crate::{
    database::Database,
    decisions::{Basis, Commits, Mark, Published, Stamps, Token},
    edge::Edge,
    redis::Redis,
    relay::{Leader, Link, Phase, Step},
};

/// How many events a model remembers; those beyond are lost, as events may be.
const EVENTS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) database: Database,
    pub(crate) leader: Option<Leader>,
    /// A step that nobody waits for any more; it may still happen.
    pub(crate) under_way: Option<Step>,
    pub(crate) home: Redis,
    pub(crate) home_copy: Redis,
    pub(crate) events: [Option<Published>; EVENTS],
    pub(crate) remote: Redis,
    pub(crate) remote_copy: Redis,
    pub(crate) managers: [Option<Step>; 2],
    pub(crate) edge: Edge,
    /// The latest commit whose writer has been told `applied`.
    pub(crate) told: Commits,
    pub(crate) left: Left,
    pub(crate) broken: Option<Broken>,
    minted: u8,
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) heartbeats: u8,
    pub(crate) given_up: u8,
    pub(crate) home: Faults,
    pub(crate) remote: Faults,
    pub(crate) requests: u8,
    pub(crate) blind: u8,
    /// How many lives of the relay's Redis have ended visibly.
    pub(crate) lives: u8,
}

/// What an answer of the origin has broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    Promise,
    Write,
}

impl State {
    pub(super) fn new(config: &Config) -> Self {
        let redis = Redis::empty(config.scopes);
        Self {
            database: Database::new(),
            leader: None,
            under_way: None,
            home: redis,
            home_copy: redis,
            events: [None; EVENTS],
            remote: redis,
            remote_copy: redis,
            managers: [None; 2],
            edge: Edge::new(),
            told: 0,
            left: Left {
                heartbeats: config.heartbeats,
                given_up: config.given_up,
                home: config.home,
                remote: config.remote,
                requests: config.requests,
                blind: config.blind,
                lives: 0,
            },
            broken: None,
            minted: 0,
        }
    }

    /// A token that is nowhere else.
    pub(super) fn mint(&mut self) -> Token {
        self.minted += 1;
        // Beyond all that `renumber` gives.
        128 + self.minted
    }

    /// Names the tokens by the order in which they occur: which ones they are means nothing, only
    /// which are equal. What occurs no more is forgotten.
    pub(super) fn renumber(&mut self) {
        self.edge.stores.sort_unstable();
        self.minted = 0;
        let mut names = [0; 256];
        let mut last = 0;
        self.each_token(&mut |token| {
            // A mutant's name for a missing stamp.
            if *token == 0 {
                return;
            }
            let name = &mut names[usize::from(*token)];
            if *name == 0 {
                last += 1;
                *name = last;
            }
            *token = *name;
        });
    }

    pub(super) fn each_token(&mut self, each: &mut impl FnMut(&mut Token)) {
        fn stamps(stamps: &mut Stamps, each: &mut impl FnMut(&mut Token)) {
            stamps.slice_mut().iter_mut().flatten().for_each(each);
        }
        fn mark(mark: &mut Option<Mark>, each: &mut impl FnMut(&mut Token)) {
            if let Some(mark) = mark {
                each(&mut mark.epoch);
                mark.upstream.iter_mut().for_each(each);
            }
        }
        fn basis(basis: &mut Basis, each: &mut impl FnMut(&mut Token)) {
            each(&mut basis.epoch);
            stamps(&mut basis.stamps, each);
        }
        fn step(step: &mut Step, each: &mut impl FnMut(&mut Token)) {
            mark(&mut step.over, each);
            each(&mut step.mark.epoch);
            step.mark.upstream.iter_mut().for_each(each);
        }
        for redis in [
            &mut self.home,
            &mut self.home_copy,
            &mut self.remote,
            &mut self.remote_copy,
        ] {
            mark(&mut redis.mark, each);
            stamps(&mut redis.stamps, each);
            if let Some(entry) = &mut redis.entry {
                basis(&mut entry.basis, each);
            }
        }
        if let Some(recorded) = &mut self.database.recorded {
            each(&mut recorded.epoch);
        }
        if let Some(leader) = &mut self.leader {
            match &mut leader.link {
                Link::Lost => {}
                Link::Found { held, .. } => mark(held, each),
                Link::On { epoch, known } => {
                    each(epoch);
                    mark(known, each);
                }
            }
            if let Phase::Half { step: half, .. } = &mut leader.phase {
                step(half, each);
            }
        }
        let steps = self
            .under_way
            .iter_mut()
            .chain(self.managers.iter_mut().flatten());
        steps.for_each(|under_way| step(under_way, each));
        for event in self.events.iter_mut().flatten() {
            each(&mut event.epoch);
        }
        for request in self.edge.requests.iter_mut().flatten() {
            mark(&mut request.seen.mark, each);
            stamps(&mut request.seen.stamps, each);
        }
        for load in [&mut self.edge.running, &mut self.edge.waiting]
            .into_iter()
            .flatten()
        {
            if let Some(under) = &mut load.under {
                basis(under, each);
            }
            if let Some(permit) = &mut load.permit {
                basis(permit, each);
            }
        }
        for store in self.edge.stores.iter_mut().flatten() {
            basis(&mut store.basis, each);
        }
    }

    pub(super) fn redis(&mut self, side: Side) -> (&mut Redis, &mut Redis, &mut Faults) {
        match side {
            Side::Home => (&mut self.home, &mut self.home_copy, &mut self.left.home),
            Side::Remote => (
                &mut self.remote,
                &mut self.remote_copy,
                &mut self.left.remote,
            ),
        }
    }

    pub(super) fn mint_many(&mut self) -> [Token; 2] {
        [self.mint(), self.mint()]
    }
}
