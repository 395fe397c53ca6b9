//! What can happen: the steps of everybody.

use crate::{decisions::Commits, redis::Name};

/// Which Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The relay's.
    Home,
    /// The cache manager's.
    Remote,
}

/// Whether a server says that it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A proxy hides it, say.
    Hidden,
    Shown,
}

/// One step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Begin(usize),
    Commit(usize),
    RollBack(usize),
    /// A leader's session ends, and another one takes the lock; the step that the old one was about
    /// to do in Redis may still happen.
    HandOver {
        old_still_writes: bool,
    },
    Connect,
    GoOn,
    Clock,
    Drain,
    Apply,
    /// The second half, where a mutant makes two steps of one.
    Finish,
    /// The leader does not wait for Redis any longer.
    GiveUp {
        settle: bool,
    },
    /// The leader has no Redis here, and goes on with other regions.
    PassOver,
    Settle,
    /// A step that nobody waits for any more happens.
    LateStep,
    Evict(Side, Name),
    Copy(Side),
    Failover(Side, Identity),
    Ask {
        at_least: Option<Commits>,
    },
    AskBlindly {
        at_least: Option<Commits>,
    },
    SetMissing(usize),
    ReadBack(usize),
    Board(usize),
    Query {
        catalog: u8,
    },
    Answer,
    Store(usize),
    Receive {
        manager: usize,
        event: usize,
    },
    Pass {
        manager: usize,
    },
}
