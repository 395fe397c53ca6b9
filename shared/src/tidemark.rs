//! The tidemark: the relay's word that every commit up to a moment has been applied.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::event::EventId;

/// Names one unbroken history of a Redis: what was stored in another epoch proves nothing.
///
/// 64 random bits, shown as 16 hexadecimal digits; compared only for equality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch with this token, which must come from a secure random source.
    pub const fn new(token: u64) -> Self {
        Self(token)
    }

    /// The token.
    pub const fn token(self) -> u64 {
        self.0
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16)
            .then(|| u64::from_str_radix(text, 16).ok().map(Self))
            .flatten()
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &"an epoch"))
    }
}

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
