//! The whole protocol as a state machine; a [`Config`] says how much of it a model explores.

use stateright::{Model, Property};
use tidemark_shared::history::Succession;

use crate::{
    database::{Database, WRITERS, Writer},
    decisions::{
        self, Ask, Basis, Cached, Commits, Mark, Published, Recorded, Seen, Shown, Stamps, Token,
    },
    edge::{Edge, Load, Must, Request, Stage},
    mutant::Mutant,
    reach::Reach,
    redis::{Name, Redis},
    relay::{Leader, Link, Phase, Step},
};

/// How many events a model remembers; those beyond are lost, as events may be.
const EVENTS: usize = 6;

/// A promise that no model breaks: there are never that many commits.
pub(crate) const NO_PROMISE: Commits = 100;

/// What a model explores, and how far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) mutant: Option<Mutant>,
    /// How many scopes the query has.
    pub(crate) scopes: u8,
    /// For each transaction, the place of the scope that it touches; beyond the query's, another one.
    pub(crate) touches: &'static [u8],
    /// Whether transactions are open for a while, overlap and may be rolled back.
    pub(crate) overlapping: bool,
    /// The catalog of each leadership: as many as there may be.
    pub(crate) leaders: &'static [u8],
    /// The catalogs of the origins that answer.
    pub(crate) origins: &'static [u8],
    /// How many cycles may find nothing to do.
    pub(crate) heartbeats: u8,
    /// How often a leader gives the Redis up while a step is under way there.
    pub(crate) given_up: u8,
    /// Whether there are other regions, so that rows are settled without this one.
    pub(crate) elsewhere: bool,
    /// What may happen to the relay's Redis.
    pub(crate) home: Faults,
    /// What may happen to the cache manager's Redis.
    pub(crate) remote: Faults,
    /// How many cache managers there are; with any, the edge is in their region.
    pub(crate) managers: usize,
    /// How many requests need a load.
    pub(crate) requests: u8,
    /// Whether they share loads, and some demand `Tidemark-At-Least`.
    pub(crate) sharing: bool,
    /// How many requests can't reach Redis.
    pub(crate) blind: u8,
    /// The query's `max_staleness`, in commits.
    pub(crate) promise: Commits,
    /// What has to be reachable, or the model says nothing.
    pub(crate) reaches: &'static [Reach],
}

/// What may happen to a Redis, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) evictions: u8,
    /// How often a copy is made that a later failover falls back to; before the first it is empty.
    pub(crate) copies: u8,
    pub(crate) failovers: u8,
}

/// Which Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The relay's.
    Home,
    /// The cache manager's.
    Remote,
}

/// Whether a server says that it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A proxy hides it, say.
    Hidden,
    Shown,
}

/// A state of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) database: Database,
    pub(crate) leader: Option<Leader>,
    /// A step that nobody waits for any more; it may still happen.
    pub(crate) under_way: Option<Step>,
    pub(crate) home: Redis,
    pub(crate) home_copy: Redis,
    pub(crate) events: [Option<Published>; EVENTS],
    pub(crate) remote: Redis,
    pub(crate) remote_copy: Redis,
    pub(crate) managers: [Option<Step>; 2],
    pub(crate) edge: Edge,
    /// The latest commit whose writer has been told `applied`.
    pub(crate) told: Commits,
    pub(crate) left: Left,
    pub(crate) broken: Option<Broken>,
    minted: u8,
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) heartbeats: u8,
    pub(crate) given_up: u8,
    pub(crate) home: Faults,
    pub(crate) remote: Faults,
    pub(crate) requests: u8,
    pub(crate) blind: u8,
    lives: u8,
}

/// What an answer of the origin has broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    Promise,
    Write,
}

/// One step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Begin(usize),
    Commit(usize),
    RollBack(usize),
    /// A leader's session ends, and another one takes the lock; the step that the old one was about
    /// to do in Redis may still happen.
    HandOver {
        old_still_writes: bool,
    },
    Connect,
    GoOn,
    Clock,
    Drain,
    Apply,
    /// The second half, where a mutant makes two steps of one.
    Finish,
    /// The leader does not wait for Redis any longer.
    GiveUp {
        settle: bool,
    },
    /// The leader has no Redis here, and goes on with other regions.
    PassOver,
    Settle,
    /// A step that nobody waits for any more happens.
    LateStep,
    Evict(Side, Name),
    Copy(Side),
    Failover(Side, Identity),
    Ask {
        at_least: Option<Commits>,
    },
    AskBlindly {
        at_least: Option<Commits>,
    },
    SetMissing(usize),
    ReadBack(usize),
    Board(usize),
    Query {
        catalog: u8,
    },
    Answer,
    Store(usize),
    Receive {
        manager: usize,
        event: usize,
    },
    Pass {
        manager: usize,
    },
}

impl State {
    fn new(config: &Config) -> Self {
        let redis = Redis::empty(config.scopes);
        Self {
            database: Database::new(),
            leader: None,
            under_way: None,
            home: redis,
            home_copy: redis,
            events: [None; EVENTS],
            remote: redis,
            remote_copy: redis,
            managers: [None; 2],
            edge: Edge::new(),
            told: 0,
            left: Left {
                heartbeats: config.heartbeats,
                given_up: config.given_up,
                home: config.home,
                remote: config.remote,
                requests: config.requests,
                blind: config.blind,
                lives: 0,
            },
            broken: None,
            minted: 0,
        }
    }

    /// A token that is nowhere else.
    fn mint(&mut self) -> Token {
        self.minted += 1;
        // Beyond all that `renumber` gives.
        128 + self.minted
    }

    /// Names the tokens by the order in which they occur: which ones they are means nothing, only
    /// which are equal. What occurs no more is forgotten.
    fn renumber(&mut self) {
        self.edge.stores.sort_unstable();
        self.minted = 0;
        let mut names = [0; 256];
        let mut last = 0;
        self.each_token(&mut |token| {
            // A mutant's name for a missing stamp.
            if *token == 0 {
                return;
            }
            let name = &mut names[usize::from(*token)];
            if *name == 0 {
                last += 1;
                *name = last;
            }
            *token = *name;
        });
    }

    fn each_token(&mut self, each: &mut impl FnMut(&mut Token)) {
        fn stamps(stamps: &mut Stamps, each: &mut impl FnMut(&mut Token)) {
            stamps.slice_mut().iter_mut().flatten().for_each(each);
        }
        fn mark(mark: &mut Option<Mark>, each: &mut impl FnMut(&mut Token)) {
            if let Some(mark) = mark {
                each(&mut mark.epoch);
                mark.upstream.iter_mut().for_each(each);
            }
        }
        fn basis(basis: &mut Basis, each: &mut impl FnMut(&mut Token)) {
            each(&mut basis.epoch);
            stamps(&mut basis.stamps, each);
        }
        fn step(step: &mut Step, each: &mut impl FnMut(&mut Token)) {
            mark(&mut step.over, each);
            each(&mut step.mark.epoch);
            step.mark.upstream.iter_mut().for_each(each);
        }
        for redis in [
            &mut self.home,
            &mut self.home_copy,
            &mut self.remote,
            &mut self.remote_copy,
        ] {
            mark(&mut redis.mark, each);
            stamps(&mut redis.stamps, each);
            if let Some(entry) = &mut redis.entry {
                basis(&mut entry.basis, each);
            }
        }
        if let Some(recorded) = &mut self.database.recorded {
            each(&mut recorded.epoch);
        }
        if let Some(leader) = &mut self.leader {
            match &mut leader.link {
                Link::Lost => {}
                Link::Found { held, .. } => mark(held, each),
                Link::On { epoch, known } => {
                    each(epoch);
                    mark(known, each);
                }
            }
            if let Phase::Half { step: half, .. } = &mut leader.phase {
                step(half, each);
            }
        }
        let steps = self
            .under_way
            .iter_mut()
            .chain(self.managers.iter_mut().flatten());
        steps.for_each(|under_way| step(under_way, each));
        for event in self.events.iter_mut().flatten() {
            each(&mut event.epoch);
        }
        for request in self.edge.requests.iter_mut().flatten() {
            mark(&mut request.seen.mark, each);
            stamps(&mut request.seen.stamps, each);
        }
        for load in [&mut self.edge.running, &mut self.edge.waiting]
            .into_iter()
            .flatten()
        {
            if let Some(under) = &mut load.under {
                stamps(under, each);
            }
            if let Some(permit) = &mut load.permit {
                basis(permit, each);
            }
        }
        for store in self.edge.stores.iter_mut().flatten() {
            basis(&mut store.basis, each);
        }
    }

    fn redis(&mut self, side: Side) -> (&mut Redis, &mut Redis, &mut Faults) {
        match side {
            Side::Home => (&mut self.home, &mut self.home_copy, &mut self.left.home),
            Side::Remote => (
                &mut self.remote,
                &mut self.remote_copy,
                &mut self.left.remote,
            ),
        }
    }

    fn mint_many(&mut self) -> [Token; 2] {
        [self.mint(), self.mint()]
    }

    /// Stamps, tidemark, event: done if the Redis is as the step expects it.
    fn apply(&mut self, step: Step, config: &Config) -> bool {
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

    fn stamp(&mut self, scopes: u8) {
        let mut tokens = self.mint_many().into_iter();
        self.home.stamp(scopes, || tokens.next().unwrap_or(0));
    }

    fn write_tidemark(&mut self, step: Step, config: &Config) {
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
    fn lose(&mut self, settle: bool, mutant: Option<Mutant>) {
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

impl Config {
    fn remote(&self) -> bool {
        self.managers > 0
    }

    /// The Redis that the edge reads.
    pub(crate) fn near<'a>(&self, state: &'a State) -> &'a Redis {
        if self.remote() {
            &state.remote
        } else {
            &state.home
        }
    }

    /// What an `MGET` sees there.
    fn seen(&self, state: &State) -> Seen {
        let mut seen = self.near(state).seen();
        if self.mutant == Some(Mutant::MissingIsZero) {
            for token in seen.stamps.slice_mut() {
                token.get_or_insert(0);
            }
        }
        seen
    }

    fn ask(&self, at_least: Option<Commits>, now: Commits) -> Ask {
        Ask {
            at_least,
            now,
            promise: self.promise,
        }
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

    /// Whether `applied` means something here without `Tidemark-At-Least`: not where this Redis may
    /// fall back while its old tidemark is within the promise, nor in another region.
    fn applied_suffices(&self) -> bool {
        !self.remote() && self.home.failovers == 0
    }

    /// What an answer to a request has to reflect that begins now.
    fn must(&self, state: &State, at_least: Option<Commits>) -> Must {
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

    /// The last of the first commits that touched what the query reads.
    fn relevant(&self, state: &State, first: Commits) -> Commits {
        let writers = state.database.writers.iter().zip(self.touches);
        let commits = writers.filter_map(|(writer, place)| match writer {
            Writer::Committed { commit, .. } if *place < self.scopes => Some(*commit),
            _ => None,
        });
        commits.filter(|commit| *commit <= first).max().unwrap_or(0)
    }

    fn scopes_of(&self, rows: u8) -> u8 {
        let touched = self.touches.iter().enumerate();
        touched
            .filter(|(writer, _)| rows >> writer & 1 == 1)
            .fold(0, |scopes, (_, place)| scopes | 1 << place)
    }

    fn i1(&self, state: &State) -> bool {
        self.hit(state, None).is_none_or(|(cached, as_of)| {
            let of_its_catalog =
                (self.near(state).mark).is_some_and(|mark| mark.catalog == cached.shown.catalog);
            cached.shown.data >= self.relevant(state, as_of) && of_its_catalog
        })
    }

    fn i2(&self, state: &State) -> bool {
        let promised = state.database.commits.saturating_sub(self.promise);
        let late = |cached: Cached| cached.shown.data < self.relevant(state, promised);
        state.broken != Some(Broken::Promise)
            && !self
                .hit(state, None)
                .is_some_and(|(cached, _)| late(cached))
    }

    fn i3(&self, state: &State) -> bool {
        let shows = |at_least: Option<Commits>, written: Commits| {
            let hit = self.hit(state, at_least);
            hit.is_none_or(|(cached, _)| cached.shown.data >= self.relevant(state, written))
        };
        state.broken != Some(Broken::Write)
            && (1..=state.database.commits).all(|commit| shows(Some(commit), commit))
            && (!self.applied_suffices() || shows(None, state.told))
    }

    fn writer_actions(&self, state: &State, actions: &mut Vec<Action>) {
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

    fn relay_actions(&self, state: &State, actions: &mut Vec<Action>) {
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

    fn fault_actions(&self, state: &State, side: Side, actions: &mut Vec<Action>) {
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

    fn edge_actions(&self, state: &State, actions: &mut Vec<Action>) {
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

    fn manager_actions(&self, state: &State, actions: &mut Vec<Action>) {
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

    fn pending_step(&self, state: &State) -> Option<Step> {
        let leader = state.leader.as_ref()?;
        let (step, _) = leader.step(state.database.last_change, |rows| self.scopes_of(rows))?;
        Some(step)
    }

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

    fn act_as_relay(&self, state: &mut State, action: Action) -> Option<()> {
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
    fn go_on(&self, state: &mut State) -> Option<()> {
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
        let goes_on = match self.mutant {
            Some(Mutant::NoNewEpoch) => recorded.map(|recorded| recorded.epoch),
            _ => decisions::continued(recorded, found, held, last_change),
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

    fn apply(&self, state: &mut State) -> Option<()> {
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

    fn finish(&self, state: &mut State) -> Option<()> {
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

    fn applied(&self, state: &mut State, step: Step, rows: u8) -> Option<()> {
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

    fn act_at_edge(&self, state: &mut State, action: Action) -> Option<()> {
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
                let now = self.near(state).stamps;
                let request = state.edge.requests[place].as_mut()?;
                let tokens = request.seen.stamps.slice_mut().iter_mut();
                for (token, now) in tokens.zip(now.slice()) {
                    *token = token.or(*now);
                }
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

    fn board(&self, state: &mut State, place: usize) -> Option<()> {
        let request = state.edge.requests[place].take()?;
        let ask = self.ask(request.at_least, state.database.commits);
        let mut claim = decisions::claim(request.seen, ask);
        if self.mutant == Some(Mutant::JoinsUncovered) {
            claim.covered = true;
        }
        let under = claim.witness.map(|_| request.seen.stamps);
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
    fn answer(&self, state: &mut State) -> Option<()> {
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

    fn act_as_manager(&self, state: &mut State, action: Action) -> Option<()> {
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

impl crate::report::Reported for Config {
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
