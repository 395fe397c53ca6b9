//! What the regions' Redis servers tell at each scrape: their own figures, how old the tidemark is, and what
//! the region's edges have counted there.
//!
//! Every origin asks every Redis, whoever leads: while nobody does, the figures matter most. So several
//! origins tell the same of a region, and the system's figure is their maximum, not their sum.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::{
    AsyncCommands as _, InfoDict,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tidemark_shared::{
    figure::{BOUNDS_US, Figure},
    key::Keyspace,
    outcome::Outcome,
    tidemark::Tidemark,
};
use tokio::time;

use super::{
    declared::{
        AGE_SECONDS, EDGE_ANSWERS, EDGE_COLLAPSED, EDGE_FAILURES, EDGE_SECONDS, EDGE_STORED,
        EDGE_STORED_BYTES, Metric, REDIS_CONNECTED_CLIENTS, REDIS_EVICTED_KEYS, REDIS_EXPIRED_KEYS,
        REDIS_FRAGMENTATION, REDIS_KEYSPACE_HITS, REDIS_KEYSPACE_MISSES, REDIS_MAXMEMORY, REDIS_UP,
        REDIS_USED_MEMORY,
    },
    exposition::Page,
};
use crate::{clock, relay::region::Target};

/// How long a Redis may take to tell. A scrape waits for the slowest.
const DEADLINE: Duration = Duration::from_millis(500);

/// What is taken from `INFO`, by its name there.
const FIGURES: [(Metric, &str); 8] = [
    (REDIS_KEYSPACE_HITS, "keyspace_hits"),
    (REDIS_KEYSPACE_MISSES, "keyspace_misses"),
    (REDIS_USED_MEMORY, "used_memory"),
    (REDIS_MAXMEMORY, "maxmemory"),
    (REDIS_EVICTED_KEYS, "evicted_keys"),
    (REDIS_EXPIRED_KEYS, "expired_keys"),
    (REDIS_CONNECTED_CLIENTS, "connected_clients"),
    (REDIS_FRAGMENTATION, "mem_fragmentation_ratio"),
];

/// What is taken from what edges count, as it is.
const COUNTS: [(Metric, Figure); 4] = [
    (EDGE_COLLAPSED, Figure::Collapsed),
    (EDGE_FAILURES, Figure::Failed),
    (EDGE_STORED, Figure::Stored),
    (EDGE_STORED_BYTES, Figure::StoredBytes),
];

/// The regions of an origin.
pub(crate) struct Regions {
    regions: Vec<Region>,
    /// Those of the catalog, of which edges may count something.
    queries: Vec<String>,
}

struct Region {
    name: String,
    redis: ConnectionManager,
    tidemark: String,
    figures: String,
}

/// What one region told.
pub(crate) struct Told {
    info: InfoDict,
    /// The tidemark, if there is one.
    pub(crate) tidemark: Option<Tidemark>,
    /// What its edges have counted.
    pub(crate) figures: Option<Figures>,
}

impl Told {
    /// A figure of `INFO`, by its name there, if it tells it and it is one.
    pub(crate) fn figure(&self, field: &str) -> Option<f64> {
        figure(&self.info, field)
    }
}

/// What its edges have counted, by field. None at all is no 0: a counter that falls to 0 and comes back
/// would look like as much that has happened since.
pub(crate) struct Figures(HashMap<String, u64>);

impl Regions {
    /// Those that a relay writes to; of their edges, what they count of these queries. Nothing is
    /// connected yet.
    ///
    /// # Errors
    /// A connection can't be set up.
    pub(crate) fn new(
        targets: &[Arc<Target>],
        keyspace: &Keyspace,
        queries: Vec<String>,
    ) -> redis::RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(DEADLINE))
            .set_response_timeout(Some(DEADLINE))
            // The next scrape tries again.
            .set_number_of_retries(0);
        let regions = targets.iter().map(|target| {
            Ok(Region {
                name: target.to_string(),
                redis: target
                    .client()
                    .get_connection_manager_lazy(config.clone())?,
                tidemark: keyspace.tidemark(),
                figures: keyspace.figures(),
            })
        });
        Ok(Self {
            regions: regions.collect::<redis::RedisResult<_>>()?,
            queries,
        })
    }

    /// Asks all of them at once: their names, and what they tell.
    pub(crate) async fn ask(&self) -> Vec<(&str, Option<Told>)> {
        let told = join_all(self.regions.iter().map(Region::ask)).await;
        let names = self.regions.iter().map(|region| region.name.as_str());
        names.zip(told).collect()
    }

    /// Asks all of them, and adds what they tell to a page.
    pub(crate) async fn show(&self, page: &mut Page) {
        let told = self.ask().await;
        self.show_edges(&told, page);
        page.metric(&REDIS_UP);
        for (region, told) in &told {
            page.sample(&REDIS_UP, &[region], u8::from(told.is_some()));
        }
        let now_ms = clock::now_ms();
        page.metric(&AGE_SECONDS);
        for (region, told) in &told {
            let tidemark = told.as_ref().and_then(|told| told.tidemark);
            if let Some(tidemark) = tidemark {
                let age = tidemark.age(now_ms).as_secs_f64();
                page.sample(&AGE_SECONDS, &[region], age);
            }
        }
        for (metric, field) in &FIGURES {
            page.metric(metric);
            for (region, told) in &told {
                let figure = told.as_ref().and_then(|told| told.figure(field));
                if let Some(figure) = figure {
                    page.sample(metric, &[region], figure);
                }
            }
        }
    }

    /// All figures of all queries, also where nothing has been counted yet: what is not there can't be
    /// seen to grow.
    fn show_edges(&self, told: &[(&str, Option<Told>)], page: &mut Page) {
        let of_edges: Vec<_> = told
            .iter()
            .filter_map(|(region, told)| {
                let figures = told.as_ref()?.figures.as_ref()?;
                Some((*region, figures))
            })
            .flat_map(|(region, figures)| {
                let queries = self.queries.iter().map(String::as_str);
                queries.map(move |query| (region, query, figures))
            })
            .collect();
        page.metric(&EDGE_ANSWERS);
        for (region, query, figures) in &of_edges {
            for outcome in Outcome::ALL {
                let answers = figures.of(query, Figure::Answered(outcome));
                page.sample(&EDGE_ANSWERS, &[region, query, outcome.name()], answers);
            }
        }
        page.metric(&EDGE_SECONDS);
        for (region, query, figures) in &of_edges {
            let within = |place| figures.of(query, Figure::Took(place));
            let within: Vec<_> = (0..=BOUNDS_US.len()).map(within).collect();
            let micros = figures.of(query, Figure::Micros);
            page.histogram(&EDGE_SECONDS, &[region, query], &within, micros);
        }
        for (metric, figure) in &COUNTS {
            page.metric(metric);
            for (region, query, figures) in &of_edges {
                page.sample(metric, &[region, query], figures.of(query, *figure));
            }
        }
    }
}

impl Figures {
    /// One figure of a query.
    pub(crate) fn of(&self, query: &str, figure: Figure) -> u64 {
        let field = figure.field(query);
        self.0.get(&field).copied().unwrap_or(0)
    }
}

impl Region {
    /// Nothing if it does not answer in time, or refuses. Somebody else's value under one of our names
    /// is as good as none.
    async fn ask(&self) -> Option<Told> {
        let mut redis = [(); 3].map(|()| self.redis.clone());
        let [for_info, for_tidemark, for_figures] = &mut redis;
        let question = redis::cmd("INFO");
        let answers = async {
            tokio::join!(
                question.query_async::<InfoDict>(for_info),
                for_tidemark.get::<_, Option<Vec<u8>>>(&self.tidemark),
                for_figures.hgetall::<_, HashMap<String, u64>>(&self.figures),
            )
        };
        let (info, tidemark, figures) = time::timeout(DEADLINE, answers).await.ok()?;
        let info = info.inspect_err(|error| {
            tracing::debug!(region = self.name, %error, "no figures of its Redis");
        });
        let tidemark = tidemark.ok().flatten();
        Some(Told {
            info: info.ok()?,
            tidemark: tidemark.and_then(|bytes| Tidemark::parse(&bytes)),
            figures: figures.ok().map(Figures),
        })
    }
}

/// A figure of `INFO`, if it tells it and it is one.
fn figure(info: &InfoDict, field: &str) -> Option<f64> {
    info.get(field).filter(|it: &f64| it.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_their_whole_name() {
        let figure = |info: &str, field| figure(&InfoDict::new(info), field);
        let info =
            "# Memory\r\nused_memory_peak:9\r\nused_memory:7\r\nmem_fragmentation_ratio:1.25\r\n";
        assert_eq!(figure(info, "used_memory"), Some(7.0));
        assert_eq!(figure(info, "mem_fragmentation_ratio"), Some(1.25));
        assert_eq!(figure(info, "maxmemory"), None);
        assert_eq!(figure("maxmemory:plenty", "maxmemory"), None);
        assert_eq!(
            figure("mem_fragmentation_ratio:-nan", "mem_fragmentation_ratio"),
            None
        );
    }
}
