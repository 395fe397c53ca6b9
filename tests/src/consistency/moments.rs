//! Sets of moments: when something can have been true.

/// Before everything.
pub const BEGINNING: i64 = i64::MIN;

/// After everything.
pub const END: i64 = i64::MAX;

/// A set of moments in µs: disjoint intervals in order, each from its first moment up to, and
/// without, its second one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moments(Vec<(i64, i64)>);

impl Moments {
    /// All moments there are.
    pub fn always() -> Self {
        Self(vec![(BEGINNING, END)])
    }

    /// None.
    pub fn never() -> Self {
        Self(Vec::new())
    }

    /// The union of intervals that come in the order of their beginnings.
    pub fn union(intervals: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut union: Vec<(i64, i64)> = Vec::new();
        for (from, to) in intervals {
            if from >= to {
                continue;
            }
            match union.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => union.push((from, to)),
            }
        }
        Self(union)
    }

    /// The moments that are in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(a, b)), Some(&&(c, d))) = (mine.peek(), theirs.peek()) {
            let (from, to) = (a.max(c), b.min(d));
            if from < to {
                both.push((from, to));
            }
            if b <= d {
                mine.next();
            } else {
                theirs.next();
            }
        }
        Self(both)
    }

    /// Whether there are none.
    pub fn is_never(&self) -> bool {
        self.0.is_empty()
    }

    /// From the first moment to the last one, if there are any.
    pub fn span(&self) -> Option<(i64, i64)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }

    /// Whether one of them is neither before `from` nor after `to`.
    pub fn any_within(&self, from: i64, to: i64) -> bool {
        // Most answers are true at one stretch.
        self.0
            .iter()
            .any(|&(begin, end)| begin <= to && from < end && from <= to)
    }

    /// The last moment that is not after `to`, or rather the first one at which it was over.
    pub fn last_until(&self, to: i64) -> Option<i64> {
        let before = self.0.iter().rev().find(|&&(begin, _)| begin <= to);
        before.map(|&(_, end)| end)
    }
}
