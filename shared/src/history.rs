//! Unbroken histories: may the epoch of a Redis go on, or does a new one begin?
//!
//! Stamps and tidemark are written in one atomic step, and only over the very tidemark that the
//! writer knows. So a Redis that holds a tidemark also holds, or has evicted, every stamp that was
//! written up to its event; one that fell back to an older state holds an older tidemark. What a
//! Redis holds therefore tells what it may have lost, and these two functions read it: one for the
//! relay, which remembers in PostgreSQL what it did, and one for the cache manager, which remembers
//! nothing but what its Redis holds.

use std::collections::BTreeSet;

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

/// Why a new epoch begins in a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// Nothing is known of it.
    First,
    /// It has restarted, or another server has taken its place.
    Redis,
    /// The database was restored, copied or failed over.
    Database,
    /// The catalog is another one.
    Catalog,
    /// It holds no legible tidemark: evicted, flushed or empty.
    NoTidemark,
    /// It holds a tidemark that was not written in the recorded epoch; a manager's: in another one of the
    /// Redis whose events it hears.
    OtherEpoch,
    /// It has missed changes, or has fallen back to a state before them.
    Behind,
    /// It holds the tidemark of an event that was not made from this database.
    Foreign,
}

impl Doubt {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::First,
        Self::Redis,
        Self::Database,
        Self::Catalog,
        Self::NoTidemark,
        Self::OtherEpoch,
        Self::Behind,
        Self::Foreign,
    ];

    /// Its stable name, for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Redis => "redis",
            Self::Database => "database",
            Self::Catalog => "catalog",
            Self::NoTidemark => "no-tidemark",
            Self::OtherEpoch => "other-epoch",
            Self::Behind => "behind",
            Self::Foreign => "foreign",
        }
    }
}

/// The epoch in which a relay goes on with a Redis to which it has just connected. It holds the
/// leadership, and has not yet made the event `next`.
///
/// `found` is what is there now, `held` the tidemark that the Redis holds, and `last_change` the last
/// event whose rows have left the outbox: an older tidemark has not seen what they said.
///
/// While it leads, no later event can have been made from its database. So a held tidemark that names
/// one is of another history: the database was restored, or two databases share this Redis.
///
/// # Errors
/// Why a new epoch has to begin.
pub fn resumed(
    recorded: Option<&Record>,
    found: &Ground,
    held: Option<&Tidemark>,
    last_change: EventId,
    next: EventId,
) -> Result<Epoch, Doubt> {
    let later = held.is_some_and(|held| held.event >= next);
    if later || is_fenced(held, next.term) {
        return Err(Doubt::Foreign);
    }
    let recorded = recorded.ok_or(Doubt::First)?;
    if recorded.ground.redis != found.redis {
        return Err(Doubt::Redis);
    }
    if recorded.ground.database != found.database {
        return Err(Doubt::Database);
    }
    if recorded.ground.catalog != found.catalog {
        return Err(Doubt::Catalog);
    }
    let held = held.ok_or(Doubt::NoTidemark)?;
    if held.epoch != recorded.epoch || held.catalog != found.catalog {
        return Err(Doubt::OtherEpoch);
    }
    if held.event < last_change {
        return Err(Doubt::Behind);
    }
    Ok(recorded.epoch)
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
    /// Something may have been missed, for this reason: begin a new epoch and apply it there.
    Broken(Doubt),
}

/// What an event is to a Redis that holds this tidemark.
///
/// It is the next one if everything that changed before it has been applied, and if its relay has
/// had no doubt since: a new epoch there is a new one here.
pub fn succession(held: Option<&Tidemark>, event: &Event) -> Succession {
    let Some(held) = held else {
        return Succession::Broken(Doubt::NoTidemark);
    };
    if held.catalog != event.catalog {
        Succession::Broken(Doubt::Catalog)
    } else if held.upstream != Some(event.epoch) {
        Succession::Broken(Doubt::OtherEpoch)
    } else if event.id <= held.event {
        Succession::Known
    } else if event.prev <= held.event {
        Succession::Next
    } else {
        Succession::Broken(Doubt::Behind)
    }
}

/// Two events as one that does what both do, for a cache manager that has fallen behind: to apply it
/// is to apply the earlier and then the later one. `None` where something may be missing between them,
/// where they are not of one epoch and catalog, or where it would be too much for one event.
pub fn merged(earlier: &Event, later: &Event) -> Option<Event> {
    let follows = later.epoch == earlier.epoch
        && later.catalog == earlier.catalog
        && later.id > earlier.id
        && later.prev <= earlier.id;
    let scopes: BTreeSet<_> = earlier.scopes.iter().chain(&later.scopes).collect();
    (follows && scopes.len() <= Event::MAX_SCOPES).then(|| Event {
        prev: earlier.prev,
        scopes: scopes.into_iter().cloned().collect(),
        ..later.clone()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scope::Scope;

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
                resumed(
                    Some(&record()),
                    &ground(),
                    Some(&held),
                    last_change,
                    id(2, 8)
                ),
                Ok(Epoch::new(1))
            );
        }
    }

    #[test]
    fn i4_an_event_of_the_future_is_foreign_whatever_else_fits() {
        let held = tidemark(id(3, 1));
        let resumed = |next| resumed(Some(&record()), &ground(), Some(&held), id(2, 7), next);
        assert_eq!(resumed(id(4, 1)), Ok(Epoch::new(1)));
        assert_eq!(resumed(id(3, 2)), Ok(Epoch::new(1)));
        assert_eq!(resumed(id(3, 1)), Err(Doubt::Foreign));
        assert_eq!(resumed(id(2, 99)), Err(Doubt::Foreign));
    }

    #[test]
    fn i4_every_doubt_begins_a_new_epoch_and_says_what_it_is() {
        let held = tidemark(id(2, 7));
        let doubt = |record: Option<&Record>, found: &Ground, held: Option<&Tidemark>, last| {
            resumed(record, found, held, last, id(2, 9)).unwrap_err()
        };
        let known = record();
        let known = Some(&known);
        let now = ground();
        let last = id(2, 7);
        assert_eq!(doubt(None, &now, Some(&held), last), Doubt::First);
        assert_eq!(doubt(known, &now, None, last), Doubt::NoTidemark);
        assert_eq!(doubt(known, &now, Some(&held), id(2, 8)), Doubt::Behind);
        let restarted = Ground {
            redis: "another".into(),
            ..ground()
        };
        assert_eq!(doubt(known, &restarted, Some(&held), last), Doubt::Redis);
        let restored = Ground {
            database: "another".into(),
            ..ground()
        };
        assert_eq!(doubt(known, &restored, Some(&held), last), Doubt::Database);
        let redeployed = Ground {
            catalog: Digest::of(b"another"),
            ..ground()
        };
        assert_eq!(doubt(known, &redeployed, Some(&held), last), Doubt::Catalog);
        let other = Tidemark {
            epoch: Epoch::new(2),
            ..held
        };
        assert_eq!(doubt(known, &now, Some(&other), last), Doubt::OtherEpoch);
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
            stamp_ttl_ms: 1,
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
            (event(id(2, 9), id(2, 8)), Succession::Broken(Doubt::Behind)),
            (event(id(2, 7), id(2, 6)), Succession::Known),
            (event(id(1, 99), id(1, 98)), Succession::Known),
        ] {
            assert_eq!(succession(Some(&held), &event), expected, "{event:?}");
        }
        assert_eq!(
            succession(None, &event(id(2, 8), id(2, 7))),
            Succession::Broken(Doubt::NoTidemark)
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
        for (event, doubt) in [(renewed, Doubt::OtherEpoch), (redeployed, Doubt::Catalog)] {
            let broken = Succession::Broken(doubt);
            assert_eq!(succession(Some(&held), &event), broken);
        }
    }

    /// What a Redis has applied after these events.
    fn applied(mut held: Tidemark, events: &[Event]) -> (Tidemark, Vec<Scope>, bool) {
        let (mut scopes, mut broken) = (Vec::new(), false);
        for event in events {
            match succession(Some(&held), event) {
                Succession::Known => continue,
                Succession::Broken(_) => broken = true,
                Succession::Next => {}
            }
            scopes.extend(event.scopes.iter().cloned());
            held.event = event.id;
            held.as_of = event.as_of;
        }
        scopes.sort();
        scopes.dedup();
        (held, scopes, broken)
    }

    proptest! {
        /// Events of a relay that settles some of its changes late (it says them again), of which
        /// the channel loses and repeats some.
        #[test]
        fn i4_merged_events_do_what_each_would(
            kinds in prop::collection::vec((0..3_u8, any::<bool>(), any::<bool>()), 2..12),
            held_at in 0..6_u64,
        ) {
            let mut last = id(2, 0);
            let mut arrived = Vec::new();
            for (seq, (kind, settled, lost)) in (1..).zip(kinds) {
                let scopes = match kind {
                    0 => Vec::new(),
                    1 => vec![Scope::Table("a".into())],
                    _ => vec![Scope::Table("b".into()), Scope::member("org", &seq.to_string())],
                };
                let change = !scopes.is_empty();
                let event = Event { scopes, as_of: seq as i64, ..event(id(2, seq), last) };
                if change && settled {
                    last = event.id;
                }
                if !lost {
                    arrived.push(event);
                }
            }
            let mut folded: Vec<Event> = Vec::new();
            for event in &arrived {
                match folded.last().and_then(|earlier| merged(earlier, event)) {
                    Some(both) => *folded.last_mut().unwrap() = both,
                    None => folded.push(event.clone()),
                }
            }
            let held = tidemark(id(2, held_at));
            let (one_by_one, scopes, broken) = applied(held, &arrived);
            let (at_once, more_scopes, also_broken) = applied(held, &folded);
            prop_assert_eq!(one_by_one, at_once);
            prop_assert_eq!(broken, also_broken);
            // Never less; what was applied already may be invalidated again.
            prop_assert!(scopes.iter().all(|scope| more_scopes.contains(scope)));
        }
    }

    #[test]
    fn events_of_different_histories_are_not_merged() {
        let first = event(id(2, 8), id(2, 7));
        let second = event(id(2, 9), id(2, 8));
        assert!(merged(&first, &second).is_some());
        assert_eq!(merged(&second, &first), None);
        assert_eq!(merged(&first, &event(id(2, 10), id(2, 9))), None);
        let renewed = Event {
            epoch: Epoch::new(10),
            ..second.clone()
        };
        let redeployed = Event {
            catalog: Digest::of(b"another"),
            ..second.clone()
        };
        let many = |from: usize| {
            let tables = (from..from + 501).map(|n| Scope::Table(n.to_string()));
            tables.collect::<Vec<_>>()
        };
        for later in [renewed, redeployed] {
            assert_eq!(merged(&first, &later), None);
        }
        let (mut first, mut second) = (first, second);
        first.scopes = many(0);
        second.scopes = many(400);
        assert!(merged(&first, &second).is_some());
        second.scopes = many(501);
        assert_eq!(merged(&first, &second), None);
    }
}
