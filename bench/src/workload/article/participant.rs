//! Who takes part, and as what.

use crate::{
    contender::{self, Contender},
    site::{Database, Site},
    workload::Bench,
};

/// A contender in one of its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Participant {
    /// Tidemark as shipped: reads by the edge, orders as commands of the origin.
    Tidemark,
    /// The origin asked directly, without its memory: the SQL every time.
    Uncached,
}

impl Participant {
    /// Those of a run, in the order of the first round.
    pub(super) fn of(_bench: &Bench) -> Vec<Self> {
        vec![Self::Tidemark, Self::Uncached]
    }

    /// What it is called in tables.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tidemark => "Tidemark",
            Self::Uncached => "Origin, no cache",
        }
    }

    /// A fresh copy of the data; with triggers only where they are needed.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub(super) async fn database(self, site: &Site) -> anyhow::Result<Database> {
        match self {
            Self::Tidemark | Self::Uncached => site.database("article").await,
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// It does not start.
    pub(super) async fn start(self, site: &Site, database: &Database) -> anyhow::Result<Contender> {
        match self {
            Self::Tidemark => contender::tidemark::start(site, database).await,
            Self::Uncached => contender::tidemark::uncached(site, database).await,
        }
    }
}
