//! `on_change = "refresh"`: what was hot and has been touched is loaded anew before anybody reads it.
//!
//! ```text
//! hot sample in Redis ─► index: scope ─► hot answers ◄─ Heat::touch ◄─ relay, once the home region has it
//!                                        │ hottest first
//!                                        ▼
//!                              room in the gate ─► Filler ─► Redis of the home region
//! ```
//!
//! Only the origin whose relay leads hears of what is touched, so it is loaded once, wherever the edges
//! are. It is done at lower priority than any request: [`Queries::room`](crate::queries::Queries::room)
//! is awaited *before* a load begins that a request could come to share. And nothing depends on it: what
//! it does not get to, or fails at, the next read fills.

mod schedule;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use redis::aio::ConnectionManager;
use tidemark_shared::{
    catalog::{Catalog, Query},
    key::{Key, Keyspace},
    policy::OnChange,
    scope::Scope,
};
use tokio::{
    sync::Notify,
    time::{self, MissedTickBehavior},
};

use crate::{
    fill::{FillError, Filler},
    http::Service,
    metrics::{self, Refreshed},
    question::Question,
    sample,
};
use schedule::{Next, Schedule};

/// How many of the hottest requests are looked at; those of queries without `refresh` count.
const HOTTEST: usize = 1_000;

/// How often the sample is read.
const INDEX: Duration = Duration::from_secs(2);

/// What is hot and what of it has been touched: the relay's side, which never waits.
#[derive(Debug, Default)]
pub struct Heat {
    /// What is loaded, by its canonical request.
    schedule: Mutex<Schedule<Arc<str>>>,
    touched: Notify,
}

impl Heat {
    /// These scopes have new stamps in the home region's Redis.
    pub(crate) fn touch(&self, scopes: &[Scope]) {
        if self.schedule().touch(scopes) {
            self.touched.notify_waiters();
        }
    }

    /// Waits for something to load.
    async fn next(&self) -> (Key, Arc<str>) {
        loop {
            // Made before the look: what is touched after that ends the wait.
            let touched = self.touched.notified();
            let next = self.schedule().next(Instant::now());
            match next {
                Next::Load(due) => return due,
                Next::At(moment) => {
                    let _ = time::timeout_at(moment.into(), touched).await;
                }
                Next::Nothing => touched.await,
            }
        }
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule<Arc<str>>> {
        // No step under this lock can be cut in two by a panic.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queries of a catalog whose hot answers are to be refreshed.
pub(crate) fn wanted(catalog: &Catalog) -> impl Iterator<Item = &Query> {
    let queries = catalog.queries.values();
    queries.filter(|query| query.policy.on_change == OnChange::Refresh)
}

/// Loads what is touched, so many at a time, for ever. It may be dropped at any moment.
pub(crate) async fn run(
    service: Arc<Service>,
    heat: Arc<Heat>,
    redis: ConnectionManager,
    keyspace: Keyspace,
    concurrency: u32,
) {
    let refresher = Refresher {
        filler: Filler {
            queries: &service.queries,
            redis,
            keyspace: &keyspace,
            stamp_ttl: service.repository.catalog.stamp_ttl(),
        },
        service: &service,
        heat: &heat,
    };
    let loads = join_all((0..concurrency).map(|_| refresher.load()));
    futures_util::future::join(refresher.index(), loads).await;
}

struct Refresher<'a> {
    filler: Filler<'a>,
    service: &'a Service,
    heat: &'a Heat,
}

impl Refresher<'_> {
    /// Keeps the index as hot as the sample is.
    async fn index(&self) {
        let mut ticks = time::interval(INDEX);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut redis = self.filler.redis.clone();
        loop {
            ticks.tick().await;
            match sample::hottest(&mut redis, self.filler.keyspace, HOTTEST).await {
                Ok(hottest) => self.rank(hottest),
                // The relay says what is wrong with Redis. What was hot still is.
                Err(error) => tracing::debug!(%error, "the hot sample can't be read"),
            }
        }
    }

    fn rank(&self, hottest: Vec<(String, f64)>) {
        let ranking = hottest.into_iter().filter_map(|(target, _)| {
            // The sample may be older than the catalog.
            let Question {
                query, key, scopes, ..
            } = self.question(&target)?;
            let is_refreshed = query.policy.on_change == OnChange::Refresh;
            is_refreshed.then(|| (key, scopes, target.into()))
        });
        let ranking: Vec<_> = ranking.collect();
        self.heat.schedule().rank(ranking);
    }

    fn question(&self, target: &str) -> Option<Question<'_>> {
        let catalog = &self.service.repository.catalog;
        Question::of_target(catalog, &self.service.routes, target).ok()
    }

    /// Loads one after the other.
    async fn load(&self) {
        loop {
            let (key, target) = self.heat.next().await;
            let mut took = Duration::ZERO;
            if let Some(question) = self.question(&target) {
                self.service.queries.room(question.query).await;
                let begun = Instant::now();
                let refreshed = self.refresh(&question).await;
                took = begun.elapsed();
                let query = &question.query.name;
                let outcome = refreshed.unwrap_or_else(|error| {
                    tracing::debug!(%error, %key, "not refreshed; the next read fills");
                    Refreshed::Failed
                });
                metrics::count_refresh(query, outcome);
            }
            self.heat.schedule().loaded(&key, took, Instant::now());
            // What has touched it meanwhile waits for its pause, which others may not know of.
            self.heat.touched.notify_waiters();
        }
    }

    async fn refresh(&self, question: &Question<'_>) -> Result<Refreshed, FillError> {
        if self.filler.is_fresh(question).await? {
            return Ok(Refreshed::Fresh);
        }
        self.filler.fill(question).await?;
        Ok(Refreshed::Loaded)
    }
}
