//! Fills the cache before anybody reads: after a Redis was emptied, or before a busy hour.
//!
//! What to load comes from a [`Source`], one question after the other. What is cached and fresh is left
//! alone, so a run that was cut off is resumed by running it again.

mod enumeration;
mod source;

use std::{cell::Cell, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde::Serialize;
use tidemark_shared::{digest::Digest, tidemark::Tidemark};
use tokio::{
    sync::Mutex,
    time::{self, Interval, MissedTickBehavior},
};

pub use enumeration::{Enumeration, EnumerationError};
pub use source::{LineError, Source, is_line, question_of};

use crate::{
    clock,
    fill::{FillError, Filled, Filler},
    question::Question,
};

/// A tidemark that is older than this stands still: no edge believes what is stored beside it.
const STANDS_STILL: Duration = Duration::from_secs(10);

/// So many failures are logged, with their reasons.
const LOGGED: u64 = 10;

/// What a run has done so far; numbers of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Loaded and stored.
    pub loaded: u64,
    /// Not loaded, because it was cached and fresh.
    pub fresh: u64,
    /// Loaded and stored: that there is no such row.
    pub not_found: u64,
    /// Not loaded; the log has the reasons of the first ones.
    pub failed: u64,
}

impl Progress {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.loaded + self.fresh + self.not_found + self.failed
    }
}

/// Why nothing can be warmed, or no more.
#[derive(Debug, thiserror::Error)]
pub enum WarmError {
    /// What was stored could not be proven, or not be stored at all.
    #[error(transparent)]
    Fill(#[from] FillError),
    /// No relay works.
    #[error("the tidemark in Redis stands still, {behind:?} behind; is a relay running?")]
    StandsStill {
        /// How far.
        behind: Duration,
    },
    /// The arguments can't be enumerated.
    #[error(transparent)]
    Enumeration(#[from] EnumerationError),
}

/// Loads what is to be warmed.
pub struct Warmer<'a> {
    filler: Filler<'a>,
    concurrency: usize,
    pace: Option<Mutex<Interval>>,
    progress: Cell<Progress>,
}

impl<'a> Warmer<'a> {
    /// One that loads so many answers at a time, and each this long after the other.
    pub fn new(filler: Filler<'a>, concurrency: usize, pause: Option<Duration>) -> Self {
        let pace = pause.map(|pause| {
            let mut ticks = time::interval(pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Mutex::new(ticks)
        });
        Self {
            filler,
            concurrency,
            pace,
            progress: Cell::default(),
        }
    }

    /// What has been done so far.
    pub fn progress(&self) -> Progress {
        self.progress.get()
    }

    /// Says why there is no use in beginning, if there is none: edges believe only what a relay of this
    /// catalog vouches for.
    ///
    /// # Errors
    /// There is no tidemark, it is another catalog's, or it stands still; or Redis does not answer.
    pub async fn is_of_use(&self, catalog: Digest) -> Result<(), WarmError> {
        let bytes: Option<Vec<u8>> = redis::cmd("GET")
            .arg(self.filler.keyspace.tidemark())
            .query_async(&mut self.filler.redis.clone())
            .await
            .map_err(FillError::from)?;
        let tidemark = bytes.and_then(|bytes| Tidemark::parse(&bytes));
        let tidemark = tidemark.ok_or(FillError::NoTidemark)?;
        if tidemark.catalog != catalog {
            return Err(FillError::OtherCatalog.into());
        }
        let behind = tidemark.age(clock::now_ms());
        if behind > STANDS_STILL {
            return Err(WarmError::StandsStill { behind });
        }
        Ok(())
    }

    /// Loads all that the source has. It may be dropped at any moment: what has been stored stays.
    ///
    /// # Errors
    /// Nothing more can be loaded. (That a query fails counts, and does not end the run.)
    pub async fn warm(&self, source: &mut Source<'_>) -> Result<(), WarmError> {
        let mut loads = FuturesUnordered::new();
        let mut has_more = true;
        loop {
            while has_more && loads.len() < self.concurrency {
                match source.next().await? {
                    Some(question) => loads.push(self.load(question)),
                    None => has_more = false,
                }
            }
            match loads.next().await {
                Some(loaded) => loaded?,
                None => return Ok(()),
            }
        }
    }

    async fn load(&self, question: Question<'_>) -> Result<(), FillError> {
        if self.filler.is_fresh(&question).await? {
            self.count(|progress| progress.fresh += 1);
            return Ok(());
        }
        if let Some(pace) = &self.pace {
            pace.lock().await.tick().await;
        }
        match self.filler.fill(&question).await {
            Ok(Filled::Answer) => self.count(|progress| progress.loaded += 1),
            Ok(Filled::NoRow) => self.count(|progress| progress.not_found += 1),
            Err(error) if error.is_of_question() => {
                if self.progress().failed < LOGGED {
                    tracing::warn!(%error, key = %question.key, "not loaded");
                }
                self.count(|progress| progress.failed += 1);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn count(&self, step: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.get();
        step(&mut progress);
        self.progress.set(progress);
    }
}
