//! Up to when everything has been applied to this region's Redis, for commands that wait for it.

use std::time::Duration;

use redis::AsyncCommands as _;
use tidemark_shared::{key::Keyspace, tidemark::Tidemark};
use tokio::{sync::watch, time};

/// How often Redis is asked while another process leads.
const POLL: Duration = Duration::from_millis(5);

/// The relay's side: says how far it has come.
#[derive(Clone, Debug)]
pub struct TideGauge(watch::Sender<Option<i64>>);

impl TideGauge {
    /// A gauge of a relay that does not lead yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// This process leads and has applied everything up to `as_of` (ms, database's clock).
    pub(crate) fn rise(&self, as_of: i64) {
        self.0.send_replace(Some(as_of));
    }

    /// This process no longer leads.
    pub(crate) fn fall_back(&self) {
        self.0.send_replace(None);
    }
}

impl Default for TideGauge {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether the next read through this region's Redis sees a command's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// It does.
    Applied,
    /// Not known in time; it follows as soon as the relay reaches Redis.
    Pending,
}

impl Invalidation {
    /// Its stable name, in the `Tidemark-Invalidation` header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
        }
    }
}

/// A command's side: waits until its changes have been applied, by whichever process leads.
#[derive(Clone)]
pub struct Tide {
    gauge: TideGauge,
    redis: redis::aio::ConnectionManager,
    tidemark: String,
}

impl Tide {
    /// Reads this process's gauge, and the tidemark in Redis where another process leads.
    ///
    /// # Errors
    /// The connection can't be set up; Redis itself need not answer yet.
    pub fn new(
        gauge: TideGauge,
        client: &redis::Client,
        keyspace: &Keyspace,
    ) -> redis::RedisResult<Self> {
        Ok(Self {
            gauge,
            redis: client.get_connection_manager_lazy(Default::default())?,
            tidemark: keyspace.tidemark(),
        })
    }

    /// Waits, at most `bound`, until everything visible at `at_least_ms` has been applied.
    pub async fn reached(&self, at_least_ms: i64, bound: Duration) -> Invalidation {
        match time::timeout(bound, self.reach(at_least_ms)).await {
            Ok(()) => Invalidation::Applied,
            Err(_) => Invalidation::Pending,
        }
    }

    async fn reach(&self, at_least_ms: i64) {
        let mut level = self.gauge.0.subscribe();
        loop {
            let leads = match *level.borrow_and_update() {
                Some(as_of) if as_of >= at_least_ms => return,
                level => level.is_some(),
            };
            if leads {
                // The gauge lives as long as the process.
                let _ = level.changed().await;
                continue;
            }
            let mut redis = self.redis.clone();
            let bytes: redis::RedisResult<Option<Vec<u8>>> = redis.get(&self.tidemark).await;
            let tidemark = bytes
                .ok()
                .flatten()
                .and_then(|bytes| Tidemark::parse(&bytes));
            if tidemark.is_some_and(|tidemark| tidemark.as_of >= at_least_ms) {
                return;
            }
            time::sleep(POLL).await;
        }
    }
}
