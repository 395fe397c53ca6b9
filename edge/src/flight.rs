//! Which requests of this instance share a load: at most one running and one waiting for each key.
//!
//! Who may share which is [`tidemark_shared::flight::join`]'s decision; here is only the account.
//! Whoever begins a load gets a [`Flight`] and owes it an end: either [`Flight::land`] with the
//! result, which everybody aboard receives and which hands over the load that waits, or its drop,
//! which tells everybody aboard that there will be none. Nothing is kept of a key without a load.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use tidemark_shared::{
    digest::Digest,
    fill::Permit,
    flight::{Claim, Join, join},
    key::Key,
    stamp::Witness,
};

use crate::handover::{Giver, Taker, handover};

/// The loads of one instance.
pub(crate) struct Flights<T>(Rc<RefCell<BTreeMap<Key, Loads<T>>>>);

/// The loads of one key. The running one has begun; the waiting one begins when that has ended.
struct Loads<T> {
    running: Load<T>,
    waiting: Option<Load<T>>,
}

struct Load<T> {
    /// What was observed before it begins by those who share it, the latest; nothing where nobody
    /// is covered by it. Then the origin may answer from its memory, and nobody may join later.
    observed: Option<Observed>,
    /// The latest moment that anybody demands, in ms since the Unix epoch.
    at_least_ms: Option<i64>,
    /// What its answer will be stored by: of those who share it, the latest.
    permit: Option<Permit>,
    aboard: Vec<Giver<T>>,
}

/// What a load begins under.
#[derive(Clone, Copy)]
struct Observed {
    witness: Witness,
    digest: Digest,
}

/// What the origin has to know of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// What was observed and will be stored under; without it, what the origin remembers will do.
    pub(crate) witness: Option<Digest>,
    /// No earlier state will do; in ms since the Unix epoch by the database's clock.
    pub(crate) at_least_ms: Option<i64>,
}

/// A request that wants aboard.
pub(crate) struct Passenger {
    pub(crate) claim: Claim,
    /// Granted *before* the origin is asked: there is no load to run for whoever has not brought here
    /// what was observed for it.
    pub(crate) permit: Option<Permit>,
    /// The request's `Tidemark-At-Least`, in ms since the Unix epoch.
    pub(crate) at_least_ms: Option<i64>,
}

/// A request's place aboard a load.
pub(crate) struct Seat<T> {
    /// The load's result; nothing if the load was given up.
    pub(crate) result: Taker<T>,
    /// Whether another request is the cause of the load.
    pub(crate) shared: bool,
    /// The load itself, where it begins with this request, who has to run it.
    pub(crate) flight: Option<Flight<T>>,
}

/// A running load.
pub(crate) struct Flight<T> {
    flights: Flights<T>,
    /// `None` once it has landed.
    key: Option<Key>,
}

/// What remains to be done after a load.
pub(crate) struct Landed<T> {
    /// The right to store its answer.
    pub(crate) permit: Option<Permit>,
    /// The load that has waited for this one and begins now.
    pub(crate) next: Option<Flight<T>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<T> Clone for Flights<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Flights<T> {
    /// Finds the load that serves a request, or begins it.
    pub(crate) fn board(&self, key: &Key, passenger: Passenger) -> Seat<T> {
        let (giver, result) = handover();
        let seat = |shared, flight| Seat {
            result,
            shared,
            flight,
        };
        let mut flights = self.0.borrow_mut();
        let running = flights.get(key).map(|loads| loads.running.witness());
        match (join(passenger.claim, running), flights.get_mut(key)) {
            (Join::Running, Some(loads)) => {
                loads.running.aboard.push(giver);
                seat(true, None)
            }
            (Join::Next, Some(loads)) => match &mut loads.waiting {
                Some(waiting) => {
                    waiting.admit(passenger, giver);
                    seat(true, None)
                }
                none => {
                    *none = Some(Load::new(passenger, giver));
                    seat(false, None)
                }
            },
            (Join::Begin, _) | (_, None) => {
                drop(flights);
                let flight = self.begin(key.clone(), Load::new(passenger, giver));
                seat(false, Some(flight))
            }
        }
    }

    fn begin(&self, key: Key, running: Load<T>) -> Flight<T> {
        let loads = Loads {
            running,
            waiting: None,
        };
        self.0.borrow_mut().insert(key.clone(), loads);
        Flight {
            flights: self.clone(),
            key: Some(key),
        }
    }
}

impl<T> Load<T> {
    fn new(first: Passenger, giver: Giver<T>) -> Self {
        let mut load = Self {
            observed: None,
            at_least_ms: None,
            permit: None,
            aboard: Vec::with_capacity(1),
        };
        load.admit(first, giver);
        load
    }

    /// Lets another request aboard, before the load begins. Every permit granted by then is good
    /// for its answer; the latest is the likeliest to be of stamps that are still the current ones.
    fn admit(&mut self, passenger: Passenger, giver: Giver<T>) {
        self.observed = passenger.observed().or(self.observed);
        self.at_least_ms = passenger.at_least_ms.max(self.at_least_ms);
        self.permit = passenger.permit.or(self.permit.take());
        self.aboard.push(giver);
    }

    fn witness(&self) -> Option<Witness> {
        self.observed.map(|observed| observed.witness)
    }
}

impl Passenger {
    fn observed(&self) -> Option<Observed> {
        let permit = self.permit.as_ref().filter(|_| self.claim.covered)?;
        Some(Observed {
            witness: self.claim.witness?,
            digest: permit.digest(),
        })
    }
}

impl<T: Clone> Flight<T> {
    /// Ends the load: gives everybody aboard its result.
    pub(crate) fn land(mut self, result: T) -> Landed<T> {
        let Some((key, loads)) = self.take() else {
            return Landed {
                permit: None,
                next: None,
            };
        };
        let next = loads
            .waiting
            .map(|waiting| self.flights.begin(key, waiting));
        for giver in loads.running.aboard {
            giver.give(result.clone());
        }
        Landed {
            permit: loads.running.permit,
            next,
        }
    }
}

impl<T> Flight<T> {
    /// What the origin has to know, now that the load begins and nobody else comes aboard before it.
    pub(crate) fn terms(&self) -> Terms {
        let flights = self.flights.0.borrow();
        let running = self.key.as_ref().and_then(|key| flights.get(key));
        running.map_or_else(Terms::default, |loads| Terms {
            witness: loads.running.observed.map(|observed| observed.digest),
            at_least_ms: loads.running.at_least_ms,
        })
    }

    fn take(&mut self) -> Option<(Key, Loads<T>)> {
        let key = self.key.take()?;
        let loads = self.flights.0.borrow_mut().remove(&key)?;
        Some((key, loads))
    }
}

impl<T> Drop for Flight<T> {
    /// A load that was given up: both of the key's loads are forgotten, and whoever is aboard
    /// hears of it, because the givers go as well.
    fn drop(&mut self) {
        drop(self.take());
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tidemark_shared::{
        catalog::Catalog, digest::Digest, epoch::Epoch, event::EventId, freshness::Observation,
        param::Params, scope::Scope, stamp::Stamp, tidemark::Tidemark,
    };

    use super::*;

    fn key() -> Key {
        let catalog = "[query.all]\npath = \"/\"\nsql = \"all.sql\"\nreads = [\"orders\"]";
        let catalog = Catalog::parse("t.toml", catalog).unwrap();
        let query = &catalog.queries["all"];
        Key::of(query, &Params::from_target(&query.params, &[], "").unwrap())
    }

    /// What a request knows that saw this token as its scope's stamp.
    fn saw(token: u128) -> (Claim, Option<Permit>) {
        let scopes = [Scope::Table("orders".into())];
        let observed = Observation {
            tidemark: Some(Tidemark {
                term: 1,
                epoch: Epoch::new(1),
                as_of: 1,
                event: EventId::default(),
                catalog: Digest::of(b"catalog"),
                upstream: None,
            }),
            stamps: vec![Some(Stamp::new(1, token))],
        };
        let claim = Claim {
            witness: observed.witness(&scopes),
            covered: true,
        };
        (claim, observed.permit(&key(), &scopes))
    }

    fn saw_nothing() -> (Claim, Option<Permit>) {
        let claim = Claim {
            witness: None,
            covered: false,
        };
        (claim, None)
    }

    fn board(flights: &Flights<u8>, (claim, permit): (Claim, Option<Permit>)) -> Seat<u8> {
        flights.board(&key(), passenger(claim, permit))
    }

    fn passenger(claim: Claim, permit: Option<Permit>) -> Passenger {
        Passenger {
            claim,
            permit,
            at_least_ms: None,
        }
    }

    fn received(seat: Seat<u8>) -> Option<u8> {
        let taken = seat.result.take().now_or_never();
        taken.expect("the load has ended")
    }

    #[test]
    fn the_same_stamps_share_the_running_load() {
        let flights = Flights::default();
        let mut first = board(&flights, saw(1));
        let second = board(&flights, saw(1));
        assert!(!first.shared && second.shared && second.flight.is_none());

        let landed = first.flight.take().unwrap().land(7);
        assert_eq!(landed.permit, saw(1).1);
        assert!(landed.next.is_none());
        assert_eq!(received(first), Some(7));
        assert_eq!(received(second), Some(7));
        assert!(flights.0.borrow().is_empty());
    }

    #[test]
    fn i1_other_stamps_share_the_next_load_under_the_latest_permit() {
        let flights = Flights::default();
        let mut old = board(&flights, saw(1));
        let first = board(&flights, saw(2));
        let latest = board(&flights, saw(3));
        let blind = board(&flights, saw_nothing());
        assert!(!first.shared && latest.shared && blind.shared);
        assert!(first.flight.is_none() && latest.flight.is_none() && blind.flight.is_none());

        let landed = old.flight.take().unwrap().land(1);
        assert_eq!(landed.permit, saw(1).1);
        assert_eq!(received(old), Some(1));

        let late = board(&flights, saw(3));
        assert!(late.shared, "the running load began under these stamps");
        let landed = landed.next.unwrap().land(2);
        assert_eq!(landed.permit, saw(3).1);
        assert!(landed.next.is_none());
        for seat in [first, latest, blind, late] {
            assert_eq!(received(seat), Some(2));
        }
        assert!(flights.0.borrow().is_empty());
    }

    #[test]
    fn without_stamps_only_a_load_that_has_not_begun_is_shared() {
        let flights = Flights::default();
        let first = board(&flights, saw_nothing());
        let second = board(&flights, saw_nothing());
        let third = board(&flights, saw_nothing());
        assert!(first.flight.is_some());
        assert!(!second.shared && third.shared);
    }

    #[test]
    fn i3_the_origin_is_told_what_anybody_aboard_insists_on() {
        let flights = Flights::<u8>::default();
        let demanding = |at_least_ms, (claim, permit)| Passenger {
            at_least_ms,
            ..passenger(claim, permit)
        };
        let first = flights.board(&key(), demanding(Some(3), saw_nothing()));
        for at_least_ms in [Some(7), None, Some(5)] {
            flights.board(&key(), demanding(at_least_ms, saw_nothing()));
        }
        let begun = first.flight.unwrap();
        assert_eq!(begun.terms().at_least_ms, Some(3));
        let next = begun.land(1).next.unwrap();
        let blind = Terms {
            witness: None,
            at_least_ms: Some(7),
        };
        assert_eq!(next.terms(), blind);

        let storing = flights.board(&key(), demanding(None, saw(1)));
        assert!(!storing.shared, "what is remembered would be stored");
        let last = next.land(2).next.unwrap();
        let digest = saw(1).1.unwrap().digest();
        assert_eq!(last.terms().witness, Some(digest));
    }

    #[test]
    fn i3_a_load_that_the_origin_may_remember_is_not_joined_once_it_runs() {
        let flights = Flights::default();
        let (claim, permit) = saw(1);
        let uncovered = Claim {
            covered: false,
            ..claim
        };
        let first = board(&flights, (uncovered, permit));
        assert_eq!(first.flight.as_ref().unwrap().terms(), Terms::default());
        assert!(!board(&flights, saw(1)).shared);
    }

    #[test]
    fn a_load_that_is_given_up_strands_nobody() {
        let flights = Flights::default();
        let mut running = board(&flights, saw(1));
        let waiting = board(&flights, saw(2));
        drop(running.flight.take());
        assert_eq!(received(running), None);
        assert_eq!(received(waiting), None);
        assert!(flights.0.borrow().is_empty());
        assert!(board(&flights, saw(2)).flight.is_some());
    }
}
