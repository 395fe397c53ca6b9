//! What is known about a question, here or in Redis, and what a load needs that it leads to (design
//! §5.2–5.5a).

use bytes::Bytes;
use spin_sdk::time::sleep;
use tidemark_shared::{
    entry::Entry,
    fill::Permit,
    flight::Claim,
    freshness::{Observation, Proven, Verdict, decide},
    lease,
    outcome::Outcome,
    stale::{Held, Refresh},
    stamp::Stamp,
};

use crate::{
    clock::{moment, now_ms, random_token},
    instance::Instance,
    lease::Lease,
    question::Question,
    redis::{Overwrite, RedisError},
    settings::Settings,
};

/// The result of a look-up.
pub(crate) enum Found {
    /// An answer that may be served.
    Served(Served),
    /// Nothing that may be served.
    Load(Need),
}

/// A cached answer that may be served at once.
pub(crate) struct Served {
    pub(crate) entry: Entry,
    /// When it was proven.
    pub(crate) proven_at_ms: i64,
    /// When it was decided that it may.
    pub(crate) decided_at_ms: i64,
    pub(crate) outcome: Outcome,
    /// What a load behind the answer needs, where one is due.
    pub(crate) refresh: Option<Need>,
}

/// Why the origin is to be asked, and what was observed before.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) outcome: Outcome,
    /// What is cached all the same.
    pub(crate) held: Option<Held>,
    pub(crate) claim: Claim,
    /// `None` where the answer can't be stored.
    pub(crate) permit: Option<Permit>,
}

impl Need {
    fn new(
        question: &Question<'_>,
        observed: &Observation,
        outcome: Outcome,
        held: Option<Held>,
    ) -> Self {
        Self {
            outcome,
            held,
            claim: observed.claim(&question.demand(), now_ms()),
            permit: observed.permit(question.key(), question.scopes()),
        }
    }

    /// Redis told nothing: the request goes on without it.
    fn bypass() -> Self {
        Self {
            outcome: Outcome::RedisUnavailable,
            held: None,
            claim: Claim::NONE,
            permit: None,
        }
    }
}

impl Served {
    fn new(
        question: &Question<'_>,
        observed: &Observation,
        outcome: Outcome,
        (entry, proven_at_ms): (Entry, i64),
        decided_at_ms: i64,
        refresh: Refresh,
    ) -> Self {
        let behind = || {
            let held = Held {
                entry: entry.clone(),
                proven_at_ms: Some(proven_at_ms),
            };
            Need::new(question, observed, outcome, Some(held))
        };
        Self {
            refresh: (refresh == Refresh::Due).then(behind),
            entry,
            proven_at_ms,
            decided_at_ms,
            outcome,
        }
    }
}

/// Looks into the instance's own cache, then asks Redis: one command where an answer may be served.
pub(crate) async fn look_up(instance: &Instance, question: &Question<'_>) -> Found {
    // The clock is the host's, and each look at it a call.
    let now = question.query.policy.has_l1().then(moment);
    let held = now.and_then(|now| Some((now, instance.l1.find(&question.demand(), || now)?)));
    if let Some((now, proven)) = held {
        return Found::Served(Served {
            entry: proven.entry,
            proven_at_ms: proven.proven_at_ms,
            decided_at_ms: now.now_ms,
            outcome: Outcome::L1,
            refresh: None,
        });
    }
    consult(instance, question)
        .await
        .unwrap_or_else(|_| Found::Load(Need::bypass()))
}

/// Keeps a miss out of the way of other instances that load the same: takes the key's lease, or waits
/// a moment for what its holder stores. Gives what there is to serve or to load then, and the lease if
/// it was taken.
pub(crate) async fn queue_up(
    instance: &Instance,
    question: &Question<'_>,
    mut need: Need,
) -> (Found, Option<Lease>) {
    let is_loading = || instance.flights.is_loading(question.key());
    if is_loading() || !lease::is_worth_waiting_for(&need.claim) {
        return (Found::Load(need), None);
    }
    for pause in lease::pauses() {
        match Lease::take(instance, question.key()).await {
            Ok(None) => {}
            Ok(taken) => return (Found::Load(need), taken),
            Err(_) => break,
        }
        // If another request of this instance has it, that one has begun to load by now.
        if is_loading() {
            break;
        }
        sleep(pause).await;
        match consult(instance, question).await {
            Ok(Found::Load(latest)) => need = latest,
            Ok(served) => return (served, None),
            Err(_) => break,
        }
    }
    (Found::Load(need), None)
}

async fn consult(instance: &Instance, question: &Question<'_>) -> Result<Found, RedisError> {
    let demand = question.demand();
    let looked_up = demand.policy.has_l1().then(moment);
    let (entry, mut observed) = observe(instance, question).await?;
    let now_ms = now_ms();
    let served = |outcome, answer, refresh| {
        let served = Served::new(question, &observed, outcome, answer, now_ms, refresh);
        Found::Served(served)
    };
    match decide(&demand, entry.as_ref(), &observed, now_ms) {
        Verdict::Fresh {
            entry,
            proven_at_ms,
            refresh,
        } => {
            if let Some(looked_up) = looked_up {
                instance.l1.keep(&demand, || Proven {
                    entry: entry.clone(),
                    proven_at_ms,
                    looked_up,
                });
            }
            Ok(served(Outcome::Hit, (entry, proven_at_ms), refresh))
        }
        Verdict::Stale {
            entry,
            proven_at_ms,
            refresh,
        } => {
            instance.l1.forget(&demand);
            Ok(served(Outcome::Revalidate, (entry, proven_at_ms), refresh))
        }
        Verdict::Fill { outcome, held } => {
            instance.l1.forget(&demand);
            ensure_stamps(instance, question, &mut observed).await?;
            Ok(Found::Load(Need::new(question, &observed, outcome, held)))
        }
    }
}

async fn observe(
    instance: &Instance,
    question: &Question<'_>,
) -> Result<(Option<Bytes>, Observation), RedisError> {
    let values = instance.redis.get_all(question.names()).await?;
    Ok(Observation::of_reply(values))
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
            return Ok(());
        }
        stamp(instance, question, observed, missing, overwrite).await?;
    }
    if let Some(place) = observed.missing().next() {
        let name = instance.settings.keyspace.stamp(&question.scopes()[place]);
        instance.redis.note_lost_stamps(&name);
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
    let Settings {
        keyspace, catalog, ..
    } = &instance.settings;
    let names = question.demand().governing_names(keyspace);
    let stamps: Vec<_> = missing
        .into_iter()
        .map(|place| {
            let stamp = Stamp::new(now_ms(), random_token());
            // The tidemark's name is the first.
            (1 + place, stamp.to_string())
        })
        .collect();
    let life = catalog.stamp_ttl();
    let redis = &instance.redis;
    let mut values = redis.set_stamps(&names, &stamps, life, overwrite).await?;
    let is_set =
        |(place, stamp): &(usize, String)| values[*place].as_deref() == Some(stamp.as_bytes());
    // Who finds a stamp where none was seen looks once more, as a look-up does: either somebody was
    // faster, or look-ups are led elsewhere than where stamps are set.
    if overwrite == Overwrite::WhatIsNoStamp || !stamps.iter().all(is_set) {
        values = redis.get_all(&names).await?;
    }
    *observed = Observation::of_governing(&values);
    Ok(())
}
