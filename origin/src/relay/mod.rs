//! The relay: drains the outbox into Redis, so that every cached answer can be judged.
//!
//! One cycle, at least every [`RelayConfig::poll`]:
//!
//! 1. read `as_of` and, in a snapshot that is not older, all visible outbox rows ([`outbox`]);
//! 2. in each region at once and in one atomic step ([`region`]): give each scope a new stamp, write
//!    the tidemark, publish the event;
//! 3. delete the rows and record the event, in one transaction.
//!
//! A crash between any two steps only repeats invalidations. All *visible* rows are taken, not
//! those beyond a last id: ids are handed out before commits, so a slow transaction's row may
//! appear below one that was taken long ago.
//!
//! One relay leads at a time ([`leadership`]): it holds an advisory lock on the very connection that
//! drains, so that it cannot drain once it has lost the lock. What it may still send to a Redis after
//! that is only applied over the tidemark that it wrote last, and so not once its successor has
//! written one.
//!
//! Before any region hears of a change, this process's own [memory](crate::memory) does. It needs no Redis:
//! while all are lost, rows are looked at for it alone, and stay.
//!
//! A region that does not answer delays neither the others nor commands ([`fleet`]). Rows leave the
//! outbox when every region that is not lost has applied them; while all are lost, they stay.

pub(crate) mod back_off;
mod fleet;
mod ground;
mod leadership;
pub mod outbox;
pub(crate) mod region;

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection};
use tidemark_shared::{digest::Digest, key::Keyspace};
use tokio::{sync::Notify, time};

use crate::{
    capture::{CaptureError, Installation},
    database::Database,
    memory::Memory,
    metrics::{self, Level},
    refresh::Heat,
    tide::TideGauge,
};
use leadership::{Cycle, Leadership};
pub(crate) use leadership::{LEADER_LOCK, silence};
use region::Target;

/// How long a relay that failed waits before it tries again.
const RETRY: Duration = Duration::from_millis(250);

/// How often a relay that does not lead looks whether it can.
const ELECTION: Duration = Duration::from_millis(100);

/// How long a step may take before the connection to PostgreSQL counts as dead. (Each region has a much
/// shorter bound of its own.)
const STEP_DEADLINE: Duration = Duration::from_secs(10);

/// What a relay needs.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// The database whose outbox it drains.
    pub database: Database,
    /// The Redis servers that it writes to.
    pub redis: Targets,
    /// The names in each Redis.
    pub keyspace: Keyspace,
    /// How long a stamp lives.
    pub stamp_ttl: Duration,
    /// Names the catalog whose answers are cached: another one begins a new epoch.
    pub catalog: Digest,
    /// The triggers that the catalog needs: without them nothing is proven.
    pub installation: Arc<Installation>,
    /// The longest pause between two cycles.
    pub poll: Duration,
}

/// The Redis servers that a relay writes to.
#[derive(Clone, Debug)]
pub struct Targets {
    /// That of the origin's own region, for which commands wait.
    pub home: redis::Client,
    /// Those of other regions.
    pub others: Vec<redis::Client>,
}

impl Targets {
    /// All of them, that of the own region first.
    pub(crate) fn targets(&self, keyspace: &Keyspace) -> Vec<Arc<Target>> {
        std::iter::once(&self.home)
            .chain(&self.others)
            .map(|client| Arc::new(Target::new(client.clone(), keyspace.clone())))
            .collect()
    }
}

/// The task that leads, or waits to lead.
#[derive(Debug)]
pub struct Relay {
    config: RelayConfig,
    targets: Vec<Arc<Target>>,
    wake: Arc<Notify>,
    gauge: TideGauge,
    memory: Arc<Memory>,
    heat: Arc<Heat>,
}

/// Why a relay stopped leading; it tries again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The outbox can't be drained.
    #[error("PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    /// Changes may go unseen.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// PostgreSQL did not answer in time.
    #[error("no answer within {STEP_DEADLINE:?}")]
    Deadline,
    /// The database says that something happened that this version can't read.
    #[error(
        "tidemark.{0} holds what this version can't read; run: tidemark-origin uninstall, then install"
    )]
    Illegible(&'static str),
}

impl Relay {
    /// A relay that is woken through `wake`, says on `gauge` how far it has come, keeps `memory` exact, and
    /// tells `heat` what has been touched.
    pub fn new(
        config: RelayConfig,
        wake: Arc<Notify>,
        gauge: TideGauge,
        memory: Arc<Memory>,
        heat: Arc<Heat>,
    ) -> Self {
        let targets = config.redis.targets(&config.keyspace);
        for table in &config.installation.tables {
            metrics::expect_changes(table);
        }
        Self {
            config,
            targets,
            wake,
            gauge,
            memory,
            heat,
        }
    }

    /// Leads whenever it can, for ever; failures are logged and tried again. It may be dropped at
    /// any moment: a cycle that is cut off is only repeated.
    pub async fn run(mut self) {
        let mut complaint = None;
        loop {
            let outcome = self.lead(&mut complaint).await;
            self.gauge.fall_back();
            self.memory.forget();
            if let Err(error) = outcome {
                // Once for each run of one failure: four times a second would drown everything else.
                let text = error.to_string();
                if complaint.as_ref() != Some(&text) {
                    tracing::warn!(error = text, "relay stopped leading; it keeps trying");
                    complaint = Some(text);
                }
                if matches!(error, RelayError::Capture(CaptureError::NotInstalled)) {
                    self.replan().await;
                }
            }
            time::sleep(RETRY).await;
        }
    }

    /// Works out again what has to be installed: partitions may have come or gone, and once `install`
    /// has run for them, its plan and this one are the same. Where that fails, it will be tried again.
    async fn replan(&mut self) {
        let installation = self.config.installation.clone();
        let replanned = in_time::<_, RelayError>(async {
            let mut database = PgConnection::connect_with(self.config.database.options()).await?;
            Ok(installation.replanned(&mut database).await?)
        });
        if let Ok(installation) = replanned.await {
            self.config.installation = Arc::new(installation);
        }
    }

    /// Waits for the leadership and leads until something fails.
    async fn lead(&self, complaint: &mut Option<String>) -> Result<(), RelayError> {
        let mut database = in_time(leadership::connect(&self.config)).await?;
        while !in_time(leadership::try_lock(&mut database)).await? {
            time::sleep(ELECTION).await;
        }
        let (gauge, heat, memory) = (self.gauge.clone(), self.heat.clone(), self.memory.clone());
        let begun = Leadership::begin(&self.config, &self.targets, gauge, heat, memory, database);
        let mut leadership = in_time(begun).await?;
        let mut leads = None;
        loop {
            let pause = match leadership.cycle().await? {
                Cycle::Part => continue,
                Cycle::Whole => {
                    if leads.is_none() {
                        leads = Some(Level::leading());
                        tracing::info!(term = leadership.term(), "relay leads");
                        *complaint = None;
                    }
                    self.config.poll
                }
                Cycle::Stranded => self.config.poll.min(RETRY),
            };
            // A wake that came during the cycle is kept, so nothing waits for the poll in vain.
            tokio::select! {
                () = time::sleep(pause) => {}
                () = self.wake.notified() => {}
                () = leadership.has_return() => {}
            }
        }
    }
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
