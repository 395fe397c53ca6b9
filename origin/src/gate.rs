//! The gate before PostgreSQL: how many queries run, how many wait for that, and how long.
//!
//! The gate has as many slots as the pool has connections, so nobody ever waits in the pool. A query
//! takes as many of them as its `weight` says. Who finds none free waits in line, in the order of
//! arrival, if the line is not full already; who waits for too long is shed, too.
//!
//! A query with a `limit` has a line of its own *before* that: those who wait for others of the same
//! query take no place in the common line, so that one slow report neither takes all slots nor all
//! places.
//!
//! What nobody waits for comes last: it is let go on only while there is [room](Gate::room), and only then
//! takes its place like everybody.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tidemark_shared::catalog::{Capacity, Query};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time,
};

use crate::metrics::{self, Level};

/// Bounds of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateLimits {
    /// How many slots there are: the most statements at a time.
    pub slots: u32,
    /// The most that wait in one line.
    pub queue: u32,
    /// The longest wait.
    pub wait: Duration,
}

/// A query that could never run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "query {query:?} has weight = {weight}, but at most {slots} run at a time; lower the weight, or raise --query-connections"
)]
pub struct TooHeavy {
    /// Its name.
    pub query: String,
    /// Its weight.
    pub weight: u32,
    /// The slots that there are.
    pub slots: u32,
}

/// Why a query may not run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Shed {
    /// So many wait already that it was not let in line.
    #[error("too many queries wait already")]
    QueueFull,
    /// It has waited for too long.
    #[error("no query that runs has ended in time")]
    TooLong,
}

impl Shed {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::QueueFull, Self::TooLong];

    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::TooLong => "too-long",
        }
    }
}

/// The gate.
#[derive(Debug)]
pub(crate) struct Gate {
    slots: Line,
    /// The lines of the queries that have a limit, by their names.
    limited: BTreeMap<String, Line>,
    wait: Duration,
    /// Whenever somebody has left: a slot, or a line.
    left: Arc<Notify>,
}

/// The right to run a statement, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _slots: OwnedSemaphorePermit,
    _turn: Option<OwnedSemaphorePermit>,
    _running: Level,
    /// The last one to be dropped, when the slot is free.
    _leaving: Leaving,
}

/// Whoever waits for room looks again once this is dropped.
#[derive(Debug)]
struct Leaving(Arc<Notify>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

/// Permits, and a bounded number of places to wait for them in the order of arrival.
#[derive(Debug)]
struct Line {
    permits: Arc<Semaphore>,
    places: Semaphore,
    /// How many permits there are.
    all: usize,
    /// How many places there are.
    length: usize,
}

impl Gate {
    /// The gate for these queries.
    ///
    /// # Errors
    /// One of them would never get through.
    pub(crate) fn new<'q>(
        queries: impl IntoIterator<Item = &'q Query>,
        limits: GateLimits,
    ) -> Result<Self, TooHeavy> {
        let mut limited = BTreeMap::new();
        for Query { name, capacity, .. } in queries {
            if capacity.weight > limits.slots {
                return Err(TooHeavy {
                    query: name.clone(),
                    weight: capacity.weight,
                    slots: limits.slots,
                });
            }
            if let Some(limit) = capacity.limit {
                limited.insert(name.clone(), Line::new(limit, limits.queue));
            }
        }
        Ok(Self {
            slots: Line::new(limits.slots, limits.queue),
            limited,
            wait: limits.wait,
            left: Arc::default(),
        })
    }

    /// Waits for the right to run this query.
    ///
    /// # Errors
    /// Too many wait already, or it took too long.
    pub(crate) async fn enter(&self, query: &Query) -> Result<Slot, Shed> {
        self.pass(&query.name, query.capacity)
            .await
            .inspect_err(|shed| metrics::count_shed(&query.name, *shed))
    }

    /// Waits for the right to run a statement that is no query of the catalog.
    ///
    /// # Errors
    /// As for a query.
    pub(crate) async fn enter_unnamed(&self) -> Result<Slot, Shed> {
        self.pass("", Capacity::default()).await
    }

    /// Waits until this query could run and be in nobody's way: nobody waits, and one slot more is free
    /// than it takes, or all of them are.
    pub(crate) async fn room(&self, query: &Query) {
        loop {
            // Made before the look: who leaves after that ends the wait.
            let left = self.left.notified();
            let own = self.limited.get(&query.name);
            let spare = query.capacity.weight.saturating_add(1);
            if self.slots.has_free(spare) && own.is_none_or(|line| line.has_free(1)) {
                return;
            }
            left.await;
        }
    }

    async fn pass(&self, query: &str, capacity: Capacity) -> Result<Slot, Shed> {
        let leaving = Leaving(self.left.clone());
        let until = Instant::now() + self.wait;
        let turn = match self.limited.get(query) {
            Some(line) => Some(line.pass(1, until).await?),
            None => None,
        };
        Ok(Slot {
            _slots: self.slots.pass(capacity.weight, until).await?,
            _turn: turn,
            _running: Level::running(),
            _leaving: leaving,
        })
    }
}

impl Line {
    fn new(permits: u32, places: u32) -> Self {
        let count = |number| usize::try_from(number).unwrap_or(Semaphore::MAX_PERMITS);
        let (all, length) = (count(permits), count(places));
        Self {
            permits: Arc::new(Semaphore::new(all)),
            places: Semaphore::new(length),
            all,
            length,
        }
    }

    /// Whether nobody waits, and so many permits are free, or all that there are.
    fn has_free(&self, permits: u32) -> bool {
        let needed = usize::try_from(permits).map_or(self.all, |needed| needed.min(self.all));
        self.places.available_permits() == self.length && self.permits.available_permits() >= needed
    }

    async fn pass(&self, permits: u32, until: Instant) -> Result<OwnedSemaphorePermit, Shed> {
        // Overtakes nobody: what becomes free goes to those who wait.
        if let Ok(permit) = self.permits.clone().try_acquire_many_owned(permits) {
            return Ok(permit);
        }
        let _place = self.places.try_acquire().map_err(|_| Shed::QueueFull)?;
        let _waiting = Level::waiting();
        match time::timeout_at(
            until.into(),
            self.permits.clone().acquire_many_owned(permits),
        )
        .await
        {
            Ok(Ok(permit)) => Ok(permit),
            // Nobody closes a line.
            Ok(Err(_)) | Err(_) => Err(Shed::TooLong),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tidemark_shared::catalog::Catalog;

    use super::*;

    fn catalog() -> Catalog {
        let query = |name: &str, more: &str| {
            format!(
                "[query.{name}]\npath = \"/{name}\"\nsql = \"x.sql\"\nreads = [\"t\"]\n{more}\n"
            )
        };
        let text =
            query("light", "") + &query("heavy", "weight = 3") + &query("report", "limit = 1");
        Catalog::parse("t.toml", &text).unwrap()
    }

    fn gate(slots: u32, queue: u32, wait: Duration) -> Result<Gate, TooHeavy> {
        Gate::new(
            catalog().queries.values(),
            GateLimits { slots, queue, wait },
        )
    }

    async fn enter(gate: &Gate, query: &str) -> Result<Slot, Shed> {
        gate.enter(&catalog().queries[query]).await
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn i5_a_query_takes_as_many_slots_as_it_weighs() {
        let gate = gate(3, 9, LONG).unwrap();
        let light = enter(&gate, "light").await.unwrap();
        let mut heavy = Box::pin(enter(&gate, "heavy"));
        assert!(heavy.as_mut().now_or_never().is_none());
        // In the order of arrival, though there is a slot for it.
        let mut late = Box::pin(enter(&gate, "light"));
        assert!(late.as_mut().now_or_never().is_none());
        drop(light);
        let heavy = heavy.now_or_never().unwrap().unwrap();
        assert!(late.as_mut().now_or_never().is_none());
        drop(heavy);
        assert!(late.now_or_never().unwrap().is_ok());
    }

    #[test]
    fn a_query_that_could_never_run_is_refused() {
        let refused = gate(2, 9, LONG).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "query \"heavy\" has weight = 3, but at most 2 run at a time; lower the weight, or raise --query-connections"
        );
    }

    #[tokio::test]
    async fn i5_only_so_many_wait_and_only_so_long() {
        let gate = gate(3, 1, Duration::from_millis(20)).unwrap();
        let _heavy = enter(&gate, "heavy").await.unwrap();
        let waiting = enter(&gate, "light");
        let shed = async { enter(&gate, "light").now_or_never() };
        let (waited, shed) = tokio::join!(waiting, shed);
        assert_eq!(shed.unwrap().unwrap_err(), Shed::QueueFull);
        assert_eq!(waited.unwrap_err(), Shed::TooLong);
    }

    #[tokio::test]
    async fn there_is_room_while_nobody_waits_and_a_slot_is_to_spare() {
        let gate = gate(3, 9, LONG).unwrap();
        let queries = catalog().queries;
        let room = |query: &str| Box::pin(gate.room(&queries[query]));
        for query in ["light", "heavy", "report"] {
            assert!(room(query).now_or_never().is_some(), "{query}");
        }
        let first = enter(&gate, "light").await.unwrap();
        let mut heavy = room("heavy");
        assert!(heavy.as_mut().now_or_never().is_none(), "it needs them all");
        assert!(room("light").now_or_never().is_some());
        let second = enter(&gate, "report").await.unwrap();
        let mut light = room("light");
        assert!(
            light.as_mut().now_or_never().is_none(),
            "one is not to spare"
        );

        let mut waiting = Box::pin(enter(&gate, "heavy"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        assert!(light.as_mut().now_or_never().is_none(), "somebody waits");
        drop(waiting);
        assert!(
            light.now_or_never().is_some(),
            "who gave up waiting is gone"
        );
        assert!(room("report").now_or_never().is_none(), "its limit is 1");
        drop(second);
        assert!(heavy.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_limited_query_takes_neither_all_slots_nor_all_places() {
        let gate = gate(3, 1, LONG).unwrap();
        let report = enter(&gate, "report").await.unwrap();
        let mut next = Box::pin(enter(&gate, "report"));
        assert!(next.as_mut().now_or_never().is_none());
        let full = enter(&gate, "report").now_or_never().unwrap();
        assert_eq!(full.unwrap_err(), Shed::QueueFull);

        let _first = enter(&gate, "light").now_or_never().unwrap().unwrap();
        let second = enter(&gate, "light").now_or_never().unwrap().unwrap();
        let mut third = Box::pin(enter(&gate, "light"));
        assert!(third.as_mut().now_or_never().is_none(), "has the one place");
        drop(second);
        assert!(third.now_or_never().unwrap().is_ok());
        drop(report);
        assert!(next.now_or_never().unwrap().is_ok());
    }
}
