//! How long a query's answers may be kept, and how stale they may be.

use std::time::Duration;

use serde::Serialize;

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
    /// What happens to an answer that something has touched.
    pub on_change: OnChange,
    /// How much longer than promised an answer may be given while the origin fails. Zero means not at
    /// all.
    pub stale_if_error: Duration,
}

/// What happens to a cached answer that something has touched, or whose ttl has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// The next read waits for the new answer.
    Expire,
    /// The same; and where it is among the hottest, the origin loads it anew before anybody reads it.
    Refresh,
    /// It may be given while one load runs behind, for as long as it is within the promise.
    Revalidate,
}

impl Policy {
    /// The `ttl` of a query that declares none.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(5 * 60);

    /// The `max_staleness` of a query that declares none.
    pub const DEFAULT_MAX_STALENESS: Duration = Duration::from_secs(1);

    /// That of a query which declares nothing.
    pub const DEFAULT: Self = Self {
        ttl: Self::DEFAULT_TTL,
        max_staleness: Self::DEFAULT_MAX_STALENESS,
        l1: Duration::ZERO,
        on_change: OnChange::Expire,
        stale_if_error: Duration::ZERO,
    };

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

    /// How long an entry is worth keeping: beyond its ttl only for when the origin fails.
    pub fn entry_life(&self) -> Duration {
        self.ttl.saturating_add(self.stale_if_error)
    }

    /// `ttl` in ms.
    pub fn ttl_ms(&self) -> i64 {
        millis(self.ttl)
    }

    /// How long this very answer is kept, in ms: the ttl, less up to a tenth of it as `random` has it,
    /// so that what was filled together does not expire together. Never longer than the ttl.
    pub fn jittered_ttl_ms(&self, random: u128) -> i64 {
        let ttl = self.ttl_ms();
        // The remainder is at most a tenth of the ttl, so it is an i64.
        let cut = random % u128::from(ttl.unsigned_abs() / 10 + 1);
        ttl.saturating_sub(i64::try_from(cut).unwrap_or(0))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn jitter_only_ever_shortens_and_by_a_tenth_at_most(
            ttl_ms in 1..=Policy::LONGEST.as_millis() as u64,
            random in any::<u128>(),
        ) {
            let policy = Policy {
                ttl: Duration::from_millis(ttl_ms),
                ..Policy::DEFAULT
            };
            let kept = policy.jittered_ttl_ms(random);
            prop_assert!(kept <= policy.ttl_ms());
            prop_assert!(kept >= policy.ttl_ms() - policy.ttl_ms() / 10);
        }
    }

    #[test]
    fn jitter_spreads_what_was_filled_together() {
        let policy = Policy::DEFAULT;
        assert_eq!(policy.jittered_ttl_ms(0), 300_000);
        assert_eq!(policy.jittered_ttl_ms(30_000), 270_000);
        assert_eq!(policy.jittered_ttl_ms(30_001), 300_000);
    }
}
