//! What the edge and the origin behind it do.

use super::{
    action::Action,
    config::Config,
    state::{Broken, State},
};
use crate::{
    decisions::{self, Basis, Cached, Seen, Shown, Stamps},
    edge::{Request, Stage},
    mutant::Mutant,
};

impl Config {
    pub(super) fn act_at_edge(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Ask { at_least } => {
                let seen = self.seen(state);
                let unstamped = seen.stamps.slice().contains(&None);
                let stage = if unstamped {
                    Stage::Unstamped
                } else {
                    Stage::Ready
                };
                let must = self.must(state, at_least);
                state.left.requests -= 1;
                let place = state.edge.requests.iter().position(Option::is_none)?;
                state.edge.requests[place] = Some(Request {
                    seen,
                    at_least,
                    must,
                    stage,
                });
                if !self.sharing && !unstamped {
                    self.board(state, place)?;
                }
            }
            Action::AskBlindly { at_least } => {
                let seen = Seen {
                    mark: None,
                    stamps: Stamps::none(self.scopes),
                };
                let must = self.must(state, at_least);
                state.left.blind -= 1;
                let place = state.edge.requests.iter().position(Option::is_none)?;
                state.edge.requests[place] = Some(Request {
                    seen,
                    at_least,
                    must,
                    stage: Stage::Ready,
                });
            }
            Action::SetMissing(place) => {
                let request = state.edge.requests[place].as_mut()?;
                request.stage = Stage::Stamped;
                let missing = request.seen.stamps.slice().iter().enumerate();
                let missing = missing
                    .filter(|(_, token)| token.is_none())
                    .fold(0, |places, (place, _)| places | 1 << place);
                let mut tokens = state.mint_many().into_iter();
                let redis = if self.remote() {
                    &mut state.remote
                } else {
                    &mut state.home
                };
                redis.stamp_missing(missing, || tokens.next().unwrap_or(0));
            }
            Action::ReadBack(place) => {
                let now = self.seen(state);
                let request = state.edge.requests[place].as_mut()?;
                request.seen = now;
                request.stage = Stage::Ready;
                if !self.sharing {
                    self.board(state, place)?;
                }
            }
            Action::Board(place) => self.board(state, place)?,
            Action::Query { catalog } => {
                let data = state.database.commits;
                state.edge.running.as_mut()?.shown = Some(Shown { data, catalog });
                if !self.sharing {
                    self.answer(state)?;
                }
            }
            Action::Answer => self.answer(state)?,
            Action::Store(place) => {
                let mut cached = state.edge.stores[place].take()?;
                if self.mutant == Some(Mutant::StampsAfterOrigin) {
                    cached.basis = self.seen(state).basis()?;
                }
                let redis = if self.remote() {
                    &mut state.remote
                } else {
                    &mut state.home
                };
                redis.entry = Some(cached);
            }
            _ => return None,
        }
        Some(())
    }

    pub(super) fn board(&self, state: &mut State, place: usize) -> Option<()> {
        let request = state.edge.requests[place].take()?;
        let ask = self.ask(request.at_least, state.database.commits);
        let mut claim = decisions::claim(request.seen, ask);
        if self.mutant == Some(Mutant::JoinsUncovered) {
            claim.covered = true;
        }
        let under = request.seen.basis().filter(|_| claim.observed.is_some());
        let permit = request
            .seen
            .basis()
            .filter(|_| decisions::permits(request.seen));
        state
            .edge
            .board(claim, under, permit, request.must, self.mutant);
        Some(())
    }

    /// The answer goes to all aboard, and will be stored; the load that waits begins.
    pub(super) fn answer(&self, state: &mut State) -> Option<()> {
        let load = state.edge.running.take()?;
        let shown = load.shown?;
        if shown.data < load.must.written {
            state.broken = Some(Broken::Write);
        } else if shown.data < load.must.promised {
            state.broken = Some(Broken::Promise);
        }
        state.edge.running = state.edge.waiting.take();
        if let Some(basis) = load.permit {
            let stored_as = match self.mutant {
                Some(Mutant::StoresAnyCatalog) => Basis {
                    catalog: shown.catalog,
                    ..basis
                },
                _ => basis,
            };
            let cached = Cached {
                basis: stored_as,
                shown,
            };
            if decisions::seals(cached) {
                state.edge.store_later(cached);
            }
        }
        Some(())
    }
}
