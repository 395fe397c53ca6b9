//! What this instance has counted and not yet written: told to Redis about once a second, behind the
//! answers, so that a read costs no more than a step in memory.
//!
//! What is counted are reads by what they ask for, and [figures](Figures) of the answers.
//!
//! The first thing that is counted makes a task, which waits until the tally is due and writes what there
//! is by then. It is due after a second; or after so many requests that the instance may have had its
//! last one, since one that only waits to write would keep another one from beginning. What can't be
//! written is dropped, since it would only grow: reads are a sample, and figures begin anew with a Redis that
//! was gone.
//!
//! The task looks again and again, rather than being told by a [handover](crate::handover): one that
//! waits for either a time or a handover has to give the latter up when the time has come, and after that
//! the component's other tasks were found to stand still whenever a new one slept.

use std::{cell::RefCell, collections::HashMap, mem, rc::Rc, time::Duration};

use futures::future::join;
use http::StatusCode;
use spin_sdk::{time::sleep, wasip3::spawn};
use tidemark_shared::{
    catalog::Query,
    hot::{self, Era},
    key::Key,
    outcome::CacheStatus,
};

use crate::{clock::now_ms, figures::Figures, instance::Instance, question::Question};

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
    /// Whether there is a task that will write what has been counted since.
    is_awaited: bool,
    counted: Counted,
}

/// What has been counted since the tally was last written.
#[derive(Default)]
struct Counted {
    hot: HashMap<Key, Hot>,
    figures: Figures,
}

/// How often one answer was read.
struct Hot {
    /// The canonical request; `None` where it is too long to be one.
    target: Option<String>,
    reads: u32,
}

/// Counts a read, whatever becomes of it.
pub(crate) fn count(instance: &Rc<Instance>, question: &Question<'_>) {
    let is_first = instance.tally.count(question.key(), || question.target());
    see_to(instance, is_first);
}

/// Counts an answer to a query, which took so many µs.
pub(crate) fn count_answer(
    instance: &Rc<Instance>,
    query: &Query,
    cache: CacheStatus,
    status: StatusCode,
    took_us: u64,
) {
    let is_first = instance
        .tally
        .add(|figures| figures.answered(&query.name, cache, status, took_us));
    see_to(instance, is_first);
}

/// Counts an entry of a query that was stored, of so many bytes.
pub(crate) fn count_stored(instance: &Rc<Instance>, query: &str, bytes: usize) {
    let is_first = instance.tally.add(|figures| figures.stored(query, bytes));
    see_to(instance, is_first);
}

/// Has the tally written, where nobody will yet.
fn see_to(instance: &Rc<Instance>, is_first: bool) {
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
        match counts.counted.hot.get_mut(key) {
            Some(hot) => hot.reads += 1,
            None => {
                let (target, reads) = (target(), 1);
                let hot = Hot { target, reads };
                counts.counted.hot.insert(key.clone(), hot);
            }
        }
        counts.is_first()
    }

    /// Adds to the figures; whether that is the first since the tally was written.
    fn add(&self, figures: impl FnOnce(&mut Figures)) -> bool {
        let mut counts = self.0.borrow_mut();
        figures(&mut counts.counted.figures);
        counts.is_first()
    }

    /// Whether it is to be written before the time.
    fn is_due(&self) -> bool {
        let counts = self.0.borrow();
        counts.requests / REQUESTS > counts.written / REQUESTS
    }

    /// What has been counted; from now on, it is counted anew.
    fn take(&self) -> Counted {
        let mut counts = self.0.borrow_mut();
        counts.written = counts.requests;
        counts.is_awaited = false;
        mem::take(&mut counts.counted)
    }
}

impl Counts {
    /// Whether nobody sees to the tally yet: the one who asks does from now on.
    fn is_first(&mut self) -> bool {
        !mem::replace(&mut self.is_awaited, true)
    }
}

/// Writes what has been counted, or drops it.
async fn flush(instance: &Instance) {
    let Counted { hot, figures } = instance.tally.take();
    join(write_hot(instance, hot), write_figures(instance, figures)).await;
}

async fn write_figures(instance: &Instance, figures: Figures) {
    let fields = figures.into_fields();
    if fields.is_empty() {
        return;
    }
    let name = instance.settings.keyspace.figures();
    // That this failed is logged where it did.
    let _ = instance.redis.add_to_fields(&name, &fields).await;
}

async fn write_hot(instance: &Instance, hot: HashMap<Key, Hot>) {
    let now_ms = now_ms();
    let weights: Vec<_> = hot
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
        let taken = tally.take().hot.into_values();
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
