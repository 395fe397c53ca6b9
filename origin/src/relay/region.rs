//! One region's Redis, as the relay writes it: stamps, then tidemark, then event.

use std::time::Duration;

use redis::{AsyncCommands as _, Script, aio::MultiplexedConnection};
use sqlx::PgConnection;
use tidemark_shared::{
    digest::Digest, epoch::Epoch, event::Event, key::Keyspace, scope::Scope, stamp::Stamp,
    tidemark::Tidemark,
};

/// Replaces the tidemark unless one of a higher term is there. An illegible one is replaced.
const WRITE_TIDEMARK: &str = r"
local held = redis.call('GET', KEYS[1])
if held then
  local legible, tidemark = pcall(cjson.decode, held)
  if legible and type(tidemark) == 'table' and tonumber(tidemark.term)
     and tonumber(tidemark.term) > tonumber(ARGV[1]) then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
";

/// A connection to one unbroken life of a Redis. It is never re-established behind the relay's
/// back: whoever connects again has to look whether this is still the same Redis.
pub(super) struct Region {
    redis: MultiplexedConnection,
    keyspace: Keyspace,
    stamp_ttl: Duration,
    name: String,
    identity: Identity,
    epoch: Epoch,
    write_tidemark: Script,
}

/// What changes when a Redis restarts (`run_id`) or another one takes its place (`repl_id`).
#[derive(PartialEq, Eq)]
struct Identity {
    run_id: String,
    repl_id: String,
}

/// Why a Redis can't be written.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// It does not answer, or refuses.
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    /// It does not say who it is.
    #[error("INFO does not tell {0}; the relay's user needs the command INFO")]
    Anonymous(&'static str),
}

impl Region {
    pub(super) async fn connect(
        client: &redis::Client,
        keyspace: &Keyspace,
        stamp_ttl: Duration,
    ) -> Result<Self, RegionError> {
        let mut redis = client.get_multiplexed_async_connection().await?;
        let identity = identify(&mut redis).await?;
        let info = client.get_connection_info();
        Ok(Self {
            redis,
            name: format!(
                "{}/{} {}",
                info.addr(),
                info.redis_settings().db(),
                keyspace.tidemark()
            ),
            keyspace: keyspace.clone(),
            stamp_ttl,
            identity,
            epoch: new_epoch(),
            write_tidemark: Script::new(WRITE_TIDEMARK),
        })
    }

    /// Stays in the recorded epoch if nothing can have been lost since, else begins a new one:
    /// the Redis must be the same life of the same server, still hold that epoch's tidemark, and
    /// the catalog must be the same, since answers of other SQL prove nothing.
    pub(super) async fn continue_or_begin_epoch(
        &mut self,
        database: &mut PgConnection,
        catalog: &Digest,
    ) -> Result<(), super::RelayError> {
        let catalog = catalog.to_string();
        let recorded: Option<(String, String, String, String)> = sqlx::query_as(
            "SELECT run_id, repl_id, catalog, epoch FROM tidemark.region WHERE name = $1",
        )
        .bind(&self.name)
        .fetch_optional(&mut *database)
        .await?;
        if let Some((run_id, repl_id, recorded_catalog, epoch)) = recorded
            && self.identity == (Identity { run_id, repl_id })
            && recorded_catalog == catalog
            && let Some(epoch) = Epoch::parse(&epoch)
            && self
                .tidemark()
                .await?
                .is_some_and(|held| held.epoch == epoch)
        {
            self.epoch = epoch;
            return Ok(());
        }
        // Recorded before the first tidemark of the epoch, so that no later leader can take an
        // older record for the current one.
        sqlx::query(
            "INSERT INTO tidemark.region (name, run_id, repl_id, catalog, epoch)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (name) DO UPDATE SET run_id = EXCLUDED.run_id,
                repl_id = EXCLUDED.repl_id, catalog = EXCLUDED.catalog, epoch = EXCLUDED.epoch",
        )
        .bind(&self.name)
        .bind(&self.identity.run_id)
        .bind(&self.identity.repl_id)
        .bind(&catalog)
        .bind(self.epoch.to_string())
        .execute(database)
        .await?;
        Ok(())
    }

    /// Where this Redis is, without credentials.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The epoch that tidemarks of this connection name.
    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Gives each scope a new stamp and waits until Redis has them all.
    pub(super) async fn stamp(&mut self, scopes: &[Scope], now_ms: i64) -> Result<(), RegionError> {
        if scopes.is_empty() {
            return Ok(());
        }
        let ttl_ms = u64::try_from(self.stamp_ttl.as_millis()).unwrap_or(u64::MAX);
        let mut pipeline = redis::pipe();
        for scope in scopes {
            let stamp = Stamp::new(now_ms, rand::random());
            pipeline
                .pset_ex(self.keyspace.stamp(scope), stamp.to_string(), ttl_ms)
                .ignore();
        }
        Ok(pipeline.query_async(&mut self.redis).await?)
    }

    /// Writes the tidemark that the event stands for; false if a higher term has written one.
    pub(super) async fn write_tidemark(
        &mut self,
        term: i64,
        event: &Event,
    ) -> Result<bool, RegionError> {
        let tidemark = Tidemark {
            term,
            epoch: event.epoch,
            as_of: event.as_of,
            event: event.id,
            catalog: event.catalog,
            upstream: None,
        };
        Ok(self
            .write_tidemark
            .key(self.keyspace.tidemark())
            .arg(term)
            .arg(tidemark.to_json())
            .invoke_async(&mut self.redis)
            .await?)
    }

    /// Publishes the event; nobody needs to be listening.
    pub(super) async fn publish(&mut self, event: &Event) -> Result<(), RegionError> {
        // An event is texts and numbers, which always serialize.
        let json = serde_json::to_string(event).unwrap_or_default();
        Ok(self.redis.publish(self.keyspace.events(), json).await?)
    }

    async fn tidemark(&mut self) -> Result<Option<Tidemark>, RegionError> {
        let held: Option<Vec<u8>> = self.redis.get(self.keyspace.tidemark()).await?;
        Ok(held.and_then(|bytes| Tidemark::parse(&bytes)))
    }
}

async fn identify(redis: &mut MultiplexedConnection) -> Result<Identity, RegionError> {
    let info: String = redis::cmd("INFO").query_async(redis).await?;
    let field = |name: &'static str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
            .ok_or(RegionError::Anonymous(name))
    };
    Ok(Identity {
        run_id: field("run_id")?,
        repl_id: field("master_replid")?,
    })
}

fn new_epoch() -> Epoch {
    Epoch::new(rand::random())
}
