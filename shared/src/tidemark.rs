//! The tidemark: the relay's word that every commit up to a moment has been applied.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, epoch::Epoch, event::EventId};

/// What is written with the stamps of each cycle.
///
/// In Redis it is JSON, so that an operator can read it:
/// `{"term":3,"epoch":"000000009f86d081","as_of":1763863200123,"event":"3.18","catalog":"ba78…"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tidemark {
    /// The leadership that wrote it, or whose event a cache manager applied.
    pub term: i64,
    /// The epoch of the Redis that holds it.
    pub epoch: Epoch,
    /// Every commit visible at this moment is reflected in the stamps; ms since the Unix epoch by
    /// the database's clock.
    pub as_of: i64,
    /// The last event applied.
    pub event: EventId,
    /// The catalog of the relay: answers made by another one's SQL prove nothing here.
    pub catalog: Digest,
    /// Where a cache manager wrote it: the epoch of the Redis that its events come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Epoch>,
}

impl Tidemark {
    /// Reads a tidemark as Redis holds it; anything else proves nothing.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// How long before `now_ms` (since the Unix epoch) everything is reflected; nothing where that is not
    /// before.
    pub fn age(&self, now_ms: i64) -> Duration {
        let age_ms = now_ms.saturating_sub(self.as_of).max(0);
        Duration::from_millis(age_ms.unsigned_abs())
    }

    /// The JSON that Redis holds.
    pub fn to_json(&self) -> String {
        // Numbers and texts, which always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let tidemark = Tidemark {
            term: 3,
            epoch: Epoch::new(0x9f86_d081),
            as_of: 1_763_863_200_123,
            event: EventId { term: 3, seq: 18 },
            catalog: Digest::of(b"abc"),
            upstream: None,
        };
        assert_eq!(
            tidemark.to_json(),
            r#"{"term":3,"epoch":"000000009f86d081","as_of":1763863200123,"event":"3.18","catalog":"ba7816bf8f01cfea414140de5dae2223"}"#
        );
        let managed = Tidemark {
            upstream: Some(Epoch::new(1)),
            ..tidemark
        };
        for tidemark in [tidemark, managed] {
            let json = tidemark.to_json();
            assert_eq!(Tidemark::parse(json.as_bytes()), Some(tidemark));
        }
        for garbage in ["", "{}", "null", r#"{"term":"x"}"#] {
            assert_eq!(Tidemark::parse(garbage.as_bytes()), None, "{garbage}");
        }
    }
}
