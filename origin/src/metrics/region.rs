//! What the regions' Redis servers tell at each scrape: their own figures, and how old the tidemark is.
//!
//! Every origin asks every Redis, whoever leads: while nobody does, the figures matter most. So several
//! origins tell the same of a region, and the system's figure is their maximum, not their sum.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tidemark_shared::{key::Keyspace, tidemark::Tidemark};
use tokio::time;

use super::{
    declared::{
        AGE_SECONDS, Metric, REDIS_CONNECTED_CLIENTS, REDIS_EVICTED_KEYS, REDIS_EXPIRED_KEYS,
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

/// The regions of an origin.
pub(crate) struct Regions(Vec<Region>);

struct Region {
    name: String,
    redis: ConnectionManager,
    tidemark: String,
}

/// What one region told.
struct Told {
    info: String,
    tidemark: Option<Tidemark>,
}

impl Regions {
    /// Those that a relay writes to. Nothing is connected yet.
    ///
    /// # Errors
    /// A connection can't be set up.
    pub(crate) fn new(targets: &[Arc<Target>], keyspace: &Keyspace) -> redis::RedisResult<Self> {
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
            })
        });
        Ok(Self(regions.collect::<redis::RedisResult<_>>()?))
    }

    /// Asks all of them at once, and adds what they tell to a page.
    pub(crate) async fn show(&self, page: &mut Page) {
        let told = join_all(self.0.iter().map(Region::ask)).await;
        let told: Vec<_> = self.0.iter().zip(told).collect();
        page.metric(&REDIS_UP);
        for (region, told) in &told {
            page.sample(&REDIS_UP, &[&region.name], u8::from(told.is_some()));
        }
        let now_ms = clock::now_ms();
        page.metric(&AGE_SECONDS);
        for (region, told) in &told {
            let tidemark = told.as_ref().and_then(|told| told.tidemark);
            if let Some(tidemark) = tidemark {
                let age_ms = now_ms.saturating_sub(tidemark.as_of).max(0);
                let age = Duration::from_millis(age_ms.unsigned_abs());
                page.sample(&AGE_SECONDS, &[&region.name], age.as_secs_f64());
            }
        }
        for (metric, field) in &FIGURES {
            page.metric(metric);
            for (region, told) in &told {
                let figure = told.as_ref().and_then(|told| figure(&told.info, field));
                if let Some(figure) = figure {
                    page.sample(metric, &[&region.name], figure);
                }
            }
        }
    }
}

impl Region {
    /// Nothing if it does not answer in time, or refuses.
    async fn ask(&self) -> Option<Told> {
        let mut redis = self.redis.clone();
        let mut questions = redis::pipe();
        questions.cmd("INFO").get(&self.tidemark);
        let answers = questions.query_async(&mut redis);
        match time::timeout(DEADLINE, answers).await {
            Ok(Ok((info, tidemark))) => {
                let tidemark: Option<Vec<u8>> = tidemark;
                Some(Told {
                    info,
                    tidemark: tidemark.and_then(|bytes| Tidemark::parse(&bytes)),
                })
            }
            Ok(Err(error)) => {
                tracing::debug!(region = self.name, %error, "no figures of its Redis");
                None
            }
            Err(_) => None,
        }
    }
}

/// A figure of `INFO`, if it tells it and it is one.
fn figure(info: &str, field: &str) -> Option<f64> {
    let value = info
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.trim().parse().ok().filter(|it: &f64| it.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_their_whole_name() {
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
