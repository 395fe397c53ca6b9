//! Goals, and whether they are met.

use std::fmt::Display;

use super::number;
use crate::statistics::Spread;

/// A goal and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    what: String,
    limit: String,
    measured: String,
    met: Option<bool>,
}

impl Goal {
    /// At least so much, in this unit (`× NestJS`, ` k/s` …).
    pub fn at_least(what: &str, limit: f64, unit: &str, measured: Option<Spread>) -> Self {
        Self::new(what, '≥', limit, unit, measured, |it| it >= limit)
    }

    /// At most so much.
    pub fn at_most(what: &str, limit: f64, unit: &str, measured: Option<Spread>) -> Self {
        Self::new(what, '≤', limit, unit, measured, |it| it <= limit)
    }

    /// A goal in words, with what was measured in words; not measured where there are none.
    pub fn words(what: &str, limit: &str, measured: Option<(String, bool)>) -> Self {
        let met = measured.as_ref().map(|(_, met)| *met);
        Self {
            what: what.to_owned(),
            limit: limit.to_owned(),
            measured: measured.map_or("not measured in this run".to_owned(), |(text, _)| text),
            met,
        }
    }

    /// With a word on what was measured, if anything was.
    #[must_use]
    pub fn noted(mut self, note: impl Display) -> Self {
        if self.met.is_some() {
            self.measured = format!("{}; {note}", self.measured);
        }
        self
    }

    fn new(
        what: &str,
        sign: char,
        limit: f64,
        unit: &str,
        measured: Option<Spread>,
        holds: impl Fn(f64) -> bool,
    ) -> Self {
        let text = |spread: Spread| (number::spread(&spread), holds(spread.median));
        let limit = format!("{sign} {limit} {unit}");
        Self::words(what, limit.trim(), measured.map(text))
    }

    /// Whether it is met, if that was measured.
    pub fn is_met(&self) -> Option<bool> {
        self.met
    }

    /// As it stands in the table: what, goal, measured, verdict.
    pub(crate) fn row(&self) -> Vec<String> {
        let verdict = match self.met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "–",
        };
        vec![
            self.what.clone(),
            self.limit.clone(),
            self.measured.clone(),
            verdict.to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_decides() {
        let spread = Spread::of([2.0, 3.0, 9.0]);
        assert_eq!(
            Goal::at_least("hits", 3.0, "×", spread).is_met(),
            Some(true)
        );
        assert_eq!(
            Goal::at_least("hits", 3.1, "×", spread).is_met(),
            Some(false)
        );
        assert_eq!(
            Goal::at_most("hits", 2.9, "×", spread).is_met(),
            Some(false)
        );
        assert_eq!(Goal::at_most("hits", 3.0, "×", None).is_met(), None);
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let goal = Goal::at_least("hits", 3.0, "×", None).noted("against whom");
        assert_eq!(goal.is_met(), None);
        assert_eq!(goal.row()[2..], ["not measured in this run", "–"]);
        let goal = Goal::at_least("hits", 3.0, "×", Spread::of([4.0])).noted("against whom");
        assert_eq!(goal.row()[2], "4 (4–4); against whom");
    }
}
