//! What look-ups of this instance have proven, to be served again for a moment without Redis: only for
//! queries that declare `l1` (design §5.2).
//!
//! For how long an answer is good is [`tidemark_shared::freshness::is_still_good`]'s decision; here is
//! only the store, bounded in bytes. The bodies in it are those that Redis gave, not copies.

use std::cell::RefCell;

use quick_cache::{Weighter, unsync::Cache};
use tidemark_shared::{
    entry::HEADER_LEN,
    freshness::{Demand, Moment, Proven, is_still_good},
    key::Key,
};

/// What an answer of a usual length weighs, in bytes: only to foresee how many there will be.
const USUAL: u64 = 4 * 1024;

/// The instance's own cache.
pub(crate) struct InstanceCache {
    /// `None` where it is turned off.
    held: Option<RefCell<Cache<Key, Proven, Weight>>>,
}

impl InstanceCache {
    /// One that holds at most so many bytes; none at all if that is zero.
    pub(crate) fn of(bytes: u64) -> Self {
        let usual_items = usize::try_from(bytes / USUAL).unwrap_or(usize::MAX);
        let held = (bytes > 0)
            .then(|| RefCell::new(Cache::with_weighter(usual_items.max(1), bytes, Weight)));
        Self { held }
    }

    /// The answer, if one is held that is still good for this demand.
    pub(crate) fn find(&self, demand: &Demand<'_>, now: impl FnOnce() -> Moment) -> Option<Proven> {
        let held = self.held_for(demand)?.borrow();
        let proven = held.get(demand.key)?;
        is_still_good(demand, proven, now()).then(|| proven.clone())
    }

    /// Keeps what a look-up has proven.
    pub(crate) fn keep(&self, demand: &Demand<'_>, proven: impl FnOnce() -> Proven) {
        if let Some(held) = self.held_for(demand) {
            held.borrow_mut().insert(demand.key.clone(), proven());
        }
    }

    /// Forgets what a look-up has not proven again: whoever has seen the state after a change is not
    /// shown the one before it.
    pub(crate) fn forget(&self, demand: &Demand<'_>) {
        if let Some(held) = self.held_for(demand) {
            held.borrow_mut().remove(demand.key);
        }
    }

    fn held_for(&self, demand: &Demand<'_>) -> Option<&RefCell<Cache<Key, Proven, Weight>>> {
        self.held.as_ref().filter(|_| demand.policy.has_l1())
    }
}

/// Weighs an answer by the bytes that it keeps in memory, about.
#[derive(Clone)]
struct Weight;

impl Weighter<Key, Proven> for Weight {
    fn weight(&self, key: &Key, proven: &Proven) -> u64 {
        let entry = HEADER_LEN + proven.entry.target.len() + proven.entry.content.bytes.len();
        let account = size_of::<(Key, Proven)>() + key.as_str().len();
        u64::try_from(entry + account).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tidemark_shared::{
        catalog::Catalog, content::Content, digest::Digest, entry::Entry, epoch::Epoch, etag::ETag,
        param::Params, policy::Policy, stamp::Witness,
    };

    use super::*;

    const NOW: Moment = Moment {
        now_ms: 1_763_863_200_000,
        ticks_ms: 7,
    };

    fn key(id: usize) -> Key {
        let catalog = "[query.all]\npath = \"/\"\nparams = { id = \"int\" }\nsql = \"all.sql\"\nreads = [\"orders\"]";
        let catalog = Catalog::parse("t.toml", catalog).unwrap();
        let query = &catalog.queries["all"];
        let params = Params::from_target(&query.params, &[], &format!("id={id}")).unwrap();
        Key::of(query, &params)
    }

    fn demand(key: &Key, l1_ms: u64) -> Demand<'_> {
        Demand {
            key,
            scopes: &[],
            policy: Policy {
                ttl: Duration::from_secs(60),
                max_staleness: Duration::from_secs(1),
                l1: Duration::from_millis(l1_ms),
                ..Policy::DEFAULT
            },
            at_least_ms: None,
        }
    }

    fn proven(body: &Bytes) -> Proven {
        Proven {
            entry: Entry {
                status: 200,
                epoch: Epoch::new(1),
                witness: Witness::from_digest(Digest::of(b"stamps")),
                as_of_ms: NOW.now_ms,
                fresh_until_ms: NOW.now_ms + 60_000,
                etag: ETag::of(body),
                target: Bytes::new(),
                content: Content::identity(body.clone()),
            },
            proven_at_ms: NOW.now_ms,
            looked_up: NOW,
        }
    }

    fn body(length: usize) -> Bytes {
        Bytes::from(vec![b'x'; length])
    }

    #[test]
    fn what_was_proven_is_found_until_it_is_forgotten() {
        let cache = InstanceCache::of(1 << 20);
        let (key, body) = (key(1), body(100));
        let demand = demand(&key, 250);
        assert_eq!(cache.find(&demand, || NOW), None);
        cache.keep(&demand, || proven(&body));
        let found = cache.find(&demand, || NOW).unwrap();
        assert_eq!(found.entry.content.bytes.as_ptr(), body.as_ptr(), "no copy");
        let later = Moment {
            ticks_ms: NOW.ticks_ms + 251,
            ..NOW
        };
        assert_eq!(cache.find(&demand, || later), None);
        cache.forget(&demand);
        assert_eq!(cache.find(&demand, || NOW), None);
    }

    #[test]
    fn it_is_off_for_queries_without_l1_and_where_it_has_no_room() {
        let key = key(1);
        for (bytes, l1_ms) in [(1 << 20, 0), (0, 250), (1, 250)] {
            let cache = InstanceCache::of(bytes);
            let demand = demand(&key, l1_ms);
            cache.keep(&demand, || proven(&body(100)));
            assert_eq!(cache.find(&demand, || NOW), None, "{bytes} {l1_ms}");
        }
    }

    #[test]
    fn it_holds_no_more_bytes_than_it_may() {
        const BYTES: u64 = 64 * 1024;
        let cache = InstanceCache::of(BYTES);
        let keys: Vec<_> = (0..100).map(key).collect();
        for key in &keys {
            cache.keep(&demand(key, 250), || proven(&body(8 * 1024)));
            assert!(cache.held.as_ref().unwrap().borrow().weight() <= BYTES);
        }
        let found = |key: &&Key| cache.find(&demand(key, 250), || NOW).is_some();
        let held = keys.iter().filter(found).count();
        assert!((1..8).contains(&held), "{held}");
        // One that would take all the room is not kept, and takes none from the others.
        cache.keep(&demand(&keys[0], 250), || proven(&body(BYTES as usize)));
        assert!(!found(&&keys[0]));
        assert!(keys.iter().filter(found).count() + 1 >= held);
    }
}
