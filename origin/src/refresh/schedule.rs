//! What of the hot answers has been touched and is to be loaded, and when: no I/O, no clock.
//!
//! Hottest first, each key at one place at a time. One that changes all the time is loaded for at most a
//! quarter of the time, so that it neither keeps PostgreSQL busy for answers that nobody sees nor the
//! others waiting; and what touched it meanwhile is not forgotten: it is loaded once more after its pause.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tidemark_shared::{key::Key, scope::Scope};

/// The pause after a load is at least so many times as long.
const REST: u32 = 3;

/// The shortest pause after a load: nobody reads faster than that anew.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The hot answers by their keys. `Q` is what is needed to load one.
#[derive(Debug)]
pub(super) struct Schedule<Q> {
    hot: HashMap<Key, Hot<Q>>,
    by_scope: HashMap<Scope, Vec<Key>>,
}

#[derive(Debug)]
struct Hot<Q> {
    question: Q,
    /// 0 is the hottest.
    rank: usize,
    /// Since its last load began.
    is_touched: bool,
    is_loading: bool,
    paused_until: Option<Instant>,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// This, now; it counts as being loaded from now on.
    Load(T),
    /// Nothing before this moment, if nothing is touched until then.
    At(Instant),
    /// Nothing.
    Nothing,
}

impl<Q> Default for Schedule<Q> {
    fn default() -> Self {
        Self {
            hot: HashMap::new(),
            by_scope: HashMap::new(),
        }
    }
}

impl<Q: Clone> Schedule<Q> {
    /// From now on these are hot, the hottest first, each with what it depends on. What is known of
    /// those that were hot before stays known.
    pub(super) fn rank(&mut self, ranking: impl IntoIterator<Item = (Key, Vec<Scope>, Q)>) {
        let mut before = std::mem::take(self);
        for (rank, (key, scopes, question)) in ranking.into_iter().enumerate() {
            for scope in scopes {
                self.by_scope.entry(scope).or_default().push(key.clone());
            }
            let known = before.hot.remove(&key);
            let hot = Hot {
                question,
                rank,
                is_touched: known.as_ref().is_some_and(|hot| hot.is_touched),
                is_loading: known.as_ref().is_some_and(|hot| hot.is_loading),
                paused_until: known.and_then(|hot| hot.paused_until),
            };
            self.hot.insert(key, hot);
        }
    }

    /// These scopes have been touched; whether that concerns anything hot.
    pub(super) fn touch(&mut self, scopes: &[Scope]) -> bool {
        let mut concerns = false;
        let keys = scopes.iter().filter_map(|scope| self.by_scope.get(scope));
        for key in keys.flatten() {
            if let Some(hot) = self.hot.get_mut(key) {
                hot.is_touched = true;
                concerns = true;
            }
        }
        concerns
    }

    /// What to load now.
    pub(super) fn next(&mut self, now: Instant) -> Next<(Key, Q)> {
        let waiting = self
            .hot
            .iter_mut()
            .filter(|(_, hot)| hot.is_touched && !hot.is_loading);
        let mut soonest: Option<Instant> = None;
        let mut hottest: Option<(&Key, &mut Hot<Q>)> = None;
        for (key, hot) in waiting {
            match hot.paused_until.filter(|until| *until > now) {
                Some(until) => soonest = Some(soonest.map_or(until, |soonest| soonest.min(until))),
                None if hottest
                    .as_ref()
                    .is_none_or(|(_, other)| hot.rank < other.rank) =>
                {
                    hottest = Some((key, hot));
                }
                None => {}
            }
        }
        match (hottest, soonest) {
            (Some((key, hot)), _) => {
                hot.is_touched = false;
                hot.is_loading = true;
                Next::Load((key.clone(), hot.question.clone()))
            }
            (None, Some(until)) => Next::At(until),
            (None, None) => Next::Nothing,
        }
    }

    /// A load has ended, well or not, and took so long.
    pub(super) fn loaded(&mut self, key: &Key, took: Duration, now: Instant) {
        if let Some(hot) = self.hot.get_mut(key) {
            hot.is_loading = false;
            hot.paused_until = now.checked_add(SHORTEST_PAUSE.max(took.saturating_mul(REST)));
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_shared::{catalog::Catalog, param::Params};

    use super::*;

    fn key(id: u32) -> Key {
        let catalog = "[query.one]\npath = \"/{id}\"\nparams = { id = \"int\" }\nsql = \"one.sql\"\nreads = [\"orders\"]";
        let catalog = Catalog::parse("t.toml", catalog).unwrap();
        let query = &catalog.queries["one"];
        let args = [("id".to_owned(), id.to_string())];
        Key::of(
            query,
            &Params::from_target(&query.params, &args, "").unwrap(),
        )
    }

    fn org(id: u32) -> Scope {
        Scope::member("org", &id.to_string())
    }

    /// These are hot in this order, each of a member of its own and all of one family.
    fn ranking(ids: &[u32]) -> Vec<(Key, Vec<Scope>, u32)> {
        let family = || Scope::Family("org".into());
        let hot = |id: &u32| (key(*id), vec![org(*id), family()], *id);
        ids.iter().map(hot).collect()
    }

    fn schedule(ids: &[u32]) -> Schedule<u32> {
        let mut schedule = Schedule::default();
        schedule.rank(ranking(ids));
        schedule
    }

    fn load(schedule: &mut Schedule<u32>, now: Instant) -> Option<u32> {
        match schedule.next(now) {
            Next::Load((key, id)) => {
                assert_eq!(key, self::key(id));
                Some(id)
            }
            Next::At(_) | Next::Nothing => None,
        }
    }

    #[test]
    fn what_is_touched_is_loaded_hottest_first_and_once() {
        let mut schedule = schedule(&[7, 3, 5]);
        let now = Instant::now();
        assert_eq!(schedule.next(now), Next::Nothing);
        assert!(!schedule.touch(&[org(9), Scope::Table("orders".into())]));
        assert!(schedule.touch(&[org(5), org(3)]));
        schedule.touch(&[org(3)]);
        assert_eq!(load(&mut schedule, now), Some(3));
        assert_eq!(load(&mut schedule, now), Some(5));
        assert_eq!(schedule.next(now), Next::Nothing);

        schedule.touch(&[Scope::Family("org".into())]);
        assert_eq!(
            load(&mut schedule, now),
            Some(7),
            "the others are being loaded"
        );
        assert_eq!(schedule.next(now), Next::Nothing);
    }

    #[test]
    fn a_key_rests_for_three_times_its_load_and_then_its_last_change_is_loaded() {
        let mut schedule = schedule(&[1, 2]);
        let begun = Instant::now();
        for (hour, took_ms, pause_ms) in [(1, 0, 100), (2, 33, 100), (3, 200, 600)] {
            schedule.touch(&[org(1)]);
            let begun = begun + Duration::from_secs(hour * 3_600);
            assert_eq!(load(&mut schedule, begun), Some(1));
            // While it is loaded, and again while it rests.
            schedule.touch(&[org(1)]);
            assert_eq!(schedule.next(begun), Next::Nothing);
            let took = Duration::from_millis(took_ms);
            schedule.loaded(&key(1), took, begun + took);
            schedule.touch(&[org(1)]);
            let until = begun + took + Duration::from_millis(pause_ms);
            assert_eq!(schedule.next(begun + took), Next::At(until));
            schedule.touch(&[org(2)]);
            assert_eq!(
                load(&mut schedule, begun + took),
                Some(2),
                "is not held up by it"
            );
            schedule.loaded(&key(2), Duration::ZERO, begun);
            assert_eq!(load(&mut schedule, until), Some(1));
            schedule.loaded(&key(1), Duration::ZERO, until);
            assert_eq!(schedule.next(until), Next::Nothing);
        }
    }

    #[test]
    fn a_new_ranking_forgets_only_what_is_hot_no_more() {
        let mut schedule = schedule(&[1, 2, 3]);
        let now = Instant::now();
        schedule.touch(&[org(1)]);
        assert_eq!(load(&mut schedule, now), Some(1));
        schedule.touch(&[org(1), org(2), org(3)]);
        schedule.rank(ranking(&[3, 1, 4]));
        assert!(!schedule.touch(&[org(2)]));
        assert_eq!(load(&mut schedule, now), Some(3));
        assert_eq!(schedule.next(now), Next::Nothing, "1 is being loaded");
        schedule.loaded(&key(1), Duration::ZERO, now);
        schedule.rank(ranking(&[1]));
        let until = now + SHORTEST_PAUSE;
        assert_eq!(schedule.next(now), Next::At(until), "it rests still");
        assert_eq!(load(&mut schedule, until), Some(1));
    }
}
