//! How long a query's answers may be kept, and how stale they may be.

use std::time::Duration;

/// How fresh a query's answers have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long an answer may be kept.
    pub ttl: Duration,
    /// The promise: how far an answer may lag behind the database. Zero means never cached.
    pub max_staleness: Duration,
    /// For how long an instance may serve an answer again without looking into Redis. At most
    /// `max_staleness`; zero means that it looks each time.
    pub l1: Duration,
}

impl Policy {
    /// The `ttl` of a query that declares none.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(5 * 60);

    /// The `max_staleness` of a query that declares none.
    pub const DEFAULT_MAX_STALENESS: Duration = Duration::from_secs(1);

    /// The longest duration that a catalog may declare.
    pub const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// Whether answers may be cached at all.
    pub const fn is_cacheable(&self) -> bool {
        !self.max_staleness.is_zero()
    }

    /// Whether an instance may serve an answer again without looking into Redis.
    pub const fn has_l1(&self) -> bool {
        !self.l1.is_zero()
    }

    /// `ttl` in ms.
    pub fn ttl_ms(&self) -> i64 {
        millis(self.ttl)
    }

    /// `max_staleness` in ms.
    pub fn max_staleness_ms(&self) -> i64 {
        millis(self.max_staleness)
    }

    /// `l1` in ms.
    pub fn l1_ms(&self) -> i64 {
        millis(self.l1)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
