//! Which requests of this instance share a load: at most one running and one waiting for each key.
//!
//! Who shares which is [`tidemark_shared::flight`]'s account; here is how its result gets to them.
//! Whoever begins a load gets a [`Flight`] and owes it an end: either [`Flight::land`] with the
//! result, which everybody aboard receives and which hands over the load that waits, or its drop,
//! which tells everybody aboard that there will be none.

use std::{cell::RefCell, rc::Rc};

use tidemark_shared::{
    fill::Permit,
    flight::{Account, Claim, Observed, Seat as Place},
    key::Key,
};

use crate::handover::{Giver, Taker, handover};

/// The loads of one instance.
pub(crate) struct Flights<T>(Rc<RefCell<Account<Aboard<T>>>>);

/// Those who share a load.
struct Aboard<T> {
    givers: Vec<Giver<T>>,
    /// The latest state that one of them demands.
    at_least_ms: Option<i64>,
}

/// What the origin has to know of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// What it may claim of one that runs there.
    pub(crate) observed: Option<Observed>,
    /// Whether others may join it here.
    pub(crate) is_joinable: bool,
    /// No earlier state will do; in ms since the Unix epoch by the database's clock.
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

impl<T> Default for Aboard<T> {
    fn default() -> Self {
        Self {
            givers: Vec::new(),
            at_least_ms: None,
        }
    }
}

impl<T> Clone for Flights<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Flights<T> {
    /// Finds the load that serves a request, or begins it. `at_least_ms` is the request's
    /// `Tidemark-At-Least`.
    pub(crate) fn board(
        &self,
        key: &Key,
        claim: Claim,
        permit: Option<Permit>,
        at_least_ms: Option<i64>,
    ) -> Seat<T> {
        let (giver, result) = handover();
        let mut account = self.0.borrow_mut();
        let boarded = account.board(key, claim, permit);
        let aboard = boarded.passengers;
        aboard.givers.push(giver);
        aboard.at_least_ms = aboard.at_least_ms.max(at_least_ms);
        Seat {
            result,
            shared: boarded.seat == Place::Shares,
            flight: (boarded.seat == Place::Begins).then(|| self.flight(key.clone())),
        }
    }

    /// Whether a load of this key is under way here, so that a request may [`Flights::board`] it or
    /// the one after it.
    pub(crate) fn is_loading(&self, key: &Key) -> bool {
        self.0.borrow().is_loading(key)
    }

    /// Begins a load for nobody's sake but the cache's; `None` if one is under way, which will do.
    pub(crate) fn refresh(&self, key: &Key, claim: Claim, permit: Permit) -> Option<Flight<T>> {
        if self.is_loading(key) {
            return None;
        }
        self.0.borrow_mut().board(key, claim, Some(permit));
        Some(self.flight(key.clone()))
    }

    fn flight(&self, key: Key) -> Flight<T> {
        Flight {
            flights: self.clone(),
            key: Some(key),
        }
    }
}

impl<T: Clone> Flight<T> {
    /// Ends the load: gives everybody aboard its result.
    pub(crate) fn land(mut self, result: T) -> Landed<T> {
        let key = self.key.take();
        let landed = key.and_then(|key| {
            let landed = self.flights.0.borrow_mut().land(&key);
            landed.map(|landed| (key, landed))
        });
        let Some((key, landed)) = landed else {
            return Landed {
                permit: None,
                next: None,
            };
        };
        for giver in landed.passengers.givers {
            giver.give(result.clone());
        }
        Landed {
            permit: landed.permit,
            next: landed.goes_on.then(|| self.flights.flight(key)),
        }
    }
}

impl<T> Flight<T> {
    /// What the origin has to know, now that the load begins.
    pub(crate) fn terms(&self) -> Terms {
        let Some(key) = &self.key else {
            return Terms::default();
        };
        let account = self.flights.0.borrow();
        let aboard = account.passengers(key);
        Terms {
            observed: account.claim(key),
            is_joinable: account.is_joinable(key),
            at_least_ms: aboard.and_then(|aboard| aboard.at_least_ms),
        }
    }
}

impl<T> Drop for Flight<T> {
    /// A load that was given up: both of the key's loads are forgotten, and whoever is aboard
    /// hears of it, because the givers go as well.
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let aboard = self.flights.0.borrow_mut().give_up(&key);
            drop(aboard);
        }
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
        let witness = observed.witness(&scopes).unwrap();
        let claim = Claim {
            observed: Some(Observed::of(Epoch::new(1), witness)),
            covered: true,
        };
        (claim, observed.permit(&key(), &scopes))
    }

    fn saw_nothing() -> (Claim, Option<Permit>) {
        (Claim::NONE, None)
    }

    fn board(flights: &Flights<u8>, (claim, permit): (Claim, Option<Permit>)) -> Seat<u8> {
        flights.board(&key(), claim, permit, None)
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
        let terms = first.flight.as_ref().unwrap().terms();
        assert_eq!(terms.observed, saw(1).0.observed);

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
        let next = landed.next.unwrap();
        let terms = next.terms();
        assert_eq!(terms.observed, None, "others aboard have observed less");
        assert!(terms.is_joinable, "what the origin remembers is too old");
        let landed = next.land(2);
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
    fn a_refresh_begins_alone_and_is_shared_like_any_load() {
        let flights = Flights::default();
        let (claim, permit) = saw(1);
        let refresh = || flights.refresh(&key(), claim, permit.clone().unwrap());
        assert!(!flights.is_loading(&key()));
        let flight = refresh().unwrap();
        assert!(refresh().is_none());
        let seat = board(&flights, saw(1));
        assert!(seat.shared && flights.is_loading(&key()));
        let landed = flight.land(7);
        assert_eq!(landed.permit, permit);
        assert_eq!(received(seat), Some(7));
        assert!(!flights.is_loading(&key()));
    }

    #[test]
    fn i3_the_origin_is_told_the_latest_state_that_anybody_demands() {
        let flights = Flights::<u8>::default();
        let board = |at_least_ms| {
            let (claim, permit) = saw_nothing();
            flights.board(&key(), claim, permit, at_least_ms)
        };
        let first = board(Some(3));
        for at_least_ms in [None, Some(7), Some(5)] {
            board(at_least_ms);
        }
        let running = first.flight.unwrap();
        assert_eq!(running.terms().at_least_ms, Some(3));
        let next = running.land(1).next.unwrap();
        let terms = Terms {
            observed: None,
            is_joinable: false,
            at_least_ms: Some(7),
        };
        assert_eq!(next.terms(), terms);
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
