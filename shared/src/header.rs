//! The names of the HTTP fields that Tidemark itself defines or relies on, in lower case.

/// When the answer was last proven true, in ms since the Unix epoch by the database's clock.
pub const AS_OF: &str = "tidemark-as-of";

/// In a request: no answer proven true only before this moment will do. In a command's answer:
/// what to send with a read that must see the write. In ms since the Unix epoch by the database's
/// clock.
pub const AT_LEAST: &str = "tidemark-at-least";

/// In a command's answer: `applied` once the next read through this region's Redis sees the write,
/// `pending` while that is not known.
pub const INVALIDATION: &str = "tidemark-invalidation";

/// In an answer of the origin: the digest of the catalog whose SQL made it.
pub const CATALOG: &str = "tidemark-catalog";

/// What the cache did with the request (RFC 9211).
pub const CACHE_STATUS: &str = "cache-status";

/// The scopes that an answer depends on (RFC 9875).
pub const CACHE_GROUPS: &str = "cache-groups";

/// `Cache-Control` of every answer of a query that may be cached: a private cache may keep it but
/// has to ask again each time, since only Tidemark can prove how fresh it is.
pub const CACHE_CONTROL_REVALIDATE: &str = "no-cache";

/// `Cache-Control` of answers that nobody may keep.
pub const CACHE_CONTROL_NO_STORE: &str = "no-store";

/// Reads `Tidemark-At-Least`: ms since the Unix epoch; `None` where it is no such number.
pub fn parse_at_least(value: &str) -> Option<i64> {
    value.trim().parse().ok().filter(|ms| *ms >= 0)
}
