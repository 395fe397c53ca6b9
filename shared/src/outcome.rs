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
    /// Served from the instance's own cache, proven fresh a moment ago.
    L1,
    /// Served from the cache while it is loaded anew: not fresh, but within the promise.
    Revalidate,
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
    /// The origin failed; a cached answer is given that is not fresh.
    StaleIfError,
}

impl Outcome {
    /// Every outcome, for documentation and metrics.
    pub const ALL: [Self; 14] = [
        Self::Hit,
        Self::L1,
        Self::Revalidate,
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
        Self::StaleIfError,
    ];

    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::L1 => "l1",
            Self::Revalidate => "revalidate",
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
            Self::StaleIfError => "stale-if-error",
        }
    }

    /// The standard's reason for going forward (RFC 9211 §2.2); `None` where the cache answered
    /// by itself.
    pub const fn fwd(self) -> Option<&'static str> {
        match self {
            Self::Hit | Self::L1 | Self::Revalidate => None,
            Self::Miss | Self::Changed | Self::Unstamped | Self::Epoch | Self::Corrupt => {
                Some("miss")
            }
            Self::Expired | Self::Unproven | Self::StaleIfError => Some("stale"),
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
    /// The origin's own status (RFC 9211 §2.3), where it is not that of the answer.
    pub fwd_status: Option<u16>,
    /// Whether the origin's answer is stored.
    pub stored: bool,
    /// Whether the request shared another one's load.
    pub collapsed: bool,
}

impl CacheStatus {
    /// Of an outcome, where nothing else happened.
    pub const fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            fwd_status: None,
            stored: false,
            collapsed: false,
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome.fwd() {
            None => write!(f, "{CACHE_NAME}; hit")?,
            Some(fwd) => write!(f, "{CACHE_NAME}; fwd={fwd}")?,
        }
        if let Some(status) = self.fwd_status {
            write!(f, "; fwd-status={status}")?;
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        if !matches!(self.outcome, Outcome::Hit | Outcome::Miss) {
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
                stored,
                collapsed,
                ..CacheStatus::of(outcome)
            }
            .to_string()
        };
        let renewed = CacheStatus {
            fwd_status: Some(304),
            stored: true,
            ..CacheStatus::of(Outcome::Expired)
        };
        assert_eq!(
            renewed.to_string(),
            "tidemark; fwd=stale; fwd-status=304; stored; detail=expired"
        );
        let stand_in = CacheStatus {
            fwd_status: Some(503),
            ..CacheStatus::of(Outcome::StaleIfError)
        };
        assert_eq!(
            stand_in.to_string(),
            "tidemark; fwd=stale; fwd-status=503; detail=stale-if-error"
        );
        assert_eq!(status(Outcome::Hit, false, false), "tidemark; hit");
        assert_eq!(
            status(Outcome::Revalidate, false, false),
            "tidemark; hit; detail=revalidate"
        );
        assert_eq!(
            status(Outcome::L1, false, false),
            "tidemark; hit; detail=l1"
        );
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
        assert!(names.iter().all(|name| {
            name.starts_with(|c: char| c.is_ascii_lowercase())
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        }));
    }
}
