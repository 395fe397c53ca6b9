//! The relay: the leader's cycle, its connection to Redis, and steps that are still under way.

use crate::{
    database::Rows,
    decisions::{Commits, Mark, Number, Token},
};

/// The leader: whoever holds the lock. Of one that lost it only a step under way is left, since its
/// session with PostgreSQL is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    pub(crate) term: u8,
    /// The number of its next event.
    pub(crate) seq: u8,
    pub(crate) catalog: u8,
    pub(crate) phase: Phase,
    pub(crate) link: Link,
    /// The last id it took: nothing but a mutant looks at it.
    pub(crate) last_id: u8,
}

/// Where the cycle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Rest,
    /// It has read the clock (or, a mutant, has taken the rows).
    Begun {
        as_of: Commits,
        rows: Rows,
    },
    /// It has taken the rows, in a snapshot not older than `as_of`.
    Drained {
        as_of: Commits,
        rows: Rows,
    },
    /// Half of a step that should be atomic is done.
    Half {
        step: Step,
        rows: Rows,
    },
    /// The event is where it could be; the rows are still there.
    Applied {
        rows: Rows,
        event: Number,
    },
}

/// What the leader knows of the Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Link {
    Lost,
    /// It has connected and looked.
    Found {
        held: Option<Mark>,
        life: u8,
        /// The last change at that moment: nothing but a mutant looks at it.
        last_change: Number,
    },
    /// It writes there, in this epoch, over exactly the tidemark that it knows.
    On {
        epoch: Token,
        known: Option<Mark>,
    },
}

/// One atomic step in Redis: stamps, tidemark, event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    /// The tidemark over which alone it may be done.
    pub(crate) over: Option<Mark>,
    pub(crate) mark: Mark,
    pub(crate) scopes: u8,
    /// The last event that had scopes.
    pub(crate) prev: Number,
}

impl Leader {
    pub(crate) const fn new(term: u8, catalog: u8) -> Self {
        Self {
            term,
            seq: 1,
            catalog,
            phase: Phase::Rest,
            link: Link::Lost,
            last_id: 0,
        }
    }

    /// The step that comes after the drain, where the Redis is within reach.
    pub(crate) fn step(
        &self,
        prev: Number,
        scopes_of: impl Fn(Rows) -> u8,
    ) -> Option<(Step, Rows)> {
        let Phase::Drained { as_of, rows } = self.phase else {
            return None;
        };
        let Link::On { epoch, known } = self.link else {
            return None;
        };
        let mark = Mark {
            term: self.term,
            epoch,
            as_of,
            event: (self.term, self.seq),
            catalog: self.catalog,
            upstream: None,
        };
        let step = Step {
            over: known,
            mark,
            scopes: scopes_of(rows),
            prev,
        };
        Some((step, rows))
    }
}
