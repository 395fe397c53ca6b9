//! The origin's memory beside one Redis: in which order the relay tells them, and what may be stored.
//!
//! Every commit touches the one query. Two origins lead by turns; one of them is looked at. What it
//! remembers ends when the other one begins to lead, since a leader trusts its memory no longer than
//! its session surely lives. The relay applies to a Redis in one step, and the Redis loses nothing but
//! its connection to the relay: how it is written is the other models' concern.

use stateright::{Model, Property};

use crate::{
    decisions::{self, Ask, Cached, Commits, Mark, Seen, Shown, Stamps, Token},
    redis::Redis,
    report::Reported,
    system::NO_PROMISE,
};

/// One decision taken wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Slip {
    /// The memory is told after the Redis.
    RedisFirst,
    /// The memory's tidemark rises before stamps are forgotten.
    TidemarkFirst,
    /// A load observes the memory's stamps when its answer is kept, not before its SQL.
    StampsAfterSql,
    /// What was remembered is kept when another origin leads.
    RemembersAcross,
    /// Also for the Redis, rows are taken only from where the memory has come to.
    OneHorizon,
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remembering {
    pub(crate) name: &'static str,
    pub(crate) slip: Option<Slip>,
    pub(crate) commits: Commits,
    /// How many requests need a load.
    pub(crate) requests: u8,
    /// How often the leadership changes.
    pub(crate) hand_overs: u8,
    /// How often the relay loses the Redis.
    pub(crate) losses: u8,
}

/// Commits, as bits.
type Rows = u8;

/// A state of database, relay, memory, Redis and fillers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    commits: Commits,
    /// Those whose rows are in the outbox.
    rows: Rows,
    /// Those of them of which the memory knows.
    remembered: Rows,
    /// Whether the origin leads that is looked at.
    leads: bool,
    phase: Phase,
    is_lost: bool,
    memory: Redis,
    memory_epoch: Token,
    redis: Redis,
    seq: u8,
    /// The latest commit whose writer has been told `applied`.
    told: Commits,
    fillers: [Option<Filler>; 2],
    requests: u8,
    hand_overs: u8,
    losses: u8,
    minted: Token,
    is_broken: bool,
}

/// Where the leader's cycle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Rest,
    Begun { as_of: Commits },
    Drained(Drain),
    Touched(Drain),
    Remembered(Drain),
    Applied(Drain),
}

/// What a cycle took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Drain {
    as_of: Commits,
    rows: Rows,
    /// Whether it was for the memory alone.
    is_stranded: bool,
}

/// A request that is not answered from the Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Filler {
    /// What it observed in the Redis, if it reached that.
    seen: Option<Seen>,
    at_least: Option<Commits>,
    /// What its answer has to show.
    must: Commits,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Asked,
    /// Its load has observed the memory.
    Begun(Option<Seen>),
    /// Its SQL has run.
    Read(Option<Seen>, Commits),
    /// It is answered, and the answer is to be stored.
    Answered(Commits),
}

/// One step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Commit,
    Clock,
    Drain,
    Touch,
    Rise,
    Apply,
    /// The cycle ends without the Redis.
    PassOver,
    Settle,
    Lose,
    Return,
    HandOver,
    Ask {
        blind: bool,
        demanding: bool,
    },
    Recall(usize),
    Begin(usize),
    Read(usize),
    Land(usize),
    Store(usize),
}

impl State {
    fn mint(&mut self) -> Token {
        self.minted += 1;
        self.minted
    }

    fn mark(&self, epoch: Token, as_of: Commits) -> Mark {
        Mark {
            term: 1,
            epoch,
            as_of,
            event: (1, self.seq),
            catalog: 1,
            upstream: None,
        }
    }

    fn touch(&mut self, rows: Rows) {
        if rows != 0 {
            self.memory.stamps = Stamps::none(1);
        }
    }

    fn rise(&mut self, drain: Drain) {
        self.memory.mark = Some(self.mark(self.memory_epoch, drain.as_of));
        self.remembered |= drain.rows;
    }

    /// What would be served from there, and when it is proven.
    fn hit(&self, there: &Redis, at_least: Option<Commits>) -> Option<(Cached, Commits)> {
        let cached = there.entry?;
        let ask = Ask {
            at_least,
            now: self.commits,
            promise: NO_PROMISE,
        };
        Some((cached, decisions::proven(cached, there.seen(), ask)?))
    }

    fn answer(&mut self, filler: &Filler, shown: Commits) {
        self.is_broken |= shown < filler.must;
    }

    fn cached(basis: Option<Seen>, data: Commits) -> Option<Cached> {
        let cached = Cached {
            basis: basis?.basis()?,
            shown: Shown { data, catalog: 1 },
        };
        decisions::seals(cached).then_some(cached)
    }
}

impl Remembering {
    fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    /// What is proven at `W` shows every commit up to `W`.
    fn i1(&self, state: &State) -> bool {
        [&state.memory, &state.redis].into_iter().all(|there| {
            let hit = state.hit(there, None);
            hit.is_none_or(|(cached, as_of)| cached.shown.data >= as_of)
        })
    }

    fn act_as_relay(&self, state: &mut State, action: Action) -> Option<()> {
        state.phase = match (action, state.phase) {
            (Action::Clock, Phase::Rest) => Phase::Begun {
                as_of: state.commits,
            },
            (Action::Drain, Phase::Begun { as_of }) => {
                let is_stranded = state.is_lost;
                let known = if is_stranded || self.slips(Slip::OneHorizon) {
                    state.remembered
                } else {
                    0
                };
                Phase::Drained(Drain {
                    as_of,
                    rows: state.rows & !known,
                    is_stranded,
                })
            }
            (Action::Touch, Phase::Drained(drain)) => {
                if self.slips(Slip::TidemarkFirst) {
                    state.rise(drain);
                } else {
                    state.touch(drain.rows);
                }
                Phase::Touched(drain)
            }
            (Action::Rise, Phase::Touched(drain)) => {
                if self.slips(Slip::TidemarkFirst) {
                    state.touch(drain.rows);
                } else {
                    state.rise(drain);
                }
                Phase::Remembered(drain)
            }
            (Action::Apply, Phase::Drained(drain) | Phase::Remembered(drain)) => {
                state.seq += 1;
                if drain.rows != 0 {
                    state.redis.stamps = Stamps::one(Some(state.mint()));
                }
                state.redis.mark = Some(state.mark(1, drain.as_of));
                state.told = state.told.max(drain.as_of);
                Phase::Applied(drain)
            }
            (Action::PassOver, _) => Phase::Rest,
            (Action::Settle, Phase::Applied(drain)) => {
                if self.slips(Slip::RedisFirst) && state.leads {
                    state.touch(drain.rows);
                    state.rise(drain);
                }
                state.rows &= !drain.rows;
                Phase::Rest
            }
            (Action::HandOver, _) => {
                state.hand_overs -= 1;
                state.leads = !state.leads;
                // What is visible before anything is remembered need not be forgotten.
                state.remembered = state.rows;
                if !self.slips(Slip::RemembersAcross) {
                    state.memory = Redis::empty(1);
                    state.memory_epoch = state.mint();
                }
                Phase::Rest
            }
            _ => return None,
        };
        Some(())
    }

    fn act_at_edge(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Ask { blind, demanding } => {
                state.requests -= 1;
                let mut seen = None;
                if !blind {
                    if state.redis.stamps.slice() == [None] {
                        state.redis.stamps = Stamps::one(Some(state.mint()));
                    }
                    seen = Some(state.redis.seen());
                }
                let at_least = demanding.then_some(state.commits);
                let place = state.fillers.iter().position(Option::is_none)?;
                state.fillers[place] = Some(Filler {
                    seen,
                    at_least,
                    must: state.told.max(at_least.unwrap_or(0)),
                    stage: Stage::Asked,
                });
            }
            Action::Recall(place) => {
                let filler = state.fillers[place].take()?;
                let (cached, _) = state.hit(&state.memory, filler.at_least)?;
                state.answer(&filler, cached.shown.data);
            }
            Action::Begin(place) => {
                let mut kept = None;
                if state.memory.mark.is_some() {
                    if state.memory.stamps.slice() == [None] {
                        state.memory.stamps = Stamps::one(Some(state.mint()));
                    }
                    kept = Some(state.memory.seen());
                }
                state.fillers[place].as_mut()?.stage = Stage::Begun(kept);
            }
            Action::Read(place) => {
                let filler = state.fillers[place].as_mut()?;
                let Stage::Begun(kept) = filler.stage else {
                    return None;
                };
                filler.stage = Stage::Read(kept, state.commits);
            }
            Action::Land(place) => {
                let mut filler = state.fillers[place].take()?;
                let Stage::Read(kept, shown) = filler.stage else {
                    return None;
                };
                state.answer(&filler, shown);
                let basis = if self.slips(Slip::StampsAfterSql) {
                    Some(state.memory.seen())
                } else {
                    kept
                };
                if let Some(cached) = State::cached(basis, shown) {
                    state.memory.entry = Some(cached);
                }
                filler.stage = Stage::Answered(shown);
                state.fillers[place] = filler.seen.map(|_| filler);
            }
            Action::Store(place) => {
                let filler = state.fillers[place].take()?;
                let Stage::Answered(shown) = filler.stage else {
                    return None;
                };
                if let Some(cached) = State::cached(filler.seen, shown) {
                    state.redis.entry = Some(cached);
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn relay_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let unknown = state.rows & !state.remembered != 0;
        match state.phase {
            Phase::Rest => {
                let proven = state.memory.mark.map(|mark| mark.as_of);
                let for_memory = state.leads && (unknown || proven < Some(state.commits));
                let for_redis = state.rows != 0 || state.redis.mark.is_none();
                if for_memory || (for_redis && !state.is_lost) {
                    actions.push(Action::Clock);
                }
            }
            Phase::Begun { .. } => actions.push(Action::Drain),
            Phase::Drained(_) if state.leads && !self.slips(Slip::RedisFirst) => {
                actions.push(Action::Touch);
            }
            Phase::Touched(_) => actions.push(Action::Rise),
            Phase::Drained(drain) | Phase::Remembered(drain) => {
                if state.is_lost || drain.is_stranded {
                    actions.push(Action::PassOver);
                } else {
                    actions.push(Action::Apply);
                }
            }
            Phase::Applied(_) => actions.push(Action::Settle),
        }
        if state.hand_overs > 0 {
            actions.push(Action::HandOver);
        }
        if state.is_lost {
            actions.push(Action::Return);
        } else if state.losses > 0 {
            actions.push(Action::Lose);
        }
    }

    fn edge_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.requests > 0 && state.fillers.contains(&None) {
            let demands = if state.commits > 0 {
                &[false, true][..]
            } else {
                &[false]
            };
            for &demanding in demands {
                actions.push(Action::Ask {
                    blind: true,
                    demanding,
                });
                if state.redis.mark.is_some() && state.hit(&state.redis, None).is_none() {
                    actions.push(Action::Ask {
                        blind: false,
                        demanding,
                    });
                }
            }
        }
        for (place, filler) in state.fillers.iter().enumerate() {
            let Some(filler) = filler else { continue };
            match filler.stage {
                Stage::Asked => {
                    actions.push(Action::Begin(place));
                    let remembered = state.hit(&state.memory, filler.at_least);
                    if filler.seen.is_none() && remembered.is_some() {
                        actions.push(Action::Recall(place));
                    }
                }
                Stage::Begun(_) => actions.push(Action::Read(place)),
                Stage::Read(..) => actions.push(Action::Land(place)),
                Stage::Answered(_) => actions.push(Action::Store(place)),
            }
        }
    }
}

impl Model for Remembering {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            commits: 0,
            rows: 0,
            remembered: 0,
            leads: true,
            phase: Phase::Rest,
            is_lost: false,
            memory: Redis::empty(1),
            memory_epoch: 1,
            redis: Redis::empty(1),
            seq: 0,
            told: 0,
            fillers: [None; 2],
            requests: self.requests,
            hand_overs: self.hand_overs,
            losses: self.losses,
            minted: 1,
            is_broken: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.is_broken {
            return;
        }
        if state.commits < self.commits {
            actions.push(Action::Commit);
        }
        self.relay_actions(state, actions);
        self.edge_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = *last;
        match action {
            Action::Commit => {
                state.rows |= 1 << state.commits;
                state.commits += 1;
            }
            Action::Lose => {
                state.losses -= 1;
                state.is_lost = true;
            }
            Action::Return => state.is_lost = false,
            Action::Ask { .. }
            | Action::Recall(_)
            | Action::Begin(_)
            | Action::Read(_)
            | Action::Land(_)
            | Action::Store(_) => self.act_at_edge(&mut state, action)?,
            _ => self.act_as_relay(&mut state, action)?,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("I1", Self::i1),
            Property::always("I3", |_, state: &State| !state.is_broken),
        ];
        if self.slip.is_none() && self.losses > 0 {
            properties.push(Property::sometimes(
                "without Redis, the memory shows a change",
                |_, state: &State| {
                    let hit = state.hit(&state.memory, Some(state.commits));
                    state.is_lost && state.commits > 0 && state.rows != 0 && hit.is_some()
                },
            ));
        }
        if self.slip.is_none() {
            properties.push(Property::sometimes(
                "a hit of each, after all hand-overs",
                |_, state: &State| {
                    let hits = [&state.memory, &state.redis]
                        .map(|there| state.hit(there, Some(state.commits)).is_some());
                    state.hand_overs == 0 && hits == [true; 2]
                },
            ));
        }
        properties
    }
}

impl Reported for Remembering {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self, state: &State) -> String {
        let of = |there: &Redis| {
            let as_of = there.mark.map(|mark| mark.as_of);
            let shown = there.entry.map(|cached| cached.shown.data);
            let stamps = there.stamps.slice();
            format!("as of {as_of:?}, stamp {stamps:?}, entry shows {shown:?}")
        };
        format!(
            "commits {}, told {}; memory {}; Redis {}",
            state.commits,
            state.told,
            of(&state.memory),
            of(&state.redis)
        )
    }
}
