//! The read path (design §5): from a request to its answer, from Redis or from the origin.

use std::rc::Rc;

use http::request::Parts;
use spin_sdk::{wasip3::spawn, wit_bindgen::yield_async};
use tidemark_shared::{
    fill::{Permit, Sealed},
    header::{CACHE_CONTROL_NO_STORE, CACHE_CONTROL_REVALIDATE},
    outcome::{CacheStatus, Outcome},
    policy::Policy,
    problem::{Kind, Problem},
};

use crate::{
    clock::now_ms,
    flight::Flight,
    instance::Instance,
    lookup::{Found, Need, look_up},
    origin::{Loaded, Order},
    question::Question,
    respond::Reply,
};

/// How often a request takes a seat: again only if the load that it shared was given up, because
/// the host ended the request that ran it.
const SEATS: usize = 3;

/// How many turns of the instance an answer gets on its way out: to the request that waits for it,
/// then to the host, then for its body. It takes six; more do no harm, fewer only make it wait.
const TURNS: usize = 8;

/// Answers a request.
pub(crate) async fn read(instance: &Rc<Instance>, request: &Parts) -> Result<Reply, Problem> {
    let question = Question::of(&instance.settings, request)?;
    if !question.query.policy.is_cacheable() {
        return Ok(pass(instance, &question).await);
    }
    match look_up(instance, &question).await {
        Found::Fresh {
            entry,
            proven_at_ms,
        } => Ok(Reply::hit(entry, proven_at_ms, now_ms())),
        Found::Load(need) => load(instance, &question, &need).await,
    }
}

/// Asks the origin on behalf of this request alone: the answer is to be of this very moment.
async fn pass(instance: &Instance, question: &Question<'_>) -> Reply {
    let status = CacheStatus {
        outcome: Outcome::Uncacheable,
        stored: false,
        collapsed: false,
    };
    let loaded = instance.origin.ask(&question.order).await;
    Reply::loaded(loaded, status, CACHE_CONTROL_NO_STORE)
}

/// Takes part in a load, and runs it if it begins with this request.
async fn load(
    instance: &Rc<Instance>,
    question: &Question<'_>,
    need: &Need,
) -> Result<Reply, Problem> {
    for _ in 0..SEATS {
        let permit = need.permit.clone();
        let at_least_ms = question.at_least_ms;
        let seat = instance
            .flights
            .board(&question.key, need.claim, permit, at_least_ms);
        if let Some(flight) = seat.flight {
            let errand = Errand {
                order: question.order.clone(),
                policy: question.query.policy,
                target: question.target(),
            };
            // Not awaited here: others share it, whatever becomes of this request's client.
            spawn(fly(instance.clone(), flight, errand));
        }
        let Some(loaded) = seat.result.take().await else {
            continue;
        };
        let status = CacheStatus {
            outcome: need.outcome,
            stored: !seat.shared && is_stored(need.permit.as_ref(), &loaded),
            collapsed: seat.shared,
        };
        return Ok(Reply::loaded(loaded, status, CACHE_CONTROL_REVALIDATE));
    }
    Err(Problem::new(
        Kind::Unavailable,
        "the answer was given up while it was loaded",
    ))
}

/// What a load has to do, for as long as it outlives its request.
struct Errand {
    order: Order,
    policy: Policy,
    /// The canonical request that is stored with the answer.
    target: Option<String>,
}

/// Runs a load, then those that have waited for it: all are of one key, and ask the same.
async fn fly(instance: Rc<Instance>, mut flight: Flight<Loaded>, errand: Errand) {
    loop {
        let order = errand.order.on(flight.terms());
        let loaded = instance.origin.ask(&order).await;
        let answer = loaded.as_ref().ok().and_then(|it| it.storable());
        let landed = flight.land(loaded);
        if let (Some(permit), Some(answer)) = (landed.permit, answer) {
            let instance = instance.clone();
            let (policy, target) = (errand.policy, errand.target.clone());
            spawn(async move {
                step_aside().await;
                if let Some(sealed) = permit.seal(&policy, target, &answer, now_ms()) {
                    store(&instance, sealed).await;
                }
            });
        }
        match landed.next {
            Some(next) => flight = next,
            None => return,
        }
    }
}

/// Whether a load's answer is one that its permit stores.
fn is_stored(permit: Option<&Permit>, loaded: &Loaded) -> bool {
    let answer = loaded.as_ref().ok().and_then(|it| it.storable());
    permit
        .zip(answer)
        .is_some_and(|(permit, answer)| permit.admits(&answer))
}

/// Lets whoever waits for the answer pass it on before it is stored: making the entry of a long
/// answer takes the instance's only thread for a while.
async fn step_aside() {
    for _ in 0..TURNS {
        yield_async().await;
    }
}

async fn store(instance: &Instance, sealed: Sealed) {
    let (key, bytes, life) = sealed.into_parts();
    let name = instance.settings.keyspace.entry(&key);
    // The client has its answer; that this failed is logged where it did.
    let _ = instance.redis.set(&name, bytes, life).await;
}
