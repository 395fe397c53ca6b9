//! What the cache did with a request: one name for log, metric and `Cache-Status` (RFC 9211).

use std::fmt;

/// The cache's name in `Cache-Status`.
pub const CACHE_NAME: &str = "tidemark";

/// `Cache-Status` of an answer from the origin's own memory; the edge's is appended to it.
pub const ORIGIN_HIT: &str = "tidemark-origin; hit";

/// What happened to a request at the edge.
///
/// The names are an interface: they stand in logs, metrics and, where they say more than the
/// standard's own words, in the header's `detail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Served from the cache, proven fresh.
    Hit,
    /// Nothing was cached under the key.
    Miss,
    /// A change touched what the cached answer depends on.
    Changed,
    /// A scope has no stamp: it was evicted, has expired, or never was.
    Unstamped,
    /// The cached answer is from another epoch of this Redis.
    Epoch,
    /// What was cached does not decode as an entry of this key.
    Corrupt,
    /// The cached answer's ttl has ended.
    Expired,
    /// There is no tidemark, or it is older than the query's promise.
    Unproven,
    /// The request demands a later state than the tidemark proves (`Tidemark-At-Least`).
    AtLeast,
    /// The query is never cached (`max_staleness = "0s"`).
    Uncacheable,
    /// Redis did not answer.
    RedisUnavailable,
}

impl Outcome {
    /// Every outcome, for documentation and metrics.
    pub const ALL: [Self; 11] = [
        Self::Hit,
        Self::Miss,
        Self::Changed,
        Self::Unstamped,
        Self::Epoch,
        Self::Corrupt,
        Self::Expired,
        Self::Unproven,
        Self::AtLeast,
        Self::Uncacheable,
        Self::RedisUnavailable,
    ];

    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Changed => "changed",
            Self::Unstamped => "unstamped",
            Self::Epoch => "epoch",
            Self::Corrupt => "corrupt",
            Self::Expired => "expired",
            Self::Unproven => "unproven",
            Self::AtLeast => "at-least",
            Self::Uncacheable => "uncacheable",
            Self::RedisUnavailable => "redis-unavailable",
        }
    }

    /// The standard's reason for going forward (RFC 9211 §2.2); `None` for a hit.
    pub const fn fwd(self) -> Option<&'static str> {
        match self {
            Self::Hit => None,
            Self::Miss | Self::Changed | Self::Unstamped | Self::Epoch | Self::Corrupt => {
                Some("miss")
            }
            Self::Expired | Self::Unproven => Some("stale"),
            Self::AtLeast => Some("request"),
            Self::Uncacheable | Self::RedisUnavailable => Some("bypass"),
        }
    }
}

/// The value of `Cache-Status`: the outcome and what became of the forwarded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// What happened.
    pub outcome: Outcome,
    /// Whether the origin's answer is stored.
    pub stored: bool,
    /// Whether the request shared another one's load.
    pub collapsed: bool,
}

impl CacheStatus {
    /// A hit.
    pub const HIT: Self = Self {
        outcome: Outcome::Hit,
        stored: false,
        collapsed: false,
    };
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(fwd) = self.outcome.fwd() else {
            return write!(f, "{CACHE_NAME}; hit");
        };
        write!(f, "{CACHE_NAME}; fwd={fwd}")?;
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        if self.outcome != Outcome::Miss {
            write!(f, "; detail={}", self.outcome.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_follows_rfc_9211() {
        let status = |outcome, stored, collapsed| {
            CacheStatus {
                outcome,
                stored,
                collapsed,
            }
            .to_string()
        };
        assert_eq!(CacheStatus::HIT.to_string(), "tidemark; hit");
        assert_eq!(
            status(Outcome::Miss, true, false),
            "tidemark; fwd=miss; stored"
        );
        assert_eq!(
            status(Outcome::Changed, true, false),
            "tidemark; fwd=miss; stored; detail=changed"
        );
        assert_eq!(
            status(Outcome::Miss, false, true),
            "tidemark; fwd=miss; collapsed"
        );
        assert_eq!(
            status(Outcome::RedisUnavailable, false, false),
            "tidemark; fwd=bypass; detail=redis-unavailable"
        );
    }

    #[test]
    fn names_are_distinct_tokens() {
        let names: std::collections::BTreeSet<_> =
            Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
        assert_eq!(names.len(), Outcome::ALL.len());
        assert!(
            names
                .iter()
                .all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        );
    }
}
