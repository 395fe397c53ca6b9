//! What Redis knows about a question, and what a load needs that it leads to (design §5.3–5.5a).

use bytes::Bytes;
use tidemark_shared::{
    entry::Entry,
    fill::Permit,
    flight::Claim,
    freshness::{Observation, Verdict, decide},
    outcome::Outcome,
    stamp::Stamp,
};

use crate::{
    clock::{now_ms, random_token},
    instance::Instance,
    question::Question,
    redis::{Overwrite, RedisError},
};

/// The result of a look-up.
pub(crate) enum Found {
    /// An answer that is proven fresh.
    Fresh {
        /// The answer.
        entry: Entry,
        /// When it was proven.
        proven_at_ms: i64,
    },
    /// Nothing that may be served.
    Load(Need),
}

/// Why the origin is to be asked, and what was observed before.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) outcome: Outcome,
    pub(crate) claim: Claim,
    /// `None` where the answer can't be stored.
    pub(crate) permit: Option<Permit>,
}

impl Need {
    /// Redis told nothing: the request goes on without it.
    fn bypass() -> Self {
        Self {
            outcome: Outcome::RedisUnavailable,
            claim: Claim::NONE,
            permit: None,
        }
    }
}

/// Asks Redis: one command where the answer is fresh.
pub(crate) async fn look_up(instance: &Instance, question: &Question<'_>) -> Found {
    consult(instance, question)
        .await
        .unwrap_or_else(|_| Found::Load(Need::bypass()))
}

async fn consult(instance: &Instance, question: &Question<'_>) -> Result<Found, RedisError> {
    let (entry, mut observed) = observe(instance, question).await?;
    match decide(&question.demand(), entry.as_ref(), &observed, now_ms()) {
        Verdict::Fresh {
            entry,
            proven_at_ms,
        } => Ok(Found::Fresh {
            entry,
            proven_at_ms,
        }),
        Verdict::Fill(outcome) => {
            ensure_stamps(instance, question, &mut observed).await?;
            Ok(Found::Load(Need {
                outcome,
                claim: observed.claim(&question.demand(), now_ms()),
                permit: observed.permit(&question.key, &question.scopes),
            }))
        }
    }
}

async fn observe(
    instance: &Instance,
    question: &Question<'_>,
) -> Result<(Option<Bytes>, Observation), RedisError> {
    let names = question.demand().names(&instance.settings.keyspace);
    Ok(Observation::of_reply(instance.redis.get_all(&names).await?))
}

/// Gives each scope that has no stamp a new one, and observes what it has then: another edge or the
/// relay may have been faster. Before the origin is asked, or a change in between would go unseen.
///
/// Where that leaves a scope without one, its name holds something else (a value of another type,
/// garbage), which would keep its answers out of the cache for ever. Then it is overwritten, once:
/// whatever stamp that may replace, a new one only makes others fill again.
async fn ensure_stamps(
    instance: &Instance,
    question: &Question<'_>,
    observed: &mut Observation,
) -> Result<(), RedisError> {
    for overwrite in [Overwrite::Nothing, Overwrite::WhatIsNoStamp] {
        let missing: Vec<usize> = observed.missing().collect();
        if missing.is_empty() {
            break;
        }
        stamp(instance, question, observed, missing, overwrite).await?;
    }
    Ok(())
}

/// Gives these scopes stamps, and observes what governs the answer then: all of it at one moment, since
/// stamps and a tidemark of two moments may never have been there together (of a Redis that fell back
/// in between).
async fn stamp(
    instance: &Instance,
    question: &Question<'_>,
    observed: &mut Observation,
    missing: Vec<usize>,
    overwrite: Overwrite,
) -> Result<(), RedisError> {
    let settings = &instance.settings;
    let names: Vec<_> = missing
        .into_iter()
        .map(|place| settings.keyspace.stamp(&question.scopes[place]))
        .collect();
    let new: Vec<_> = names
        .iter()
        .map(|name| {
            (
                name.clone(),
                Stamp::new(now_ms(), random_token()).to_string(),
            )
        })
        .collect();
    let life = settings.catalog.stamp_ttl();
    instance.redis.set_stamps(&new, life, overwrite).await?;
    let names = question.demand().governing_names(&settings.keyspace);
    *observed = Observation::of_governing(&instance.redis.get_all(&names).await?);
    Ok(())
}
