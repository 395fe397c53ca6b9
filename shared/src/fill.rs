//! Filling: what may be stored, and the only way to make it.
//!
//! An answer may be stored only under stamps that were observed *before* the origin was asked.
//! The types say so: [`Permit`] comes from an [`Observation`](crate::freshness::Observation)
//! alone, [`Sealed`] from a permit alone, and edge and origin store nothing but a `Sealed`.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    content::Content,
    digest::Digest,
    entry::Entry,
    epoch::Epoch,
    etag::ETag,
    key::Key,
    policy::Policy,
    scope::{self, Scope},
    stamp::Witness,
    tidemark::Tidemark,
};

/// The right to store one answer, made of what was observed before the origin was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    key: Key,
    epoch: Epoch,
    witness: Witness,
    expected: Provenance,
}

/// By what an answer was made. While a new catalog is rolled out, edge and origin may not mean the
/// same by a question; then the answer does not belong under the stamps that the edge has observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The catalog: its declarations and its SQL.
    pub catalog: Digest,
    /// The scopes that the answer depends on, as `Cache-Groups` lists them.
    pub scopes: String,
}

impl Provenance {
    /// Of an answer that depends on these scopes, in this catalog.
    pub fn of(catalog: Digest, scopes: &[Scope]) -> Self {
        Self {
            catalog,
            scopes: scope::list(scopes),
        }
    }
}

/// An answer of the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// A moment, in ms since the Unix epoch by the database's clock, not after the SQL's snapshot.
    pub as_of_ms: i64,
    /// By what it was made.
    pub provenance: Provenance,
    /// The body's entity tag.
    pub etag: ETag,
    /// The body, in its coding.
    pub content: Content,
}

impl Answer {
    /// An answer with the entity tag of its body, compressed as it is to be stored.
    pub fn new(status: u16, as_of_ms: i64, provenance: Provenance, body: Bytes) -> Self {
        Self {
            status,
            as_of_ms,
            provenance,
            etag: ETag::of(&body),
            content: Content::compressed(body),
        }
    }
}

/// An entry, ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    key: Key,
    bytes: Vec<u8>,
    life: Duration,
}

impl Permit {
    pub(crate) fn grant(
        key: &Key,
        tidemark: &Tidemark,
        scopes: &[Scope],
        witness: Witness,
    ) -> Self {
        Self {
            key: key.clone(),
            epoch: tidemark.epoch,
            witness,
            expected: Provenance::of(tidemark.catalog, scopes),
        }
    }

    /// Whether an answer is of the catalog that the permit's epoch belongs to, and depends on the very
    /// scopes whose stamps were observed.
    pub fn admits(&self, answer: &Answer) -> bool {
        answer.provenance == self.expected
    }

    /// Makes the entry of an answer that was asked for after this permit was granted; `None` where
    /// it does not admit it. `target` is the request that it answers, as [`crate::route::target`]
    /// makes it; `now_ms` is the filler's clock, in ms since the Unix epoch; `random` shortens the
    /// ttl, see [`Policy::jittered_ttl_ms`].
    pub fn seal(
        &self,
        policy: &Policy,
        target: Option<String>,
        answer: &Answer,
        now_ms: i64,
        random: u128,
    ) -> Option<Sealed> {
        if !self.admits(answer) {
            return None;
        }
        let entry = Entry {
            status: answer.status,
            epoch: self.epoch,
            witness: self.witness,
            as_of_ms: answer.as_of_ms,
            fresh_until_ms: now_ms.saturating_add(policy.jittered_ttl_ms(random)),
            etag: answer.etag,
            target: target.unwrap_or_default().into(),
            content: answer.content.clone(),
        };
        Some(Sealed {
            key: self.key.clone(),
            bytes: entry.encode(&self.key),
            life: policy.entry_life(),
        })
    }
}

impl Sealed {
    /// What is stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The parts, to be stored without a copy: where, what, and how long Redis shall keep it.
    pub fn into_parts(self) -> (Key, Vec<u8>, Duration) {
        (self.key, self.bytes, self.life)
    }
}
