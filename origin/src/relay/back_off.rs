//! How eagerly something that failed is tried again.

use std::time::Duration;

/// The pause before the second attempt; it doubles from there.
const FIRST: Duration = Duration::from_millis(25);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// Counts attempts: at once, then after 25 ms, doubling up to 1 s.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BackOff {
    attempts: u32,
}

impl BackOff {
    /// The pause before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let attempt = self.attempts;
        self.attempts = attempt.saturating_add(1);
        match attempt.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => (FIRST * 2_u32.pow(doublings.min(10))).min(LONGEST),
        }
    }

    /// Whether at most one attempt has been made: trouble that is worth a word.
    pub(crate) const fn is_quiet(self) -> bool {
        self.attempts <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_second() {
        let mut back_off = BackOff::default();
        let pauses: Vec<_> = (0..8).map(|_| back_off.next().as_millis()).collect();
        assert_eq!(pauses, [0, 25, 50, 100, 200, 400, 800, 1_000]);
        for _ in 0..100 {
            assert!(back_off.next() <= LONGEST);
        }
    }
}
