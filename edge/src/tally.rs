//! What this instance has counted and not yet written: told to Redis about once a second, behind the
//! answers, so that a read costs no more than a step in memory.
//!
//! The first read that is counted makes a task, which waits until the tally is due and writes what there
//! is by then. It is due after a second; or after so many requests that the instance may have had its
//! last one, since one that only waits to write would keep another one from beginning. What can't be
//! written is dropped, since it would only grow: what is counted is a sample.
//!
//! The task looks again and again, rather than being told by a [handover](crate::handover): one that
//! waits for either a time or a handover has to give the latter up when the time has come, and after that
//! the component's other tasks were found to stand still whenever a new one slept.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    mem,
    rc::Rc,
    time::Duration,
};

use spin_sdk::{time::sleep, wasip3::spawn};
use tidemark_shared::{
    hot::{self, Era},
    key::Key,
};

use crate::{clock::now_ms, instance::Instance, question::Question};

/// How often a task looks whether the tally is due: so much longer an instance may live.
const LOOK: Duration = Duration::from_millis(100);

/// So many looks, and the tally is due.
const LOOKS: u32 = 10;

/// With each so-manieth request the tally is due. An instance gets 128 of them.
const REQUESTS: u32 = 64;

/// What has been counted.
#[derive(Default)]
pub(crate) struct Tally(RefCell<Counts>);

#[derive(Default)]
struct Counts {
    /// Requests that this instance has had.
    requests: u32,
    /// How many that were when the tally was last written.
    written: u32,
    /// What has been read since.
    hot: HashMap<Key, Hot>,
}

/// How often one answer was read.
struct Hot {
    /// The canonical request; `None` where it is too long to be one.
    target: Option<String>,
    reads: u32,
}

/// Counts a read, whatever becomes of it.
pub(crate) fn count(instance: &Rc<Instance>, question: &Question<'_>) {
    let is_first = instance.tally.count(&question.key, || question.target());
    if is_first {
        let instance = instance.clone();
        spawn(async move {
            for _ in 0..LOOKS {
                if instance.tally.is_due() {
                    break;
                }
                sleep(LOOK).await;
            }
            flush(&instance).await;
        });
    }
}

impl Tally {
    /// A request has come, whatever it is for.
    pub(crate) fn arrive(&self) {
        self.0.borrow_mut().requests += 1;
    }

    /// Counts a read of this key; whether it is the first since the tally was written.
    fn count(&self, key: &Key, target: impl FnOnce() -> Option<String>) -> bool {
        let mut counts = self.0.borrow_mut();
        let is_first = counts.hot.is_empty();
        match counts.hot.entry(key.clone()) {
            Entry::Occupied(mut hot) => hot.get_mut().reads += 1,
            Entry::Vacant(place) => {
                place.insert(Hot {
                    target: target(),
                    reads: 1,
                });
            }
        }
        is_first
    }

    /// Whether it is to be written before the time.
    fn is_due(&self) -> bool {
        let counts = self.0.borrow();
        counts.requests / REQUESTS > counts.written / REQUESTS
    }

    /// What has been read; from now on, it is counted anew.
    fn take(&self) -> HashMap<Key, Hot> {
        let mut counts = self.0.borrow_mut();
        counts.written = counts.requests;
        mem::take(&mut counts.hot)
    }
}

/// Writes what has been counted, or drops it.
async fn flush(instance: &Instance) {
    let now_ms = now_ms();
    let weights: Vec<_> = instance
        .tally
        .take()
        .into_values()
        .filter_map(|hot| Some((hot.target?, hot::weight(now_ms, hot.reads))))
        .collect();
    if weights.is_empty() {
        return;
    }
    let name = instance.settings.keyspace.hot(Era::at(now_ms));
    // That this failed is logged where it did.
    let _ = instance
        .redis
        .add_scores(&name, &weights, hot::MEMBERS, hot::LIFE)
        .await;
}

#[cfg(test)]
mod tests {
    use tidemark_shared::{catalog::Catalog, param::Params};

    use super::*;

    fn key(id: &str) -> Key {
        let catalog = "[query.one]\npath = \"/{id}\"\nparams = { id = \"text\" }\nsql = \"one.sql\"\nreads = [\"orders\"]";
        let catalog = Catalog::parse("t.toml", catalog).unwrap();
        let query = &catalog.queries["one"];
        let args = [("id".to_owned(), id.to_owned())];
        Key::of(
            query,
            &Params::from_target(&query.params, &args, "").unwrap(),
        )
    }

    fn count(tally: &Tally, id: &str) -> bool {
        tally.arrive();
        tally.count(&key(id), || Some(format!("/{id}")))
    }

    fn taken(tally: &Tally) -> Vec<(Option<String>, u32)> {
        let taken = tally.take().into_values();
        let mut hot: Vec<_> = taken.map(|hot| (hot.target, hot.reads)).collect();
        hot.sort();
        hot
    }

    #[test]
    fn reads_are_counted_by_key_and_anew_once_they_were_taken() {
        let tally = Tally::default();
        assert!(count(&tally, "a"));
        for id in ["b", "a", "a"] {
            assert!(!count(&tally, id), "one task writes them all");
        }
        let of = |id: &str, reads| (Some(format!("/{id}")), reads);
        assert_eq!(taken(&tally), [of("a", 3), of("b", 1)]);
        assert!(count(&tally, "b"));
        assert_eq!(taken(&tally), [of("b", 1)]);
    }

    #[test]
    fn it_is_due_with_the_instance_s_last_request() {
        let tally = Tally::default();
        for request in 1..=128 {
            count(&tally, "a");
            let is_due = request == 128 || (64..80).contains(&request);
            assert_eq!(tally.is_due(), is_due, "{request}");
            if request == 79 {
                // The task looked a little late.
                taken(&tally);
                assert!(!tally.is_due());
            }
        }
    }
}
