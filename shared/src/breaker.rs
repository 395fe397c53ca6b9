//! When to stop asking a server that does not answer, and when to try it again.
//!
//! ```text
//!              so many failures in a row              the pause is over
//!   closed ───────────────────────────────► open ─────────────────────────► half-open
//!      ▲                                      ▲                                 │ │
//!      │                                      └───────── the probe fails ───────┘ │
//!      └───────────────────────────────── any success ────────────────────────────┘
//! ```
//!
//! While it is open nobody is let through; while it is half-open one is, the probe. A probe of which
//! nothing is heard, because whoever made it is gone, is replaced by another one after a while.
//!
//! Time is in ms, by a clock that never goes back; where it began does not matter.

use std::time::Duration;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many failures in a row open it; at least one does.
    pub failures: u32,
    /// For so long it stays open.
    pub pause: Duration,
    /// A probe that has not been reported on for so long has vanished. Longer than a probe may take.
    pub probe: Duration,
}

/// Lets attempts through, or not, by what came of those before.
#[derive(Clone, Debug)]
pub struct Breaker {
    limits: Limits,
    state: State,
    /// Counts the changes of state, to tell whose failure it is.
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until_ms: i64 },
    HalfOpen { until_ms: i64 },
}

/// The right to one attempt, and the duty to report what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Pass {
    generation: u64,
}

/// What an operator has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// From now on nobody is let through but probes.
    Opened,
    /// From now on everybody is let through.
    Closed,
}

impl Breaker {
    /// A closed one.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Closed { failures: 0 },
            generation: 0,
        }
    }

    /// Whether everybody is let through.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Lets an attempt through, or not.
    pub fn admit(&mut self, now_ms: i64) -> Option<Pass> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until_ms } | State::HalfOpen { until_ms } => {
                if now_ms < until_ms {
                    return None;
                }
                let until_ms = after(now_ms, self.limits.probe);
                self.enter(State::HalfOpen { until_ms });
            }
        }
        Some(Pass {
            generation: self.generation,
        })
    }

    /// An attempt succeeded. Whichever it was, it shows that the server is there.
    pub fn succeeded(&mut self) -> Option<Transition> {
        match &mut self.state {
            State::Closed { failures } => {
                *failures = 0;
                None
            }
            State::Open { .. } | State::HalfOpen { .. } => {
                self.enter(State::Closed { failures: 0 });
                Some(Transition::Closed)
            }
        }
    }

    /// An attempt failed. It counts only if the state is still that in which it was let through: those
    /// that were under way when the breaker opened say nothing about the probe.
    pub fn failed(&mut self, pass: Pass, now_ms: i64) -> Option<Transition> {
        if pass.generation != self.generation {
            return None;
        }
        let until_ms = after(now_ms, self.limits.pause);
        match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures < self.limits.failures {
                    return None;
                }
                self.enter(State::Open { until_ms });
                Some(Transition::Opened)
            }
            State::HalfOpen { .. } => {
                self.enter(State::Open { until_ms });
                None
            }
            // No pass is of this generation.
            State::Open { .. } => None,
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

fn after(now_ms: i64, pause: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        failures: 3,
        pause: Duration::from_millis(500),
        probe: Duration::from_millis(2_000),
    };

    fn opened(now_ms: i64) -> Breaker {
        let mut breaker = Breaker::new(LIMITS);
        for failure in 1..=LIMITS.failures {
            let pass = breaker.admit(now_ms).unwrap();
            let opened = breaker.failed(pass, now_ms);
            assert_eq!(opened.is_some(), failure == LIMITS.failures);
        }
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let mut breaker = Breaker::new(LIMITS);
        for _ in 0..10 {
            for _ in 1..LIMITS.failures {
                let pass = breaker.admit(0).unwrap();
                assert_eq!(breaker.failed(pass, 0), None);
            }
            assert_eq!(breaker.succeeded(), None);
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn the_probe_decides() {
        let mut breaker = opened(0);
        assert_eq!(breaker.admit(499), None);
        let probe = breaker.admit(500).unwrap();
        assert_eq!(breaker.admit(500), None);
        assert_eq!(breaker.failed(probe, 700), None);
        assert_eq!(breaker.admit(1_199), None);

        let _probe = breaker.admit(1_200).unwrap();
        assert_eq!(breaker.succeeded(), Some(Transition::Closed));
        assert!(breaker.admit(1_200).is_some() && breaker.admit(1_200).is_some());
    }

    #[test]
    fn who_was_under_way_when_it_opened_says_nothing_about_the_probe() {
        let mut breaker = Breaker::new(LIMITS);
        let slow = breaker.admit(0).unwrap();
        for _ in 0..LIMITS.failures {
            let pass = breaker.admit(0).unwrap();
            breaker.failed(pass, 0);
        }
        let _probe = breaker.admit(500).unwrap();
        assert_eq!(breaker.failed(slow, 600), None);
        assert_eq!(breaker.admit(1_100), None, "the probe is still under way");
        assert_eq!(breaker.succeeded(), Some(Transition::Closed));
    }

    #[test]
    fn a_probe_that_vanishes_is_replaced() {
        let mut breaker = opened(0);
        let vanished = breaker.admit(500).unwrap();
        assert_eq!(breaker.admit(2_499), None);
        let _probe = breaker.admit(2_500).unwrap();
        assert_eq!(breaker.admit(2_500), None);
        assert_eq!(breaker.failed(vanished, 2_600), None);
        assert_eq!(breaker.admit(4_499), None);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Wait(i64),
        Admit,
        /// Of those under way, one that this number chooses.
        Succeed(usize),
        Fail(usize),
        Vanish(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..1_000_i64).prop_map(Step::Wait),
            Just(Step::Admit),
            Just(Step::Admit),
            any::<usize>().prop_map(Step::Succeed),
            any::<usize>().prop_map(Step::Fail),
            any::<usize>().prop_map(Step::Fail),
            any::<usize>().prop_map(Step::Vanish),
        ]
    }

    proptest! {
        #[test]
        fn it_keeps_its_word(steps in prop::collection::vec(step(), 0..200)) {
            let mut breaker = Breaker::new(LIMITS);
            let mut now = 0;
            let mut under_way: Vec<Pass> = Vec::new();
            // Since the last success.
            let mut failures = 0;
            let mut opened_at = None;
            let mut probe_since: Option<i64> = None;
            for step in steps {
                let some = |chosen: usize, of: &Vec<Pass>| (!of.is_empty()).then(|| chosen % of.len());
                match step {
                    Step::Wait(ms) => now += ms,
                    Step::Admit => {
                        let closed = breaker.is_closed();
                        let admitted = breaker.admit(now);
                        prop_assert!(!closed || admitted.is_some());
                        if let (false, Some(_)) = (closed, admitted) {
                            let paused = opened_at.is_some_and(|at| now - at >= 500);
                            prop_assert!(paused, "let through before its time");
                            let alone = probe_since.is_none_or(|since| now - since >= 2_000);
                            prop_assert!(alone, "two probes at once");
                            probe_since = Some(now);
                        }
                        under_way.extend(admitted);
                    }
                    Step::Succeed(chosen) => {
                        if let Some(place) = some(chosen, &under_way) {
                            let closed = breaker.is_closed();
                            let _ = under_way.remove(place);
                            let transition = breaker.succeeded();
                            prop_assert_eq!(transition.is_some(), !closed);
                            prop_assert!(breaker.is_closed());
                            (failures, opened_at, probe_since) = (0, None, None);
                        }
                    }
                    Step::Fail(chosen) => {
                        if let Some(place) = some(chosen, &under_way) {
                            let pass = under_way.remove(place);
                            let counts = pass.generation == breaker.generation;
                            let transition = breaker.failed(pass, now);
                            if counts {
                                failures += 1;
                            }
                            if transition.is_some() {
                                prop_assert_eq!(failures, LIMITS.failures);
                            }
                            if counts && !breaker.is_closed() {
                                (opened_at, probe_since) = (Some(now), None);
                            }
                        }
                    }
                    Step::Vanish(chosen) => {
                        if let Some(place) = some(chosen, &under_way) {
                            let _ = under_way.remove(place);
                        }
                    }
                }
            }
            // Whatever has vanished, it lets somebody through in the end.
            prop_assert!(breaker.admit(now + 2_000).is_some());
        }
    }
}
