//! What edges count, and where they leave it: an edge has no page of its own that could be scraped, so its
//! instances add what they have counted to one hash in their region's Redis, and origins show that.
//!
//! A field is called `{query}:{figure}`, and its value is a whole number that only grows, by `HINCRBY`: so
//! any number of instances and edges add up. If the hash is lost it begins again at 0, as any counter does
//! when its process restarts.

use std::fmt;

use crate::outcome::Outcome;

/// The upper bounds of what latencies are counted by, in µs; beyond the last one there is one more. From a
/// hit to a statement that is cut off.
pub const BOUNDS_US: [u32; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// A figure of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Figure {
    /// Answers with this outcome.
    Answered(Outcome),
    /// Answers that shared another request's load.
    Collapsed,
    /// Answers with a status of 500 and above.
    Failed,
    /// Answers that took longer than the bound before this one, and not longer than this one: a place
    /// among [`BOUNDS_US`], or that behind the last.
    Took(usize),
    /// The time that all answers took, in µs.
    Micros,
    /// Entries that were stored.
    Stored,
    /// Their bytes.
    StoredBytes,
}

impl Figure {
    /// That by which a latency is counted.
    pub fn of_latency(micros: u64) -> Self {
        let bound = |bound: &u32| micros <= u64::from(*bound);
        Self::Took(BOUNDS_US.iter().position(bound).unwrap_or(BOUNDS_US.len()))
    }

    /// The name of its field.
    pub fn field(self, query: &str) -> String {
        format!("{query}:{self}")
    }
}

impl fmt::Display for Figure {
    /// A latency goes by its bound and not by its place, so that versions with other bounds agree.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(outcome) => write!(f, "answered:{}", outcome.name()),
            Self::Collapsed => f.write_str("collapsed"),
            Self::Failed => f.write_str("failed"),
            Self::Took(place) => match BOUNDS_US.get(*place) {
                Some(bound) => write!(f, "took:{bound}"),
                None => f.write_str("took:longer"),
            },
            Self::Micros => f.write_str("micros"),
            Self::Stored => f.write_str("stored"),
            Self::StoredBytes => f.write_str("stored-bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_by_query_and_figure() {
        for (figure, field) in [
            (
                Figure::Answered(Outcome::RedisUnavailable),
                "dashboard:answered:redis-unavailable",
            ),
            (Figure::Took(2), "dashboard:took:2500"),
            (Figure::Took(BOUNDS_US.len()), "dashboard:took:longer"),
            (Figure::StoredBytes, "dashboard:stored-bytes"),
        ] {
            assert_eq!(figure.field("dashboard"), field);
        }
    }

    #[test]
    fn a_latency_counts_by_the_first_bound_that_it_is_within() {
        for (micros, place) in [(0, 0), (500, 0), (501, 1), (10_000_000, 13), (u64::MAX, 14)] {
            assert_eq!(Figure::of_latency(micros), Figure::Took(place), "{micros}");
        }
    }
}
