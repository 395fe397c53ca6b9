//! What the relay does.

use super::{action::Action, config::Config, state::State};
use crate::{
    decisions::{self, Published, Recorded},
    mutant::Mutant,
    relay::{Leader, Link, Phase, Step},
};

impl Config {
    pub(super) fn act_as_relay(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::HandOver { old_still_writes } => {
                if old_still_writes {
                    state.under_way = self.pending_step(state);
                }
                state.database.term += 1;
                let term = state.database.term;
                let catalog = self.leaders[usize::from(term) - 1];
                let last_id = state.leader.map_or(0, |leader| leader.last_id);
                state.leader = Some(Leader {
                    last_id,
                    ..Leader::new(term, catalog)
                });
                return Some(());
            }
            Action::LateStep => {
                let step = state.under_way.take()?;
                state.apply(step, self);
                return Some(());
            }
            Action::GoOn => return self.go_on(state),
            Action::Apply => return self.apply(state),
            Action::GiveUp { settle } => {
                state.under_way = self.pending_step(state);
                state.left.given_up -= 1;
                state.lose(settle, self.mutant);
                return Some(());
            }
            Action::PassOver => {
                state.lose(self.elsewhere, self.mutant);
                return Some(());
            }
            Action::Finish => return self.finish(state),
            _ => {}
        }
        let (database, home) = (&mut state.database, &state.home);
        let leader = state.leader.as_mut()?;
        match (action, leader.phase) {
            (Action::Connect, _) => {
                leader.link = Link::Found {
                    held: home.mark,
                    life: home.life,
                    last_change: match self.mutant {
                        Some(Mutant::EarlyLastChange) => database.last_change,
                        _ => (0, 0),
                    },
                };
            }
            (Action::Clock, _) => {
                let first = match leader.link {
                    Link::On { epoch, known } => known.is_none_or(|known| known.epoch != epoch),
                    _ => false,
                };
                if database.visible(0) == 0 && !first {
                    state.left.heartbeats -= 1;
                }
                leader.phase = if self.mutant == Some(Mutant::AsOfAfterSnapshot) {
                    Phase::Begun {
                        as_of: 0,
                        rows: database.visible(0),
                    }
                } else {
                    Phase::Begun {
                        as_of: database.commits,
                        rows: 0,
                    }
                };
            }
            (Action::Drain, Phase::Begun { as_of, rows }) => {
                let (as_of, rows) = match self.mutant {
                    Some(Mutant::AsOfAfterSnapshot) => (database.commits, rows),
                    Some(Mutant::OutboxByLastId) => {
                        let rows = database.visible(leader.last_id);
                        leader.last_id = leader.last_id.max(database.last_id_of(rows));
                        (as_of, rows)
                    }
                    _ => (as_of, database.visible(0)),
                };
                if self.mutant == Some(Mutant::RowsDeletedFirst) {
                    database.delete(rows);
                }
                leader.phase = Phase::Drained { as_of, rows };
            }
            (Action::Settle, Phase::Applied { rows, event }) => {
                database.delete(rows);
                if rows != 0 {
                    database.last_change = event;
                }
                leader.phase = Phase::Rest;
            }
            _ => return None,
        }
        Some(())
    }

    /// The leader, connected again, goes on in the epoch or begins a new one.
    pub(super) fn go_on(&self, state: &mut State) -> Option<()> {
        let fresh = state.mint();
        let leader = state.leader.as_mut()?;
        let Link::Found {
            held,
            life,
            last_change: early,
        } = leader.link
        else {
            return None;
        };
        if decisions::is_fenced(held, leader.term) {
            leader.link = Link::Lost;
            return Some(());
        }
        let recorded = state.database.recorded;
        let last_change = match self.mutant {
            Some(Mutant::IgnoresLastChange) => (0, 0),
            Some(Mutant::EarlyLastChange) => early,
            _ => state.database.last_change,
        };
        let found = (life, leader.catalog);
        let next = match self.mutant {
            Some(Mutant::ReusedNumber) => (leader.term, leader.seq + 1),
            _ => (leader.term, leader.seq),
        };
        let goes_on = match self.mutant {
            Some(Mutant::NoNewEpoch) => recorded.map(|recorded| recorded.epoch),
            _ => decisions::resumed(recorded, found, held, last_change, next),
        };
        let epoch = goes_on.unwrap_or(fresh);
        if goes_on.is_none() {
            state.database.recorded = Some(Recorded {
                life,
                catalog: leader.catalog,
                epoch,
            });
        }
        leader.link = Link::On { epoch, known: held };
        Some(())
    }

    pub(super) fn apply(&self, state: &mut State) -> Option<()> {
        let leader = state.leader?;
        let (step, rows) = leader.step(state.database.last_change, |rows| self.scopes_of(rows))?;
        let half = match self.mutant {
            Some(Mutant::TidemarkFirst) if state.home.mark == step.over => {
                state.write_tidemark(step, self);
                true
            }
            Some(Mutant::TwoSteps) if state.home.mark == step.over => {
                state.stamp(step.scopes);
                true
            }
            _ => false,
        };
        if half {
            state.leader.as_mut()?.phase = Phase::Half { step, rows };
        } else if state.apply(step, self) {
            self.applied(state, step, rows)?;
        } else {
            state.lose(self.elsewhere, self.mutant);
        }
        Some(())
    }

    pub(super) fn finish(&self, state: &mut State) -> Option<()> {
        let Phase::Half { step, rows } = state.leader?.phase else {
            return None;
        };
        if self.mutant == Some(Mutant::TidemarkFirst) {
            state.stamp(step.scopes);
        } else if state.home.mark == step.over {
            state.write_tidemark(step, self);
        } else {
            state.lose(self.elsewhere, self.mutant);
            return Some(());
        }
        self.applied(state, step, rows)
    }

    pub(super) fn applied(&self, state: &mut State, step: Step, rows: u8) -> Option<()> {
        let leader = state.leader.as_mut()?;
        leader.link = Link::On {
            epoch: step.mark.epoch,
            known: Some(step.mark),
        };
        leader.phase = Phase::Applied {
            rows,
            event: step.mark.event,
        };
        leader.seq += 1;
        Some(())
    }

    pub(super) fn pending_step(&self, state: &State) -> Option<Step> {
        let leader = state.leader.as_ref()?;
        let (step, _) = leader.step(state.database.last_change, |rows| self.scopes_of(rows))?;
        Some(step)
    }

    pub(super) fn scopes_of(&self, rows: u8) -> u8 {
        let touched = self.touches.iter().enumerate();
        touched
            .filter(|(writer, _)| rows >> writer & 1 == 1)
            .fold(0, |scopes, (_, place)| scopes | 1 << place)
    }
}

impl State {
    /// Stamps, tidemark, event: done if the Redis is as the step expects it.
    pub(super) fn apply(&mut self, step: Step, config: &Config) -> bool {
        let fits = match config.mutant {
            Some(Mutant::BlindWrites) => true,
            Some(Mutant::TermsOnly) => !decisions::is_fenced(self.home.mark, step.mark.term),
            _ => self.home.mark == step.over,
        };
        if fits {
            self.stamp(step.scopes);
            self.write_tidemark(step, config);
        }
        fits
    }

    pub(super) fn stamp(&mut self, scopes: u8) {
        let mut tokens = self.mint_many().into_iter();
        self.home.stamp(scopes, || tokens.next().unwrap_or(0));
    }

    pub(super) fn write_tidemark(&mut self, step: Step, config: &Config) {
        self.home.mark = Some(step.mark);
        self.told = self.told.max(step.mark.as_of);
        if config.managers > 0
            && let Some(place) = self.events.iter_mut().find(|place| place.is_none())
        {
            *place = Some(Published {
                number: step.mark.event,
                prev: step.prev,
                epoch: step.mark.epoch,
                as_of: step.mark.as_of,
                catalog: step.mark.catalog,
                scopes: step.scopes,
            });
        }
    }

    /// Ends the attempt: the Redis counts as lost.
    pub(super) fn lose(&mut self, settle: bool, mutant: Option<Mutant>) {
        if let Some(leader) = &mut self.leader
            && let Phase::Drained { rows, .. } | Phase::Half { rows, .. } = leader.phase
        {
            leader.link = Link::Lost;
            let event = (leader.term, leader.seq);
            if settle {
                leader.phase = Phase::Applied { rows, event };
            } else {
                leader.phase = Phase::Rest;
            }
            if settle || mutant != Some(Mutant::ReusedNumber) {
                leader.seq += 1;
            }
        }
    }
}
