//! What a cache manager does.

use tidemark_shared::history::Succession;

use super::{action::Action, config::Config, state::State};
use crate::{
    decisions::{self, Mark},
    mutant::Mutant,
    relay::Step,
};

impl Config {
    pub(super) fn act_as_manager(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Receive { manager, event } => {
                let event = state.events[event]?;
                let held = state.remote.mark;
                let mut asked = event;
                if self.mutant == Some(Mutant::IgnoresGaps) {
                    asked.prev = (0, 0);
                }
                let epoch = match (decisions::succession(held, asked), held) {
                    (Succession::Next, Some(held)) => held.epoch,
                    (Succession::Known, _) => return None,
                    _ => state.mint(),
                };
                let mark = Mark {
                    term: event.number.0,
                    epoch,
                    as_of: event.as_of,
                    event: event.number,
                    catalog: event.catalog,
                    upstream: Some(event.epoch),
                };
                state.managers[manager] = Some(Step {
                    over: held,
                    mark,
                    scopes: event.scopes,
                    prev: event.prev,
                });
            }
            Action::Pass { manager } => {
                let step = state.managers[manager].take()?;
                let blindly = self.mutant == Some(Mutant::ManagerWritesBlindly);
                if blindly || state.remote.mark == step.over {
                    let mut tokens = state.mint_many().into_iter();
                    let mint = || tokens.next().unwrap_or(0);
                    state.remote.stamp(step.scopes, mint);
                    state.remote.mark = Some(step.mark);
                }
            }
            _ => return None,
        }
        Some(())
    }
}
