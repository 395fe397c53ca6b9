//! The one door to the code under test: every decision of the models is made by `tidemark_shared`.
//!
//! States hold small numbers, so that there are few of them and they are cheap to compare. Here
//! these become the types of the real thing, whose functions decide. They are pure, so what they
//! said once is remembered.

use std::{cell::RefCell, collections::HashMap, hash::Hash, thread::LocalKey, time::Duration};

use bytes::Bytes;
use tidemark_shared::{
    catalog::Catalog,
    digest::Digest,
    entry::Entry,
    epoch::Epoch,
    event::{Event, EventId},
    fill::{Answer, Permit, Provenance},
    flight::{self, Claim, Join, Observed},
    freshness::{Demand, Observation, Verdict, decide, judge},
    history::{self, Ground, Record, Succession},
    key::Key,
    param::Params,
    policy::{OnChange, Policy},
    scope::Scope,
    stamp::Stamp,
    tidemark::Tidemark,
};

/// A stamp's or an epoch's token.
pub(crate) type Token = u8;

/// How many commits there have been: the models' clock, and their version of the data.
pub(crate) type Commits = u8;

/// An event's number: term and place in the term.
pub(crate) type Number = (u8, u8);

/// A tidemark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) term: u8,
    pub(crate) epoch: Token,
    pub(crate) as_of: Commits,
    pub(crate) event: Number,
    pub(crate) catalog: u8,
    pub(crate) upstream: Option<Token>,
}

/// The stamps of a query's scopes; the models' query has one or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Stamps {
    pub(crate) scopes: u8,
    pub(crate) tokens: [Option<Token>; 2],
}

impl Stamps {
    /// None yet.
    pub(crate) const fn none(scopes: u8) -> Self {
        Self {
            scopes,
            tokens: [None; 2],
        }
    }

    /// Of one scope.
    pub(crate) const fn one(token: Option<Token>) -> Self {
        Self {
            scopes: 1,
            tokens: [token, None],
        }
    }

    /// The tokens of the scopes that there are.
    pub(crate) fn slice(&self) -> &[Option<Token>] {
        &self.tokens[..self.scopes.into()]
    }

    pub(crate) fn slice_mut(&mut self) -> &mut [Option<Token>] {
        &mut self.tokens[..self.scopes.into()]
    }
}

/// What one `MGET` saw beside the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) mark: Option<Mark>,
    pub(crate) stamps: Stamps,
}

impl Seen {
    /// What of this a permit rests on.
    pub(crate) fn basis(&self) -> Option<Basis> {
        let mark = self.mark?;
        Some(Basis {
            epoch: mark.epoch,
            catalog: mark.catalog,
            stamps: self.stamps,
        })
    }
}

/// What a permit was granted on; `tidemark_shared` makes the permit of it whenever one is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Basis {
    pub(crate) epoch: Token,
    pub(crate) catalog: u8,
    pub(crate) stamps: Stamps,
}

impl Basis {
    /// What one has seen whose permit rests on this.
    fn as_seen(self) -> Seen {
        let mark = Mark {
            term: 1,
            epoch: self.epoch,
            as_of: 0,
            event: (1, 1),
            catalog: self.catalog,
            upstream: None,
        };
        Seen {
            mark: Some(mark),
            stamps: self.stamps,
        }
    }
}

/// An answer of the origin: the state of the data that it shows, and the catalog that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Shown {
    pub(crate) data: Commits,
    pub(crate) catalog: u8,
}

/// A stored entry: an answer, sealed by a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Cached {
    pub(crate) basis: Basis,
    pub(crate) shown: Shown,
}

/// What a read insists on, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ask {
    pub(crate) at_least: Option<Commits>,
    pub(crate) now: Commits,
    /// The query's `max_staleness`, in commits.
    pub(crate) promise: Commits,
}

/// What an epoch was begun on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Recorded {
    pub(crate) life: u8,
    pub(crate) catalog: u8,
    pub(crate) epoch: Token,
}

/// An event, as far as its succession goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Published {
    pub(crate) number: Number,
    pub(crate) prev: Number,
    pub(crate) epoch: Token,
    pub(crate) as_of: Commits,
    pub(crate) catalog: u8,
    /// The places of the scopes, as bits.
    pub(crate) scopes: u8,
}

/// The answer proven fresh, by the real decision: the tidemark's `as_of`.
pub(crate) fn proven(cached: Cached, seen: Seen, ask: Ask) -> Option<Commits> {
    thread_local!(static SAID: Memory<(Cached, Seen, Ask), Option<Commits>> = Memory::default());
    remember(&SAID, (cached, seen, ask), || {
        with_key(|key| {
            let entry = sealed(key, &cached)?;
            let scopes = scopes(seen.stamps);
            let demand = demand(key, &scopes, ask);
            let as_of = judge(&demand, &entry, &observation(seen), time(ask.now)).ok()?;
            Commits::try_from((as_of - EPOCH_MS) / TICK_MS).ok()
        })
    })
}

/// The answer that is not fresh and given all the same while it is loaded anew, by the real decision:
/// when it was last known to be true.
pub(crate) fn while_revalidated(cached: Cached, seen: Seen, ask: Ask) -> Option<Commits> {
    thread_local!(static SAID: Memory<(Cached, Seen, Ask), Option<Commits>> = Memory::default());
    remember(&SAID, (cached, seen, ask), || {
        with_key(|key| {
            let bytes = Bytes::from(sealed(key, &cached)?.encode(key));
            let scopes = scopes(seen.stamps);
            let mut demand = demand(key, &scopes, ask);
            demand.policy.on_change = OnChange::Revalidate;
            match decide(&demand, Some(&bytes), &observation(seen), time(ask.now)) {
                Verdict::Stale { proven_at_ms, .. } => {
                    Commits::try_from((proven_at_ms - EPOCH_MS) / TICK_MS).ok()
                }
                Verdict::Fresh { .. } | Verdict::Fill { .. } => None,
            }
        })
    })
}

/// Whether the permit of this basis stores the answer.
pub(crate) fn seals(cached: Cached) -> bool {
    thread_local!(static SAID: Memory<Cached, bool> = Memory::default());
    remember(&SAID, cached, || {
        with_key(|key| sealed(key, &cached).is_some())
    })
}

/// Whether what was seen grants a permit.
pub(crate) fn permits(seen: Seen) -> bool {
    thread_local!(static SAID: Memory<Seen, bool> = Memory::default());
    remember(&SAID, seen, || {
        with_key(|key| {
            observation(seen)
                .permit(key, &scopes(seen.stamps))
                .is_some()
        })
    })
}

/// What a request may claim of a running load.
pub(crate) fn claim(seen: Seen, ask: Ask) -> Claim {
    thread_local!(static SAID: Memory<(Seen, Ask), Claim> = Memory::default());
    remember(&SAID, (seen, ask), || {
        with_key(|key| {
            let scopes = scopes(seen.stamps);
            observation(seen).claim(&demand(key, &scopes, ask), time(ask.now))
        })
    })
}

/// Which load serves a claim; `running` is what the running one began under.
pub(crate) fn join(claim: Claim, running: Option<Option<Basis>>) -> Join {
    flight::join(claim, running.map(|basis| basis.and_then(observed)))
}

/// What a request observed that saw this.
fn observed(basis: Basis) -> Option<Observed> {
    let ask = Ask {
        at_least: None,
        now: 0,
        promise: 0,
    };
    claim(basis.as_seen(), ask).observed
}

/// The epoch that goes on, if one does, for a leader whose next event is `next`.
pub(crate) fn resumed(
    recorded: Option<Recorded>,
    found: (u8, u8),
    held: Option<Mark>,
    last_change: Number,
    next: Number,
) -> Option<Token> {
    type Question = (Option<Recorded>, (u8, u8), Option<Mark>, Number, Number);
    thread_local!(static SAID: Memory<Question, Option<Token>> = Memory::default());
    remember(&SAID, (recorded, found, held, last_change, next), || {
        let record = recorded.map(|recorded| Record {
            ground: ground(recorded.life, recorded.catalog),
            epoch: epoch(recorded.epoch),
        });
        let held = held.map(tidemark);
        let (life, catalog) = found;
        let resumed = history::resumed(
            record.as_ref(),
            &ground(life, catalog),
            held.as_ref(),
            number(last_change),
            number(next),
        );
        Token::try_from(resumed.ok()?.token()).ok()
    })
}

/// Whether a Redis belongs to a later leadership.
pub(crate) fn is_fenced(held: Option<Mark>, term: u8) -> bool {
    history::is_fenced(held.map(tidemark).as_ref(), term.into())
}

/// What an event is to a cache manager.
pub(crate) fn succession(held: Option<Mark>, event: Published) -> Succession {
    thread_local!(static SAID: Memory<(Option<Mark>, Published), Succession> = Memory::default());
    remember(&SAID, (held, event), || {
        let event = Event {
            id: number(event.number),
            prev: number(event.prev),
            epoch: epoch(event.epoch),
            as_of: time(event.as_of),
            catalog: catalog(event.catalog),
            stamp_ttl_ms: 1,
            scopes: Vec::new(),
        };
        history::succession(held.map(tidemark).as_ref(), &event)
    })
}

const EPOCH_MS: i64 = 1_763_863_200_000;
/// How much later each commit is.
const TICK_MS: i64 = 1_000;

fn time(commits: Commits) -> i64 {
    EPOCH_MS + i64::from(commits) * TICK_MS
}

fn policy(promise: Commits) -> Policy {
    Policy {
        ttl: Policy::LONGEST,
        max_staleness: Duration::from_secs(promise.into()),
        ..Policy::DEFAULT
    }
}

fn demand<'a>(key: &'a Key, scopes: &'a [Scope], ask: Ask) -> Demand<'a> {
    Demand {
        key,
        scopes,
        policy: policy(ask.promise),
        at_least_ms: ask.at_least.map(time),
    }
}

fn scopes(stamps: Stamps) -> Vec<Scope> {
    let both = [Scope::member("org", "1"), Scope::Family("org".into())];
    both[..stamps.scopes.into()].to_vec()
}

fn observation(seen: Seen) -> Observation {
    Observation {
        tidemark: seen.mark.map(tidemark),
        stamps: seen
            .stamps
            .slice()
            .iter()
            .map(|token| token.map(|token| Stamp::new(0, token.into())))
            .collect(),
    }
}

fn permit(key: &Key, basis: Basis) -> Option<Permit> {
    observation(basis.as_seen()).permit(key, &scopes(basis.stamps))
}

/// Stored and read again: through the bytes that Redis would hold.
fn sealed(key: &Key, cached: &Cached) -> Option<Entry> {
    let answer = Answer::new(
        200,
        time(cached.shown.data),
        Provenance::of(catalog(cached.shown.catalog), &scopes(cached.basis.stamps)),
        Bytes::from(vec![cached.shown.data]),
    );
    let sealed = permit(key, cached.basis)?.seal(&policy(1), None, &answer, EPOCH_MS, 0)?;
    let bytes = Bytes::copy_from_slice(sealed.bytes());
    let entry = Entry::decode(&bytes, key).expect("a sealed entry decodes");
    assert_eq!(
        entry.content.bytes[..],
        [cached.shown.data],
        "an entry is its answer"
    );
    Some(entry)
}

fn tidemark(mark: Mark) -> Tidemark {
    Tidemark {
        term: mark.term.into(),
        epoch: epoch(mark.epoch),
        as_of: time(mark.as_of),
        event: number(mark.event),
        catalog: catalog(mark.catalog),
        upstream: mark.upstream.map(epoch),
    }
}

fn ground(life: u8, of: u8) -> Ground {
    Ground {
        redis: format!("run {life}"),
        database: "1 1".to_owned(),
        catalog: catalog(of),
    }
}

fn epoch(token: Token) -> Epoch {
    Epoch::new(token.into())
}

fn number((term, seq): Number) -> EventId {
    EventId {
        term: term.into(),
        seq: seq.into(),
    }
}

fn catalog(number: u8) -> Digest {
    Digest::from_bytes([number; Digest::LEN])
}

fn with_key<T>(decide: impl FnOnce(&Key) -> T) -> T {
    thread_local!(static KEY: Key = {
        let text = "[query.all]\npath = \"/\"\nsql = \"all.sql\"\nreads = [\"orders\"]";
        let catalog = Catalog::parse("tidemark.toml", text).expect("a catalog");
        let query = &catalog.queries["all"];
        let params = Params::from_target(&query.params, &[], "").expect("no parameters");
        Key::of(query, &params)
    });
    KEY.with(decide)
}

type Memory<K, V> = RefCell<HashMap<K, V>>;

fn remember<K: Copy + Eq + Hash, V: Copy>(
    memory: &'static LocalKey<Memory<K, V>>,
    question: K,
    decide: impl FnOnce() -> V,
) -> V {
    if let Some(said) = memory.with_borrow(|memory| memory.get(&question).copied()) {
        return said;
    }
    let said = decide();
    memory.with_borrow_mut(|memory| memory.insert(question, said));
    said
}
