//! What one entry is, and what an edge would do with it now.

use bytes::Bytes;
use redis::{AsyncCommands as _, aio::ConnectionManager};
use serde::Serialize;
use tidemark_shared::{
    catalog::Catalog,
    content::{Damaged, Encoding},
    entry::{Entry, EntryError},
    freshness::{Verdict, decide},
    key::Keyspace,
    outcome::Outcome,
    route::Router,
    scope::Scope,
};

use super::look_up;
use crate::{clock::now_ms, question::Question};

/// An entry, decoded, beside what governs it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Its name in Redis.
    pub name: String,
    /// The request that it answers; empty where that was too long to be kept.
    pub request: String,
    /// The query.
    pub query: String,
    /// The scopes that it depends on.
    pub scopes: Vec<String>,
    /// The answer's HTTP status.
    pub status: u16,
    /// The answer's length, in bytes.
    pub body_bytes: usize,
    /// How it is stored: `identity` or `gzip`.
    pub encoding: &'static str,
    /// What Redis holds, in bytes.
    pub entry_bytes: usize,
    /// The answer's entity tag.
    pub etag: String,
    /// The epoch in which it was filled.
    pub epoch: String,
    /// When PostgreSQL made the answer, in ms since the Unix epoch by the database's clock.
    pub as_of_ms: i64,
    /// When its ttl ends, in ms since the Unix epoch by the filler's clock.
    pub fresh_until_ms: i64,
    /// When Redis forgets it, in ms from now; `None` for never.
    pub expires_in_ms: Option<i64>,
    /// What an edge would do with it now: the name of an [`Outcome`].
    pub outcome: &'static str,
    /// When it was last proven true, in ms since the Unix epoch by the database's clock, where an edge
    /// would serve it.
    pub proven_at_ms: Option<i64>,
    /// The answer itself.
    #[serde(skip)]
    pub body: Bytes,
}

/// Why there is nothing to be seen.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Redis does not answer.
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    /// Nothing has this name.
    #[error("nothing is cached under {0}")]
    Absent(String),
    /// Something else has this name.
    #[error("{name} is no entry: {source}")]
    NotAnEntry {
        /// The name in Redis.
        name: String,
        /// What is wrong with it.
        source: EntryError,
    },
    /// An entry whose answer can't be read.
    #[error("{name}: {source}")]
    Damaged {
        /// The name in Redis.
        name: String,
        /// What is wrong with it.
        source: Damaged,
    },
    /// An entry that does not say what it answers, or another catalog's.
    #[error("{name} answers no request of this catalog (it says {target:?})")]
    Foreign {
        /// The name in Redis.
        name: String,
        /// The request that it claims to answer; empty where that was too long to be kept.
        target: String,
    },
    /// A request that this catalog does not answer.
    #[error("{0} is no request of this catalog")]
    UnknownRequest(String),
}

/// Looks at the entries of one Redis.
pub struct Inspector<'a> {
    /// Whose answers they are.
    pub catalog: &'a Catalog,
    /// Its routes.
    pub routes: &'a Router,
    /// The names in Redis.
    pub keyspace: &'a Keyspace,
    /// The Redis.
    pub redis: ConnectionManager,
}

impl Inspector<'_> {
    /// The entry that answers a request, written as its path and query string.
    ///
    /// # Errors
    /// See [`InspectError`].
    pub async fn of_request(&mut self, target: &str) -> Result<Inspection, InspectError> {
        let question = Question::of_target(self.catalog, self.routes, target)
            .map_err(|_| InspectError::UnknownRequest(target.to_owned()))?;
        self.inspect(&question).await
    }

    /// The entry of this name in Redis.
    ///
    /// # Errors
    /// See [`InspectError`].
    pub async fn of_name(&mut self, name: &str) -> Result<Inspection, InspectError> {
        let bytes: Option<Vec<u8>> = self.redis.get(name).await?;
        let bytes = bytes.ok_or_else(|| InspectError::Absent(name.to_owned()))?;
        let target =
            Entry::target_of(&bytes.into()).map_err(|source| not_an_entry(name, source))?;
        let target = String::from_utf8_lossy(&target).into_owned();
        let question = Question::of_target(self.catalog, self.routes, &target)
            .ok()
            .filter(|question| self.keyspace.entry(&question.key) == name);
        match question {
            Some(question) => self.inspect(&question).await,
            None => Err(InspectError::Foreign {
                name: name.to_owned(),
                target,
            }),
        }
    }

    async fn inspect(&mut self, question: &Question<'_>) -> Result<Inspection, InspectError> {
        let name = self.keyspace.entry(&question.key);
        let demand = question.demand();
        let mut redis = self.redis.clone();
        let ((bytes, observed), expires_in_ms): (_, i64) = tokio::try_join!(
            look_up(&self.redis, self.keyspace, question),
            redis.pttl(&name),
        )?;
        let bytes = bytes.ok_or_else(|| InspectError::Absent(name.clone()))?;
        let entry =
            Entry::decode(&bytes, &question.key).map_err(|source| not_an_entry(&name, source))?;
        let body = entry
            .content
            .body()
            .map_err(|source| InspectError::Damaged {
                name: name.clone(),
                source,
            })?;
        let (outcome, proven_at_ms) = match decide(&demand, Some(&bytes), &observed, now_ms()) {
            Verdict::Fresh { proven_at_ms, .. } => (Outcome::Hit, Some(proven_at_ms)),
            Verdict::Stale { proven_at_ms, .. } => (Outcome::Revalidate, Some(proven_at_ms)),
            Verdict::Fill { outcome, .. } => (outcome, None),
        };
        Ok(Inspection {
            name,
            request: String::from_utf8_lossy(&entry.target).into_owned(),
            query: question.query.name.clone(),
            scopes: question.scopes.iter().map(Scope::to_string).collect(),
            status: entry.status,
            body_bytes: body.len(),
            encoding: entry.content.encoding.name().unwrap_or("identity"),
            entry_bytes: bytes.len(),
            etag: entry.etag.header(Encoding::Identity),
            epoch: entry.epoch.to_string(),
            as_of_ms: entry.as_of_ms,
            fresh_until_ms: entry.fresh_until_ms,
            // Below 0: it has no end, or has just been there.
            expires_in_ms: (expires_in_ms >= 0).then_some(expires_in_ms),
            outcome: outcome.name(),
            proven_at_ms,
            body,
        })
    }
}

fn not_an_entry(name: &str, source: EntryError) -> InspectError {
    InspectError::NotAnEntry {
        name: name.to_owned(),
        source,
    }
}
