//! What this process remembers of its own answers: a cache that needs no Redis, and is as exact as one.
//!
//! While Redis is gone, every read comes here, and what was cached must not all fall on PostgreSQL at
//! once. The relay of this very process drains the outbox, so it can do for this memory what it does
//! for a Redis: give scopes new stamps, then raise a tidemark. The same code decides
//! ([`tidemark_shared::freshness::judge`]), on an observation made here.
//!
//! What makes it exact, and what each step rests on:
//!
//! - **Stamps first.** What the relay has drained is stamped here *before* any Redis hears of it, so
//!   that whoever was told by a Redis that a write is applied finds no older answer here.
//! - **One lock** is the atomic step: tidemark and stamps are observed at one moment.
//! - **Stamps before SQL.** [`Memory::remembering`] runs a load itself, after it has observed the stamps:
//!   there is no other way in. Who only shares a load that runs already can keep nothing.
//! - **Only the leader's.** A process that does not lead has no tidemark here, so nothing is proven.
//!   It loses it with the leadership, and whatever it had: the next one begins a new [`Epoch`].
//! - **Only for as long as it surely leads** ([`Memory::lease`]): a leader that was frozen may have a
//!   successor of which it does not know.
//! - **Nobody stores what was remembered.** It may be older than the stamps which an edge has observed, so
//!   it is no answer to `Tidemark-Witness`; and it does not say by which catalog it was made, without
//!   which an edge stores no answer.
//!
//! A lost stamp equals nothing, here as in Redis. So to give a scope a new stamp it is enough to
//! forget the old one: the next load gives it another.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::sync::Cache;
use tidemark_shared::{
    digest::Digest,
    entry::{Entry, HEADER_LEN},
    epoch::Epoch,
    event::EventId,
    fill::{Answer, Permit},
    freshness::{Demand, Observation, judge},
    key::Key,
    policy::Policy,
    scope::Scope,
    stamp::Stamp,
    tidemark::Tidemark,
};

use crate::{clock::now_ms, metrics};

/// What an entry costs beside its bytes, about: the key's own place, and the cache's account of it.
const ENTRY_OVERHEAD: usize = 256;

/// What a stamp costs with the name of its scope, about.
const STAMP_COST: u64 = 256;

/// Of all bytes, the part that is for stamps.
const STAMPS_PART: u64 = 8;

/// The memory of one process.
#[derive(Debug)]
pub struct Memory {
    entries: Cache<Key, Entry>,
    governs: Mutex<Governs>,
    /// The most stamps that are kept; none where the memory is off.
    most_stamps: usize,
    /// The catalog whose answers these are.
    catalog: Digest,
    /// How long after a drain began its relay surely leads still.
    lease: Duration,
}

/// What governs the entries: what a Redis holds beside them.
#[derive(Debug)]
struct Governs {
    epoch: Epoch,
    /// `None` while this process does not lead.
    proof: Option<Proof>,
    /// Those that a load has observed since the scope was last touched.
    stamps: HashMap<Scope, Stamp>,
}

/// A tidemark, and when the drain behind it began.
#[derive(Clone, Copy, Debug)]
struct Proof {
    tidemark: Tidemark,
    begun: Instant,
}

/// An answer from the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) entry: Entry,
    /// When it was proven true, in ms since the Unix epoch by the database's clock.
    pub(crate) proven_at_ms: i64,
}

impl Memory {
    /// An empty memory of at most about this many bytes, for answers of this catalog; with 0 it keeps
    /// nothing. For `lease` after a drain has begun, no other process can lead unless the database
    /// ended the session: that long its proof is used.
    pub fn new(bytes: u64, catalog: Digest, lease: Duration) -> Self {
        let for_stamps = bytes / STAMPS_PART;
        Self {
            entries: Cache::builder()
                .max_capacity(bytes - for_stamps)
                .weigher(weight)
                .build(),
            governs: Mutex::new(Governs {
                epoch: new_epoch(),
                proof: None,
                stamps: HashMap::new(),
            }),
            most_stamps: usize::try_from(for_stamps / STAMP_COST).unwrap_or(usize::MAX),
            catalog,
            lease,
        }
    }

    /// A memory that keeps nothing.
    pub fn off(catalog: Digest) -> Self {
        Self::new(0, catalog, Duration::ZERO)
    }

    /// What is remembered, if it may be served.
    pub(crate) fn recall(&self, demand: &Demand<'_>) -> Option<Remembered> {
        self.recall_at(demand, now_ms(), Instant::now())
    }

    fn recall_at(&self, demand: &Demand<'_>, now_ms: i64, now: Instant) -> Option<Remembered> {
        if !demand.policy.is_cacheable() {
            return None;
        }
        let entry = self.entries.get(demand.key)?;
        let observed = {
            let governs = self.governs();
            let proof = governs.proof?;
            if now.saturating_duration_since(proof.begun) >= self.lease {
                return None;
            }
            governs.observe(demand.scopes)
        };
        let proven_at_ms = judge(demand, &entry, &observed, now_ms).ok()?;
        Some(Remembered {
            entry,
            proven_at_ms,
        })
    }

    /// Runs a load and remembers its answer, under the stamps of before it began.
    ///
    /// # Errors
    /// The load's.
    pub(crate) async fn remembering<E>(
        &self,
        demand: &Demand<'_>,
        load: impl Future<Output = Result<Answer, E>>,
    ) -> Result<Answer, E> {
        let permit = self.permit(demand);
        // A future does nothing before it is polled, and nobody has polled this one.
        let loaded = load.await;
        if let (Some(permit), Ok(answer)) = (permit, &loaded) {
            self.keep(demand, &permit, answer);
        }
        loaded
    }

    /// The right to keep what is asked for from now on. Scopes without a stamp get one.
    fn permit(&self, demand: &Demand<'_>) -> Option<Permit> {
        if !demand.policy.is_cacheable() || demand.scopes.len() > self.most_stamps {
            return None;
        }
        let mut governs = self.governs();
        governs.proof?;
        governs.ensure_stamps(demand.scopes, self.most_stamps);
        governs
            .observe(demand.scopes)
            .permit(demand.key, demand.scopes)
    }

    fn keep(&self, demand: &Demand<'_>, permit: &Permit, answer: &Answer) {
        let policy: &Policy = &demand.policy;
        let Some(sealed) = permit.seal(policy, None, answer, now_ms(), rand::random()) else {
            return;
        };
        let (key, bytes, _) = sealed.into_parts();
        if let Ok(entry) = Entry::decode(&Bytes::from(bytes), &key) {
            self.entries.insert(key, entry);
        }
    }

    /// Forgets the stamps of scopes that have been touched: answers that depend on them are proven no
    /// more.
    pub(crate) fn touch(&self, scopes: &[Scope]) {
        let mut governs = self.governs();
        for scope in scopes {
            governs.stamps.remove(scope);
        }
    }

    /// Everything visible at `as_of` (ms, database's clock) has been [touched](Self::touch), by the
    /// relay of this process, which leads: it began the drain that shows this at `begun`. `event` is
    /// what it says of that to others.
    pub(crate) fn rise(&self, as_of: i64, event: EventId, begun: Instant) {
        let mut governs = self.governs();
        let tidemark = Tidemark {
            term: event.term,
            epoch: governs.epoch,
            as_of,
            event,
            catalog: self.catalog,
            upstream: None,
        };
        governs.proof = Some(Proof { tidemark, begun });
    }

    /// Has the metrics show what is kept.
    pub(crate) fn show(&self) {
        // What has been put in or forgotten is not counted at once.
        self.entries.run_pending_tasks();
        metrics::show_memory(self.entries.entry_count(), self.entries.weighted_size());
    }

    /// This process no longer leads, or changes may have gone unseen: nothing is proven, and nothing
    /// that is remembered or being loaded ever will be.
    pub(crate) fn forget(&self) {
        let mut governs = self.governs();
        governs.epoch = new_epoch();
        governs.proof = None;
        governs.stamps = HashMap::new();
        self.entries.invalidate_all();
    }

    fn governs(&self) -> MutexGuard<'_, Governs> {
        // No step under this lock can be cut in two by a panic.
        self.governs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Governs {
    fn observe(&self, scopes: &[Scope]) -> Observation {
        Observation {
            tidemark: self.proof.map(|proof| proof.tidemark),
            stamps: scopes
                .iter()
                .map(|scope| self.stamps.get(scope).copied())
                .collect(),
        }
    }

    fn ensure_stamps(&mut self, scopes: &[Scope], most: usize) {
        let missing = |stamps: &HashMap<_, _>| {
            let missing = scopes.iter().filter(|scope| !stamps.contains_key(*scope));
            missing.count()
        };
        if self.stamps.len() + missing(&self.stamps) > most {
            // What depends on them is loaded again.
            self.stamps = HashMap::new();
        }
        for scope in scopes {
            if !self.stamps.contains_key(scope) {
                let stamp = Stamp::new(now_ms(), rand::random());
                self.stamps.insert(scope.clone(), stamp);
            }
        }
    }
}

fn new_epoch() -> Epoch {
    Epoch::new(rand::random())
}

fn weight(key: &Key, entry: &Entry) -> u32 {
    let bytes = ENTRY_OVERHEAD + key.as_str().len() + HEADER_LEN + entry.content.bytes.len();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tidemark_shared::{catalog::Catalog, fill::Provenance, param::Params};

    use super::*;

    const LEASE: Duration = Duration::from_secs(1);
    const EVENT: EventId = EventId { term: 1, seq: 1 };

    struct World {
        memory: Memory,
        key: Key,
        scopes: Vec<Scope>,
        begun: Instant,
    }

    impl World {
        fn of(bytes: u64) -> Self {
            let catalog = "[query.all]\npath = \"/\"\nsql = \"all.sql\"\nreads = [\"orders\"]";
            let catalog = Catalog::parse("t.toml", catalog).unwrap();
            let query = &catalog.queries["all"];
            let params = Params::from_target(&query.params, &[], "").unwrap();
            Self {
                memory: Memory::new(bytes, Digest::of(b"catalog"), LEASE),
                key: Key::of(query, &params),
                scopes: query.scopes(&params),
                begun: Instant::now(),
            }
        }

        /// Whose relay leads, and has just drained.
        fn leading() -> Self {
            let world = Self::of(1 << 20);
            world.rise();
            world
        }

        fn rise(&self) {
            self.memory.rise(now_ms(), EVENT, self.begun);
        }

        fn demand(&self) -> Demand<'_> {
            Demand {
                key: &self.key,
                scopes: &self.scopes,
                policy: Policy {
                    max_staleness: Policy::DEFAULT_TTL,
                    ..Policy::DEFAULT
                },
                at_least_ms: None,
            }
        }

        fn answer(&self, body: &'static [u8]) -> Answer {
            let provenance = Provenance::of(Digest::of(b"catalog"), &self.scopes);
            Answer::new(200, now_ms(), provenance, Bytes::from_static(body))
        }

        /// Loads this answer, while something else happens.
        async fn load(&self, body: &'static [u8], meanwhile: impl FnOnce()) {
            let load = async {
                meanwhile();
                Ok::<_, Infallible>(self.answer(body))
            };
            let loaded = self.memory.remembering(&self.demand(), load).await;
            assert_eq!(loaded.unwrap().content.bytes, body);
        }

        fn recalls(&self) -> Option<Bytes> {
            self.recalls_after(Duration::ZERO)
        }

        fn recalls_after(&self, elapsed: Duration) -> Option<Bytes> {
            self.recalls_to(&self.demand(), elapsed)
        }

        fn recalls_to(&self, demand: &Demand<'_>, elapsed: Duration) -> Option<Bytes> {
            let at = self.begun + elapsed;
            let remembered = self.memory.recall_at(demand, now_ms(), at);
            remembered.map(|remembered| remembered.entry.content.bytes)
        }
    }

    #[tokio::test]
    async fn i1_what_was_answered_is_remembered_until_it_is_touched() {
        let world = World::leading();
        assert_eq!(world.recalls(), None);
        world.load(b"1", || {}).await;
        assert_eq!(world.recalls().unwrap(), "1");
        world.memory.touch(&[Scope::Table("others".into())]);
        assert_eq!(world.recalls().unwrap(), "1");
        world.memory.touch(&world.scopes);
        assert_eq!(world.recalls(), None);
        world.load(b"2", || {}).await;
        assert_eq!(world.recalls().unwrap(), "2");
    }

    #[tokio::test]
    async fn i1_an_answer_that_was_touched_while_it_was_loaded_is_not_served() {
        let world = World::leading();
        world.load(b"1", || world.memory.touch(&world.scopes)).await;
        world.rise();
        assert_eq!(world.recalls(), None);
        // Nor when somebody else has given the scope its next stamp.
        world.memory.permit(&world.demand()).unwrap();
        assert_eq!(world.recalls(), None);
    }

    #[tokio::test]
    async fn i4_nothing_is_remembered_from_one_leadership_to_the_next() {
        let world = World::leading();
        world.load(b"1", || {}).await;
        world.memory.forget();
        assert_eq!(world.recalls(), None);
        world.load(b"2", || {}).await;
        world.rise();
        assert_eq!(world.recalls(), None, "loaded while nobody led");
        world
            .load(b"3", || {
                world.memory.forget();
                world.rise();
                world.memory.permit(&world.demand()).unwrap();
            })
            .await;
        assert_eq!(world.recalls(), None, "loaded across the change");
    }

    #[tokio::test]
    async fn i3_a_leader_that_may_have_a_successor_proves_nothing() {
        let world = World::leading();
        world.load(b"1", || {}).await;
        let before = LEASE - Duration::from_millis(1);
        assert_eq!(world.recalls_after(before).unwrap(), "1");
        assert_eq!(world.recalls_after(LEASE), None);
    }

    #[tokio::test]
    async fn i2_promises_and_demands_are_those_of_any_cache() {
        let world = World::leading();
        world.load(b"1", || {}).await;
        let demand = world.demand();
        let later = Demand {
            at_least_ms: Some(now_ms() + 60_000),
            ..demand
        };
        assert_eq!(world.recalls_to(&later, Duration::ZERO), None);
        let never = Demand {
            policy: Policy {
                max_staleness: Duration::ZERO,
                ..demand.policy
            },
            ..demand
        };
        assert_eq!(world.recalls_to(&never, Duration::ZERO), None);
        let (as_of, max_staleness_ms) = (now_ms(), demand.policy.max_staleness_ms());
        world.memory.rise(as_of, EVENT, world.begun);
        let at = |now_ms| world.memory.recall_at(&demand, now_ms, world.begun);
        assert_eq!(at(as_of).unwrap().proven_at_ms, as_of);
        assert_eq!(at(as_of + max_staleness_ms + 1), None);
    }

    #[tokio::test]
    async fn i4_stamps_that_have_no_room_are_lost_and_equal_nothing() {
        let world = World::leading();
        world.load(b"1", || {}).await;
        let most = world.memory.most_stamps;
        for other in 0..most {
            let scopes = [Scope::Table(other.to_string())];
            let demand = Demand {
                scopes: &scopes,
                ..world.demand()
            };
            world.memory.permit(&demand).unwrap();
            assert!(world.memory.governs().stamps.len() <= most);
        }
        assert_eq!(world.recalls(), None);
    }

    #[tokio::test]
    async fn a_memory_that_is_off_keeps_nothing() {
        let world = World::of(0);
        world.rise();
        world.load(b"1", || {}).await;
        assert_eq!(world.recalls(), None);
        assert!(world.memory.governs().stamps.is_empty());
    }
}
