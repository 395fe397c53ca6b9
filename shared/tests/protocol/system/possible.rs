//! Which steps are possible in a state, within the bounds.

use super::{
    action::{Action, Identity, Side},
    config::Config,
    state::State,
};
use crate::{
    database::{WRITERS, Writer},
    edge::{Load, Stage},
    redis::Name,
    relay::{Link, Phase},
};

impl Config {
    pub(super) fn writer_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for writer in 0..self.touches.len().min(WRITERS) {
            match state.database.writers[writer] {
                Writer::Idle => {
                    actions.push(if self.overlapping {
                        Action::Begin(writer)
                    } else {
                        Action::Commit(writer)
                    });
                    // Which of them comes first makes no difference where they touch the same.
                    if self.touches.iter().all(|place| *place == self.touches[0]) {
                        break;
                    }
                }
                Writer::Open { .. } => {
                    actions.extend([Action::Commit(writer), Action::RollBack(writer)]);
                }
                Writer::Committed { .. } | Writer::RolledBack => {}
            }
        }
    }

    pub(super) fn relay_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if usize::from(state.database.term) < self.leaders.len() {
            actions.push(Action::HandOver {
                old_still_writes: false,
            });
            if self.pending_step(state).is_some() {
                actions.push(Action::HandOver {
                    old_still_writes: true,
                });
            }
        }
        if state.under_way.is_some() {
            actions.push(Action::LateStep);
        }
        let Some(leader) = &state.leader else {
            return;
        };
        let rows = state.database.visible(0) != 0;
        let linked = matches!(leader.link, Link::On { .. });
        match leader.phase {
            Phase::Rest => {
                if matches!(leader.link, Link::Found { .. }) {
                    actions.push(Action::GoOn);
                }
                let due = match leader.link {
                    Link::On { epoch, known } => {
                        rows || known.is_none_or(|known| known.epoch != epoch)
                    }
                    _ => self.elsewhere && rows,
                };
                if due || (linked && state.left.heartbeats > 0) {
                    actions.push(Action::Clock);
                }
            }
            Phase::Begun { .. } => actions.push(Action::Drain),
            Phase::Drained { .. } if linked => {
                actions.push(Action::Apply);
                if state.left.given_up > 0 {
                    actions.push(Action::GiveUp { settle: false });
                    if self.elsewhere {
                        actions.push(Action::GiveUp { settle: true });
                    }
                }
            }
            Phase::Drained { .. } => actions.push(Action::PassOver),
            Phase::Half { .. } => actions.push(Action::Finish),
            Phase::Applied { .. } => actions.push(Action::Settle),
        }
        if leader.link == Link::Lost {
            actions.push(Action::Connect);
        }
    }

    pub(super) fn fault_actions(&self, state: &State, side: Side, actions: &mut Vec<Action>) {
        let (redis, copy, left) = match side {
            Side::Home => (&state.home, &state.home_copy, state.left.home),
            Side::Remote => (&state.remote, &state.remote_copy, state.left.remote),
        };
        if left.evictions > 0 {
            let stamps = (0..self.scopes).map(Name::Stamp);
            let names = [Name::Tidemark, Name::Entry].into_iter().chain(stamps);
            let held = names.filter(|name| redis.holds(*name));
            actions.extend(held.map(|name| Action::Evict(side, name)));
        }
        if left.failovers > 0 {
            let differs = (redis.seen(), redis.entry) != (copy.seen(), copy.entry);
            if left.copies > 0 && differs {
                actions.push(Action::Copy(side));
            }
            if differs {
                actions.push(Action::Failover(side, Identity::Hidden));
            }
            if side == Side::Home {
                actions.push(Action::Failover(side, Identity::Shown));
            }
        }
    }

    pub(super) fn edge_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let edge = &state.edge;
        let commits = state.database.commits;
        if edge.requests.iter().any(Option::is_none) {
            if self.sharing {
                let demands = [None, (commits > 0).then_some(commits)];
                let demands = if commits > 0 {
                    &demands[..]
                } else {
                    &demands[..1]
                };
                for at_least in demands.iter().copied() {
                    if state.left.requests > 0 {
                        actions.push(Action::Ask { at_least });
                    }
                    if state.left.blind > 0 {
                        actions.push(Action::AskBlindly { at_least });
                    }
                }
            } else if state.left.requests > 0
                && edge.running.is_none()
                && edge.requests == [None; 2]
                && self.near(state).mark.is_some()
            {
                actions.push(Action::Ask { at_least: None });
            }
        }
        for (place, request) in edge.requests.iter().enumerate() {
            match request.map(|request| request.stage) {
                None => {}
                Some(Stage::Unstamped) => actions.push(Action::SetMissing(place)),
                Some(Stage::Stamped) => actions.push(Action::ReadBack(place)),
                Some(Stage::Ready) => actions.push(Action::Board(place)),
            }
        }
        match edge.running {
            None => {}
            Some(Load { shown: None, .. }) => {
                let origins = self.origins.iter().copied();
                actions.extend(origins.map(|catalog| Action::Query { catalog }));
            }
            Some(_) => actions.push(Action::Answer),
        }
        for (place, store) in edge.stores.iter().enumerate() {
            if store.is_some() {
                actions.push(Action::Store(place));
            }
        }
    }

    pub(super) fn manager_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for manager in 0..self.managers {
            if state.managers[manager].is_some() {
                actions.push(Action::Pass { manager });
            }
            // Also while a step is under way: the manager was restarted.
            for (event, published) in state.events.iter().enumerate() {
                if published.is_some() {
                    actions.push(Action::Receive { manager, event });
                }
            }
        }
    }
}
