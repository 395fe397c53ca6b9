//! What the live stream says: `docs/console.md` describes it for others.
//!
//! Moments are in ms since the Unix epoch; what was not measured is `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemark_shared::{digest::Digest, epoch::Epoch, event::EventId};

use super::latency::Latency;

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "event")]
pub enum Message {
    /// To whom one listens.
    Hello(Hello),
    /// How much happens.
    Figures(Box<Figures>),
    /// Scopes were invalidated in the home region.
    Change(Change),
    /// Everything in the home region was invalidated.
    Epoch(NewEpoch),
    /// Redis has forgotten entries.
    Keys(Forgotten),
    /// Whether changes are heard of.
    Feed(Feed),
}

impl Message {
    /// The name of its event.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Figures(_) => "figures",
            Self::Change(_) => "change",
            Self::Epoch(_) => "epoch",
            Self::Keys(_) => "keys",
            Self::Feed(_) => "feed",
        }
    }
}

/// The first message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The origin's version.
    pub version: String,
    /// Its catalog.
    pub catalog: Digest,
    /// How many seconds rates and latencies are of.
    pub window_s: u64,
    /// Where the shipped example can be tried.
    pub demo: Option<Demo>,
    /// The catalog's queries, by name.
    pub queries: Vec<Promise>,
}

/// An edge that serves the shipped example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Demo {
    /// Its address, as a browser reaches it.
    pub edge: String,
}

/// A query, and what it promises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    /// The query's name.
    pub name: String,
    /// Its path template.
    pub path: String,
    /// Its `max_staleness`, in ms; `None` if it is never cached.
    pub promise_ms: Option<u64>,
}

/// How much has happened in the window that ends now. Rates are per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// When.
    pub at: i64,
    /// Answers of the edges, by outcome; only those that there were.
    pub answers: BTreeMap<String, f64>,
    /// Hits among the answers that may be cached; `None` without any.
    pub hit_ratio: Option<f64>,
    /// How long the edges took.
    pub edge: Latency,
    /// How long this origin took to answer queries.
    pub origin: Latency,
    /// What PostgreSQL did for this origin.
    pub sql: Sql,
    /// The line before PostgreSQL.
    pub gate: Gate,
    /// Each query at the edges, by name.
    pub queries: Vec<QueryFigures>,
    /// Each region, the home region first.
    pub regions: Vec<RegionFigures>,
    /// The relay of this origin.
    pub relay: Relay,
    /// The requests that are read most, hottest first; at most 10.
    pub hot: Vec<Hot>,
}

/// Statements for queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sql {
    /// Those that ran.
    #[serde(flatten)]
    pub ran: Latency,
    /// Those that would have run without a cache: one for each answer of an edge.
    pub without_per_s: f64,
}

/// The line before PostgreSQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Queries that run.
    pub running: u64,
    /// Queries that wait.
    pub waiting: u64,
    /// Queries that were refused.
    pub shed_per_s: f64,
}

/// A query at the edges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryFigures {
    /// Its name.
    pub name: String,
    /// As of all queries.
    pub hit_ratio: Option<f64>,
    /// Its answers, and how long they took.
    #[serde(flatten)]
    pub answers: Latency,
}

/// A region's Redis. Where it does not answer, nothing is known but that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionFigures {
    /// What it is called in metrics and logs.
    pub name: String,
    /// Whether it answers.
    pub up: bool,
    /// How old the state is that is proven there, in ms; `None` where there is no tidemark.
    pub age_ms: Option<u64>,
    /// Memory in use, in bytes.
    pub used_memory: Option<f64>,
    /// Its `maxmemory`, in bytes; 0 is no limit.
    pub max_memory: Option<f64>,
    /// Keys that were evicted because memory was full.
    pub evicted_per_s: Option<f64>,
    /// Keys whose time was up.
    pub expired_per_s: Option<f64>,
}

/// The relay of an origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relay {
    /// Whether it leads.
    pub leads: bool,
    /// From commit to applied everywhere, the median, in ms, at most.
    pub applied_p50_ms: Option<f64>,
    /// From commit to applied everywhere, what 99 % do not exceed, in ms.
    pub applied_p99_ms: Option<f64>,
}

/// A request that is read often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hot {
    /// Its path and query string.
    pub request: String,
    /// Its part of the reads of the 100 hottest; a read of an hour ago counts for half.
    pub share: f64,
}

/// What has changed, and is invalidated by now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The relay's event.
    pub id: EventId,
    /// When it was heard of.
    pub at: i64,
    /// When the relay looked.
    pub as_of: i64,
    /// What has changed; at most 20 of them.
    pub scopes: Vec<String>,
    /// How many more.
    pub more: usize,
    /// The cached queries that depend on them.
    pub queries: Vec<String>,
    /// From commit to applied, in ms, at most: since the look before, which did not show it; by the clocks
    /// of PostgreSQL and of this origin.
    pub applied_ms: Option<u64>,
}

/// A new epoch of the home region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewEpoch {
    /// When it was heard of.
    pub at: i64,
    /// The epoch.
    pub epoch: Epoch,
}

/// Entries that Redis has forgotten by itself within a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forgotten {
    /// When.
    pub at: i64,
    /// How many because their time was up.
    pub expired: u64,
    /// How many because memory was full.
    pub evicted: u64,
    /// Their names; at most 5.
    pub names: Vec<String>,
}

/// Whether changes are heard of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// Since when.
    pub at: i64,
    /// Whether the home region's Redis lets itself be listened to.
    pub up: bool,
}
