//! One look at everything that is counted, and what lies between two of them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use tidemark_shared::{figure::Figure, outcome::Outcome};

use super::{
    latency::{Histogram, Latency, per_second},
    message::{Figures, Gate, Hot, QueryFigures, RegionFigures, Relay, Sql},
};
use crate::{
    clock,
    metrics::{
        declared::{
            APPLIED_SECONDS, QUERIES_RUNNING, QUERIES_SHED, QUERIES_WAITING, QUERY_SECONDS,
            RELAY_LEADS, SQL_SECONDS,
        },
        exposition::Page,
        region::{self, Told},
    },
};

/// Of how long rates and latencies are: long enough that edges, which write what they have counted once a
/// second, don't make them jump.
pub(super) const WINDOW: Duration = Duration::from_secs(5);

/// How many of the hottest requests are told.
const SHOWN: usize = 10;

/// What had been counted at a moment.
pub(super) struct Sample {
    taken: Instant,
    at: i64,
    own: Own,
    regions: Vec<Region>,
    hot: Vec<(String, f64)>,
}

/// What this origin counts.
struct Own {
    answered: Histogram,
    sql: Histogram,
    applied: Histogram,
    shed: u64,
    running: u64,
    waiting: u64,
    leads: bool,
}

/// What a region tells, if it does.
struct Region {
    name: String,
    told: Option<RegionCounts>,
}

struct RegionCounts {
    age: Option<Duration>,
    used_memory: Option<f64>,
    max_memory: Option<f64>,
    evicted: u64,
    expired: u64,
    /// By query; `None` where the edges have not counted anything yet.
    edges: Option<BTreeMap<String, Edges>>,
}

/// What edges have counted of a query.
#[derive(Clone, Copy, Default)]
struct Edges {
    answers: [u64; Outcome::ALL.len()],
    took: Histogram,
}

impl Sample {
    /// What a page, the regions and the hot sample tell now.
    pub(super) fn now(
        page: &Page,
        regions: Vec<(&str, Option<Told>)>,
        queries: &[String],
        hot: Vec<(String, f64)>,
    ) -> Self {
        let at = clock::now_ms();
        let regions = regions.into_iter().map(|(name, told)| Region {
            name: name.to_owned(),
            told: told.map(|told| RegionCounts::of(&told, queries, at)),
        });
        Self {
            taken: Instant::now(),
            at,
            own: Own::of(page),
            regions: regions.collect(),
            hot,
        }
    }

    fn since(&self, earlier: &Self) -> Figures {
        let seconds = (self.taken - earlier.taken).as_secs_f64();
        let rate = |count| per_second(count, seconds);
        let latency =
            |now: &Histogram, then: &Histogram| -> Latency { now.since(then).latency(seconds) };

        let (own, then) = (&self.own, &earlier.own);
        let of_edges = self.of_edges(earlier);
        let mut of_all = Edges::default();
        for edges in of_edges.values() {
            of_all.add(edges);
        }
        let edge = of_all.took.latency(seconds);
        let answers = Outcome::ALL.iter().zip(of_all.answers);
        let answers = answers.filter(|(_, count)| *count > 0);
        let applied = latency(&own.applied, &then.applied);
        let score: f64 = self.hot.iter().map(|(_, score)| score).sum();
        Figures {
            at: self.at,
            answers: answers
                .map(|(outcome, count)| (outcome.name().to_owned(), rate(count)))
                .collect(),
            hit_ratio: of_all.hit_ratio(),
            edge,
            origin: latency(&own.answered, &then.answered),
            sql: Sql {
                ran: latency(&own.sql, &then.sql),
                without_per_s: rate(of_all.answers.iter().sum()),
            },
            gate: Gate {
                running: own.running,
                waiting: own.waiting,
                shed_per_s: rate(grown(own.shed, then.shed)),
            },
            queries: of_edges
                .into_iter()
                .map(|(name, edges)| QueryFigures {
                    name,
                    hit_ratio: edges.hit_ratio(),
                    answers: edges.took.latency(seconds),
                })
                .collect(),
            regions: self
                .regions
                .iter()
                .zip(&earlier.regions)
                .map(|(now, then)| now.since(then, seconds))
                .collect(),
            relay: Relay {
                leads: own.leads,
                applied_p50_ms: applied.p50_ms,
                applied_p99_ms: applied.p99_ms,
            },
            hot: self
                .hot
                .iter()
                .take(SHOWN)
                .map(|(request, reads)| Hot {
                    request: request.clone(),
                    share: reads / score,
                })
                .collect(),
        }
    }

    /// What the edges of all regions have done since, by query.
    fn of_edges(&self, earlier: &Self) -> BTreeMap<String, Edges> {
        let mut all = BTreeMap::<_, Edges>::new();
        for (now, then) in self.regions.iter().zip(&earlier.regions) {
            let (Some(now), Some(then)) = (&now.told, &then.told) else {
                continue;
            };
            for (query, edges) in now.edges.iter().flatten() {
                let then = then.edges.as_ref().and_then(|then| then.get(query));
                let since = edges.since(&then.copied().unwrap_or_default());
                all.entry(query.clone()).or_default().add(&since);
            }
        }
        all
    }
}

impl Own {
    fn of(page: &Page) -> Self {
        let histogram = |metric| Histogram::of_within(&page.within(metric));
        // Counts of things: whole, and not below 0.
        let count = |metric| page.total(metric) as u64;
        Self {
            answered: histogram(&QUERY_SECONDS),
            sql: histogram(&SQL_SECONDS),
            applied: histogram(&APPLIED_SECONDS),
            shed: count(&QUERIES_SHED),
            running: count(&QUERIES_RUNNING),
            waiting: count(&QUERIES_WAITING),
            leads: count(&RELAY_LEADS) > 0,
        }
    }
}

impl RegionCounts {
    fn of(told: &Told, queries: &[String], at: i64) -> Self {
        let count = |field| told.figure(field).map_or(0, |figure| figure as u64);
        let edges = told.figures.as_ref().map(|figures| {
            let queries = queries.iter();
            let edges = queries.map(|query| (query.clone(), Edges::of(figures, query)));
            edges.collect()
        });
        Self {
            age: told.tidemark.map(|tidemark| tidemark.age(at)),
            used_memory: told.figure("used_memory"),
            max_memory: told.figure("maxmemory"),
            evicted: count("evicted_keys"),
            expired: count("expired_keys"),
            edges,
        }
    }
}

impl Region {
    fn since(&self, earlier: &Self, seconds: f64) -> RegionFigures {
        let told = self.told.as_ref();
        let both = told.zip(earlier.told.as_ref());
        let rate = |count: fn(&RegionCounts) -> u64| {
            both.map(|(now, then)| per_second(grown(count(now), count(then)), seconds))
        };
        let age = told.and_then(|told| told.age);
        RegionFigures {
            name: self.name.clone(),
            up: told.is_some(),
            age_ms: age.and_then(|age| age.as_millis().try_into().ok()),
            used_memory: told.and_then(|told| told.used_memory),
            max_memory: told.and_then(|told| told.max_memory),
            evicted_per_s: rate(|counts| counts.evicted),
            expired_per_s: rate(|counts| counts.expired),
        }
    }
}

impl Edges {
    fn of(figures: &region::Figures, query: &str) -> Self {
        Self {
            answers: Outcome::ALL.map(|outcome| figures.of(query, Figure::Answered(outcome))),
            took: Histogram::of(|place| figures.of(query, Figure::Took(place))),
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        let answers = |place| grown(self.answers[place], earlier.answers[place]);
        Self {
            answers: std::array::from_fn(answers),
            took: self.took.since(&earlier.took),
        }
    }

    fn add(&mut self, other: &Self) {
        for (own, more) in self.answers.iter_mut().zip(other.answers) {
            *own += more;
        }
        self.took.add(&other.took);
    }

    /// As `ops/prometheus/rules.yml` has it.
    #[expect(clippy::cast_precision_loss)]
    fn hit_ratio(&self) -> Option<f64> {
        let (mut hits, mut all) = (0, 0);
        for (outcome, answers) in Outcome::ALL.iter().zip(self.answers) {
            match outcome {
                Outcome::Hit | Outcome::L1 | Outcome::Revalidate => hits += answers,
                Outcome::Uncacheable => continue,
                _ => {}
            }
            all += answers;
        }
        (all > 0).then(|| hits as f64 / all as f64)
    }
}

/// How much a counter has grown. One that has fallen has begun again at 0.
fn grown(now: u64, then: u64) -> u64 {
    now.checked_sub(then).unwrap_or(now)
}

/// The samples of the last [`WINDOW`].
#[derive(Default)]
pub(super) struct Samples(VecDeque<Sample>);

impl Samples {
    /// Adds the newest, and tells what has happened since the oldest; nothing yet if it is the first.
    pub(super) fn push(&mut self, sample: Sample) -> Option<Figures> {
        let is_old = |oldest: &Sample| sample.taken - oldest.taken > WINDOW + WINDOW / 10;
        // The last one stays, however old: looks may have been held up.
        while self.0.len() > 1 && self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
        let figures = self.0.front().map(|oldest| sample.since(oldest));
        self.0.push_back(sample);
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(hits: u64, misses: u64, uncacheable: u64) -> Edges {
        let count = |outcome| match outcome {
            Outcome::Hit => hits,
            Outcome::Miss => misses,
            Outcome::Uncacheable => uncacheable,
            _ => 0,
        };
        Edges {
            answers: Outcome::ALL.map(count),
            took: Histogram::of(|place| if place == 1 { hits + misses } else { 0 }),
        }
    }

    fn sample(seconds: u64, since: Instant, counted: Option<Edges>) -> Sample {
        let counts = |edges| RegionCounts {
            age: Some(Duration::from_millis(14)),
            used_memory: Some(7.0),
            max_memory: Some(0.0),
            evicted: seconds,
            expired: 0,
            edges: Some(BTreeMap::from([("a".to_owned(), edges)])),
        };
        Sample {
            taken: since + Duration::from_secs(seconds),
            at: 1_000,
            own: Own {
                answered: Histogram::default(),
                sql: Histogram::default(),
                applied: Histogram::default(),
                shed: 2 * seconds,
                running: 1,
                waiting: 0,
                leads: true,
            },
            regions: vec![Region {
                name: "here".to_owned(),
                told: counted.map(counts),
            }],
            hot: vec![("/a".to_owned(), 3.0), ("/b".to_owned(), 1.0)],
        }
    }

    #[test]
    fn rates_are_those_of_the_window() {
        let (mut samples, now) = (Samples::default(), Instant::now());
        assert_eq!(samples.push(sample(0, now, Some(edges(10, 10, 10)))), None);
        let figures = samples
            .push(sample(2, now, Some(edges(28, 12, 14))))
            .unwrap();
        assert_eq!(figures.answers["hit"], 9.0);
        assert_eq!(figures.answers["miss"], 1.0);
        assert_eq!(figures.answers.len(), 3);
        assert_eq!(figures.hit_ratio, Some(0.9));
        assert_eq!(figures.sql.without_per_s, 12.0);
        assert_eq!(figures.gate.shed_per_s, 2.0);
        assert_eq!(figures.regions[0].evicted_per_s, Some(1.0));
        assert_eq!(figures.hot[0].share, 0.75);
        // Of the first two, which are older than the window by now, the last one stays.
        let figures = samples
            .push(sample(8, now, Some(edges(28, 12, 14))))
            .unwrap();
        assert_eq!(figures.hit_ratio, None);
        assert_eq!(figures.queries[0].answers, Latency::default());
    }

    #[test]
    fn a_redis_that_is_silent_for_a_moment_does_not_look_like_a_storm() {
        let (mut samples, now) = (Samples::default(), Instant::now());
        samples.push(sample(0, now, None));
        let figures = samples.push(sample(1, now, Some(edges(9, 9, 9)))).unwrap();
        assert_eq!(figures.sql.without_per_s, 0.0);
        assert_eq!(figures.regions[0].evicted_per_s, None);
        let figures = samples.push(sample(2, now, None)).unwrap();
        assert!(!figures.regions[0].up);
        assert_eq!(figures.regions[0].used_memory, None);
    }
}
