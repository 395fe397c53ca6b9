//! The relay: drains the outbox into Redis, so that every cached answer can be judged.
//!
//! One cycle, at least every [`RelayConfig::poll`]:
//!
//! 1. read `as_of` and, in a snapshot that is not older, all visible outbox rows ([`outbox`]);
//! 2. write a new stamp for each distinct scope and wait for the replies ([`region`]);
//! 3. write the tidemark, if the outbox was drained whole and no higher term has written one;
//! 4. publish the event;
//! 5. delete the rows and record the event, in one transaction.
//!
//! A crash between any two steps only repeats invalidations. All *visible* rows are taken, not
//! those beyond a last id: ids are handed out before commits, so a slow transaction's row may
//! appear below one that was taken long ago.
//!
//! One relay leads at a time: it holds an advisory lock on the very connection that drains, so
//! that it cannot drain once it has lost the lock. Its term, from a sequence, fences what it may
//! still write to Redis after that.

pub mod outbox;
mod region;

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection};
use tidemark_shared::{
    digest::Digest,
    event::{Event, EventId},
    key::Keyspace,
};
use tokio::{sync::Notify, time};

use crate::{database::Database, tide::TideGauge};
use region::Region;
pub use region::RegionError;

/// The advisory lock of the leading relay: "tidemark" in ASCII.
const LEADER_LOCK: i64 = i64::from_be_bytes(*b"tidemark");

/// How long a relay that does not lead, or that failed, waits before it tries again.
const RETRY: Duration = Duration::from_millis(250);

/// How long a cycle, or a step towards one, may take before its connections count as dead.
const STEP_DEADLINE: Duration = Duration::from_secs(10);

/// What a relay needs.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// The database whose outbox it drains.
    pub database: Database,
    /// The Redis that it writes to.
    pub redis: redis::Client,
    /// The names in that Redis.
    pub keyspace: Keyspace,
    /// How long a stamp lives.
    pub stamp_ttl: Duration,
    /// Names the catalog whose answers are cached: another one begins a new epoch.
    pub catalog: Digest,
    /// The longest pause between two cycles.
    pub poll: Duration,
}

/// The task that leads, or waits to lead.
#[derive(Debug)]
pub struct Relay {
    config: RelayConfig,
    wake: Arc<Notify>,
    gauge: TideGauge,
}

/// Why a relay stopped leading; it tries again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The outbox can't be drained.
    #[error("PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    /// The invalidations can't be applied.
    #[error("Redis: {0}")]
    Region(#[from] RegionError),
    /// A relay of a higher term has taken over.
    #[error("a relay of a higher term writes to this Redis")]
    Deposed,
    /// PostgreSQL or Redis did not answer in time.
    #[error("no answer within {STEP_DEADLINE:?}")]
    Deadline,
    /// The database says that something happened that this version can't read.
    #[error(
        "tidemark.{0} holds what this version can't read; run: tidemark-origin uninstall, then install"
    )]
    Illegible(&'static str),
}

impl Relay {
    /// A relay that is woken through `wake` and says on `gauge` how far it has come.
    pub fn new(config: RelayConfig, wake: Arc<Notify>, gauge: TideGauge) -> Self {
        Self {
            config,
            wake,
            gauge,
        }
    }

    /// Leads whenever it can, for ever; failures are logged and tried again. It may be dropped at
    /// any moment: a cycle that is cut off is only repeated.
    pub async fn run(self) {
        let mut failing = false;
        loop {
            let outcome = self.lead(&mut failing).await;
            self.gauge.fall_back();
            if let Err(error) = outcome {
                // Once for each run of failures: four times a second would drown everything else.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "relay stopped leading; it keeps trying");
                }
            }
            time::sleep(RETRY).await;
        }
    }

    /// Waits for the leadership and leads until something fails.
    async fn lead(&self, failing: &mut bool) -> Result<(), RelayError> {
        let mut database =
            in_time(PgConnection::connect_with(self.config.database.options())).await?;
        while !in_time(try_lock(&mut database)).await? {
            time::sleep(RETRY).await;
        }
        let (mut region, mut state) = in_time(self.begin(&mut database)).await?;
        tracing::info!(
            term = state.term,
            epoch = %region.epoch(),
            region = region.name(),
            "relay leads"
        );
        *failing = false;
        loop {
            if in_time(self.cycle(&mut database, &mut region, &mut state)).await? {
                // A wake that came during the cycle is kept, so nothing waits for the poll in vain.
                let _ = time::timeout(self.config.poll, self.wake.notified()).await;
            }
        }
    }

    /// Takes up the work where the last leader left it.
    async fn begin(&self, database: &mut PgConnection) -> Result<(Region, Leadership), RelayError> {
        let mut region = Region::connect(
            &self.config.redis,
            &self.config.keyspace,
            self.config.stamp_ttl,
        )
        .await?;
        let term = outbox::next_term(database).await?;
        region
            .continue_or_begin_epoch(database, &self.config.catalog)
            .await?;
        let state = Leadership {
            term,
            last: outbox::last_event(database).await?,
            next: EventId { term, seq: 1 },
            as_of: 0,
            horizon: outbox::begin(database).await?,
        };
        Ok((region, state))
    }

    /// One cycle; false if there is more in the outbox than one cycle takes.
    async fn cycle(
        &self,
        database: &mut PgConnection,
        region: &mut Region,
        state: &mut Leadership,
    ) -> Result<bool, RelayError> {
        let drained = outbox::drain(database, &state.horizon).await?;
        region.stamp(&drained.scopes, drained.as_of).await?;
        if drained.whole {
            state.as_of = drained.as_of;
        }
        let event = Event {
            id: state.next,
            prev: state.last,
            epoch: region.epoch(),
            as_of: state.as_of,
            scopes: drained.scopes,
        };
        if drained.whole && !region.write_tidemark(state.term, &event).await? {
            return Err(RelayError::Deposed);
        }
        region.publish(&event).await?;
        if !drained.rows.is_empty() {
            outbox::settle(database, &drained.rows, event.id).await?;
            tracing::debug!(event = %event.id, scopes = event.scopes.len(), "changes applied");
        }
        state.horizon = drained.next;
        state.last = event.id;
        state.next = event.id.next();
        if drained.whole {
            self.gauge.rise(state.as_of);
        }
        Ok(drained.whole)
    }
}

/// How far one leadership has come.
struct Leadership {
    term: i64,
    last: EventId,
    next: EventId,
    as_of: i64,
    /// From where the outbox has to be read.
    horizon: outbox::Horizon,
}

/// A connection whose other end vanished says nothing at all, for hours.
async fn in_time<T, E>(step: impl Future<Output = Result<T, E>>) -> Result<T, RelayError>
where
    RelayError: From<E>,
{
    time::timeout(STEP_DEADLINE, step)
        .await
        .map_err(|_| RelayError::Deadline)?
        .map_err(RelayError::from)
}

async fn try_lock(database: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(LEADER_LOCK)
        .fetch_one(database)
        .await
}
