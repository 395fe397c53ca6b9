//! What happened in a run: the reads with what they saw, and the commits with when they were acknowledged.

use super::setting::{Key, Order, Totals};

/// µs since the run began, by one monotonic clock.
pub type Moment = u64;

/// Everything that happened with one contender.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// What each dashboard said before the first write, by [`Key::place`].
    pub baseline: Vec<Totals>,
    /// Reads that were answered with a dashboard, in any order.
    pub reads: Vec<Read>,
    /// Orders that were sent, in any order.
    pub commits: Vec<Commit>,
    /// When the warm-up was over: reads before it only fill caches.
    pub measured_from: Moment,
    /// When the last request had ended.
    pub ended: Moment,
    /// Reads that were answered with something else, or not at all.
    pub failed_reads: u64,
}

/// A read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// What was asked for.
    pub key: Key,
    /// When it was sent.
    pub begun: Moment,
    /// When all of its answer was there.
    pub ended: Moment,
    /// What the contender says where the answer came from; `None` where it does not say.
    pub served: Option<Served>,
    /// What the answer says.
    pub seen: Totals,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// It was there already.
    Cache,
    /// It waited for the database: with a statement of its own, or with that of another request.
    Database,
}

/// An order on its way into the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// What was ordered.
    pub order: Order,
    /// When it was sent.
    pub begun: Moment,
    /// When whoever sent it was told that it is committed; `None` where that was never said.
    pub acknowledged: Option<Moment>,
}

impl Log {
    /// The reads that count.
    pub fn measured(&self) -> impl Iterator<Item = &Read> {
        let from = self.measured_from;
        self.reads.iter().filter(move |read| read.begun >= from)
    }

    /// How long was measured, in seconds.
    pub fn seconds(&self) -> f64 {
        self.ended.saturating_sub(self.measured_from) as f64 / 1e6
    }
}
