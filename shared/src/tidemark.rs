//! The tidemark: the relay's word that every commit up to a moment has been applied.

use serde::{Deserialize, Serialize};

use crate::{epoch::Epoch, event::EventId};

/// What the relay writes last in each cycle.
///
/// In Redis it is JSON, so that an operator can read it and a script can compare the term:
/// `{"term":3,"epoch":"000000009f86d081","as_of":1763863200123,"event":"3.18"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tidemark {
    /// The leadership that wrote it; a tidemark is never replaced by one of a lower term.
    pub term: i64,
    /// The epoch of the Redis that holds it.
    pub epoch: Epoch,
    /// Every commit visible at this moment is reflected in the stamps; ms since the Unix epoch by
    /// the database's clock.
    pub as_of: i64,
    /// The last event applied.
    pub event: EventId,
}

impl Tidemark {
    /// Reads a tidemark as Redis holds it; anything else proves nothing.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The JSON that Redis holds.
    pub fn to_json(&self) -> String {
        format!(
            r#"{{"term":{},"epoch":"{}","as_of":{},"event":"{}"}}"#,
            self.term, self.epoch, self.as_of, self.event
        )
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
        };
        assert_eq!(
            tidemark.to_json(),
            serde_json::to_string(&tidemark).unwrap()
        );
        assert_eq!(
            Tidemark::parse(tidemark.to_json().as_bytes()),
            Some(tidemark)
        );
        for garbage in ["", "{}", "null", r#"{"term":"x"}"#] {
            assert_eq!(Tidemark::parse(garbage.as_bytes()), None, "{garbage}");
        }
    }
}
