//! Unbroken histories: may the epoch of a Redis go on, or does a new one begin?
//!
//! Stamps and tidemark are written in one atomic step, and only over the very tidemark that the
//! writer knows. So a Redis that holds a tidemark also holds, or has evicted, every stamp that was
//! written up to its event; one that fell back to an older state holds an older tidemark. What a
//! Redis holds therefore tells what it may have lost, and these two functions read it: one for the
//! relay, which remembers in PostgreSQL what it did, and one for the cache manager, which remembers
//! nothing but what its Redis holds.

use crate::{
    digest::Digest,
    epoch::Epoch,
    event::{Event, EventId},
    tidemark::Tidemark,
};

/// What an epoch rests on: where any of this is another one, what was stored before proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ground {
    /// Which life of which Redis: its `run_id` and its replication id.
    pub redis: String,
    /// Which history of which database: another one after a restore or a failover.
    pub database: String,
    /// Which catalog: answers of other SQL are other answers.
    pub catalog: Digest,
}

/// What the relay has recorded of a Redis when it began the current epoch there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// What the epoch rests on.
    pub ground: Ground,
    /// The epoch.
    pub epoch: Epoch,
}

/// The epoch in which the relay goes on with a Redis to which it has just connected; `None` where
/// it has to begin a new one.
///
/// `found` is what is there now, `held` the tidemark that the Redis holds, and `last_change` the last
/// event whose rows have left the outbox: an older tidemark has not seen what they said.
pub fn continued(
    recorded: Option<&Record>,
    found: &Ground,
    held: Option<&Tidemark>,
    last_change: EventId,
) -> Option<Epoch> {
    let (recorded, held) = (recorded?, held?);
    let unbroken = recorded.ground == *found
        && held.epoch == recorded.epoch
        && held.catalog == found.catalog
        && held.event >= last_change;
    unbroken.then_some(recorded.epoch)
}

/// Whether a Redis belongs to a later leadership, so that a relay of this term must not write to it.
pub fn is_fenced(held: Option<&Tidemark>, term: i64) -> bool {
    held.is_some_and(|held| held.term > term)
}

/// What an event is to a cache manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Succession {
    /// Nothing was missed: apply it, the epoch goes on.
    Next,
    /// It has been applied already: ignore it.
    Known,
    /// Something may have been missed: begin a new epoch and apply it there.
    Broken,
}

/// What an event is to a Redis that holds this tidemark.
///
/// It is the next one if everything that changed before it has been applied, and if its relay has
/// had no doubt since: a new epoch there is a new one here.
pub fn succession(held: Option<&Tidemark>, event: &Event) -> Succession {
    let Some(held) = held else {
        return Succession::Broken;
    };
    if held.upstream != Some(event.epoch) || held.catalog != event.catalog {
        Succession::Broken
    } else if event.id <= held.event {
        Succession::Known
    } else if event.prev <= held.event {
        Succession::Next
    } else {
        Succession::Broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(term: i64, seq: u64) -> EventId {
        EventId { term, seq }
    }

    fn tidemark(event: EventId) -> Tidemark {
        Tidemark {
            term: event.term,
            epoch: Epoch::new(1),
            as_of: 1,
            event,
            catalog: Digest::of(b"catalog"),
            upstream: Some(Epoch::new(9)),
        }
    }

    fn ground() -> Ground {
        Ground {
            redis: "run repl".into(),
            database: "7 1".into(),
            catalog: Digest::of(b"catalog"),
        }
    }

    fn record() -> Record {
        Record {
            ground: ground(),
            epoch: Epoch::new(1),
        }
    }

    #[test]
    fn i4_an_epoch_goes_on_where_nothing_is_lost() {
        let held = tidemark(id(2, 7));
        for last_change in [id(1, 99), id(2, 7)] {
            assert_eq!(
                continued(Some(&record()), &ground(), Some(&held), last_change),
                Some(Epoch::new(1))
            );
        }
    }

    #[test]
    fn i4_every_doubt_begins_a_new_epoch() {
        let held = tidemark(id(2, 7));
        let goes_on = |record: Option<&Record>, found: &Ground, held: Option<&Tidemark>| {
            continued(record, found, held, id(2, 7)).is_some()
        };
        assert!(goes_on(Some(&record()), &ground(), Some(&held)));
        assert!(!goes_on(None, &ground(), Some(&held)));
        assert!(!goes_on(Some(&record()), &ground(), None));
        for found in [
            Ground {
                redis: "another".into(),
                ..ground()
            },
            Ground {
                database: "restored".into(),
                ..ground()
            },
            Ground {
                catalog: Digest::of(b"another"),
                ..ground()
            },
        ] {
            assert!(!goes_on(Some(&record()), &found, Some(&held)), "{found:?}");
        }
        let fell_back = tidemark(id(2, 6));
        assert!(!goes_on(Some(&record()), &ground(), Some(&fell_back)));
        let other_epoch = Tidemark {
            epoch: Epoch::new(2),
            ..held
        };
        assert!(!goes_on(Some(&record()), &ground(), Some(&other_epoch)));
    }

    #[test]
    fn i4_a_later_term_fences() {
        assert!(is_fenced(Some(&tidemark(id(3, 1))), 2));
        assert!(!is_fenced(Some(&tidemark(id(2, 9))), 2));
        assert!(!is_fenced(None, 2));
    }

    fn event(number: EventId, prev: EventId) -> Event {
        Event {
            id: number,
            prev,
            epoch: Epoch::new(9),
            as_of: 2,
            catalog: Digest::of(b"catalog"),
            scopes: Vec::new(),
        }
    }

    #[test]
    fn i4_a_gap_between_events_is_noticed_and_a_lost_heartbeat_is_none() {
        let held = tidemark(id(2, 7));
        for (event, expected) in [
            (event(id(2, 8), id(2, 7)), Succession::Next),
            // 8 and 9 were heartbeats.
            (event(id(2, 10), id(2, 5)), Succession::Next),
            // Another leader, who found event 7 settled.
            (event(id(3, 1), id(2, 7)), Succession::Next),
            // 8 had scopes.
            (event(id(2, 9), id(2, 8)), Succession::Broken),
            (event(id(2, 7), id(2, 6)), Succession::Known),
            (event(id(1, 99), id(1, 98)), Succession::Known),
        ] {
            assert_eq!(succession(Some(&held), &event), expected, "{event:?}");
        }
        assert_eq!(
            succession(None, &event(id(2, 8), id(2, 7))),
            Succession::Broken
        );
    }

    #[test]
    fn i4_doubt_of_the_relay_is_doubt_of_the_manager() {
        let held = tidemark(id(2, 7));
        let next = event(id(2, 8), id(2, 7));
        let renewed = Event {
            epoch: Epoch::new(10),
            ..next.clone()
        };
        let redeployed = Event {
            catalog: Digest::of(b"another"),
            ..next
        };
        for event in [renewed, redeployed] {
            assert_eq!(succession(Some(&held), &event), Succession::Broken);
        }
    }
}
