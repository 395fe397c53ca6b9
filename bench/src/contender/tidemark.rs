//! Tidemark as shipped: `tidemark-host` with the repository's `spin.toml`, and `tidemark-origin serve`. Also
//! that origin alone, as what there is without a cache.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tidemark_tests::{
    edge::{EdgeConfig, Runner},
    origin::OriginConfig,
    port::local,
    server::Server,
    stack,
};

use super::{Contender, Ending, Invalidation};
use crate::site::{Database, Site};

/// How long the relay may take to become the leader and write the first tidemark.
const LEADS: Duration = Duration::from_secs(30);

/// How the origin of a contender on this site is started.
pub fn origin_config(site: &Site, database: &Database, name: &str) -> OriginConfig {
    OriginConfig {
        catalog: site.catalog(),
        database_url: database.url().to_owned(),
        redis_url: site.redis.url(),
        listen: local(0),
        log: site.file(&format!("{name}.log")),
        lease: None,
        environment: Vec::new(),
    }
}

/// How the edge of a contender on this site is started.
///
/// # Errors
/// There is no place for the compiled component.
pub fn edge_config(site: &Site, origin: &str) -> anyhow::Result<EdgeConfig> {
    Ok(EdgeConfig {
        runner: Runner::Host,
        manifest: site.manifest().to_owned(),
        listen: local(0),
        variables: vec![
            ("redis_url", site.redis.url()),
            ("origin_url", origin.to_owned()),
        ],
        environment: Vec::new(),
        cache: stack::edge_cache()?,
        log: site.file("edge.log"),
        lease: None,
    })
}

/// Starts edge and origin, and waits until the relay leads. Reads go to the edge, writes to the origin.
///
/// # Errors
/// One of them does not start.
pub async fn start(site: &Site, database: &Database) -> anyhow::Result<Contender> {
    let origin = origin_config(site, database, "origin").start().await?;
    let edge = edge_config(site, origin.url())?.start().await?;
    relay_leads(site).await?;
    Ok(with(edge, origin))
}

fn with(edge: Server, origin: Server) -> Contender {
    let writes = origin.url().to_owned();
    let mut contender = Contender::of("Tidemark", Invalidation::AnyChange, edge);
    contender.writes = Some(writes);
    contender.servers.push(origin);
    // Otherwise it waits until its instances have been idle for a second.
    contender.ending = Ending::AtOnce;
    contender
}

/// Starts an origin to be asked directly: every answer is made by its SQL. It remembers nothing.
///
/// # Errors
/// It does not start.
pub async fn uncached(site: &Site, database: &Database) -> anyhow::Result<Contender> {
    let mut config = origin_config(site, database, "uncached");
    config
        .environment
        .push(("TIDEMARK_MEMORY_BYTES", "0".to_owned()));
    let origin = config.start().await?;
    let url = origin.url().to_owned();
    let mut contender = Contender::of("Origin, no cache", Invalidation::Uncached, origin);
    contender.metrics = Some(format!("{url}/metrics"));
    contender.writes = Some(url);
    Ok(contender)
}

/// How many requests have shared another one's statement so far, by the metrics of an origin. (It tells nothing of a
/// query that none has been of yet.)
pub(super) fn coalesced(metrics: &str) -> anyhow::Result<u64> {
    let lines = metrics.lines().filter(|line| {
        line.strip_prefix("tidemark_queries_coalesced_total")
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    });
    lines
        .map(|line| {
            let value = line
                .rsplit_once(' ')
                .and_then(|(_, it)| it.parse::<u64>().ok());
            value.with_context(|| format!("the origin tells {line}"))
        })
        .sum()
}

/// Waits until a relay has written a tidemark after this moment.
///
/// # Errors
/// None does in time.
pub async fn relay_leads(site: &Site) -> anyhow::Result<()> {
    let before = site.redis.tidemark().await?.map(|tidemark| tidemark.as_of);
    let deadline = Instant::now() + LEADS;
    loop {
        let now = site.redis.tidemark().await?.map(|tidemark| tidemark.as_of);
        if now.is_some() && now != before {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "no relay leads after {LEADS:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_coalesced_is_read_over_all_queries() {
        let metrics = "# TYPE tidemark_queries_coalesced_total counter\n\
            tidemark_queries_coalesced_total{query=\"dashboard\"} 12\n\
            tidemark_queries_coalesced_total{query=\"a b\"} 3\n\
            tidemark_queries_total 99\n";
        assert_eq!(coalesced(metrics).unwrap(), 15);
        assert_eq!(coalesced("").unwrap(), 0);
        assert!(coalesced("tidemark_queries_coalesced_total{} many").is_err());
    }
}
