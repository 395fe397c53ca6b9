//! What the readers got: a compact record of each read, and every distinct answer once.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

/// The region of the origins: where a command's invalidation is `applied`. Those after it are far.
pub const HOME: u8 = 0;

/// What a region is called.
pub const fn region_name(region: u8) -> &'static str {
    if region == HOME { "home" } else { "far" }
}

/// One answered read.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// When it was asked, in µs.
    pub start: i64,
    /// When its answer was there, in µs.
    pub end: i64,
    /// `Tidemark-As-Of`, in ms, if the answer had it.
    pub as_of: Option<i64>,
    /// `Tidemark-At-Least`, in ms, if the request had it.
    pub at_least: Option<i64>,
    /// The region whose edge was asked.
    pub region: u8,
    /// The place of the question in the list of all.
    pub question: u16,
    /// The place of the answer in the list of all.
    pub answer: u32,
    /// What the edge did for it.
    pub outcome: Outcome,
    /// Whether the answer was a 304, which names a body by its `ETag`.
    pub revalidated: bool,
}

/// What an edge says that it did, by its `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Served from the cache.
    Hit,
    /// Served from the instance's own cache.
    L1,
    /// The same while it was loaded anew: not fresh, but within the promise.
    Revalidate,
    /// The same because the origin failed: not even within the promise.
    StaleIfError,
    /// Asked the origin, and says why.
    Forwarded(Reason),
}

/// Why an edge asked the origin, as far as this test tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(
    missing_docs,
    reason = "their names are those of the documented outcomes"
)]
pub enum Reason {
    Miss,
    Changed,
    Unstamped,
    Epoch,
    Corrupt,
    Expired,
    Unproven,
    AtLeast,
    Uncacheable,
    RedisUnavailable,
    /// None that is documented.
    Unknown,
}

impl Outcome {
    /// Whether the answer is the cache's.
    pub fn is_of_the_cache(self) -> bool {
        matches!(
            self,
            Self::Hit | Self::L1 | Self::Revalidate | Self::StaleIfError
        )
    }

    /// Whether one's own write shows without `Tidemark-At-Least`.
    pub fn shows_own_writes(self) -> bool {
        !matches!(self, Self::Revalidate | Self::StaleIfError)
    }

    /// Reads `Cache-Status`.
    pub fn parse(cache_status: &str) -> Self {
        match cache_status {
            "tidemark; hit" => return Self::Hit,
            "tidemark; hit; detail=l1" => return Self::L1,
            "tidemark; hit; detail=revalidate" => return Self::Revalidate,
            _ => {}
        }
        let field = |name: &str| {
            let mut fields = cache_status.split("; ");
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        if field("detail") == Some("stale-if-error") {
            return Self::StaleIfError;
        }
        Self::Forwarded(match (field("fwd"), field("detail")) {
            (Some("miss"), None) => Reason::Miss,
            (_, Some("changed")) => Reason::Changed,
            (_, Some("unstamped")) => Reason::Unstamped,
            (_, Some("epoch")) => Reason::Epoch,
            (_, Some("corrupt")) => Reason::Corrupt,
            (_, Some("expired")) => Reason::Expired,
            (_, Some("unproven")) => Reason::Unproven,
            (_, Some("at-least")) => Reason::AtLeast,
            (_, Some("uncacheable")) => Reason::Uncacheable,
            (_, Some("redis-unavailable")) => Reason::RedisUnavailable,
            _ => Reason::Unknown,
        })
    }

    /// Whether no load was needed.
    pub fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::L1)
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::L1 => "l1",
            Self::Revalidate => "revalidate",
            Self::StaleIfError => "stale-if-error",
            Self::Forwarded(reason) => match reason {
                Reason::Miss => "miss",
                Reason::Changed => "changed",
                Reason::Unstamped => "unstamped",
                Reason::Epoch => "epoch",
                Reason::Corrupt => "corrupt",
                Reason::Expired => "expired",
                Reason::Unproven => "unproven",
                Reason::AtLeast => "at-least",
                Reason::Uncacheable => "uncacheable",
                Reason::RedisUnavailable => "redis-unavailable",
                Reason::Unknown => "unknown",
            },
        }
    }
}

/// A command that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its transaction's tag.
    pub tag: i64,
    /// When its answer was there, in µs.
    pub answered: i64,
    /// `Tidemark-At-Least`, in ms, if the answer had it.
    pub at_least: Option<i64>,
    /// Whether its invalidation was applied.
    pub applied: bool,
}

/// Everything that was answered.
#[derive(Debug, Default)]
pub struct Log {
    /// The reads in the order in which they ended.
    pub reads: Vec<Read>,
    /// Every distinct answer: its question and its body; a 404 has none.
    pub answers: Vec<(u16, Option<Bytes>)>,
    /// The commands.
    pub commands: Vec<Command>,
    /// When each transaction was known to be committed, in µs, by tag: whoever wrote was told.
    pub known_by: HashMap<i64, i64>,
    /// Reads whose answers say nothing about rows, by status; 0 is a connection that broke off.
    pub refused_reads: BTreeMap<u16, u64>,
    /// Commands that were not done, or perhaps, likewise.
    pub refused_commands: BTreeMap<u16, u64>,
    /// Answers that no server should give, in words.
    pub oddities: Vec<String>,
    places: HashMap<(u16, Option<Bytes>), u32>,
    /// The answer that each `ETag` names.
    tags: HashMap<(u16, Bytes), u32>,
}

/// A log that many write.
#[derive(Debug, Default)]
pub struct SharedLog(Mutex<Log>);

impl SharedLog {
    /// Does something with the log.
    pub fn with<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes everything that is in it.
    pub fn take(&self) -> Log {
        self.with(mem::take)
    }
}

impl Log {
    /// The place of an answer, which is added unless it is there. Its `ETag` must name no other one.
    pub fn answer(&mut self, question: u16, etag: &Bytes, body: Option<Bytes>) -> u32 {
        let next = u32::try_from(self.answers.len()).unwrap_or(u32::MAX);
        let tagged = body.is_some();
        let key = (question, body);
        let place = *self.places.entry(key.clone()).or_insert(next);
        if place == next {
            self.answers.push(key);
        }
        if tagged {
            let named = *self.tags.entry((question, etag.clone())).or_insert(place);
            if named != place {
                self.oddities
                    .push(format!("the ETag {etag:?} names two bodies"));
            }
        }
        place
    }

    /// The answer that a 304 names, if anybody has had it.
    pub fn named(&self, question: u16, etag: &Bytes) -> Option<u32> {
        self.tags.get(&(question, etag.clone())).copied()
    }
}
