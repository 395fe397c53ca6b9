//! One region's Redis, as relay and cache manager write it: stamps, tidemark and event in one step.
//!
//! Each event is applied by one script, atomically, and only over the very tidemark that this writer
//! knows. So a Redis that fell back to an older state, also behind a proxy that keeps the connection
//! open, can't keep a tidemark and lose its stamps; and a relay that has been deposed can't write at
//! all. Nothing is re-established behind the writer's back: whoever connects again looks first at what
//! is held, and decides (see [`tidemark_shared::history`]).

use std::{fmt, sync::LazyLock, time::Duration};

use redis::{AsyncCommands as _, InfoDict, Script, aio::MultiplexedConnection};
use tidemark_shared::{
    epoch::Epoch, event::Event, key::Keyspace, scope::Scope, stamp::Stamp, tidemark::Tidemark,
};
use tokio::time;

static APPLY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("apply.lua")));

/// A Redis to be written.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    client: redis::Client,
    keyspace: Keyspace,
}

impl Target {
    pub(crate) fn new(client: redis::Client, keyspace: Keyspace) -> Self {
        Self { client, keyspace }
    }

    /// The way to it.
    pub(crate) const fn client(&self) -> &redis::Client {
        &self.client
    }

    /// Connects, looks at what is there, and hands over the script: no event has to wait for that.
    pub(crate) async fn connect(&self) -> Result<Found, RegionError> {
        let mut redis = self.client.get_multiplexed_async_connection().await?;
        let (info, _): (InfoDict, String) = redis::pipe()
            .cmd("INFO")
            .cmd("SCRIPT")
            .arg("LOAD")
            .arg(include_str!("apply.lua"))
            .query_async(&mut redis)
            .await?;
        let identity = identity(&info)?;
        if is_cluster_node(&info) && !self.keyspace.is_in_one_slot() {
            return Err(RegionError::Scattered);
        }
        let held = Held::read(&mut redis, &self.keyspace).await?;
        Ok(Found {
            redis,
            identity,
            held,
        })
    }
}

/// Where it is, without credentials: address, database and the tidemark's name.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.client.get_connection_info();
        let database = info.redis_settings().db();
        let tidemark = self.keyspace.tidemark();
        write!(f, "{}/{database} {tidemark}", info.addr())
    }
}

/// A connection that has just been made, and what was found at its other end.
pub(crate) struct Found {
    redis: MultiplexedConnection,
    identity: String,
    held: Held,
}

impl Found {
    /// Which life of which server this is: its `run_id` and its replication id.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// The tidemark that it holds, if there is a legible one.
    pub(crate) const fn tidemark(&self) -> Option<&Tidemark> {
        self.held.tidemark.as_ref()
    }
}

/// The tidemark of a Redis: the exact bytes, and what they mean.
struct Held {
    bytes: Vec<u8>,
    tidemark: Option<Tidemark>,
}

impl Held {
    async fn read(
        redis: &mut MultiplexedConnection,
        keyspace: &Keyspace,
    ) -> Result<Self, RegionError> {
        let value: redis::RedisResult<Option<Vec<u8>>> = redis.get(keyspace.tidemark()).await;
        let bytes = match value {
            Ok(bytes) => bytes.unwrap_or_default(),
            // As the script sees it: somebody else's value of this name is no tidemark.
            Err(error) if error.code() == Some("WRONGTYPE") => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            tidemark: Tidemark::parse(&bytes),
            bytes,
        })
    }
}

/// A Redis that can be written, and the tidemark that it holds as far as its writer knows.
pub(crate) struct Region {
    redis: MultiplexedConnection,
    keyspace: Keyspace,
    held: Held,
}

/// Why a Redis can't be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegionError {
    /// It does not answer, or refuses.
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    /// It does not answer in time.
    #[error("no answer in time")]
    Silent,
    /// It does not say who it is.
    #[error("INFO does not tell {0}; the user needs the command INFO")]
    Anonymous(&'static str),
    /// Its names lie at several servers, where nothing can be applied in one step.
    #[error(
        "this is a node of a cluster, which would spread the names; give them a hash tag of their own: \
         --key-prefix '{{tm}}:', and the same as the edges' key_prefix"
    )]
    Scattered,
    /// Its tidemark is not the one that was written last: it was evicted, or this Redis has fallen
    /// back to an older state, or another writer has been here.
    #[error("its tidemark is not the one that was written last")]
    Overtaken,
}

impl Region {
    /// A region to be written through this connection, in the keyspace of its target.
    pub(crate) fn new(target: &Target, found: Found) -> Self {
        Self {
            redis: found.redis,
            keyspace: target.keyspace.clone(),
            held: found.held,
        }
    }

    /// The tidemark that it holds, if there is a legible one.
    pub(crate) const fn tidemark(&self) -> Option<&Tidemark> {
        self.held.tidemark.as_ref()
    }

    /// Looks again at what it holds.
    pub(crate) async fn look(&mut self) -> Result<(), RegionError> {
        self.held = Held::read(&mut self.redis, &self.keyspace).await?;
        Ok(())
    }

    /// Stamps the event's scopes, writes the tidemark that it stands for and publishes it, all or
    /// nothing. `upstream` is the epoch of the Redis that the event comes from, if not this one.
    ///
    /// All scopes of an event get the same stamp: it is as new to each of them as one of its own. Parts
    /// that have none get none: see `apply.lua`.
    ///
    /// # Errors
    /// [`RegionError::Overtaken`] where nothing was written; any other error leaves open whether the
    /// event was applied, now or later.
    pub(crate) async fn apply(
        &mut self,
        event: &Event,
        upstream: Option<Epoch>,
    ) -> Result<(), RegionError> {
        let tidemark = Tidemark {
            term: event.id.term,
            epoch: event.epoch,
            as_of: event.as_of,
            event: event.id,
            catalog: event.catalog,
            upstream,
        };
        let bytes = tidemark.to_json().into_bytes();
        let stamp = Stamp::new(event.as_of, rand::random());
        let mut script = APPLY.key(self.keyspace.tidemark());
        let is_part = |scope: &&Scope| matches!(scope, Scope::Part { .. });
        let (parts, others): (Vec<_>, Vec<_>) = event.scopes.iter().partition(is_part);
        let before_parts = 1 + others.len();
        for scope in others.into_iter().chain(parts) {
            script.key(self.keyspace.stamp(scope));
        }
        script
            .arg(&self.held.bytes)
            .arg(&bytes)
            .arg(stamp.to_string())
            .arg(event.stamp_ttl_ms)
            .arg(self.keyspace.events())
            // An event is texts and numbers, which always serialize.
            .arg(serde_json::to_string(event).unwrap_or_default())
            .arg(before_parts);
        let applied: bool = script.invoke_async(&mut self.redis).await?;
        if !applied {
            return Err(RegionError::Overtaken);
        }
        self.held = Held {
            bytes,
            tidemark: Some(tidemark),
        };
        Ok(())
    }
}

/// Which life of which server says this of itself.
fn identity(info: &InfoDict) -> Result<String, RegionError> {
    let field = |name| info.get::<String>(name).ok_or(RegionError::Anonymous(name));
    Ok(format!("{} {}", field("run_id")?, field("master_replid")?))
}

/// Whether a server only holds what lies in its slots of a Redis Cluster.
pub(crate) fn is_cluster_node(info: &InfoDict) -> bool {
    info.get::<u8>("cluster_enabled") == Some(1)
}

/// A step that a Redis may only take so long for.
pub(crate) async fn within<T>(
    bound: Duration,
    step: impl Future<Output = Result<T, RegionError>>,
) -> Result<T, RegionError> {
    time::timeout(bound, step)
        .await
        .map_err(|_| RegionError::Silent)?
}

/// A token for an epoch that begins now.
pub(crate) fn new_epoch() -> Epoch {
    Epoch::new(rand::random())
}
