//! A deadline that many steps have and nearly all of them meet: one timer of the instance watches all of them.
//!
//! With a timer of its own a step would have to cancel it nearly always, and to cancel what the host does, the
//! component model makes a task stand still until the host has done that: 8 µs of each hit. A step that is
//! watched waits for a [bell](crate::bell) instead, which is given up for nothing.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    pin::pin,
    rc::Rc,
    time::Duration,
};

use futures::future::{Either, select};
use spin_sdk::{time::sleep, wasip3::spawn};

use crate::{
    bell::{self, Rope},
    clock::ticks_ms,
    deadline::Elapsed,
};

/// How long the timer sleeps at most: so much longer it may keep an instance that has nothing to do.
const LOOK: Duration = Duration::from_millis(100);

/// The watch over all steps of an instance with one deadline.
pub(crate) struct Watch {
    deadline: Duration,
    /// Those that are under way. They began in this order, and so they are due.
    steps: RefCell<VecDeque<Step>>,
    /// How many have begun.
    begun: Cell<u64>,
    /// Whether somebody looks after them.
    is_kept: Cell<bool>,
}

/// A step under way.
struct Step {
    number: u64,
    due_ms: i64,
    /// Rings when it is due.
    _bell: Rope,
}

impl Watch {
    pub(crate) fn new(deadline: Duration) -> Rc<Self> {
        Rc::new(Self {
            deadline,
            steps: RefCell::default(),
            begun: Cell::default(),
            is_kept: Cell::default(),
        })
    }

    /// Does some work that begins now, by [`ticks_ms`], within the deadline, or drops it.
    pub(crate) async fn within<T>(
        self: &Rc<Self>,
        now_ms: i64,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let (rope, mut ear) = bell::hang();
        let _under_way = self.begin(now_ms, rope);
        match select(pin!(work), pin!(bell::listen(&mut ear))).await {
            Either::Left((done, _)) => Ok(done),
            Either::Right(((), _)) => Err(Elapsed),
        }
    }

    fn begin(self: &Rc<Self>, now_ms: i64, bell: Rope) -> UnderWay<'_> {
        let number = self.begun.get();
        self.begun.set(number + 1);
        let deadline_ms = i64::try_from(self.deadline.as_millis()).unwrap_or(i64::MAX);
        self.steps.borrow_mut().push_back(Step {
            number,
            due_ms: now_ms.saturating_add(deadline_ms),
            _bell: bell,
        });
        if !self.is_kept.replace(true) {
            spawn(Keeper(self.clone()).keep());
        }
        UnderWay {
            watch: self,
            number,
        }
    }

    /// Rings for all that are due; gives how long it is until the next one is.
    fn look(&self, now_ms: i64) -> Option<Duration> {
        let mut steps = self.steps.borrow_mut();
        while let Some(step) = steps.front() {
            match u64::try_from(step.due_ms.saturating_sub(now_ms)) {
                Ok(left @ 1..) => return Some(Duration::from_millis(left)),
                _ => drop(steps.pop_front()),
            }
        }
        None
    }
}

/// A step's place on the watch, until it has ended or is given up.
struct UnderWay<'a> {
    watch: &'a Watch,
    number: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut steps = self.watch.steps.borrow_mut();
        let place = steps.binary_search_by_key(&self.number, |step| step.number);
        // It is gone if its bell has been rung.
        drop(place.ok().and_then(|place| steps.remove(place)));
    }
}

/// The one who looks.
struct Keeper(Rc<Watch>);

impl Keeper {
    /// Looks for as long as any step is under way.
    async fn keep(self) {
        while let Some(left) = self.0.look(ticks_ms()) {
            sleep(left.min(LOOK)).await;
        }
    }
}

impl Drop for Keeper {
    /// Should the host end the request that keeps the watch, nobody is left to wait for a bell that nobody rings.
    fn drop(&mut self) {
        self.0.is_kept.set(false);
        self.0.steps.take();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const DEADLINE: Duration = Duration::from_millis(250);

    fn begin(watch: &Rc<Watch>, now_ms: i64) -> (UnderWay<'_>, impl Fn() -> bool) {
        let (rope, ear) = bell::hang();
        let ear = RefCell::new(ear.shared());
        let rings = move || ear.borrow_mut().clone().now_or_never().is_some();
        (watch.begin(now_ms, rope), rings)
    }

    #[test]
    fn a_step_s_bell_rings_when_it_is_due_and_no_sooner() {
        let watch = Watch::new(DEADLINE);
        let (_first, first_rings) = begin(&watch, 1_000);
        let (_second, second_rings) = begin(&watch, 1_100);
        assert_eq!(watch.look(1_249), Some(Duration::from_millis(1)));
        assert!(!first_rings());
        assert_eq!(watch.look(1_250), Some(Duration::from_millis(100)));
        assert!(first_rings() && !second_rings());
        assert_eq!(watch.look(9_999), None);
        assert!(second_rings());
    }

    #[test]
    fn a_step_that_has_ended_is_looked_after_no_more() {
        let watch = Watch::new(DEADLINE);
        let (first, _) = begin(&watch, 1_000);
        let (second, _) = begin(&watch, 1_100);
        drop(first);
        assert_eq!(watch.look(1_100), Some(DEADLINE));
        drop(second);
        assert_eq!(watch.look(1_100), None);
    }

    #[test]
    fn without_a_keeper_all_bells_ring() {
        let watch = Watch::new(DEADLINE);
        let (_step, rings) = begin(&watch, 1_000);
        assert!(watch.is_kept.get());
        drop(Keeper(watch.clone()));
        assert!(rings() && !watch.is_kept.get());
    }
}
