//! What rounds say together: medians, and how far they are apart.

use serde::{Deserialize, Serialize};

/// The middle of some figures, and the quartiles around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// A quarter of the figures is below.
    pub low: f64,
    /// Half of the figures is below.
    pub median: f64,
    /// A quarter of the figures is above.
    pub high: f64,
}

impl Spread {
    /// Of figures in any order; `None` where there are none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<_> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Some(Self {
            low: quantile(&figures, 0.25)?,
            median: quantile(&figures, 0.5)?,
            high: quantile(&figures, 0.75)?,
        })
    }

    /// Of one side's figures divided by the other's of the same round. Rounds that only one side has, and
    /// those in which the other has nothing, are left out.
    pub fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let rounds = ours.iter().zip(theirs);
        let rounds = rounds.filter(|(_, theirs)| **theirs > 0.0);
        Self::of(rounds.map(|(ours, theirs)| ours / theirs))
    }
}

/// A quantile of sorted figures, between its neighbours where it falls between two.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let part = place - place.floor();
    Some(sorted[below] + (sorted[above] - sorted[below]) * part)
}

/// The order in which sides take their turns in a round: each round begins with another one, so that
/// nobody always has the colder or busier place.
pub fn rotated<T>(sides: &[T], round: usize) -> impl Iterator<Item = &T> {
    let (before, after) = sides.split_at(round % sides.len().max(1));
    after.iter().chain(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        let spread = Spread::of([5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (2.0, 3.0, 4.0));
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        // The machine was twice as fast in the second round, which the ratio does not see.
        let ratio = Spread::of_ratios(&[20.0, 40.0, 22.0], &[10.0, 20.0, 11.0]).unwrap();
        assert_eq!((ratio.low, ratio.median, ratio.high), (2.0, 2.0, 2.0));
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
        assert_eq!(Spread::of_ratios(&[4.0, 9.0], &[2.0]).unwrap().median, 2.0);
    }

    #[test]
    fn each_round_begins_with_another_side() {
        let order = |round| {
            rotated(&["a", "b", "c"], round)
                .copied()
                .collect::<String>()
        };
        assert_eq!(
            [order(0), order(1), order(2), order(3)],
            ["abc", "bca", "cab", "abc"]
        );
        assert_eq!(rotated::<u8>(&[], 1).count(), 0);
    }

    #[test]
    fn quantiles_reach_both_ends() {
        let sorted = [1.0, 2.0, 10.0];
        assert_eq!(quantile(&sorted, 0.0), Some(1.0));
        assert_eq!(quantile(&sorted, 1.0), Some(10.0));
        assert_eq!(quantile(&sorted, 0.75), Some(6.0));
    }
}
