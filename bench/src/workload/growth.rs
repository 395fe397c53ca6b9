//! Workload 4: how cost grows with the number of keys, of scopes, of bytes, of organizations and of writers.

mod keys;
mod organizations;
mod report;
mod sizes;
mod writers;

use serde::{Deserialize, Serialize};

pub use self::{organizations::Seen, report::report, writers::Crowd};
use super::{Bench, turn::Round};

/// The result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Growth {
    /// Hits by the number of keys in Redis.
    pub keys: Vec<Keys>,
    /// Hits by the number of scopes that the answer depends on.
    pub scopes: Vec<Step>,
    /// Hits by the length of the body, in bytes.
    pub body: Vec<Step>,
    /// Hits by the number of organizations.
    pub organizations: Vec<Seen>,
    /// Writers by how many there are.
    pub writers: Vec<Crowd>,
}

/// Hits with one size of something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// The size.
    pub size: u64,
    /// Turns of Tidemark.
    pub tidemark: Vec<Round>,
}

/// Hits with so many keys in Redis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keys {
    /// How many entries there are; each has a stamp of its own beside it.
    pub keys: u64,
    /// Redis' memory for an entry with its stamp, in bytes.
    pub bytes_each: f64,
    /// Turns of Tidemark, any of the keys at random.
    pub tidemark: Vec<Round>,
    /// Turns of the native limit in the same rounds: one GET of any of the same entries.
    pub native: Vec<Round>,
}

/// Connections of all loads here.
pub const CONNECTIONS: u32 = 16;

/// Measures.
///
/// # Errors
/// Something does not start, or does not answer as it should.
pub async fn run(bench: &Bench) -> anyhow::Result<Growth> {
    let sizes = sizes::measure(bench).await?;
    Ok(Growth {
        keys: keys::measure(bench).await?,
        scopes: sizes.scopes,
        body: sizes.body,
        organizations: organizations::measure(bench).await?,
        writers: writers::measure(bench).await?,
    })
}
