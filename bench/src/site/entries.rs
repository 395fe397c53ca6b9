//! True entries without asking the origin for each: made by the very code by which an edge makes them, from what
//! it would have observed.

use std::{fs, ops::RangeInclusive, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use redis::{AsyncCommands as _, Pipeline, aio::MultiplexedConnection};
use tidemark_shared::{
    catalog::Catalog,
    fill::{Answer, Provenance},
    freshness::Observation,
    key::{Key, Keyspace},
    param::Params,
    route::{self, Endpoint, Router},
    stamp::Stamp,
    tidemark::Tidemark,
};

use super::{Site, age::now_ms};
use crate::say;

/// How many are stored at a time.
const BATCH: u64 = 1_000;

/// Stores entries in the site's Redis.
#[derive(Debug)]
pub struct Entries {
    catalog: Catalog,
    router: Router,
    keyspace: Keyspace,
    redis: MultiplexedConnection,
    /// Of the scopes that entries have in common: the family, tables.
    shared_stamp: String,
}

impl Entries {
    /// Of the catalog of the run.
    ///
    /// # Errors
    /// Redis is not there.
    pub async fn of(site: &Site) -> anyhow::Result<Self> {
        let file = site.catalog().join("tidemark.toml");
        let catalog = Catalog::parse("tidemark.toml", &fs::read_to_string(file)?)?;
        Ok(Self {
            router: Router::for_edge(&catalog),
            catalog,
            keyspace: Keyspace::default(),
            redis: site.redis().await?,
            shared_stamp: new_stamp(),
        })
    }

    /// Stores an entry for each of the paths `{path}{number}`, with a stamp of its own.
    ///
    /// # Errors
    /// Redis refuses, there is no tidemark in it, or a path is none of the catalog's.
    pub async fn fill(&self, path: &str, numbers: RangeInclusive<u64>) -> anyhow::Result<()> {
        let (mut next, last) = numbers.into_inner();
        while next <= last {
            let batch_end = last.min(next + BATCH - 1);
            let mut redis = self.redis.clone();
            let tidemark: Option<Vec<u8>> = redis.get(self.keyspace.tidemark()).await?;
            let tidemark = tidemark.context("there is no tidemark; does a relay run?")?;
            let mut pipeline = redis::pipe();
            for number in next..=batch_end {
                self.add(&mut pipeline, &tidemark, &format!("{path}{number}"), number)?;
            }
            let () = pipeline.query_async(&mut redis).await?;
            next = batch_end + 1;
            if batch_end.is_multiple_of(200_000) {
                say(format_args!("{batch_end} entries are stored"));
            }
        }
        Ok(())
    }

    fn add(
        &self,
        pipeline: &mut Pipeline,
        tidemark: &[u8],
        path: &str,
        number: u64,
    ) -> anyhow::Result<()> {
        let routed = self.router.route(&self.catalog, &Method::GET, path, "")?;
        let Endpoint::Query(query) = routed.endpoint else {
            anyhow::bail!("{path} is no query");
        };
        let params = Params::from_target(&query.params, &routed.path_args, "")?;
        let (key, scopes) = (Key::of(query, &params), query.scopes(&params));
        // The member's own is the entry's alone.
        let (member, own_stamp) = (query.identity(&params), new_stamp());
        let stamps = scopes
            .iter()
            .map(|scope| match Some(scope) == member.as_ref() {
                true => own_stamp.as_str(),
                false => self.shared_stamp.as_str(),
            });
        let observed = Observation::read(
            Some(tidemark),
            stamps.clone().map(|stamp| Some(stamp.as_bytes())),
        );
        let tidemark = Tidemark::parse(tidemark).context("the tidemark is illegible")?;
        let permit = observed
            .permit(&key, &scopes)
            .context("nothing permits an entry")?;
        let body = format!(
            "{{\"id\":{number},\"name\":\"item {number}\",\"price\":{}.50}}",
            number % 1000
        );
        let provenance = Provenance::of(tidemark.catalog, &scopes);
        let answer = Answer::new(200, tidemark.as_of, provenance, Bytes::from(body));
        let target = route::target(query, &params);
        let sealed = permit
            .seal(&query.policy, target, &answer, now_ms(), rand::random())
            .context("the permit does not admit the answer")?;
        for (scope, stamp) in scopes.iter().zip(stamps) {
            let life = millis(self.catalog.stamp_ttl());
            pipeline
                .pset_ex(self.keyspace.stamp(scope), stamp, life)
                .ignore();
        }
        let (key, bytes, life) = sealed.into_parts();
        pipeline
            .pset_ex(self.keyspace.entry(&key), bytes, millis(life))
            .ignore();
        Ok(())
    }
}

fn new_stamp() -> String {
    Stamp::new(now_ms(), rand::random()).to_string()
}

fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX)
}
