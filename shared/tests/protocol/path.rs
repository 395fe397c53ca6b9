//! Scopes along foreign keys: a row belongs to the members that other rows lead to.
//!
//! A change of such a row records a key, and the relay resolves it to the members that it leads to
//! when it drains. What leads there records its own changes: the parent that a child refers to moves
//! from one member to the other, and records both; rows that refer to a product come and go, each of
//! one member, and record that one. There are one row, two members `0` and `1`, and for each member a
//! query whose answer shows the row if it belongs there. The relay applies in one step, since how it
//! does so is the other models' concern.

use stateright::{Model, Property};

use crate::{
    decisions::{self, Ask, Cached, Commits, Mark, Seen, Shown, Stamps, Token},
    report::Reported,
    system::NO_PROMISE,
};

/// One of the two members.
pub(crate) type Member = usize;

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Does {
    /// Changes the row.
    ChangesRow,
    /// Moves the parent that it refers to from one member to the other.
    MovesParent,
    /// Adds the row that refers to it and leads to this member, or deletes it.
    TogglesReferrer(Member),
}

/// When the members are looked up for a change of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Resolved {
    /// In the snapshot in which the rows are taken: the protocol.
    WhenDrained,
    /// A mutant: by the trigger, in the writer's snapshot.
    WhenWritten,
    /// A mutant: in a snapshot after the one in which the rows were taken.
    LaterThanDrained,
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paths {
    pub(crate) name: &'static str,
    pub(crate) resolved: Resolved,
    pub(crate) transactions: &'static [Does],
    /// How many requests need a load.
    pub(crate) requests: u8,
}

/// The most transactions.
const MOST: usize = 4;

/// The most answers that wait to be stored, and commits that are remembered.
const COMMITS: usize = MOST + 1;

/// A state of database, relay, Redis and fillers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    transactions: [Transaction; MOST],
    commits: Commits,
    /// What the data were after each number of commits.
    data: [Data; COMMITS],
    drained: Option<Drained>,
    redis: Redis,
    seq: u8,
    /// Fillers between their observation and their answer, and between that and the store.
    fillers: [Option<(Member, Seen, Option<Commits>)>; 2],
    requests: u8,
    minted: Token,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Transaction {
    Idle,
    /// Its trigger has recorded this.
    Open(Row),
    /// The row is still in the outbox.
    Committed(Row),
    Settled,
}

/// An outbox row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Row {
    /// These members, as bits.
    Members(u8),
    /// To be resolved.
    Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Data {
    /// The members to which the row belongs, as bits.
    members: u8,
    /// How often it has changed.
    row: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Drained {
    Clock(Commits),
    Rows {
        as_of: Commits,
        taken: u8,
        /// The members to stamp, as bits; of those to be resolved yet, none.
        members: u8,
        unresolved: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Redis {
    mark: Option<Mark>,
    stamps: [Option<Token>; 2],
    entries: [Option<Cached>; 2],
}

/// One step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Write(usize),
    Commit(usize),
    Clock,
    Drain,
    Resolve,
    Apply,
    Ask(Member),
    Query(usize),
    Store(usize),
}

impl Data {
    /// At first it belongs to member 0 only.
    const FIRST: Self = Self { members: 1, row: 0 };

    /// What the query of a member answers: the row, if it belongs there.
    fn answer(self, member: Member) -> Option<u8> {
        (self.members >> member & 1 == 1).then_some(self.row)
    }

    fn after(self, does: Does) -> Self {
        match does {
            Does::ChangesRow => Self {
                row: self.row + 1,
                ..self
            },
            Does::MovesParent => Self {
                members: self.members ^ 0b11,
                ..self
            },
            Does::TogglesReferrer(member) => Self {
                members: self.members ^ (1 << member),
                ..self
            },
        }
    }
}

impl State {
    fn now(&self) -> Data {
        self.data[usize::from(self.commits)]
    }

    fn seen(&self, member: Member) -> Seen {
        Seen {
            mark: self.redis.mark,
            stamps: Stamps::one(self.redis.stamps[member]),
        }
    }

    fn mint(&mut self) -> Token {
        self.minted += 1;
        self.minted
    }

    /// Takes the visible rows: which, the members they name, and whether one is a key.
    fn take(&self) -> (u8, u8, bool) {
        let mut rows = (0, 0, false);
        for (place, transaction) in self.transactions.iter().enumerate() {
            let Transaction::Committed(row) = transaction else {
                continue;
            };
            rows.0 |= 1 << place;
            match row {
                Row::Members(members) => rows.1 |= members,
                Row::Key => rows.2 = true,
            }
        }
        rows
    }
}

impl Paths {
    fn row(&self, does: Does, state: &State) -> Row {
        match (does, self.resolved) {
            (Does::MovesParent, _) => Row::Members(0b11),
            (Does::TogglesReferrer(member), _) => Row::Members(1 << member),
            (Does::ChangesRow, Resolved::WhenWritten) => Row::Members(state.now().members),
            (Does::ChangesRow, _) => Row::Key,
        }
    }

    fn hit(state: &State, member: Member) -> Option<(Cached, Commits)> {
        let cached = state.redis.entries[member]?;
        let ask = Ask {
            at_least: None,
            now: state.commits,
            promise: NO_PROMISE,
        };
        let as_of = decisions::proven(cached, state.seen(member), ask)?;
        Some((cached, as_of))
    }

    /// An answer proven at `W` is what the data say at `W`, or later.
    fn i1(&self, state: &State) -> bool {
        [0, 1].into_iter().all(|member| {
            Self::hit(state, member).is_none_or(|(cached, as_of)| {
                let at = |commits: Commits| state.data[usize::from(commits)].answer(member);
                cached.shown.data >= as_of || at(cached.shown.data) == at(as_of)
            })
        })
    }

    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Write(place) => {
                let row = self.row(self.transactions[place], state);
                state.transactions[place] = Transaction::Open(row);
            }
            Action::Commit(place) => {
                let Transaction::Open(row) = state.transactions[place] else {
                    return None;
                };
                let now = state.now();
                state.commits += 1;
                state.data[usize::from(state.commits)] = now.after(self.transactions[place]);
                state.transactions[place] = Transaction::Committed(row);
            }
            Action::Clock => state.drained = Some(Drained::Clock(state.commits)),
            Action::Drain => {
                let Some(Drained::Clock(as_of)) = state.drained else {
                    return None;
                };
                let (taken, members, keys) = state.take();
                let resolve = keys && self.resolved == Resolved::WhenDrained;
                let resolved = if resolve { state.now().members } else { 0 };
                state.drained = Some(Drained::Rows {
                    as_of,
                    taken,
                    members: members | resolved,
                    unresolved: keys && !resolve,
                });
            }
            Action::Resolve => {
                let resolved = state.now().members;
                let Some(Drained::Rows {
                    members,
                    unresolved,
                    ..
                }) = &mut state.drained
                else {
                    return None;
                };
                *members |= resolved;
                *unresolved = false;
            }
            Action::Apply => {
                let Some(Drained::Rows {
                    as_of,
                    taken,
                    members,
                    ..
                }) = state.drained.take()
                else {
                    return None;
                };
                state.seq += 1;
                for member in [0, 1] {
                    if members >> member & 1 == 1 {
                        state.redis.stamps[member] = Some(state.mint());
                    }
                }
                state.redis.mark = Some(Mark {
                    term: 1,
                    epoch: 1,
                    as_of,
                    event: (1, state.seq),
                    catalog: 1,
                    upstream: None,
                });
                for (place, transaction) in state.transactions.iter_mut().enumerate() {
                    if taken >> place & 1 == 1 {
                        *transaction = Transaction::Settled;
                    }
                }
            }
            Action::Ask(member) => {
                state.requests -= 1;
                if state.redis.stamps[member].is_none() {
                    state.redis.stamps[member] = Some(state.mint());
                }
                let place = state.fillers.iter().position(Option::is_none)?;
                state.fillers[place] = Some((member, state.seen(member), None));
            }
            Action::Query(place) => state.fillers[place].as_mut()?.2 = Some(state.commits),
            Action::Store(place) => {
                let (member, seen, shown) = state.fillers[place].take()?;
                let cached = Cached {
                    basis: seen.basis()?,
                    shown: Shown {
                        data: shown?,
                        catalog: 1,
                    },
                };
                if decisions::seals(cached) {
                    state.redis.entries[member] = Some(cached);
                }
            }
        }
        Some(())
    }
}

impl Model for Paths {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            transactions: [Transaction::Idle; MOST],
            commits: 0,
            data: [Data::FIRST; COMMITS],
            drained: None,
            redis: Redis {
                mark: None,
                stamps: [None; 2],
                entries: [None; 2],
            },
            seq: 0,
            fillers: [None; 2],
            requests: self.requests,
            minted: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for place in 0..self.transactions.len() {
            match state.transactions[place] {
                Transaction::Idle => actions.push(Action::Write(place)),
                Transaction::Open(_) => actions.push(Action::Commit(place)),
                Transaction::Committed(_) | Transaction::Settled => {}
            }
        }
        match state.drained {
            None if state.redis.mark.is_none() || state.take().0 != 0 => {
                actions.push(Action::Clock);
            }
            None => {}
            Some(Drained::Clock(_)) => actions.push(Action::Drain),
            Some(Drained::Rows {
                unresolved: true, ..
            }) => actions.push(Action::Resolve),
            Some(Drained::Rows { .. }) => actions.push(Action::Apply),
        }
        if state.requests > 0 && state.fillers.contains(&None) && state.redis.mark.is_some() {
            actions.extend([Action::Ask(0), Action::Ask(1)]);
        }
        for (place, filler) in state.fillers.iter().enumerate() {
            match filler {
                None => {}
                Some((_, _, None)) => actions.push(Action::Query(place)),
                Some(_) => actions.push(Action::Store(place)),
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = *last;
        self.act(&mut state, action)?;
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1", Self::i1),
            Property::sometimes("a hit of each member after all", |model, state: &State| {
                let all = model.transactions.len();
                usize::from(state.commits) == all
                    && [0, 1].into_iter().all(|member| {
                        Self::hit(state, member).is_some_and(|(_, as_of)| as_of == state.commits)
                    })
            }),
        ]
    }
}

impl Reported for Paths {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self, state: &State) -> String {
        let now = state.now();
        let as_of = state.redis.mark.map(|mark| mark.as_of);
        let shown: Vec<String> = [0, 1]
            .into_iter()
            .map(|member| match Self::hit(state, member) {
                None => "-".to_owned(),
                Some((cached, _)) => {
                    let data = state.data[usize::from(cached.shown.data)];
                    format!("{:?}", data.answer(member))
                }
            })
            .collect();
        format!(
            "commits {}: row {} in {:02b}; tidemark as of {as_of:?}; stamps {:?}; hits {}",
            state.commits,
            now.row,
            now.members,
            state.redis.stamps,
            shown.join(" ")
        )
    }
}
