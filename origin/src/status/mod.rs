//! Is everything well, and if not, what is there to do?
//!
//! [`database`] and [`redis`](mod@redis) look at what is there and judge it; a [`Report`] is what they say.

mod database;
mod redis;

use std::time::Duration;

use serde::Serialize;
use tidemark_shared::{catalog::Catalog, key::Keyspace};

pub use self::{database::database, redis::redis};
use crate::repository::Repository;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and may not for long.
    Warning,
    /// Something does not work.
    Problem,
}

impl Level {
    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Observation {
    /// What.
    pub subject: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was seen.
    pub text: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Observation {
    fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self {
            subject,
            level: Level::Ok,
            text: text.into(),
            advice: None,
        }
    }

    fn warning(subject: &'static str, text: impl Into<String>, advice: &str) -> Self {
        Self {
            level: Level::Warning,
            advice: Some(advice.to_owned()),
            ..Self::ok(subject, text)
        }
    }

    fn problem(subject: &'static str, text: impl Into<String>, advice: &str) -> Self {
        Self {
            level: Level::Problem,
            ..Self::warning(subject, text, advice)
        }
    }
}

/// What was seen of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Which server.
    pub name: String,
    /// What was seen.
    pub observations: Vec<Observation>,
}

/// What was seen of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of all.
    pub level: Level,
    /// The servers.
    pub parts: Vec<Part>,
}

impl Report {
    /// Of these servers.
    pub fn of(parts: Vec<Part>) -> Self {
        let levels = parts.iter().flat_map(|part| &part.observations);
        Self {
            level: levels.map(|it| it.level).max().unwrap_or(Level::Ok),
            parts,
        }
    }

    /// How many observations are this bad.
    pub fn count(&self, level: Level) -> usize {
        let all = self.parts.iter().flat_map(|part| &part.observations);
        all.filter(|it| it.level == level).count()
    }
}

/// What the servers are held against.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'a> {
    /// The catalog with its SQL.
    pub repository: &'a Repository,
    /// The names in Redis.
    pub keyspace: &'a Keyspace,
}

impl Expectation<'_> {
    /// The shortest promise of the catalog: how old a tidemark may be before somebody misses it.
    fn promise(&self) -> Option<Duration> {
        shortest_promise(&self.repository.catalog)
    }
}

fn shortest_promise(catalog: &Catalog) -> Option<Duration> {
    let policies = catalog.queries.values().map(|query| query.policy);
    policies
        .filter(|policy| policy.is_cacheable())
        .map(|policy| policy.max_staleness)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_as_bad_as_the_worst_that_was_seen() {
        let part = |observations: &[Observation]| Part {
            name: "x".into(),
            observations: observations.to_vec(),
        };
        let fine = Observation::ok("a", "");
        let worse = Observation::warning("b", "", "do");
        let worst = Observation::problem("c", "", "do");
        assert_eq!(Report::of(Vec::new()).level, Level::Ok);
        let report = Report::of(vec![part(&[fine.clone(), worse.clone()]), part(&[fine])]);
        assert_eq!(
            (report.level, report.count(Level::Warning)),
            (Level::Warning, 1)
        );
        let report = Report::of(vec![part(&[worst]), part(&[worse])]);
        assert_eq!(report.level, Level::Problem);
    }

    #[test]
    fn the_shortest_promise_is_that_of_a_query_which_is_cached() {
        let query = |name: &str, promise: &str| {
            format!(
                "[query.{name}]\npath = \"/{name}\"\nsql = \"x.sql\"\nreads = [\"t\"]\nmax_staleness = \"{promise}\"\n"
            )
        };
        let text = query("never", "0s") + &query("soon", "2s") + &query("late", "1m");
        let catalog = Catalog::parse("t.toml", &text).unwrap();
        assert_eq!(shortest_promise(&catalog), Some(Duration::from_secs(2)));
    }
}
