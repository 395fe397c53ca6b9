//! How long something took, as far as a histogram tells.

use serde::{Deserialize, Serialize};
use tidemark_shared::figure::BOUNDS_US;

/// How many measurements there were between two neighbours of [`BOUNDS_US`]; the last figure is that of
/// those beyond all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Histogram([u64; BOUNDS_US.len() + 1]);

/// What is told of a histogram that has been counted for some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many measurements a second.
    pub per_s: f64,
    /// The median, in ms; `None` where nothing was measured.
    pub p50_ms: Option<f64>,
    /// What 99 % of them do not exceed, in ms; `None` where nothing was measured.
    pub p99_ms: Option<f64>,
}

impl Histogram {
    /// By how many were between two bounds, for each place among them.
    pub(super) fn of(between: impl Fn(usize) -> u64) -> Self {
        Self(std::array::from_fn(between))
    }

    /// By how many were within each bound.
    pub(super) fn of_within(within: &[u64; BOUNDS_US.len() + 1]) -> Self {
        Self::of(|place| match place {
            0 => within[0],
            _ => within[place].saturating_sub(within[place - 1]),
        })
    }

    /// What has been counted since an earlier look. What has begun again at 0 is all new.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let has_restarted = self.0.iter().zip(&earlier.0).any(|(now, then)| now < then);
        match has_restarted {
            true => *self,
            false => Self::of(|place| self.0[place] - earlier.0[place]),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (own, more) in self.0.iter_mut().zip(&other.0) {
            *own += more;
        }
    }

    /// What was counted within so many seconds.
    pub(super) fn latency(&self, seconds: f64) -> Latency {
        Latency {
            per_s: per_second(self.count(), seconds),
            p50_ms: self.quantile_ms(0.5),
            p99_ms: self.quantile_ms(0.99),
        }
    }

    fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// As Prometheus' `histogram_quantile` estimates it: evenly spread between two bounds, and never beyond
    /// the last.
    #[expect(clippy::cast_precision_loss)]
    fn quantile_ms(&self, share: f64) -> Option<f64> {
        let count = self.count();
        let wanted = share * count as f64;
        let mut within = 0.0;
        let mut lower = 0.0;
        for (bound, between) in BOUNDS_US.iter().zip(&self.0) {
            let (upper, between) = (f64::from(*bound) / 1e3, *between as f64);
            if between > 0.0 && within + between >= wanted {
                return Some(lower + (upper - lower) * (wanted - within) / between);
            }
            within += between;
            lower = upper;
        }
        (count > 0).then_some(lower)
    }
}

/// How many a second.
#[expect(clippy::cast_precision_loss)]
pub(super) fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: &[(usize, u64)]) -> Histogram {
        let counted = |place| counts.iter().find(|(it, _)| *it == place);
        Histogram::of(|place| counted(place).map_or(0, |(_, count)| *count))
    }

    #[test]
    fn quantiles_lie_between_the_bounds() {
        // 100 between 1 ms and 2.5 ms, one beyond 10 s.
        let latency = histogram(&[(2, 100), (14, 1)]).latency(2.0);
        assert_eq!(latency.per_s, 50.5);
        let p50 = latency.p50_ms.unwrap();
        assert!((1.7..1.8).contains(&p50), "{p50}");
        assert!((2.4..=2.5).contains(&latency.p99_ms.unwrap()));
        assert_eq!(histogram(&[(14, 1)]).latency(1.0).p50_ms, Some(10_000.0));
        assert_eq!(Histogram::default().latency(1.0), Latency::default());
    }

    #[test]
    fn what_begins_again_is_all_new() {
        let (earlier, later) = (histogram(&[(0, 5)]), histogram(&[(0, 7), (3, 1)]));
        assert_eq!(later.since(&earlier), histogram(&[(0, 2), (3, 1)]));
        assert_eq!(earlier.since(&later), earlier);
    }

    #[test]
    fn what_is_within_a_bound_is_within_the_next() {
        let mut within = [3; BOUNDS_US.len() + 1];
        within[0] = 1;
        assert_eq!(Histogram::of_within(&within), histogram(&[(0, 1), (1, 2)]));
    }
}
