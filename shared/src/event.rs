//! Events: what the relay publishes after each cycle.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{digest::Digest, epoch::Epoch, scope::Scope};

/// The number of an event: the term of the relay that made it, and its place in that term.
///
/// Written as `term.seq`, and ordered by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// Number of the relay's leadership, from a PostgreSQL sequence.
    pub term: i64,
    /// Counts up from 1 within the term; 0 before the term's first event.
    pub seq: u64,
}

impl EventId {
    /// The event after this one in the same term.
    pub const fn next(self) -> Self {
        Self {
            term: self.term,
            seq: self.seq + 1,
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.seq)
    }
}

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let (term, seq) = text.split_once('.').ok_or(InvalidEventId)?;
        Ok(Self {
            term: term.parse().map_err(|_| InvalidEventId)?,
            seq: seq.parse().map_err(|_| InvalidEventId)?,
        })
    }
}

impl Event {
    /// The most scopes in one event: what is applied in one atomic step has to be short.
    pub const MAX_SCOPES: usize = 1_000;
}

/// The text is no `term.seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event's id is written term.seq")]
pub struct InvalidEventId;

/// One cycle of the relay: what changed, and up to when this is everything.
///
/// An event without scopes is a heartbeat: it moves `as_of` on. To lose one loses nothing, so `prev`
/// passes over heartbeats: it names the last event that had scopes. Whoever has applied that one, or
/// a later one, has applied everything before this event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// This event.
    pub id: EventId,
    /// The last event before it that had scopes, whoever's term that was in.
    pub prev: EventId,
    /// The epoch of the Redis in which it is published.
    pub epoch: Epoch,
    /// Every commit visible at this moment is in this event or an earlier one; ms since the Unix
    /// epoch by the database's clock.
    pub as_of: i64,
    /// The catalog of the relay.
    pub catalog: Digest,
    /// How long the stamps of this event live, in ms: the catalog's, so that a cache manager needs
    /// none of its own.
    pub stamp_ttl_ms: u64,
    /// The scopes that changed since `prev`.
    #[serde(with = "scope_texts")]
    pub scopes: Vec<Scope>,
}

/// Scopes travel as the texts that keys and logs show.
mod scope_texts {
    use super::*;

    pub(super) fn serialize<S: Serializer>(scopes: &[Scope], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(scopes.iter().map(Scope::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Scope>, D::Error> {
        Vec::<String>::deserialize(from)?
            .iter()
            .map(|text| {
                Scope::parse(text)
                    .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(text), &"a scope"))
            })
            .collect()
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_the_design_writes_it() {
        let event = Event {
            id: EventId { term: 3, seq: 18 },
            prev: EventId { term: 3, seq: 17 },
            epoch: Epoch::new(0x9f86_d081),
            as_of: 1_763_863_200_123,
            catalog: Digest::of(b"abc"),
            stamp_ttl_ms: 600_000,
            scopes: vec![Scope::member("org", "42"), Scope::Table("products".into())],
        };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(
            json,
            r#"{"id":"3.18","prev":"3.17","epoch":"000000009f86d081","as_of":1763863200123,"catalog":"ba7816bf8f01cfea414140de5dae2223","stamp_ttl_ms":600000,"scopes":["org:42","products"]}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }

    #[test]
    fn ids_are_ordered_by_term_first() {
        let last_of_old: EventId = "2.900".parse().unwrap();
        let first_of_new: EventId = "3.1".parse().unwrap();
        assert!(last_of_old < first_of_new);
        assert_eq!("3".parse::<EventId>(), Err(InvalidEventId));
    }
}
