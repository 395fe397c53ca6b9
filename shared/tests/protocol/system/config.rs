//! What a model explores, and how far.

use crate::{decisions::Commits, mutant::Mutant, reach::Reach};

/// A promise that no model breaks: there are never that many commits.
pub(crate) const NO_PROMISE: Commits = 100;

/// What a model explores, and how far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) mutant: Option<Mutant>,
    /// How many scopes the query has.
    pub(crate) scopes: u8,
    /// For each transaction, the place of the scope that it touches; beyond the query's, another one.
    pub(crate) touches: &'static [u8],
    /// Whether transactions are open for a while, overlap and may be rolled back.
    pub(crate) overlapping: bool,
    /// The catalog of each leadership: as many as there may be.
    pub(crate) leaders: &'static [u8],
    /// The catalogs of the origins that answer.
    pub(crate) origins: &'static [u8],
    /// How many cycles may find nothing to do.
    pub(crate) heartbeats: u8,
    /// How often a leader gives the Redis up while a step is under way there.
    pub(crate) given_up: u8,
    /// Whether there are other regions, so that rows are settled without this one.
    pub(crate) elsewhere: bool,
    /// What may happen to the relay's Redis.
    pub(crate) home: Faults,
    /// What may happen to the cache manager's Redis.
    pub(crate) remote: Faults,
    /// How many cache managers there are; with any, the edge is in their region.
    pub(crate) managers: usize,
    /// How many requests need a load.
    pub(crate) requests: u8,
    /// Whether they share loads, and some demand `Tidemark-At-Least`.
    pub(crate) sharing: bool,
    /// How many requests can't reach Redis.
    pub(crate) blind: u8,
    /// The query's `max_staleness`, in commits.
    pub(crate) promise: Commits,
    /// What has to be reachable, or the model says nothing.
    pub(crate) reaches: &'static [Reach],
}

/// What may happen to a Redis, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) evictions: u8,
    /// How often a copy is made that a later failover falls back to; before the first it is empty.
    pub(crate) copies: u8,
    pub(crate) failovers: u8,
}
