//! The whole protocol as a state machine; a [`Config`] says how much of it a model explores.

mod action;
mod config;
mod edge_steps;
mod invariants;
mod manager_steps;
mod possible;
mod relay_steps;
mod state;

use action::{Action, Identity, Side};
pub(crate) use config::{Config, Faults, NO_PROMISE};
pub(crate) use state::State;
use stateright::{Model, Property};

use crate::{database::Writer, reach::Reach, report::Reported};

impl Model for Config {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        self.writer_actions(state, actions);
        self.relay_actions(state, actions);
        self.fault_actions(state, Side::Home, actions);
        self.edge_actions(state, actions);
        if self.remote() {
            self.fault_actions(state, Side::Remote, actions);
            self.manager_actions(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = *last;
        self.act(&mut state, action)?;
        state.renumber();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let invariants = [
            Property::always("I1", Self::i1),
            Property::always("I2", Self::i2),
            Property::always("I3", Self::i3),
        ];
        let reachable = self.reaches.iter().map(Reach::property);
        invariants.into_iter().chain(reachable).collect()
    }
}

impl Config {
    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Begin(writer) => state.database.begin(writer),
            Action::Commit(writer) => {
                if !self.overlapping {
                    state.database.begin(writer);
                }
                state.database.commit(writer);
            }
            Action::RollBack(writer) => state.database.writers[writer] = Writer::RolledBack,
            Action::Evict(side, name) => {
                let (redis, _, left) = state.redis(side);
                redis.evict(name);
                left.evictions -= 1;
            }
            Action::Copy(side) => {
                let (redis, copy, left) = state.redis(side);
                *copy = *redis;
                left.copies -= 1;
            }
            Action::Failover(side, identity) => {
                if identity == Identity::Shown {
                    state.left.lives += 1;
                }
                let lives = state.left.lives;
                let (redis, copy, left) = state.redis(side);
                let life = match identity {
                    Identity::Hidden => redis.life,
                    Identity::Shown => lives,
                };
                redis.fall_back(*copy, life);
                left.failovers -= 1;
            }
            Action::Ask { .. }
            | Action::AskBlindly { .. }
            | Action::SetMissing(_)
            | Action::ReadBack(_)
            | Action::Board(_)
            | Action::Query { .. }
            | Action::Answer
            | Action::Store(_) => self.act_at_edge(state, action)?,
            Action::Receive { .. } | Action::Pass { .. } => self.act_as_manager(state, action)?,
            _ => self.act_as_relay(state, action)?,
        }
        Some(())
    }
}

impl Reported for Config {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self, state: &State) -> String {
        let redis = self.near(state);
        let mark = redis.mark.map_or("none".to_owned(), |mark| {
            format!(
                "{}.{} as of {} in epoch {}",
                mark.event.0, mark.event.1, mark.as_of, mark.epoch
            )
        });
        let stamps: Vec<String> = redis
            .stamps
            .slice()
            .iter()
            .map(|token| token.map_or("-".to_owned(), |token| token.to_string()))
            .collect();
        let entry = redis.entry.map_or("none".to_owned(), |cached| {
            format!(
                "shows {} under {:?}",
                cached.shown.data,
                cached.basis.stamps.slice()
            )
        });
        format!(
            "commits {}; tidemark {mark}; stamps {}; entry {entry}",
            state.database.commits,
            stamps.join(" ")
        )
    }
}
