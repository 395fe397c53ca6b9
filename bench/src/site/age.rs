//! How old the tidemark is, looked at every few milliseconds.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use redis::AsyncCommands as _;
use serde::{Deserialize, Serialize};
use tidemark_shared::{key::Keyspace, tidemark::Tidemark};
use tokio::task::JoinHandle;

use super::Site;
use crate::statistics::quantile;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(3);

/// Ages of the tidemark, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Age {
    /// The middle.
    pub p50_ms: f64,
    /// What 99 of 100 stay below.
    pub p99_ms: f64,
    /// The most that was seen.
    pub max_ms: f64,
}

impl Age {
    fn of(mut ages: Vec<f64>) -> Option<Self> {
        ages.sort_by(f64::total_cmp);
        Some(Self {
            p50_ms: quantile(&ages, 0.5)?,
            p99_ms: quantile(&ages, 0.99)?,
            max_ms: quantile(&ages, 1.0)?,
        })
    }
}

/// Looks until it is asked what it saw. PostgreSQL's clock, by which the tidemark counts, is this machine's.
#[derive(Debug)]
pub struct AgeWatch {
    ages: Arc<Mutex<Vec<f64>>>,
    task: JoinHandle<()>,
}

impl AgeWatch {
    /// Begins to look.
    ///
    /// # Errors
    /// Redis is not there.
    pub async fn start(site: &Site) -> anyhow::Result<Self> {
        let mut redis = site.redis().await?;
        let ages = Arc::new(Mutex::new(Vec::new()));
        let seen = ages.clone();
        let task = tokio::spawn(async move {
            let name = Keyspace::default().tidemark();
            let mut pace = tokio::time::interval(LOOK);
            loop {
                pace.tick().await;
                let Ok(Some(bytes)) = redis.get::<_, Option<Vec<u8>>>(&name).await else {
                    continue;
                };
                if let Some(tidemark) = Tidemark::parse(&bytes) {
                    let age = (now_ms() - tidemark.as_of) as f64;
                    seen.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(age.max(0.0));
                }
            }
        });
        Ok(Self { ages, task })
    }

    /// What it has seen.
    ///
    /// # Errors
    /// There was no tidemark at all.
    pub fn stop(self) -> anyhow::Result<Age> {
        let ages = std::mem::take(&mut *self.ages.lock().unwrap_or_else(PoisonError::into_inner));
        Age::of(ages).context("there was no tidemark to be looked at")
    }
}

impl Drop for AgeWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// This machine's clock, in ms since the Unix epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_by_their_middle_and_end() {
        let age = Age::of((0..=100).map(f64::from).rev().collect()).unwrap();
        assert_eq!((age.p50_ms, age.p99_ms, age.max_ms), (50.0, 99.0, 100.0));
        assert_eq!(Age::of(Vec::new()), None);
    }
}
