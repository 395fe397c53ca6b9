//! What must hold in every state, and what that means for those who wait for an answer.

use super::{
    config::Config,
    state::{Broken, State},
};
use crate::{
    database::Writer,
    decisions::{self, Ask, Cached, Commits, Seen},
    edge::Must,
    mutant::Mutant,
    redis::Redis,
};

impl Config {
    pub(super) fn i1(&self, state: &State) -> bool {
        self.given(state, None).all(|(cached, as_of)| {
            let of_its_catalog =
                (self.near(state).mark).is_some_and(|mark| mark.catalog == cached.shown.catalog);
            cached.shown.data >= self.relevant(state, as_of) && of_its_catalog
        })
    }

    pub(super) fn i2(&self, state: &State) -> bool {
        let promised = state.database.commits.saturating_sub(self.promise);
        let late = |cached: Cached| cached.shown.data < self.relevant(state, promised);
        state.broken != Some(Broken::Promise)
            && !self.given(state, None).any(|(cached, _)| late(cached))
    }

    pub(super) fn i3(&self, state: &State) -> bool {
        let shows = |(cached, _): (Cached, Commits), written| {
            cached.shown.data >= self.relevant(state, written)
        };
        let covers = |commit| {
            let mut given = self.given(state, Some(commit));
            given.all(|answer| shows(answer, commit))
        };
        // Who reads what is not fresh sees the own write with `Tidemark-At-Least` only.
        let hit = || self.hit(state, None);
        state.broken != Some(Broken::Write)
            && (1..=state.database.commits).all(covers)
            && (!self.applied_suffices() || hit().is_none_or(|hit| shows(hit, state.told)))
    }

    /// What a read may get now without waiting: what is fresh, or, where the query says so, what is
    /// recent; and when it was true.
    fn given(
        &self,
        state: &State,
        at_least: Option<Commits>,
    ) -> impl Iterator<Item = (Cached, Commits)> {
        let given = [self.hit(state, at_least), self.recent(state, at_least)];
        given.into_iter().flatten()
    }

    /// What a read would get from the cache now: the entry, and when it is proven.
    pub(crate) fn hit(
        &self,
        state: &State,
        at_least: Option<Commits>,
    ) -> Option<(Cached, Commits)> {
        let cached = self.near(state).entry?;
        let ask = self.ask(at_least, state.database.commits);
        let as_of = decisions::proven(cached, self.seen(state), ask)?;
        Some((cached, as_of))
    }

    /// What a read would get of a query that revalidates, although it is not fresh.
    pub(crate) fn recent(
        &self,
        state: &State,
        at_least: Option<Commits>,
    ) -> Option<(Cached, Commits)> {
        let cached = self.near(state).entry?;
        let seen = self.seen(state);
        let true_at = match self.mutant {
            Some(Mutant::TidemarkVouches) => seen.mark.map(|mark| mark.as_of),
            Some(Mutant::AnyEpochVouches) => Some(cached.shown.data),
            _ => {
                let ask = self.ask(at_least, state.database.commits);
                decisions::while_revalidated(cached, seen, ask)
            }
        };
        Some((cached, true_at?))
    }

    /// What an answer to a request has to reflect that begins now.
    pub(super) fn must(&self, state: &State, at_least: Option<Commits>) -> Must {
        let told = if self.applied_suffices() {
            state.told
        } else {
            0
        };
        Must {
            written: self.relevant(state, told.max(at_least.unwrap_or(0))),
            promised: self.relevant(state, state.database.commits.saturating_sub(self.promise)),
        }
    }

    /// Whether `applied` means something here without `Tidemark-At-Least`: not where this Redis may
    /// fall back while its old tidemark is within the promise, nor in another region.
    pub(super) fn applied_suffices(&self) -> bool {
        !self.remote() && self.home.failovers == 0
    }

    /// The last of the first commits that touched what the query reads.
    pub(super) fn relevant(&self, state: &State, first: Commits) -> Commits {
        let writers = state.database.writers.iter().zip(self.touches);
        let commits = writers.filter_map(|(writer, place)| match writer {
            Writer::Committed { commit, .. } if *place < self.scopes => Some(*commit),
            _ => None,
        });
        commits.filter(|commit| *commit <= first).max().unwrap_or(0)
    }

    pub(super) fn ask(&self, at_least: Option<Commits>, now: Commits) -> Ask {
        Ask {
            at_least,
            now,
            promise: self.promise,
        }
    }

    /// What an `MGET` sees there.
    pub(super) fn seen(&self, state: &State) -> Seen {
        let mut seen = self.near(state).seen();
        if self.mutant == Some(Mutant::MissingIsZero) {
            for token in seen.stamps.slice_mut() {
                token.get_or_insert(0);
            }
        }
        seen
    }

    /// The Redis that the edge reads.
    pub(crate) fn near<'a>(&self, state: &'a State) -> &'a Redis {
        if self.remote() {
            &state.remote
        } else {
            &state.home
        }
    }

    pub(super) fn remote(&self) -> bool {
        self.managers > 0
    }
}
