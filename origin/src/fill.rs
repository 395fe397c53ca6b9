//! Fills the cache without a request: for [refresh](crate::refresh) and [`warm`](crate::warm).
//!
//! It does what an edge does on a miss, in the same order, which the types enforce: observe, give each
//! scope a stamp, *then* ask, then store by the permit of that observation.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tidemark_shared::{
    fill::Sealed,
    freshness::{Observation, Verdict, decide},
    key::Keyspace,
    route,
    stamp::Stamp,
};

use crate::{
    clock,
    entries::{get_all, look_up},
    queries::{Queries, QueryError},
    question::Question,
};

/// How long Redis may take for one step: an answer may be long.
const STEP: Duration = Duration::from_secs(2);

/// Fills a Redis with answers of a catalog's queries.
pub struct Filler<'a> {
    /// The way of the queries to the database.
    pub queries: &'a Queries,
    /// The Redis to be filled.
    pub redis: ConnectionManager,
    /// The names in it.
    pub keyspace: &'a Keyspace,
    /// How long a new stamp lives.
    pub stamp_ttl: Duration,
}

/// What was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// The query's rows.
    Answer,
    /// That there is no row, which is an answer like any other.
    NoRow,
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// Redis does not answer, or refuses.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// The query has no answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Nothing that is stored could be proven.
    #[error("there is no tidemark in Redis; is a relay running?")]
    NoTidemark,
    /// It was evicted or overwritten as soon as it was set.
    #[error("Redis does not keep the stamps")]
    Unstamped,
    /// The relay works with another catalog.
    #[error("the tidemark in Redis is another catalog's; is the relay's catalog this one?")]
    OtherCatalog,
}

impl FillError {
    /// Whether another question may well be filled all the same.
    pub fn is_of_question(&self) -> bool {
        match self {
            Self::Query(_) | Self::Unstamped => true,
            Self::Redis(_) | Self::NoTidemark | Self::OtherCatalog => false,
        }
    }
}

/// How a filler connects: no step may hang.
pub fn redis_config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new().set_response_timeout(Some(STEP))
}

impl Filler<'_> {
    /// Whether what is cached may be served, so that there is nothing to fill.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn is_fresh(&self, question: &Question<'_>) -> redis::RedisResult<bool> {
        let (entry, observed) = look_up(&self.redis, self.keyspace, question).await?;
        let demand = question.demand();
        let verdict = decide(&demand, entry.as_ref(), &observed, clock::now_ms());
        Ok(matches!(verdict, Verdict::Fresh { .. }))
    }

    /// Asks the database, and stores the answer.
    ///
    /// # Errors
    /// See [`FillError`].
    pub async fn fill(&self, question: &Question<'_>) -> Result<Filled, FillError> {
        let Question {
            query,
            params,
            key,
            scopes,
        } = question;
        let demand = question.demand();
        let observed = self.observe(question).await?;
        if observed.tidemark.is_none() {
            return Err(FillError::NoTidemark);
        }
        let permit = observed.permit(key, scopes).ok_or(FillError::Unstamped)?;
        let claim = observed.claim(&demand, clock::now_ms());
        let answer = self.queries.ask(question, claim, None).await?;
        let target = route::target(query, params);
        let now_ms = clock::now_ms();
        let sealed = permit.seal(&query.policy, target, &answer, now_ms, rand::random());
        self.store(sealed.ok_or(FillError::OtherCatalog)?).await?;
        Ok(match answer.status {
            404 => Filled::NoRow,
            _ => Filled::Answer,
        })
    }

    /// What governs the answer, all at one moment, once each scope has a stamp. As at the edge, a name
    /// that holds something else is overwritten, once.
    async fn observe(&self, question: &Question<'_>) -> redis::RedisResult<Observation> {
        let names = question.demand().governing_names(self.keyspace);
        let mut observed = Observation::of_governing(&get_all(&self.redis, &names).await?);
        for condition in [Some("NX"), None] {
            if observed.missing().next().is_none() {
                break;
            }
            let mut stamps = redis::pipe();
            for place in observed.missing() {
                let stamp = Stamp::new(clock::now_ms(), rand::random());
                stamps
                    .cmd("SET")
                    .arg(self.keyspace.stamp(&question.scopes[place]))
                    .arg(stamp.to_string())
                    .arg("PX")
                    .arg(millis(self.stamp_ttl))
                    .arg(condition)
                    .ignore();
            }
            let () = stamps.query_async(&mut self.redis.clone()).await?;
            observed = Observation::of_governing(&get_all(&self.redis, &names).await?);
        }
        Ok(observed)
    }

    async fn store(&self, sealed: Sealed) -> redis::RedisResult<()> {
        let (key, bytes, life) = sealed.into_parts();
        redis::cmd("SET")
            .arg(self.keyspace.entry(&key))
            .arg(bytes)
            .arg("PX")
            .arg(millis(life))
            .query_async(&mut self.redis.clone())
            .await
    }
}

fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX)
}
