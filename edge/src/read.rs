//! The read path (design §5): from a request to its answer, from Redis or from the origin.

use std::rc::Rc;

use http::{StatusCode, request::Parts};
use spin_sdk::{wasip3::spawn, wit_bindgen::yield_async};
use tidemark_shared::{
    fill::{Answer, Permit, Sealed},
    header::{CACHE_CONTROL_NO_STORE, CACHE_CONTROL_REVALIDATE},
    outcome::{CacheStatus, Outcome},
    policy::Policy,
    problem::{Kind, Problem},
    stale::Held,
};

use crate::{
    clock::{now_ms, random_token, ticks_us},
    flight::Flight,
    instance::Instance,
    lease::Lease,
    lookup::{Found, Need, Served, look_up, queue_up},
    origin::{Loaded, Order},
    question::Question,
    respond::Reply,
    tally,
};

/// How often a request takes a seat: again only if the load that it shared was given up, because
/// the host ended the request that ran it, or because it was a refresh that another instance does.
const SEATS: usize = 3;

/// How many turns of the instance an answer gets on its way out: to the request that waits for it,
/// then to the host, then for its body. It takes six; more do no harm, fewer only make it wait.
const TURNS: usize = 8;

/// Answers a request, and counts that.
pub(crate) async fn read(instance: &Rc<Instance>, request: &Parts) -> Result<Reply, Problem> {
    let begun_us = ticks_us();
    let question = Question::of(&instance.settings, &instance.meanings, request)?;
    let reply = answer(instance, &question).await?;
    if let Some(cache) = reply.cache {
        let took_us = ticks_us().saturating_sub(begun_us);
        tally::count_answer(instance, question.query, cache, reply.status, took_us);
    }
    Ok(reply)
}

async fn answer(instance: &Rc<Instance>, question: &Question<'_>) -> Result<Reply, Problem> {
    if !question.query.policy.is_cacheable() {
        return Ok(pass(instance, question).await);
    }
    tally::count(instance, question);
    let (found, lease) = match look_up(instance, question).await {
        Found::Load(need) => queue_up(instance, question, need).await,
        served => (served, None),
    };
    match found {
        Found::Served(served) => Ok(serve(instance, question, served)),
        Found::Load(need) => load(instance, question, need, lease).await,
    }
}

/// Gives a cached answer, and has it loaded anew behind that where it is due.
fn serve(instance: &Rc<Instance>, question: &Question<'_>, served: Served) -> Reply {
    if let Some(need) = served.refresh {
        refresh(instance, question, need);
    }
    let status = CacheStatus::of(served.outcome);
    let Served {
        proven_at_ms,
        decided_at_ms,
        ..
    } = served;
    Reply::cached(served.entry, proven_at_ms, decided_at_ms, status)
}

/// Loads an answer for whoever asks next, unless it is being loaded, here or (by the lease) elsewhere.
fn refresh(instance: &Rc<Instance>, question: &Question<'_>, need: Need) {
    let Some(permit) = need.permit else { return };
    let flight = instance.flights.refresh(question.key(), need.claim, permit);
    let Some(flight) = flight else { return };
    let (instance, key) = (instance.clone(), question.key().clone());
    let mut errand = Errand::new(question, need.held, Purpose::Refresh);
    spawn(async move {
        step_aside().await;
        if let Ok(Some(lease)) = Lease::take(&instance, &key).await {
            errand.lease = Some(lease);
            fly(instance, flight, errand).await;
        }
    });
}

/// Asks the origin on behalf of this request alone: the answer is to be of this very moment.
async fn pass(instance: &Instance, question: &Question<'_>) -> Reply {
    let status = CacheStatus::of(Outcome::Uncacheable);
    let loaded = instance.origin.ask(&question.order).await;
    Reply::loaded(loaded, status, CACHE_CONTROL_NO_STORE)
}

/// Takes part in a load, and runs it if it begins with this request.
async fn load(
    instance: &Rc<Instance>,
    question: &Question<'_>,
    need: Need,
    mut lease: Option<Lease>,
) -> Result<Reply, Problem> {
    for _ in 0..SEATS {
        let permit = need.permit.clone();
        let at_least_ms = question.at_least_ms;
        let seat = instance
            .flights
            .board(question.key(), need.claim, permit, at_least_ms);
        if let Some(flight) = seat.flight {
            let mut errand = Errand::new(question, need.held.clone(), Purpose::Answer);
            errand.lease = lease.take();
            // Not awaited here: others share it, whatever becomes of this request's client.
            spawn(fly(instance.clone(), flight, errand));
        }
        let Some(loaded) = seat.result.take().await else {
            continue;
        };
        if let Some(unused) = lease.take() {
            let instance = instance.clone();
            spawn(async move { unused.release(&instance).await });
        }
        if let Some(reply) = stand_in(question, &need, &loaded) {
            return Ok(reply);
        }
        let status = CacheStatus {
            fwd_status: fwd_status(&loaded),
            stored: !seat.shared && is_stored(need.permit.as_ref(), &loaded),
            collapsed: seat.shared,
            ..CacheStatus::of(need.outcome)
        };
        return Ok(Reply::loaded(loaded, status, CACHE_CONTROL_REVALIDATE));
    }
    Err(Problem::new(
        Kind::Unavailable,
        "the answer was given up while it was loaded",
    ))
}

/// What is cached, where the origin fails and the query permits that.
fn stand_in(question: &Question<'_>, need: &Need, loaded: &Loaded) -> Option<Reply> {
    let failure = loaded.as_ref().err().filter(|it| it.is_outage())?;
    let (held, now_ms) = (need.held.as_ref()?, now_ms());
    let proven_at_ms = held.if_error(&question.demand(), now_ms)?;
    let status = CacheStatus {
        fwd_status: failure.status().map(|status| status.as_u16()),
        ..CacheStatus::of(Outcome::StaleIfError)
    };
    let entry = held.entry.clone();
    Some(Reply::cached(entry, proven_at_ms, now_ms, status))
}

/// What a load has to do, for as long as it outlives its request.
struct Errand {
    order: Order,
    policy: Policy,
    /// The canonical request that is stored with the answer.
    target: Option<String>,
    purpose: Purpose,
    /// What keeps other instances from the same errand meanwhile, where they know of it.
    lease: Option<Lease>,
}

/// For whom a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// For somebody who waits.
    Answer,
    /// For whoever asks next. If it fails its lease is kept, as the pause before the next attempt.
    Refresh,
}

impl Errand {
    fn new(question: &Question<'_>, held: Option<Held>, purpose: Purpose) -> Self {
        Self {
            order: Order {
                held,
                ..question.order.clone()
            },
            policy: question.query.policy,
            target: question.target(),
            purpose,
            lease: None,
        }
    }
}

/// Runs a load, then those that have waited for it: all are of one key, and ask the same.
async fn fly(instance: Rc<Instance>, mut flight: Flight<Loaded>, mut errand: Errand) {
    loop {
        let order = errand.order.on(flight.terms());
        let loaded = instance.origin.ask(&order).await;
        let answer = loaded.as_ref().ok().and_then(|it| it.storable());
        let landed = flight.land(loaded);
        let filling = landed.permit.zip(answer);
        let has_served = filling.is_some() || errand.purpose == Purpose::Answer;
        let ended = landed.next.is_none() && has_served;
        let lease = errand.lease.take_if(|_| ended);
        let (policy, target) = (errand.policy, errand.target.clone());
        spawn(conclude(instance.clone(), policy, target, filling, lease));
        match landed.next {
            Some(next) => flight = next,
            None => return,
        }
    }
}

/// Stores an answer by its permit, and gives the lease back after that: whoever gets it next finds the
/// answer.
async fn conclude(
    instance: Rc<Instance>,
    policy: Policy,
    target: Option<String>,
    filling: Option<(Permit, Answer)>,
    lease: Option<Lease>,
) {
    step_aside().await;
    let sealed = filling.and_then(|(permit, answer)| {
        permit.seal(&policy, target, &answer, now_ms(), random_token())
    });
    if let Some(sealed) = sealed {
        store(&instance, sealed).await;
    }
    if let Some(lease) = lease {
        lease.release(&instance).await;
    }
}

/// The origin's status, where it is not that of the answer.
fn fwd_status(loaded: &Loaded) -> Option<u16> {
    let fetched = loaded.as_ref().ok()?;
    let not_modified = StatusCode::NOT_MODIFIED.as_u16();
    fetched.renewed.then_some(not_modified)
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

async fn store(instance: &Rc<Instance>, sealed: Sealed) {
    let (key, bytes, life) = sealed.into_parts();
    let keyspace = &instance.settings.keyspace;
    let (name, length) = (keyspace.entry(&key), bytes.len());
    // The client has its answer; that this failed is logged where it did.
    let stored = instance.redis.set(&name, bytes, life).await;
    if let (Ok(()), Some(entry)) = (stored, keyspace.parse_entry(&name)) {
        tally::count_stored(instance, entry.view, length);
    }
}
